"""All runs of one lab: starting them, taking commands for them, telling where they are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from labd.expr.spelling import did_you_mean
from labd.journal import Event, Journal, NewEvent, SignalStore
from labd.lab.bus import DeviceState, Happening
from labd.lab.config import LabError
from labd.lab.guards import Guards
from labd.lab.lab import Lab
from labd.lab.samples import BESIDE, NAME, SAMPLES
from labd.protocol import Protocol
from labd.protocol.parameters import told
from labd.protocol.proofs.material import needs as counted
from labd.run.by_hand import ByHand
from labd.run.commanding import Commanding
from labd.run.facts import facts_of
from labd.run.history import FOLDED, History, fold
from labd.run.homes import EngineError, Homes, asks_where
from labd.run.identity import unsaid
from labd.run.lifecycle import ENDING, CommandRefusedError
from labd.run.needing import needed, places_named
from labd.run.planning.varying import varying
from labd.run.queue import Job, Queue
from labd.run.reading import read
from labd.run.roll import UnknownRunError, number_of
from labd.run.run import Run
from labd.run.safe_mode import units_going_on
from labd.run.scheduling.scheduler import Scheduler
from labd.run.taking_up import CannotGoOnError, last_end, performer_of, progress_of, take_up, units_of

log = structlog.get_logger(__name__)

NOT_YET = "not resumed: safe mode; `labd resume` takes the runs up"


class Engine(Commanding):
    """The runs of one lab. `run()` is its task; everything else may be called from any other once it is `ready`.

    Args:
        lab, journal, signals: what it works with.
        resume: whether the runs that the last daemon left unfinished go on at once; else `resume()` lets them.
    """

    def __init__(self, lab: Lab, journal: Journal, signals: SignalStore, *, resume: bool = True) -> None:
        super().__init__(lab, journal)
        self.signals = signals
        self.guards = Guards(lab, journal, self._ordered, self._using)
        self.by_hand = ByHand(lab, journal, signals, self.reservations, self._using, self.worker)
        self.ready = asyncio.Event()
        self._resumes = resume
        self.homes = Homes(lab, self.worker)
        self.queue = Queue(self)
        self.queue.gates.append(lab.inventory.reason)
        lab.inventory.on_change(self.queue.reconsider)
        self.scheduler = Scheduler(lab, journal, self.reservations, self.queue, self._runs)
        self._numbers = itertools.count(1)
        self._usable: dict[str, tuple[bool, str]] = {}  # devices as they were when reservations were last looked at
        self._group: asyncio.TaskGroup | None = None
        self._reading = asyncio.Lock()  # one protocol at a time

    async def run(self) -> None:
        """Takes up the journal and keeps all runs' tasks until cancelled."""
        await self.guards.take_up()
        await self.lab.inventory.take_up(self.journal)
        past = await self.journal.events(kinds=FOLDED | SAMPLES | BESIDE)
        forget = [self.lab.samples.take_up(self.journal, past)]
        history = fold(past)
        del past  # it would be kept for the daemon's life
        await self.guards.debts.take_up(lambda: units_going_on(self.journal, but=ENDING))
        self._restore(history, await progress_of(self.journal))
        forget += [await self.queue.take_up(), await self.scheduler.take_up()]
        resumed = await self._take_up(history) if self._resumes else []
        forget += [self.journal.on_commit(self._tell), self.lab.bus.subscribe(self._device_changed, DeviceState)]
        try:
            async with asyncio.TaskGroup() as self._group:
                await self.by_hand.take_up(self._group)
                await self._go_on(resumed)
                self._group.create_task(self.guards.run(), name="guards")
                self._group.create_task(self.scheduler.run(), name="scheduler")
                self._group.create_task(self.queue.run(), name="queue")
                self.ready.set()
                await asyncio.Event().wait()
        finally:
            self.ready.clear()
            for stop in forget:
                stop()

    def _restore(self, history: History, progress: Mapping[str, float]) -> None:
        """Puts samples where the journal left them; no run is taken up yet."""
        for sample, place in history.places.items():
            self.lab.places.move(sample, place)
        for gripper, sample in history.parts.items():
            self.lab.places.carry(gripper, sample)
        last = max(map(number_of, history.runs), default=0)
        self._numbers = itertools.count(last + 1)
        self._past = {run_id: state for run_id, state in history.runs.items() if state.ended is not None}
        why = None if self._resumes else NOT_YET
        self._parked = {
            state.run: replace(state, cause=why or state.cause, progress=progress.get(state.run, 0.0))
            for state in history.unfinished
        }

    async def _take_up(self, history: History) -> list[Run]:
        """The runs that the last daemon left unfinished, as they were. One that cannot go on waits for a person."""
        runs: list[Run] = []
        end = await last_end(self.journal)
        for state in history.unfinished:
            try:
                run = await take_up(self.lab, self.journal, self.signals, self.reservations, state, end)
            except CannotGoOnError as error:
                log.error("a run cannot go on", run=state.run, problem=str(error))  # noqa: TRY400 - the text says it all
                cause = f"it cannot go on: {error}. Mend that and start labd again, or abort it"
                self._parked[state.run] = replace(self._parked[state.run], cause=cause)
                self.reservations.occupy(state.run, await units_of(self.lab, self.journal, state.run))
                continue
            del self._parked[state.run]
            kinds = {name: role.role for name, role in run.protocol.roles.items()}
            entered = await self.journal.events(run=run.id, kinds={"protocol.entered"})
            self.scheduler.visits.take_up(run.id, entered, kinds)
            runs.append(run)
            log.info("run goes on", run=run.id, state=run.machine.state)
        return runs

    async def resume(self) -> list[str]:
        """Takes up the runs that were not taken up at the start; gives their ids."""
        self._resumes = True
        async with self._ending:
            self._settled.clear()
            runs: list[Run] = []
            try:
                runs = await self._take_up(fold(await self.journal.events(kinds=FOLDED)))
            finally:
                await self._go_on(runs)
        return [run.id for run in runs]

    async def _go_on(self, runs: Sequence[Run]) -> None:
        """Begins the runs that were taken up; an order that came meanwhile reaches each before it does anything."""
        try:
            for run in runs:
                await self._begin(run, ())
        finally:
            self._early.clear()
            self._settled.set()
            self.queue.reconsider()

    async def leave_all(self) -> None:
        """Lets go of all runs, and of what people have ordered by hand."""
        await asyncio.gather(super().leave_all(), self.by_hand.leave())

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
        job: Job | None = None,
    ) -> Run:
        """Checks a protocol against this lab and starts one run of it; its start is durable when this returns.

        Args:
            source: the protocol's YAML text.
            name: the file's name, for messages.
            parameters: values by name, as texts (`35 µL`) or JSON values.
            sample: its identity, or its barcode; default: a new one.
            position: where it is; default: where the journal says, else the next unused well of a cell tray.
            called: texts of the protocols that it calls, by name; those that ship with labd are known.
            by: who starts it.
            job: the job of the queue that it is the run of; it counts as started with the run.

        Raises:
            InputErrors: the protocol or its parameters do not hold; all problems at once.
            EngineError: no place for the sample, a sample that another run works on, or the engine is closing.
        """
        self._check_open()
        # what later jobs need is no reason against an earlier one; who starts a run by hand leaves them theirs
        facts = facts_of(self.lab) if job is None else facts_of(self.lab, job.id, only=self.lab.inventory.runs())
        orders = self._orders_to_all
        async with self._reading:
            # a long protocol takes a second: in a thread, so that a stop is heard meanwhile
            machine, values = await asyncio.to_thread(read, source, name, called or {}, parameters, facts)
            found = await asyncio.to_thread(counted, machine.program, facts, values)
        protocol = machine.protocol
        self._check_open()
        if orders != self._orders_to_all:
            raise EngineError("every run was held, stopped or aborted while this one was read; start it once more")
        number = next(self._numbers)
        run_id = f"run-{number:04d}"
        sample = self.lab.samples.called(sample) if sample else f"cell-{number:04d}"
        self._check_sample(sample, protocol)
        if position is not None and facts.places is not None and position not in facts.places:
            mend = did_you_mean(position, facts.places, "it has")
            raise EngineError(f"the lab has no place {position!r}; {mend}")
        placed = asks_where((source, *protocol.texts.values()))
        promised = self.lab.inventory.promised() if job is None else ()
        home = self.homes.home_of(sample, position, promised, taken=placed)
        named = places_named(found, facts, values)
        if home in facts.trays:
            named.append(home)
        self._check_free(named, sample, job)
        needs: dict[str, Any] = needed(found) | ({"places": dict.fromkeys(named, sample)} if named else {})
        performer = performer_of(self.lab, self.journal, self.signals, run_id)
        run = Run(run_id, number, machine, sample, home, performer, self.reservations)
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
            "needs": needs,
        }
        self.lab.inventory.reserve(run_id, needs)
        if job is not None:
            self.lab.inventory.release(job.id)
            data |= {"job": job.id, "batch": job.batch}
        events = [NewEvent("run.started", data, run_id)]
        if job is not None:
            events.append(NewEvent("job.started", {"job": job.id, "run": run_id}))
        if self.lab.places.place_of(sample) is None and home:
            events += self.lab.inventory.born(sample, home, run_id, by)
            self.lab.places.move(sample, home)
            events.append(NewEvent("sample.moved", {"sample": sample, "from": None, "to": home}, run_id))
        await self._begin(run, events)
        return run

    def _check_sample(self, sample: str, protocol: Protocol) -> None:
        """Raises EngineError where a run of a protocol cannot be for a sample."""
        if not NAME.fullmatch(sample):
            raise EngineError(f"sample {sample!r}: write one to 64 of a-z, 0-9, - and _, or a barcode that is known")
        missing = unsaid(self.lab.samples, sample, protocol)
        if missing is not None:
            raise EngineError(f"{protocol.name}: {missing}")

    def _check_free(self, places: Sequence[str], sample: str, job: Job | None) -> None:
        """Raises EngineError where a place is kept for another run, or for a job where none is started now."""
        inventory = self.lab.inventory
        for place in places:
            only = None if job is None else inventory.runs()
            kept = inventory.kept(place, sample, None if job is None else job.id, only=only)
            if kept is not None:
                raise EngineError(f"{kept}; name another place, or wait until that one is free")

    def _check_open(self) -> None:
        """Raises EngineError where no run is started now."""
        if self._group is None or self._closing:
            raise EngineError("the daemon is stopping; no run is started")
        if not self._settled.is_set():
            raise EngineError("runs of before are being taken up; start it in a moment")
        barred = self.lab.barriers.reason_for()
        if barred is not None:
            raise EngineError(f"no run is started now: {barred}")

    async def _begin(self, run: Run, events: Sequence[NewEvent]) -> None:
        """Gives a run its task; it has begun when this returns, and begins also when the caller is cancelled."""
        assert self._group is not None
        self._runs[run.id] = run
        run.forecast.learn(partial(self._learnt, run))
        begun = asyncio.Event()
        task = self._tasks[run.id] = self._group.create_task(self._work(run, events, begun), name=run.id)
        for order in self._early:
            self._give(order, (run,))
        waits = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait({waits, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waits.cancel()
        if not begun.is_set():
            raise EngineError(f"{run.id} could not be started; see the daemon's log")

    def _learnt(self, run: Run, state: str) -> float | None:
        """Seconds that a visit of a state took before, with the parameters of this run that matter for it."""
        matters = varying(run.protocol.digest, run.machine.program)
        key = matters.key(state, run.machine.parameters)
        return self.scheduler.durations.seconds(run.protocol.name, state, key)

    async def _work(self, run: Run, events: Sequence[NewEvent], begun: asyncio.Event) -> None:
        """A run's task: from its durable start to its durable end, whoever asked for it still being there or not."""
        await self.journal.append(*events)
        loop = asyncio.get_running_loop()
        loop.call_soon(self._give_late, run)  # once it takes commands
        loop.call_soon(begun.set)
        await run.main()
        self.lab.inventory.release(run.id)
        self._past[run.id] = run.told()
        del self._runs[run.id], self._tasks[run.id]
        self.queue.reconsider()

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────
    def _tell(self, events: Sequence[Event]) -> None:
        """Tells where runs are, once what led there is durable."""
        for run_id in dict.fromkeys(event.run for event in events):
            if run_id in self._runs:
                self.lab.bus.tell(self._runs[run_id].told())
            elif run_id in self._past:
                self.lab.bus.tell(self._past[run_id])

    def _device_changed(self, happening: Happening) -> None:
        if not isinstance(happening, DeviceState):
            return
        device = self.lab.devices[happening.device]
        usable = (device.connected, happening.health)
        if self._usable.get(device.id) != usable:  # and not only busy with something else
            self._usable[device.id] = usable
            self.reservations.reconsider()


__all__ = ["CommandRefusedError", "Engine", "EngineError", "LabError", "UnknownRunError"]
