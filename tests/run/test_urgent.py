"""Holds, stops and aborts that come when it suits nobody."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.run.lifecycle import Command, CommandRefusedError
from labd.sdk import Outcome, OutcomeUnknown, Rejected, Unreachable, Verdict
from tests.run.conftest import Bench, BenchMaker
from tests.run.waiting import until, until_asked, until_busy


async def test_a_hold_does_not_wait_for_retries_and_starts_none(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [Unreachable("refused")] * 20
        run = await lab.start()
        while len(await lab.events(run, "action.failed")) < 2:
            await asyncio.sleep(0.1)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await until(lab, run, "Held")
        tried = len(await lab.events(run, "action.intended"))
        await asyncio.sleep(3600)
        assert len(await lab.events(run, "action.intended")) == tried
        assert (await lab.engine.state(run)).state == "Held"
        lab.toy("press").script["crimp"] = []
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        # the hour of the hold is not counted against the time that it may be tried
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert lab.toy("press").happened.count("crimp") == 1


async def test_a_once_action_that_was_not_done_is_not_begun_again_while_the_run_stops(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [OutcomeUnknown("no reply"), 1.0]
        lab.toy("press").verdict = Outcome(Verdict.UNKNOWN, "not yet")
        run = await lab.start()
        while not lab.toy("press").asked:
            await asyncio.sleep(0.1)
        await lab.engine.command(run, Command.STOP, by="eva")
        lab.toy("press").verdict = Outcome(Verdict.NOT_DONE, "its counter did not move")
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert "crimp" not in lab.toy("press").happened
        crimps = [e for e in await lab.events(run, "action.intended") if e.data["action"] == "crimp"]
        assert len(crimps) == 1


async def test_a_stop_lets_the_time_limits_of_a_hold_run_again(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [1e6]
        run = await lab.start()
        await until_busy(lab, "press", 2)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await asyncio.sleep(5)
        assert (await lab.engine.state(run)).state == "Holding"
        await lab.engine.command(run, Command.STOP, by="eva")
        async with asyncio.timeout(300):
            assert (await lab.engine.wait(run)).outcome == "stopped"


async def test_holding_ends_although_within_stands_still_and_the_device_never_answers(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["open"] = [1e6]
        run = await lab.start()
        await until_busy(lab, "press")
        await lab.engine.command(run, Command.HOLD, by="eva")
        async with asyncio.timeout(60):
            await until(lab, run, "Held")


@pytest.mark.parametrize("problem", [Rejected("no script runs"), Unreachable("no answer")])
async def test_a_measurement_that_cannot_be_cancelled_is_made_safe_and_nobody_else_suffers(
    bench: BenchMaker, problem: Exception
) -> None:
    async with bench() as lab:
        first = await lab.start(position="tray/cells/A1")
        await until_busy(lab, "stat1")
        second = await lab.start(position="tray/cells/B1")
        lab.toy("stat1").refuse_cancel = problem  # type: ignore[attr-defined]
        start = clock.monotonic()
        await lab.engine.command(first, Command.STOP, by="eva")
        assert (await lab.engine.wait(first)).outcome == "stopped"
        assert clock.monotonic() - start < 300
        assert lab.toy("stat1").safe
        assert (await lab.engine.wait(second)).outcome == "complete"


async def test_a_cancelled_measurement_ends_soon_with_its_data(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        await until_busy(lab, "stat1")
        await asyncio.sleep(600)
        start = clock.monotonic()
        await lab.engine.command(run, Command.STOP, by="eva")
        await lab.engine.wait(run)
        assert clock.monotonic() - start <= 60
        done = [event.data["action_id"] for event in await lab.events(run, "action.done")]
        assert done[-1] == (await lab.events(run, "action.cancelled"))[0].data["action_id"]


async def test_an_abort_while_a_stop_makes_safe_ends_when_all_is_safe(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [5.0]
        lab.toy("press").safe_takes = 10.0
        run = await lab.start()
        await until_busy(lab, "press", 2)
        await lab.engine.command(run, Command.STOP, by="eva")
        await asyncio.sleep(8)  # the crimp has ended, the press is being made safe
        await lab.engine.command(run, Command.ABORT, by="eva")
        state = await lab.engine.wait(run)
        assert (state.state, state.outcome) == ("Aborted", "aborted")
        kinds = [event.kind for event in await lab.events(run, "device.safe_state", "run.ended")]
        assert kinds == ["device.safe_state"] * 2 + ["run.ended"]
        assert (await lab.packml(run))[-3:] == ["Stopping", "Aborting", "Aborted"]
        assert len(await lab.events(run, "run.ended")) == 1


async def test_what_was_intended_and_not_sent_is_told_as_not_done(bench: BenchMaker) -> None:
    async with bench() as lab:
        append = lab.journal.append

        async def slow(*events, **more):  # type: ignore[no-untyped-def]
            written = await append(*events, **more)
            if events[0].kind == "action.intended" and events[0].data["action"] == "crimp":
                await asyncio.sleep(10)
            return written

        lab.journal.append = slow  # type: ignore[method-assign]
        run = await lab.start()
        while not any(e.data["action"] == "crimp" for e in await lab.events(run, "action.intended")):
            await asyncio.sleep(0.1)
        await lab.engine.command(run, Command.ABORT, by="eva")
        await lab.engine.wait(run)
        crimp = next(
            e.data["action_id"] for e in await lab.events(run, "action.intended") if e.data["action"] == "crimp"
        )
        (failed,) = await lab.events(run, "action.failed")
        assert failed.data["action_id"] == crimp
        assert "nothing was sent" in failed.data["message"]
        assert await lab.events(run, "action.unknown") == []


async def test_what_was_done_stays_done_when_the_abort_comes_while_samples_are_written(bench: BenchMaker) -> None:
    async with bench() as lab:
        finish = lab.engine.signals.finish

        async def slow(series: str) -> None:
            await finish(series)
            await asyncio.sleep(100)

        lab.engine.signals.finish = slow  # type: ignore[method-assign]
        run = await lab.start()
        while "open_circuit" not in lab.toy("stat1").happened:
            await asyncio.sleep(1)
        await lab.engine.command(run, Command.ABORT, by="eva")
        await lab.engine.wait(run)
        assert await lab.events(run, "action.unknown") == []
        done = await lab.events(run, "action.done")
        assert done[-1].data["action_id"] == (await lab.events(run, "action.intended"))[-1].data["action_id"]


async def _asked_about_force(lab: Bench) -> str:
    lab.toy("press").force = 5.0  # type: ignore[attr-defined]
    run = await lab.start()
    await until_asked(lab, run)
    return run


async def test_a_questions_time_stands_still_while_the_run_is_held(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await _asked_about_force(lab)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await asyncio.sleep(7200)
        assert (await lab.engine.state(run)).question is not None
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        await asyncio.sleep(1700)
        assert (await lab.engine.state(run)).question is not None
        await lab.engine.answer(run, "keep it", by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"


@pytest.mark.parametrize("command", [Command.STOP, Command.ABORT])
async def test_a_question_that_nobody_needs_any_more_is_withdrawn(bench: BenchMaker, command: Command) -> None:
    async with bench() as lab:
        run = await _asked_about_force(lab)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await lab.engine.command(run, command, by="eva")
        assert (await lab.engine.wait(run)).question is None
        (asked,) = await lab.events(run, "question.asked")
        (withdrawn,) = await lab.events(run, "question.withdrawn")
        assert withdrawn.data["question_id"] == asked.data["question_id"]
        with pytest.raises(CommandRefusedError):
            await lab.engine.answer(run, "keep it", by="eva")


async def test_a_stop_over_an_unknown_outcome_says_so_in_its_cause(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [OutcomeUnknown("no reply")]
        run = await lab.start()
        await until_asked(lab, run)
        await lab.engine.command(run, Command.STOP, by="eva", cause="enough")
        assert "press.crimp" in str((await lab.engine.wait(run)).cause)


async def test_a_run_takes_commands_as_soon_as_it_has_started(bench: BenchMaker) -> None:
    async with bench() as lab:
        held = await lab.start(position="tray/cells/A1")
        await lab.engine.command(held, Command.HOLD, by="eva")
        await until(lab, held, "Held")
        for command, outcome in ((Command.STOP, "stopped"), (Command.ABORT, "aborted")):
            run = await lab.start(position="tray/cells/B1")
            await lab.engine.command(run, command, by="eva")
            assert (await lab.engine.wait(run)).outcome == outcome
            await lab.engine.command(run, Command.CLEAR, by="eva")
        assert lab.toy("arm").happened == []


async def test_unhold_at_a_state_is_for_a_protocol_that_is_held(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await _asked_about_force(lab)
        await lab.engine.command(run, Command.HOLD, by="eva")
        await until(lab, run, "Held")
        with pytest.raises(CommandRefusedError, match="goes on where it is"):
            await lab.engine.command(run, Command.UNHOLD, by="eva", at="to_stat")


HOLDS = """\
labd: 1
protocol: holds
version: 1.0.0
summary: Crimp, and hold for a look.
roles: {press: crimper}
start: crimp
states:
  crimp:
    summary: Press.
    do: press.crimp
    with: {force: 7 kN}
    next: {hold: Look at the cell., continue_at: [done, crimp]}
    max_visits: 2
  done: {end: complete}
"""


async def test_unhold_does_not_repeat_a_crimp_that_was_done(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(HOLDS)
        await until(lab, run, "Held")
        with pytest.raises(CommandRefusedError, match=r"press\.crimp was done, and would be done again: .*--at STATE"):
            await lab.engine.command(run, Command.UNHOLD, by="eva")
        await lab.engine.command(run, Command.UNHOLD, by="eva", at="done")
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert lab.toy("press").happened == ["crimp"]
