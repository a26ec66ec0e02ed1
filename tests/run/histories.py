"""Any history of a lab: runs, people, broken links, faults and dead daemons in any order, and what must hold after each.

`python -m tests.run.histories 1000` makes so many histories, each from another seed.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from labd.lab.bus import RunState
from labd.lab.interlocks import GuardError
from labd.run.history import FOLDED, fold
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.performer import Performer
from tests.protocol.callees import CALLEES
from tests.protocol.strategies import Maker
from tests.run.conftest import ASSEMBLE, DEVICES
from tests.run.judging import judge, judge_promises
from tests.run.rough import ROUGH, TROUBLES, rough
from tests.run.site import DeadError, Site, in_haste

WAITS = """\
labd: 1
protocol: waits
version: 1.0.0
summary: Wait, ask, and keep a time window.
roles: {press: crimper}
start: rest
windows:
  - {from: rest.end, to: crimp.start, within: 30 min, otherwise: late}
states:
  rest:
    steps:
      - {do: press.open}
      - {wait: 10 min}
    next: ask
  ask:
    ask: Is it ready?
    choices: {go on: crimp, again: rest}
    within: 2 h
    otherwise: nobody
    max_visits: {times: 3, otherwise: nobody}
  crimp: {do: press.crimp, with: {force: 5 kN}, next: done}
  done: {end: complete}
  late: {end: scrapped}
  nobody: {end: scrapped}
"""
BUSY = """\
labd: 1
protocol: busy
version: 1.0.0
summary: Everything at once.
roles: {press: crimper, arm: arm, stat: potentiostat}
start: ready
windows:
  - {from: ready.end, to: squeeze.start, within: 2 h, at_least: 20 s, otherwise: late}
states:
  ready:
    steps:
      - parallel:
          press:
            - {do: press.open, within: 1 min}
            - {do: press.crimp, with: {force: 3 kN}, as: first}
          arm:
            - {do: arm.home}
            - {do: arm.pick, with: {place: tray/cells/F6}}
            - {wait: 30 s}
            - {do: arm.place, with: {place: tray/cells/F6}}
          look:
            - {ask: Is the box shut?, input: {type: boolean}, as: shut}
            - {do: stat.cell_off}
    catch: {timeout: look, fault: look}
    next: squeeze
  squeeze:
    steps:
      - repeat: {times: 2}
        steps:
          - {call: squeeze@1, with: {force: 5 kN}, roles: {ram: press}, as: squeezed}
          - {do: press.crimp, with: {force: 4 kN}, as: pressed, retry: {times: 2, if: rejected, delay: 5 s}}
      - {wait: {until: press.force < 1 kN, within: 10 min}}
    watch:
      - if: press.force > 9 kN
        for: 10 s
        go: {hold: Too hard., continue_at: [squeeze, form]}
      - {if: press.estop, go: look}
    catch: {rejected: look, unreachable: look, timeout: look}
    max_visits: {times: 3, otherwise: scrap}
    next: form
  form:
    do: stat.open_circuit
    with: {duration: 1 h, interval: 60 s}
    within: 2 h
    as: ocv
    watch: [{if: stat.voltage > 5 V, go: look}]
    next: done
  look:
    ask: Is it sound?
    choices: {again: squeeze, good: form, bad: scrap}
    within: 3 h
    otherwise: scrap
    max_visits: {times: 3, otherwise: scrap}
  done: {end: complete}
  scrap: {end: scrapped}
  late: {end: scrapped}
cleanup:
  - {do: press.open}
  - {do: arm.home}
  - {do: stat.cell_off}
