"""The table of errors and effects, where it is easy to get wrong: nothing that alters a sample is done twice."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.run.lifecycle import Command
from labd.sdk import Fault, Outcome, OutcomeUnknown, Unreachable, Verdict
from tests.run.conftest import BenchMaker
from tests.run.waiting import until, until_asked


async def test_unreachable_after_the_device_took_the_order_is_an_unknown_outcome(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [("accepted", Unreachable("the link broke"))]
        run = await lab.start()
        question = await until_asked(lab, run)
        assert question["kind"] == "outcome"
        assert lab.toy("press").asked
        assert len([e for e in await lab.events(run, "action.intended") if e.data["action"] == "crimp"]) == 1


async def test_a_fault_before_anything_was_sent_is_not_tried_again(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").baselines = [Fault("E-stop")]
        run = await lab.start()
        await until(lab, run, "Held")
        assert "E-stop" in str((await lab.engine.state(run)).cause)
        assert lab.toy("press").safe == [None]
        assert (await lab.engine.state(run)).question is None  # nothing was sent: nobody need look
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_within_is_for_all_attempts_together(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["open"] = [("after", OutcomeUnknown("no reply"))] * 4 + [1000.0]
        run = await lab.start()
        await until(lab, run, "Held")
        (intended, *_) = await lab.events(run, "action.intended")
        start = clock.now()
        assert (start - _time(intended.at)).total_seconds() < 22  # of the 20 s that it may take
        assert "within" in str((await lab.engine.state(run)).cause)


def _time(stamp: str):  # type: ignore[no-untyped-def]
    from datetime import datetime

    return datetime.fromisoformat(stamp)


async def test_rows_of_an_action_that_is_taken_up_again_follow_those_before(bench: BenchMaker) -> None:
    async with bench() as lab:
        for stat in ("stat1", "stat2"):
            lab.toy(stat).script["open_circuit"] = [(30, OutcomeUnknown("the link broke"))]
            lab.toy(stat).verdict = Outcome(Verdict.RUNNING, "its script runs")
        run = await lab.start()
        assert (await lab.engine.wait(run)).outcome == "complete"
        (series,) = await lab.engine.signals.series(run=run)
        assert list((await lab.engine.signals.read(series.id))["time"]) == [60.0 * row for row in range(60)]
        assert len(await lab.events(run, "action.done", "action.reconciled")) == 7


async def test_an_arm_that_puts_a_cell_where_another_was_entered_meanwhile_holds_the_run(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("arm").script["place"] = [30.0]
        first = await lab.start(position="tray/cells/A1")
        while "pick" not in lab.toy("arm").happened:
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        await lab.start(position="press/nest")
        await until(lab, first, "Held")
        assert "press/nest" in str((await lab.engine.state(first)).cause)
        assert lab.lab.places.sample_at("press/nest") == "cell-0002"
    async with bench() as lab:  # and the next daemon finds a journal that can be true
        assert lab.lab.places.sample_at("press/nest") == "cell-0002"


async def test_what_a_crash_left_open_is_told_as_unknown(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [1000.0]
        run = await lab.start()
        while not any(e.data["action"] == "crimp" for e in await lab.events(run, "action.intended")):
            await asyncio.sleep(1)
    async with bench() as lab:
        question = await until_asked(lab, run)  # a toy cannot tell
        assert "press.crimp" in str(question["text"])
        (unknown,) = await lab.events(run, "action.unknown")
        assert unknown.data["action_id"] == f"{run}-004"


TWICE = """\
labd: 1
protocol: twice
version: 1.0.0
summary: Crimp, and ask only by holding.
roles: {press: crimper}
start: crimp
states:
  crimp:
    summary: Press.
    do: press.crimp
    with: {force: 5 kN}
    as: pressed
    next:
      - {if: pressed.peak_force > 100 kN, go: done}
      - {go: hold}
  done: {end: complete}
"""


@pytest.mark.parametrize("times", [3])
async def test_a_hold_of_the_protocol_repeats_nothing_by_itself(bench: BenchMaker, times: int) -> None:
    async with bench() as lab:
        run = await lab.start(TWICE)
        await until(lab, run, "Held")
        for _ in range(times):
            await asyncio.sleep(3600)
        assert lab.toy("press").happened == ["crimp"]
