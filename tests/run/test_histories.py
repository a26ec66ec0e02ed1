"""Whatever happens to a lab and in whatever order: nothing is lost, nothing is done twice, and all comes to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from labd.run.lifecycle import Command
from labd.run.urgent import order_all
from tests.run.conftest import ASSEMBLE
from tests.run.histories import CI, Histories
from tests.run.texts import WAITS, protocols

TestHistories = Histories.TestCase
TestHistories.settings = CI

SCRAPS = """\
labd: 1
protocol: scraps
version: 1.0.0
summary: Crimp a cell, and scrap it.
roles: {press: crimper}
start: crimp
states:
  crimp: {do: press.crimp, with: {force: 5 kN}, next: scrap}
  scrap: {end: scrapped}
cleanup:
  - {do: press.open}
"""


@pytest.fixture
def history() -> Iterator[Histories]:
    made = Histories()
    try:
        yield made
        made.teardown()
    finally:
        made.give_up()


# ── each state of PackML, with what is told in it, and the daemon killed right after ─────────────────────────────
def _started(history: Histories, text: str) -> None:
    history._start_text(text)


def _executes(history: Histories) -> None:
    _started(history, ASSEMBLE)
    history.until(lambda: bool(history.world.of("press")))


def _asks(history: Histories) -> None:
    _started(history, WAITS)
    history.until(lambda: history.runs[0].question is not None)


def _holds(history: Histories) -> None:
    _executes(history)
    history._command(history.runs[0], Command.HOLD)


def _is_held(history: Histories) -> None:
    _holds(history)
    history.until(lambda: history.runs[0].state == "Held")


def _asks_what_happened(history: Histories) -> None:
    history.world.mute.add("press")
    history.world.trouble["press"] = ["", "lost"]
    _executes(history)
    history.until(lambda: history.runs[0].state == "Held")
    assert history.runs[0].question is not None


def _ends(command: Command, seconds: float) -> Callable[[Histories], None]:
    def end(history: Histories) -> None:
        _executes(history)
        history.world.safe_takes = seconds
        history._command(history.runs[0], command)
        if not seconds:
            history.until(lambda: history.runs[0].ended is not None)

    return end


def _completes(history: Histories) -> None:
    _started(history, SCRAPS)
    history.until(lambda: history.runs[0].state == "Completing")


def _is_complete(history: Histories) -> None:
    _completes(history)
    history.until(lambda: history.runs[0].ended is not None)


STATES: dict[str, Callable[[Histories], None]] = {
    "Execute": _executes,
    "Execute, asks": _asks,
    "Holding": _holds,
    "Held": _is_held,
    "Held, asks": _asks_what_happened,
    "Stopping": _ends(Command.STOP, 4.0),
    "Stopped": _ends(Command.STOP, 0.0),
    "Aborting": _ends(Command.ABORT, 4.0),
    "Aborted": _ends(Command.ABORT, 0.0),
    "Completing": _completes,
    "Complete": _is_complete,
}
COMMANDS = ("hold", "unhold", "stop", "abort", "clear", "answer")


@pytest.mark.parametrize("commits", [0, 1])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", STATES)
def test_any_command_in_any_state_and_the_daemon_killed_after_it(
    history: Histories, state: str, command: str, commits: int
) -> None:
    history.begin([])
    STATES[state](history)
    run = history.runs[0]
    assert run.state == state.partition(",")[0]
    if command != "answer":
        history._command(run, Command(command), commits)
    elif run.question is not None:
        history._answer(run, 0, commits)
    if not commits:
        history._die()
    history.nothing_is_wrong()


@pytest.mark.parametrize("text", protocols()[:3])
def test_a_start_that_is_cut_is_whole_or_was_not(history: Histories, text: str) -> None:
    history.begin([])
    for commits in (1, 2, 3):
        history._start_text(text, commits)
        history._do(asyncio.sleep(1.0), 2.0)
    assert len(history.runs) == 3
    history.nothing_is_wrong()


# ── what histories have found ────────────────────────────────────────────────────────────────────────────────────
def test_a_run_in_safe_mode_is_aborted_as_the_life_cycle_has_it_and_its_question_taken_back(history: Histories) -> None:
    history.begin([])
    _asks(history)
    history._kill(0.0, safe_mode=True)
    assert history._command(history.runs[0], Command.ABORT)
    history.nothing_is_wrong()
    (withdrawn,) = [event for event in history._events() if event.kind == "question.withdrawn"]
    moves = [event.data["to"] for event in history._events() if event.kind == "run.state"]
    assert (withdrawn.data["why"], moves[-2:]) == ("the run was aborted", ["Aborting", "Aborted"])


def test_an_order_to_all_that_reached_a_run_in_safe_mode_stands_in_the_journal(history: Histories) -> None:
    history.begin([])
    _executes(history)
    history._kill(0.0, safe_mode=True)
    ordered = history._do(order_all(history.site.engine, Command.ABORT, by="eva"), 100.0)
    assert ordered.runs == (history.runs[0].run,)
    (accepted,) = [event for event in history._events() if event.kind == "command.accepted"]
    assert (accepted.run, accepted.data["by"]) == (history.runs[0].run, "eva")


def test_a_run_that_was_aborting_in_safe_mode_comes_to_its_end(history: Histories) -> None:
    history.begin([])
    STATES["Aborting"](history)
    history._kill(0.0, safe_mode=True)
    assert history._command(history.runs[0], Command.ABORT)
    assert history.runs[0].state == "Aborted"


def test_an_abort_is_heard_also_while_runs_are_resumed(history: Histories) -> None:
    history.begin([])
    _executes(history)
    history._kill(0.0, safe_mode=True)
    run = history.runs[0].run

    async def at_once() -> None:
        abort = history.site.engine.command(run, Command.ABORT, by="eva")
        await asyncio.gather(history.site.resume(), abort)
        await history.site.engine.wait(run)

    history._do(at_once(), 100.0)
    assert history.runs[0].outcome == "aborted"


def test_of_two_who_clear_a_run_at_once_one_is_told_that_it_is_cleared(history: Histories) -> None:
    history.begin([])
    STATES["Aborted"](history)
    run = history.runs[0].run

    async def at_once() -> list[object]:
        clears = [history.site.engine.command(run, Command.CLEAR, by=name) for name in ("eva", "ida")]
        return await asyncio.gather(*clears, return_exceptions=True)

    first, second = history._do(at_once())
    assert (first.state, str(second)) == (
        "Stopped",
        f"{run} is Stopped and its sample has left the lab: nothing to clear",
    )
