"""All runs of one lab: starting them, taking commands for them, telling where they are."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from labd.expr.spelling import did_you_mean
from labd.files.library import Library
from labd.journal import Event, Journal, NewEvent, SignalStore
from labd.lab.bus import DeviceState, Happening, RunState
from labd.lab.config import LabError
from labd.lab.lab import Lab
from labd.protocol import load, ready
from labd.protocol.parameters import told
from labd.run.facts import facts_of
from labd.run.history import ACTIONS, FOLDED, History, fold, open_actions
from labd.run.lifecycle import Command, CommandRefusedError, Lifecycle, State
from labd.run.performer import Performer
from labd.run.reservations import Reservations
from labd.run.run import Run
from labd.run.shipped import library

log = structlog.get_logger(__name__)

NAME = re.compile(r"[a-z0-9_-]{1,64}")
TRAYS = ("cell_tray",)
"""Labware whose wells may be the home of a sample."""


class EngineError(Exception):
    """A run that cannot be started as asked; the text says why and how to mend it."""


class UnknownRunError(Exception):
    """There is no such run."""


class Engine:
    """The runs of one lab. `run()` is its task; everything else may be called from any other once it is `ready`."""

    def __init__(self, lab: Lab, journal: Journal, signals: SignalStore) -> None:
        self.lab = lab
        self.journal = journal
        self.signals = signals
        self.reservations = Reservations(lab)
        self.ready = asyncio.Event()
        self.obstacles: dict[str, str] = {}
        """Why no run is started or unheld now, in words, by what is in the way; empty: nothing is."""
        self._runs: dict[str, Run] = {}  # those that have not ended
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._past: dict[str, RunState] = {}
        self._homes: set[str] = set()
        self._numbers = itertools.count(1)
        self._group: asyncio.TaskGroup | None = None
        self._closing = False

    async def run(self) -> None:
        """Takes up the journal and keeps all runs' tasks until cancelled."""
        await self._take_up(fold(await self.journal.events(kinds=FOLDED)))
        forget = [self.journal.on_commit(self._tell), self.lab.bus.subscribe(self._device_changed)]
        try:
            async with asyncio.TaskGroup() as self._group:
                self.ready.set()
                await asyncio.Event().wait()
        finally:
            self.ready.clear()
            for stop in forget:
                stop()

    async def _take_up(self, history: History) -> None:
        """Puts samples where the journal left them, and ends the runs that the last daemon left unfinished."""
        for sample, place in history.places.items():
            self.lab.places.move(sample, place)
        for gripper, sample in history.parts.items():
            self.lab.places.carry(gripper, sample)
        self._homes = set(history.homes)
        last = max(map(_number, history.runs), default=0)
        self._numbers = itertools.count(last + 1)
        for state in history.unfinished:
            await self._close(state)
        if history.unfinished:
            history = fold(await self.journal.events(kinds=FOLDED))
        self._past = dict(history.runs)

    async def _close(self, state: RunState) -> None:
        """Ends a run that the last daemon left unfinished; what it had sent and not heard of is told as unknown."""
        unsettled, silent = open_actions(await self.journal.events(run=state.run, kinds=ACTIONS))
        told = f"; nobody knows whether {', '.join(unsettled.values())} happened" if unsettled else ""
        cause = f"the daemon ended while it was in {state.protocol_state}{told}; look at {state.sample}"
        log.warning("run was cut by the daemon's end", run=state.run, state=state.protocol_state, unknown=unsettled)
        moved = {"from": state.state, "to": State.ABORTED.value, "command": "abort", "by": "labd", "cause": cause}
        ended = {"outcome": "aborted", "sample": state.sample, "cause": cause}
        await self.journal.append(
            *(
                NewEvent("action.unknown", {"action_id": action_id, "message": "the daemon ended"}, state.run)
                for action_id in sorted(silent)
            ),
            NewEvent("run.state", moved, state.run),
            NewEvent("run.ended", ended, state.run),
        )

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(
        self,
        source: str,
        name: str,
        parameters: Mapping[str, object],
        *,
        sample: str | None = None,
        position: str | None = None,
        called: Mapping[str, str] | None = None,
        by: str,
    ) -> Run:
        """Checks a protocol against this lab and starts one run of it; its start is durable when this returns.

        Args:
            source: the protocol's YAML text.
            name: the file's name, for messages.
            parameters: values by name, as texts (`35 µL`) or JSON values.
            sample: its identity; default: the run's id.
            position: where it is; default: where the journal says, else the next unused well of a cell tray.
            called: texts of the protocols that it calls, by name; those that ship with labd are known.
            by: who starts it.

        Raises:
            InputErrors: the protocol or its parameters do not hold; all problems at once.
            EngineError: no place for the sample, a sample that another run works on, or the engine is closing.
        """
        if self._group is None or self._closing:
            raise EngineError("the daemon is stopping; no run is started")
        if self.obstacles:
            raise EngineError(f"no run is started: {'; '.join(self.obstacles.values())}")
        protocol = load(source, name, library().under(Library(called or {})))
        facts = facts_of(self.lab)
        values = ready(protocol, parameters, facts)
        number = next(self._numbers)
        run_id = f"run-{number:04d}"
        sample = sample or f"cell-{number:04d}"
        if not NAME.fullmatch(sample):
            raise EngineError(f"sample {sample!r}: write one to 64 of a-z, 0-9, - and _")
        if position is not None and facts.places is not None and position not in facts.places:
            mend = did_you_mean(position, facts.places, "it has")
            raise EngineError(f"the lab has no place {position!r}; {mend}")
        home = self._place_sample(sample, position)
        jitter = random.Random(f"{self.lab.config.seed}:{run_id}")
        performer = Performer(self.lab, self.journal, self.signals, jitter)
        run = Run(run_id, number, protocol, values, sample, home, performer, self.reservations, facts)
        data = {
            "protocol": protocol.name,
            "version": str(protocol.version),
            "sample": sample,
            "home": home,
            "parameters": told(protocol, values),
            "source": source,
            "called": dict(protocol.texts),
            "name": name,
            "by": by,
        }
        events = [NewEvent("run.started", data, run_id)]
        if self.lab.places.place_of(sample) is None and home:
            self.lab.places.move(sample, home)
            self._homes.add(home)
            events.append(NewEvent("sample.moved", {"sample": sample, "from": None, "to": home}, run_id))
        await self._begin(run, events)
        return run

    async def _begin(self, run: Run, events: Sequence[NewEvent]) -> None:
        """Gives a run its task; it has begun when this returns, and begins also when the caller is cancelled."""
        assert self._group is not None
        self._runs[run.id] = run
        begun = asyncio.Event()
        task = self._tasks[run.id] = self._group.create_task(self._work(run, events, begun), name=run.id)
        waits = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait({waits, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waits.cancel()
        if not begun.is_set():
            raise EngineError(f"{run.id} could not be started; see the daemon's log")

    async def _work(self, run: Run, events: Sequence[NewEvent], begun: asyncio.Event) -> None:
        """A run's task: from its durable start to its durable end, whoever asked for it still being there or not."""
        await self.journal.append(*events)
        asyncio.get_running_loop().call_soon(begun.set)  # once it takes commands
        await run.main()
        self._past[run.id] = run.told()
        del self._runs[run.id], self._tasks[run.id]

    def _place_sample(self, sample: str, position: str | None) -> str:
        worker = self._worker(sample)
        if worker is not None:
            raise EngineError(f"{worker} works on {sample}; wait for its end, or stop it")
        here = self.lab.places.place_of(sample)
        if here is not None:
            if position is not None and position != here:
                raise EngineError(f"{sample} is at {here}, not at {position}")
            return here
        if position is not None:
            there = self.lab.places.sample_at(position)
            if there is not None:
                raise EngineError(f"{position} is occupied by {there}")
            return position
        for place in self._tray_wells():
            if place not in self._homes and self.lab.places.sample_at(place) is None:
                return place
        return ""

    def _worker(self, sample: str) -> str | None:
        """The run that works on a sample."""
        return next((run.id for run in self._runs.values() if run.sample == sample), None)

    def _tray_wells(self) -> list[str]:
        wells: list[str] = []
        for entry in self.lab.config.deck:
            if entry.fill is not None and entry.labware.startswith(TRAYS):
                wells += [f"{entry.place}/{well}" for well in entry.wells]
        return wells

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def command(
        self, run_id: str, command: Command, *, by: str, cause: str | None = None, at: str | None = None
    ) -> RunState:
        """Gives a run a command; taken and durable when this returns.

        Raises:
            UnknownRunError: no such run.
            CommandRefusedError: its state does not allow it.
        """
        if command is Command.CLEAR:
            return await self._clear(run_id, by)
        if command is Command.UNHOLD and self.obstacles:
            raise CommandRefusedError(f"unhold is not possible now: {'; '.join(self.obstacles.values())}")
        self._live(run_id).command(command, by, cause, at)
        await self._accept(run_id, {"command": command.value, "by": by, "cause": cause, "at": at})
        return await self.state(run_id)

    async def answer(self, run_id: str, choice: str, *, value: object = None, by: str) -> RunState:
        """Answers a run's question; durable when this returns. Raises as `command` does."""
        self._live(run_id).answer(choice, value, by)
        await self._accept(run_id, {"command": "answer", "by": by, "choice": choice})
        return await self.state(run_id)

    async def command_all(
        self, command: Command, *, by: str, cause: str | None = None, devices: Collection[str] | None = None
    ) -> list[str]:
        """Gives every run a command that it can take now; taken and durable when this returns. Gives their ids.

        Args:
            command: hold, stop or abort.
            by: who, or what, gives it.
            cause: why.
            devices: only the runs that work with one of these now, or whose sample one of them holds; None: all.
        """
        ordered: list[str] = []
        for run in list(self._runs.values()):
            if command in run.lifecycle.allowed() and (devices is None or run.uses(devices)):
                run.command(command, by, cause)
                ordered.append(run.id)
        if ordered:
            told = {"command": command.value, "by": by, "cause": cause, "at": None}
            await asyncio.sleep(0)  # the runs take it up
            await self.journal.append(*(NewEvent("command.accepted", told, run_id) for run_id in ordered))
        return ordered

    async def _accept(self, run_id: str, data: dict[str, str | None]) -> None:
        await asyncio.sleep(0)  # the run takes it up
        await self.journal.append(NewEvent("command.accepted", dict(data), run_id))

    async def _clear(self, run_id: str, by: str) -> RunState:
        """Clears an aborted run; for any ended run, says that a person has taken its sample out of the lab."""
        state = await self.state(run_id)
        if state.ended is None:
            raise CommandRefusedError(f"clear is not possible while {run_id} is {state.state}; stop or abort it first")
        worker = self._worker(state.sample)
        if worker is not None:
            raise CommandRefusedError(f"{worker} works on {state.sample} now: clear that one, once it has ended")
        events = []
        if state.state == State.ABORTED.value:
            cycle = Lifecycle(State.ABORTED)
            for command in (Command.CLEAR, Command.DONE):
                before, after = cycle.command(command)
                data = {"from": before.value, "to": after.value, "command": command.value, "by": by, "cause": None}
                events.append(NewEvent("run.state", dict(data), run_id))
        place = self.lab.places.place_of(state.sample)
        if place is not None:
            events.append(
                NewEvent("sample.moved", {"sample": state.sample, "from": place, "to": None, "by": by}, run_id)
            )
        gripper = self.lab.places.part_of(state.sample)
        if gripper is not None:
            told = {"sample": state.sample, "place": gripper, "held": False, "by": by}
            events.append(NewEvent("part.moved", dict(told), run_id))
        if not events:
            raise CommandRefusedError(f"{run_id} is {state.state} and its sample has left the lab: nothing to clear")
        await self.journal.append(*events)
        self.lab.places.move(state.sample, None)
        if gripper is not None:
            self.lab.places.carry(gripper, None)
        if state.state == State.ABORTED.value:
            self._past[run_id] = replace(state, state=State.STOPPED.value)
        return await self.state(run_id)

    async def stop_all(self, by: str, cause: str) -> None:
        """Stops every run in order, and waits for their ends. No new run is taken."""
        await self._end_all(Command.STOP, by, cause)

    async def abort_all(self, by: str, cause: str) -> None:
        """Aborts every run that has not ended, and waits for their ends. No new run is taken."""
        await self._end_all(Command.ABORT, by, cause)

    async def _end_all(self, command: Command, by: str, cause: str) -> None:
        self._closing = True
        for run in list(self._runs.values()):
            if command in run.lifecycle.allowed():
                run.command(command, by, cause)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────
    def _live(self, run_id: str) -> Run:
        run = self._runs.get(run_id)
        if run is not None:
            return run
        if run_id in self._past:
            raise CommandRefusedError(f"{run_id} has ended ({self._past[run_id].outcome})")
        raise UnknownRunError(f"there is no run {run_id!r}")

    def known(self) -> list[RunState]:
        """All runs of the journal, oldest first."""
        live = {run_id: run.told() for run_id, run in self._runs.items()}
        return sorted({**self._past, **live}.values(), key=lambda state: _number(state.run))

    def held_at(self, run_id: str) -> tuple[str, ...]:
        """The states that a held run may go on at, where its protocol names some."""
        run = self._runs.get(run_id)
        hold = run.machine.hold if run is not None else None
        return hold.continue_at if hold is not None else ()

    @property
    def working(self) -> tuple[str, ...]:
        """The runs that have not ended."""
        return tuple(self._runs)

    async def states(self) -> list[RunState]:
        """The same, for callers of other tasks."""
        return self.known()

    async def state(self, run_id: str) -> RunState:
        """Where one run is. Raises UnknownRunError."""
        run = self._runs.get(run_id)
        if run is not None:
            return run.told()
        if run_id in self._past:
            return self._past[run_id]
        raise UnknownRunError(f"there is no run {run_id!r}")

    async def wait(self, run_id: str) -> RunState:
        """Waits for a run's end. Raises UnknownRunError."""
        if run_id in self._tasks:
            await asyncio.wait([self._tasks[run_id]])
        return await self.state(run_id)

    def _tell(self, events: Sequence[Event]) -> None:
        """Tells where runs are, once what led there is durable."""
        for run_id in dict.fromkeys(event.run for event in events):
            if run_id in self._runs:
                self.lab.bus.tell(self._runs[run_id].told())
            elif run_id in self._past:
                self.lab.bus.tell(self._past[run_id])

    def _device_changed(self, happening: Happening) -> None:
        if isinstance(happening, DeviceState):
            self.reservations.reconsider()


def _number(run_id: str) -> int:
    return int(run_id.rpartition("-")[2])


__all__ = ["CommandRefusedError", "Engine", "EngineError", "LabError", "UnknownRunError"]
