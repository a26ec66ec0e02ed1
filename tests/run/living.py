"""A lab in a test: its world, its daemon that is killed and started, its people; and what must hold of it always."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import currently_in_test_context, note

from labd.lab.bus import RunState
from labd.lab.interlocks import GuardError
from labd.run.engine import EngineError
from labd.run.history import FOLDED, fold
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.performer import Performer
from tests.protocol.callees import CALLEES
from tests.run.conftest import DEVICES
from tests.run.judging import Judge, judge_promises
from tests.run.rough import ROUGH, rough
from tests.run.site import DeadError, Site, in_haste

PATIENCE = 80  # things that a person does until all runs have ended
OBEYED = 5.0  # s; how long a command may take until it is acknowledged
ENDED = 4000.0  # s; how long an end may take: cleanup and all


@contextmanager
def in_loop(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """What a task of the loop would see, while none of them runs."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


class Living:
    """A lab, and what may be done with it."""

    def __init__(self) -> None:
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
        self.judge = Judge(self.world)
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

    # ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _up(self, *, patient: bool = True, fuse: int = 0, safe_mode: bool = False) -> None:
        waits_for = [name for name in DEVICES if name not in self.world.down] if patient else []
        self.site.up(waits_for=waits_for, fuse=fuse, safe_mode=safe_mode)
        self._judge(whole=True)

    def _die(self, away: float = 0.0, *, patient: bool = True) -> None:
        self.site.kill()
        self.site.loop.run_until_complete(asyncio.sleep(away))
        try:
            self._up(patient=patient)
        except DeadError:
            self._die()

    def _kill(self, away: float, **how: Any) -> None:
        self.site.kill()
        self.site.loop.run_until_complete(asyncio.sleep(away))
        try:
            self._up(**how)
        except DeadError:
            self._die()

    def _do(self, work: Coroutine[Any, Any, Any], limit: float = OBEYED, fuse: int = 0) -> Any:
        """What somebody asks of the daemon; None when it was killed meanwhile, and is there again."""
        if fuse:
            self.site.journal.fuse = fuse
        try:
            return self.site.drive(work, limit)
        except DeadError:
            _say("the daemon was killed")
            self._die()
            return None

    def _pass(self, commits: int) -> None:
        """Lets so many things happen."""
        if commits:
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

    def until(self, so: Callable[[], bool]) -> None:
        """Lets time pass until it is so."""

        async def found() -> None:
            while not so():
                await asyncio.sleep(0.1)

        self._do(found(), 10_000.0)

    def _by(self) -> str:
        self.count += 1
        return f"person{self.count}"

    # ── what can be asked of it ──────────────────────────────────────────────────────────────────────────────────────
    @property
    def runs(self) -> list[RunState]:
        with in_loop(self.site.loop):
            return self.site.engine.known()

    @property
    def working(self) -> list[RunState]:
        return [state for state in self.runs if state.ended is None]

    def _of(self, number: int, *, over: bool = False) -> RunState | None:
        """One of the runs, those at work first."""
        runs = sorted(self.runs, key=lambda state: (state.ended is not None, state.run)) if over else self.working
        return runs[number % len(runs)] if runs else None

    @property
    def _tripped(self) -> list[str]:
        return [name for name, watch in self.site.engine.guards.interlocks.watches.items() if watch.tripped is not None]

    # ── what people do ───────────────────────────────────────────────────────────────────────────────────────────────
    def _command(self, state: RunState, command: Command, fuse: int = 0, at: str | None = None) -> bool:
        """Gives a command; gives whether it was acknowledged."""
        by, live = self._by(), state.run in self.site.engine._runs
        if command is Command.CLEAR:
            self._take_out(state.sample)
        _say(f"{command.value} {state.run} in {state.state}" + (f" at {at}" if at else ""))
        try:
            limit = OBEYED if live else 40.0  # one that is not at work makes its devices safe first
            told = self._do(self.site.engine.command(state.run, command, by=by, at=at), limit, fuse)
        except CommandRefusedError as error:
            _say(f"refused: {error}")
            return False
        if told is not None and command is not Command.CLEAR:
            self.promises.append({"kind": "command.accepted", "run": state.run, "by": by})
        return told is not None

    def _take_out(self, sample: str) -> None:
        """Whoever clears a run has taken what it has in the gripper out of it."""
        places = self.site.lab.places
        if sample in (places.sample_at("arm/gripper"), places.part_for("arm/gripper")):
            self.world.emptied = len(self.world.of("arm"))

    def _start_text(self, text: str, fuse: int = 0) -> None:
        by, self.samples = self._by(), self.samples + 1
        home = f"tray/cells/{'ABCDEF'[self.samples // 6 % 6]}{self.samples % 6 + 1}"
        if self.site.lab.places.sample_at(home) is not None:
            return
        work = self.site.engine.start(text, "made.yaml", {}, position=home, called=CALLEES, by=by)
        try:
            run = self._do(work, fuse=fuse)
        except EngineError as error:
            _say(f"refused: {error}")
            return
        if run is not None:
            self.promises.append({"kind": "run.started", "run": run.id, "by": by})

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

    def _judge_cleared(self, state: RunState) -> None:
        places = self.site.lab.places
        assert places.place_of(state.sample) is None
        assert places.part_of(state.sample) is None
        assert not self.site.engine.reservations.held_by(state.run)

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
        _say(f"answer {state.run} {question['text']!r}: {choice!r}")
        try:
            told = self._do(self.site.engine.answer(state.run, choice, value=value, by=by), fuse=fuse)
        except CommandRefusedError as error:
            _say(f"refused: {error}")
            return
        if told is not None:
            self.promises.append({"kind": "question.answered", "run": state.run, "by": by})

    def _clear_interlocks(self, fuse: int = 0) -> None:
        for name in self._tripped:
            _say(f"clear interlock {name}")
            try:
                self._do(self.site.engine.guards.interlocks.clear(name, self._by()), 100.0, fuse)
            except GuardError as error:
                _say(f"refused: {error}")

    def _clear(self, state: RunState) -> None:
        places = self.site.lab.places
        if places.place_of(state.sample) is not None or places.part_of(state.sample) is not None:
            self._command(state, Command.CLEAR)

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

    # ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────────
    def _events(self) -> list[Any]:
        """The whole journal; what is durable is read once."""
        have = self.events
        have += self.site.loop.run_until_complete(self.site.journal.events(after=have[-1].seq if have else 0))
        return have

    def _judge(self, *, whole: bool = False) -> None:
        journal = self.site.journal
        events = journal._reader.select(None, 0, None, None) if journal.fuse else self._events()
        assert not self.site.errors, self.site.errors
        assert not self.wrong, self.wrong
        assert not self.site._daemon.done(), self.site._daemon
        self.judge.judge(events, whole=whole)
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
            assert have == ought, (mine, state)
        assert self.site.lab.places.occupied() == {place: sample for sample, place in history.places.items()}
        working = {state.run for state in self.working}
        holders = set(self.site.engine.reservations._holder.values())
        assert holders <= working, f"{holders - working} have ended, and have units still"

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tells the journal with what is wrong."""
        try:
            yield
        except Exception:
            events = self.site.journal._reader.select(None, 0, None, None)
            _say("\n".join(map(_line, events)))
            raise

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def teardown(self) -> None:
        try:
            if self.site._daemon is not None:
                with self._telling():
                    self._finish()
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Kills the daemon, and clears away. Harmless a second time."""
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
        if self.site.safe_mode is not None:
            self._do(self.site.resume(), 400.0)
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


def _say(what: str) -> None:
    """Tells it with an example that fails."""
    if currently_in_test_context():
        note(what)


def _line(event: Any) -> str:
    data = {key: value for key, value in event.data.items() if key not in ("source", "called", "baseline")}
    return f"{event.seq:4} {event.at[11:23]} {event.run} {event.kind} {data}"[:240]