"""
KINDS = {"press": "crimper", "arm": "arm", "cycler": "potentiostat"}
NEVER = frozenset({"constant_current", "constant_voltage", "cycle", "cyclic_voltammetry", "impedance"})
"""What toys refuse to do."""

MOST_RUNS = 4  # at work at once
PATIENCE = 80  # things that a person does until all runs have ended
OBEYED = 5.0  # s; how long a command may take until it is acknowledged
ENDED = 4000.0  # s; how long an end may take: cleanup and all

TIMES = st.sampled_from([0.0, 0.003, 0.06, 0.2, 1.0, 2.5, 7.0, 40.0, 300.0, 1500.0, 4000.0, 30_000.0])
DEVICE = st.sampled_from(sorted(DEVICES))
FUSE = st.sampled_from([0, 0, 0, 0, 1, 2, 3, 5])
"""At which commit after a command the daemon is killed; 0: it is not."""
END = st.sampled_from([Command.STOP, Command.ABORT])
AT_ONCE = st.lists(
    st.sampled_from(["hold", "hold", "hold", "unhold", "unhold", "unhold", "stop", "abort"]), min_size=2, max_size=3
)
AWAY = st.sampled_from([0.0, 0.0, 3.0, 400.0, 9000.0])
RUN = st.integers(0, 5)
THEN = st.integers(0, 20)
"""So many things happen after it, before the next."""


@cache
def protocols(made: int = 12) -> tuple[str, ...]:
    """Those that are written here, and as many at random."""
    found = [ASSEMBLE, WAITS, BUSY, ASSEMBLE, BUSY]
    for luck in map(random.Random, range(made)):
        found.append(Maker(luck, size=3, kinds=KINDS, never=NEVER).text().replace("tray/", "tray/cells/"))
    return tuple(found)


WHICH = st.integers(0, len(protocols()) - 1)


class Histories(RuleBasedStateMachine):
    """A lab, and all that may happen in it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(in_haste())
        self.world = self.stack.enter_context(rough())
        made_safe = mock.patch.object(Performer, "make_safe", self._judged(Performer.make_safe))
        self.stack.enter_context(made_safe)
        shm = Path("/dev/shm")
        self.path = Path(tempfile.mkdtemp(prefix="labd-history-", dir=shm if shm.is_dir() else None))
        self.stack.callback(shutil.rmtree, self.path)
        self.site = Site(self.path, DEVICES, ROUGH)
        self.promises: list[dict[str, str]] = []
        self.count = self.samples = 0
        self.events: list[Any] = []
        self.wrong: list[str] = []

    def _judged(self, make_safe: Any) -> Any:
        """Nobody makes safe what another run has."""

        async def judged(performer: Performer, bound: Any, run: str, cause: str | None = None) -> None:
            for key in bound.keys:
                holder = self.site.engine.reservations.holder(*key)
                if holder != run:
                    self.wrong.append(f"{run} makes {key} safe, which {holder} has")
            await make_safe(performer, bound, run, cause)

        return judged

    # ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────
    @initialize(which=st.lists(WHICH, min_size=1, max_size=3))
    def begin(self, which: list[int]) -> None:
        self._up()
        for one in which:
            self._start(one)

    def _up(self, *, patient: bool = True, fuse: int = 0) -> None:
        waits_for = [name for name in DEVICES if name not in self.world.down] if patient else []
        self.site.up(waits_for=waits_for, fuse=fuse)
        self._judge(whole=True)

    def _die(self, away: float = 0.0, *, patient: bool = True) -> None:
        self.site.kill()
        self.site.loop.run_until_complete(asyncio.sleep(away))
        try:
            self._up(patient=patient)
        except DeadError:
            self._die()

    def _do(self, work: Coroutine[Any, Any, Any], limit: float = OBEYED, fuse: int = 0) -> Any:
        """What somebody asks of the daemon; None when it was killed meanwhile, and is there again."""
        if fuse:
            self.site.journal.fuse = fuse
        try:
            return self.site.drive(work, limit)
        except DeadError:
            note("the daemon was killed")
            self._die()
            return None

    def _by(self) -> str:
        self.count += 1
        return f"person{self.count}"

    # ── what can be asked of it ──────────────────────────────────────────────────────────────────────────────────
    @property
    def runs(self) -> list[RunState]:
        return self.site.engine.known()

    @property
    def working(self) -> list[RunState]:
        return [state for state in self.runs if state.ended is None]

    def _of(self, number: int, *, over: bool = False) -> RunState | None:
        """One of the runs, those at work first."""
        runs = sorted(self.runs, key=lambda state: (state.ended is not None, state.run)) if over else self.working
        return runs[number % len(runs)] if runs else None

    def _command(self, state: RunState, command: Command, fuse: int = 0, at: str | None = None) -> bool:
        """Gives a command; gives whether it was acknowledged."""
        by = self._by()
        note(f"{command.value} {state.run} in {state.state}" + (f" at {at}" if at else ""))
        try:
            told = self._do(self.site.engine.command(state.run, command, by=by, at=at), fuse=fuse)
        except CommandRefusedError as error:
            note(f"refused: {error}")
            return False
        if told is not None and command is not Command.CLEAR:
            self.promises.append({"kind": "command.accepted", "run": state.run, "by": by})
        return told is not None

    # ── rules: people ────────────────────────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: len(self.working) < MOST_RUNS)
    @rule(which=WHICH, fuse=FUSE, then=THEN)
    def start(self, which: int, fuse: int, then: int) -> None:
        self._start(which, fuse)
        self._pass(then)

    def _pass(self, commits: int) -> None:
        """Lets so many things happen."""
        if commits:
            self._do(self._go_on(commits, 0.0), 4500.0)

    def _start(self, which: int, fuse: int = 0) -> None:
        by, self.samples = self._by(), self.samples + 1
        home = f"tray/cells/{'ABCDEF'[self.samples // 6 % 6]}{self.samples % 6 + 1}"
        if self.site.lab.places.sample_at(home) is not None:
            return
        work = self.site.engine.start(protocols()[which], "made.yaml", {}, position=home, called=CALLEES, by=by)
        run = self._do(work, fuse=fuse)
        if run is not None:
            self.promises.append({"kind": "run.started", "run": run.id, "by": by})

    @precondition(lambda self: self.working)
    @rule(run=RUN, fuse=FUSE, then=THEN)
    def hold(self, run: int, fuse: int, then: int) -> None:
        going = [state for state in self.working if state.state == "Execute"] or self.working
        self._command(going[run % len(going)], Command.HOLD, fuse)
        self._pass(then)

    @precondition(lambda self: any(state.state == "Held" for state in self.working))
    @rule(run=RUN, fuse=FUSE, luck=st.integers(0, 20), then=THEN)
    def unhold(self, run: int, fuse: int, luck: int, then: int) -> None:
        held = [state for state in self.working if state.state == "Held"]
        state = held[run % len(held)]
        ways = (None, None, None, *self.site.engine.held_at(state.run), *(["scrap"] if luck % 3 == 0 else []))
        self._command(state, Command.UNHOLD, fuse, ways[luck % len(ways)])
        self._pass(then)

    @precondition(lambda self: self.working)
    @rule(run=RUN, command=END, sees=st.booleans(), fuse=FUSE)
    def end(self, run: int, command: Command, sees: bool, fuse: int) -> None:
        """From any state it ends within a bounded time, and all that it had is made safe."""
        state = self._of(run, over=run > 3)
        if state is not None and sees:
            self._end_and_see(run, command)
        elif state is not None:
            self._command(state, command, fuse)

    def _end_and_see(self, number: int, command: Command) -> None:
        state = self._of(number)
        if state is None:
            return
        self.site.journal.fuse = 0
        before = len(self._events())
        live = self.site.engine._runs.get(state.run)
        had = {bound.device.id for bound in live._bounds.values()} if live is not None else set()
        if self._command(state, command):
            ended = self._do(self.site.engine.wait(state.run), ENDED)
            assert ended.outcome == {"abort": "aborted", "stop": "stopped"}[command.value] or self._may_differ(ended)
            safe = [event for event in self._events()[before:] if event.kind == "device.safe_state"]
            missing = had - {event.data["device"] for event in safe if event.run == state.run}
            assert not missing, f"{state.run} had {had}, and {missing} was not made safe: {safe}"

    @staticmethod
    def _may_differ(ended: RunState) -> bool:
        return ended.outcome in ("complete", "scrapped", "aborted")

    @precondition(lambda self: any(state.ended for state in self.runs))
    @rule(run=RUN, fuse=FUSE)
    def clear(self, run: int, fuse: int) -> None:
        over = [state for state in self.runs if state.ended is not None]
        state = over[run % len(over)] if over and run < 4 else self._of(run, over=True)
        if state is not None and self._command(state, Command.CLEAR, fuse):
            self._judge_cleared(state)

    def _judge_cleared(self, state: RunState) -> None:
        places = self.site.lab.places
        assert places.place_of(state.sample) is None
        assert places.part_of(state.sample) is None
        assert not self.site.engine.reservations.held_by(state.run)

    @precondition(lambda self: any(state.question for state in self.working))
    @rule(run=RUN, fuse=FUSE, luck=st.integers(0, 10), then=THEN)
    def answer(self, run: int, fuse: int, luck: int, then: int) -> None:
        asking = [state for state in self.working if state.question is not None]
        self._answer(asking[run % len(asking)], luck, fuse)
        self._pass(then)

    def _answer(self, state: RunState, luck: int, fuse: int = 0) -> None:
        """Answers a question; of what happened the truth is told."""
        question, by = dict(state.question or {}), self._by()
        choices = list(question["choices"])
        choice = choices[luck % len(choices)] if choices else ""
        if question["kind"] == "outcome":
            asked = [event for event in self._events() if event.kind == "question.asked"]
            about = next(e.data["action_id"] for e in asked if e.data["question_id"] == question["id"])
            truth = "done" if about in self.world.orders else "not done"
            choice = "scrap" if luck == 10 else truth
        values = {"quantity": "3 g", "integer": 3, "boolean": True, "text": "fine", "choice": "fine"}
        value = values[question["input"]["type"]] if question["input"] is not None else None
        note(f"answer {state.run} {question['text']!r}: {choice!r}")
        try:
            told = self._do(self.site.engine.answer(state.run, choice, value=value, by=by), fuse=fuse)
        except CommandRefusedError as error:
            note(f"refused: {error}")
            return
        if told is not None:
            self.promises.append({"kind": "question.answered", "run": state.run, "by": by})

    @precondition(lambda self: any(state.state == "Execute" for state in self.working))
    @rule(command=st.sampled_from([*[Command.HOLD] * 6, Command.STOP, Command.ABORT]), device=DEVICE, fuse=FUSE)
    def command_all(self, command: Command, device: str, fuse: int) -> None:
        by = self._by()
        told = self._do(self.site.engine.command_all(command, by=by, devices={device}), fuse=fuse)
        self.promises += [{"kind": "command.accepted", "run": run, "by": by} for run in told or ()]

    @rule(run=RUN, commands=AT_ONCE)
    def at_once(self, run: int, commands: list[str]) -> None:
        """Several people at the same time."""
        state = self._of(run)
        if state is None:
            return
        orders = [(command, self._by()) for command in commands]

        async def all_of_them() -> list[Any]:
            given = [self.site.engine.command(state.run, Command(command), by=by) for command, by in orders]
            return await asyncio.gather(*given, return_exceptions=True)

        for (_, by), told in zip(orders, self._do(all_of_them()) or (), strict=False):
            if isinstance(told, RunState):
                self.promises.append({"kind": "command.accepted", "run": state.run, "by": by})
            else:
                assert isinstance(told, CommandRefusedError), told

    @precondition(lambda self: self._tripped)
    @rule(fuse=FUSE)
    def clear_interlocks(self, fuse: int) -> None:
        self._clear_interlocks(fuse)

    @property
    def _tripped(self) -> list[str]:
        return [name for name, watch in self.site.engine.guards.interlocks.watches.items() if watch.tripped is not None]

    def _clear_interlocks(self, fuse: int = 0) -> None:
        for name in self._tripped:
            note(f"clear interlock {name}")
            try:
                self._do(self.site.engine.guards.interlocks.clear(name, self._by()), 100.0, fuse)
            except GuardError as error:
                note(f"refused: {error}")

    # ── rules: what happens ──────────────────────────────────────────────────────────────────────────────────────
    @rule(seconds=TIMES)
    def let(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds), seconds + 1)

    @rule(commits=st.integers(1, 25), more=st.sampled_from([0.0, 0.0, 0.03, 0.5]))
    def go_on(self, commits: int, more: float) -> None:
        """Until so many things have happened, or nothing does for a while."""
        self._do(self._go_on(commits, more), 4500.0)

    @rule(commits=st.integers(1, 60))
    def go_on_far(self, commits: int) -> None:
        self._do(self._go_on(commits, 0.0), 4500.0)

    async def _go_on(self, commits: int, more: float) -> None:
        enough, left = asyncio.Event(), [commits]

        def heard(_: Any) -> None:
            left[0] -= 1
            if not left[0]:
                enough.set()

        forget = self.site.journal.on_commit(heard)
        try:
            async with asyncio.timeout(4400.0):
                await enough.wait()
                await asyncio.sleep(more)
        except TimeoutError:
            pass
        finally:
            forget()

    @precondition(lambda self: any(state.question or state.state == "Held" for state in self.working))
    @rule(luck=st.integers(0, 6), then=THEN)
    def help(self, luck: int, then: int) -> None:
        """People answer what is asked, and let go on what is held."""
        for state in self.working:
            self._help_run(state, luck)
        self._pass(then)

    @rule(away=AWAY, patient=st.booleans(), fuse=st.sampled_from([0, 0, 0, 1, 2]), then=THEN)
    def kill(self, away: float, patient: bool, fuse: int, then: int) -> None:
        self.site.kill()
        self.site.loop.run_until_complete(asyncio.sleep(away))
        try:
            self._up(patient=patient, fuse=fuse)
        except DeadError:
            self._die()
        self._pass(then)

    @rule(device=DEVICE, then=THEN)
    def lose(self, device: str, then: int) -> None:
        self.world.lose(device)
        self._pass(then)

    @precondition(lambda self: self.world.down)
    @rule(device=DEVICE)
    def find(self, device: str) -> None:
        self.world.down.discard(device if device in self.world.down else min(self.world.down))

    @rule(device=DEVICE)
    def fall_silent(self, device: str) -> None:
        """It cannot tell any more what became of an order; or it can again."""
        self.world.mute ^= {device}

    @rule(device=DEVICE, what=st.lists(st.sampled_from(TROUBLES), min_size=1, max_size=2), then=THEN)
    def trouble(self, device: str, what: list[str], then: int) -> None:
        self.world.trouble[device] += what
        self._pass(then)

    @rule(
        force=st.sampled_from([0.0, 0.5, 5.0, 12.0]),
        voltage=st.sampled_from([3.1, 3.1, 6.0]),
        estop=st.sampled_from([*[False] * 8, True]),
    )
    def signals(self, force: float, voltage: float, estop: bool) -> None:
        self.world.reads["press"] = {"force": force, "estop": estop}
        self.world.reads["stat1"] = {"voltage": voltage}

    @rule(seconds=st.sampled_from([0.0, 4.0, 60.0]))
    def slow_to_be_safe(self, seconds: float) -> None:
        self.world.safe_takes = seconds

    # ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────
    def _events(self) -> list[Any]:
        """The whole journal; what is durable is read once."""
        have = self.events
        have += self.site.loop.run_until_complete(self.site.journal.events(after=have[-1].seq if have else 0))
        return have

    @invariant()
    def nothing_is_wrong(self) -> None:
        if self.site._daemon is not None:
            with self._telling():
                self._judge()

    def _judge(self, *, whole: bool = False) -> None:
        journal = self.site.journal
        if journal.fuse:
            events = self.site.journal._select(None, 0, None, None)
        else:
            events = self._events()
        assert not self.site.errors, self.site.errors
        assert not self.wrong, self.wrong
        assert not self.site._daemon.done(), self.site._daemon
        judge(events, self.world)
        judge_promises(events, self.promises)
        if journal._waiting or journal.cut_off.is_set():
            return
        history = fold(event for event in events if event.kind in FOLDED)
        told = {state.run: state for state in self.runs}
        assert set(told) == set(history.runs)
        for run, state in history.runs.items():
            mine = told[run]
            have = (mine.state, mine.outcome, mine.sample, mine.question and mine.question["id"])
            ought = (state.state, state.outcome, state.sample, state.question and state.question["id"])
            assert mine.outcome == state.outcome, (mine, state)
            assert have == ought or (mine.question and state.question and have[:3] == ought[:3]), (mine, state)
        assert self.site.lab.places.occupied() == {place: sample for sample, place in history.places.items()}
        working = {state.run for state in self.working}
        holders = set(self.site.engine.reservations._holder.values())
        assert holders <= working, f"{holders - working} have ended, and have units still"

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────
    def teardown(self) -> None:
        try:
            if self.site._daemon is not None:
                with self._telling():
                    self._finish()
        finally:
            try:
                self.site.close()
            finally:
                self.stack.close()

    def _finish(self) -> None:
        """All devices are well, questions are answered by what is true, holds are released: every run ends."""
        world = self.world
        world.down.clear()
        world.mute.clear()
        world.trouble.clear()
        world.reads.clear()
        world.safe_takes = 0.0
        self.site.journal.fuse = 0
        for turn in range(PATIENCE * 4):
            if not self.working:
                break
            self._help(turn)
            self._do(asyncio.sleep(2.0 if turn % 2 else 800.0), 1000.0)
            if turn > PATIENCE / 2:
                for state in self.working:  # what is made at random may turn round and round
                    if state.protocol == "made" and state.state != "Stopping":
                        self._command(state, Command.STOP)
        assert not self.working, f"they do not end: {self.working}"
        self._judge(whole=True)
        reservations = self.site.engine.reservations
        assert not reservations._holder
        assert not reservations._waiters
        kept, broken = self._do(self._file())
        assert kept == {}
        assert broken is None
        for state in self.runs:
            self._clear(state)
            self._judge_cleared(state)
        assert self.site.lab.places.occupied() == {}
        self._die()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tells the journal with what is wrong."""
        try:
            yield
        except Exception:
            events = self.site.journal._select(None, 0, None, None)
            note("\n".join(map(_line, events)))
            raise

    async def _file(self) -> tuple[Any, Any]:
        return await self.site.journal.kept("run/"), await self.site.journal.verify()

    def _help(self, turn: int) -> None:
        """What people do so that runs come to their ends, while signals change as they do."""
        luck = random.Random(turn)
        self.world.reads["press"] = {"force": luck.uniform(0, 0.9 if turn % 2 else 9), "guard_closed": turn % 3 > 0}
        self.world.reads["stat1"] = self.world.reads["stat2"] = {"voltage": luck.uniform(0, 4.5)}
        self._clear_interlocks()
        for state in self.runs:
            if state.ended is not None:
                self._clear(state)
            else:
                self._help_run(state, turn)

    def _help_run(self, state: RunState, turn: int) -> None:
        state = next((now for now in self.working if now.run == state.run), state)
        if state.question is not None:
            self._answer(state, turn % 7)
        elif state.state == "Held":
            live = self.site.engine._runs.get(state.run)
            ways = self.site.engine.held_at(state.run) or (tuple(live.protocol.states) if live is not None else ())
            tries: list[str | None] = [None, *([ways[-1 - turn % len(ways)]] if ways else [])]
            for at in reversed(tries) if turn > PATIENCE / 2 else tries:
                if self._command(state, Command.UNHOLD, at=at):
                    break

    def _clear(self, state: RunState) -> None:
        places = self.site.lab.places
        if places.place_of(state.sample) is not None or places.part_of(state.sample) is not None:
            self._command(state, Command.CLEAR)


def _line(event: Any) -> str:
    data = {key: value for key, value in event.data.items() if key not in ("source", "called", "baseline")}
    return f"{event.seq:4} {event.at[11:23]} {event.run} {event.kind} {data}"[:240]


CI = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None)
"""How many histories each run of the tests makes: the same each time."""


def main(count: int = 1000, first: int = 0) -> int:
    """Makes so many histories, in batches that are each told of; gives the exit status."""
    batch = 25
    size = settings(CI, max_examples=batch, derandomize=False, stateful_step_count=60, print_blob=False)
    size = settings(size, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink])
    for number in range(first, first + count, batch):
        run_state_machine_as_test(seed(number)(Histories), settings=size)
        print(f"{number + batch - first} histories", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
