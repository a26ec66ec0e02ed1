"""Any history of a lab: runs, people, broken links, faults and dead daemons in any order, and what holds after each.

`python -m tests.run.histories 1000` makes so many histories, each from another seed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
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
from labd.run.engine import EngineError
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.urgent import order_all
from tests.protocol.callees import CALLEES
from tests.run.conftest import DEVICES
from tests.run.living import Living
from tests.run.rough import TROUBLES
from tests.run.texts import WAITS, protocols
from tests.whole import some

MOST_RUNS = 4  # at work at once

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
WHICH = st.integers(0, len(protocols()) - 1)


class Histories(Living, RuleBasedStateMachine):
    """A lab, and all that may happen in it."""

    def __init__(self) -> None:
        Living.__init__(self)
        RuleBasedStateMachine.__init__(self)

    @initialize(which=st.lists(WHICH, min_size=1, max_size=3))
    def begin(self, which: list[int]) -> None:
        self._up()
        for one in which:
            self._start(one)

    def _start(self, which: int, fuse: int = 0) -> None:
        self._start_text(protocols()[which], fuse)

    @invariant()
    def nothing_is_wrong(self) -> None:
        if self.site._daemon is not None:
            with self._telling():
                self._judge()

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: len(self.working) < MOST_RUNS)
    @rule(which=WHICH, fuse=FUSE, then=THEN)
    def start(self, which: int, fuse: int, then: int) -> None:
        self._start(which, fuse)
        self._pass(then)

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

    @precondition(lambda self: any(state.ended for state in self.runs))
    @rule(run=RUN, fuse=FUSE)
    def clear(self, run: int, fuse: int) -> None:
        over = [state for state in self.runs if state.ended is not None]
        state = over[run % len(over)] if over and run < 4 else self._of(run, over=True)
        if state is not None and self._command(state, Command.CLEAR, fuse):
            self._judge_cleared(state)

    @precondition(lambda self: any(state.question for state in self.working))
    @rule(run=RUN, fuse=FUSE, luck=st.integers(0, 10), then=THEN)
    def answer(self, run: int, fuse: int, luck: int, then: int) -> None:
        asking = [state for state in self.working if state.question is not None]
        self._answer(asking[run % len(asking)], luck, fuse)
        self._pass(then)

    @precondition(lambda self: any(state.question or state.state == "Held" for state in self.working))
    @rule(luck=st.integers(0, 6), then=THEN)
    def help(self, luck: int, then: int) -> None:
        """People answer what is asked, and let go on what is held."""
        for state in self.working:
            self._help_run(state, luck)
        self._pass(then)

    @precondition(lambda self: any(state.state == "Execute" for state in self.working))
    @rule(command=st.sampled_from([*[Command.HOLD] * 6, Command.STOP, Command.ABORT]), device=DEVICE, fuse=FUSE)
    def command_all(self, command: Command, device: str, fuse: int) -> None:
        by = self._by()
        told = self._do(self.site.engine.command_all(command, by=by, devices={device}), fuse=fuse)
        self.promises += [{"kind": "command.accepted", "run": run, "by": by} for run in told or ()]

    @rule(command=st.sampled_from([*[Command.HOLD] * 4, Command.STOP, Command.ABORT]), fuse=FUSE)
    def order_all(self, command: Command, fuse: int) -> None:
        by = self._by()
        told = self._do(order_all(self.site.engine, command, by=by), 100.0, fuse)
        self.promises += [{"kind": "command.accepted", "run": run, "by": by} for run in (told.runs if told else ())]

    @precondition(lambda self: any(state.ended for state in self.runs))
    @rule(run=RUN, again=st.booleans())
    def clear_twice(self, run: int, again: bool) -> None:
        """Two people clear the same run at once; or one begins anew with its sample meanwhile."""
        over = [state for state in self.runs if state.ended is not None]
        state, engine = over[run % len(over)], self.site.engine

        async def both() -> list[Any]:
            clear = engine.command(state.run, Command.CLEAR, by=self._by())
            if again:
                other: Any = engine.start(WAITS, "made.yaml", {}, sample=state.sample, called=CALLEES, by=self._by())
            else:
                other = engine.command(state.run, Command.CLEAR, by=self._by())
            return await asyncio.gather(clear, other, return_exceptions=True)

        for told in self._do(both()) or ():
            assert not isinstance(told, Exception) or isinstance(told, (CommandRefusedError, EngineError)), told

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

        for (_, by), told in zip(orders, self._do(all_of_them(), 40.0) or (), strict=False):
            if isinstance(told, RunState):
                self.promises.append({"kind": "command.accepted", "run": state.run, "by": by})
            else:
                assert isinstance(told, CommandRefusedError), told

    @precondition(lambda self: self._tripped)
    @rule(fuse=FUSE)
    def clear_interlocks(self, fuse: int) -> None:
        self._clear_interlocks(fuse)

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────
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

    @rule(away=AWAY, patient=st.booleans(), fuse=st.sampled_from([0, 0, 0, 1, 2]), then=THEN)
    def kill(self, away: float, patient: bool, fuse: int, then: int) -> None:
        self._kill(away, patient=patient, fuse=fuse)
        self._pass(then)

    @rule(away=AWAY, fuse=st.sampled_from([0, 0, 1, 2]), then=THEN)
    def kill_into_safe_mode(self, away: float, fuse: int, then: int) -> None:
        self._kill(away, fuse=fuse, safe_mode=True)
        self._pass(then)

    @precondition(lambda self: self.site.safe_mode is not None)
    @rule(fuse=FUSE, then=THEN)
    def resume(self, fuse: int, then: int) -> None:
        self._do(self.site.resume(), 400.0, fuse)
        self._pass(then)

    @rule(away=AWAY, fuse=FUSE)
    def restart_in_order(self, away: float, fuse: int) -> None:
        self._do(self.site.engine.leave_all(), 400.0, fuse)
        self._kill(away)

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


CI = settings(max_examples=some(8, 30), stateful_step_count=40, deadline=None, derandomize=True, database=None)
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
