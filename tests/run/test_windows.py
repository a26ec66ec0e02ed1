"""Time windows at work: what expires goes on while the run is held, and acts after the action that is running."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.run.lifecycle import Command
from labd.sdk import Rejected, Unreachable
from tests.run.conftest import BenchMaker
from tests.run.test_language import protocol
from tests.run.waiting import until, until_busy

STATES = """\
  work:
    do: press.open
    next: rest
  rest:
    wait: 60 s
    next: crimp
  crimp:
    do: press.crimp
    with: {force: 5 kN}
    next: done
"""


def windowed(window: str, states: str = STATES) -> str:
    return protocol(states, f"windows: [{window}]\n")


async def test_an_expiry_waits_for_the_crimp_that_is_running_and_then_leads_elsewhere(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [50.0]
        run = await lab.start(windowed("{from: work.start, to: crimp.end, within: 90 s, otherwise: scrap}"))
        start = clock.monotonic()
        assert (await lab.engine.wait(run)).outcome == "scrapped"
        assert clock.monotonic() - start == pytest.approx(111, abs=3)
        assert lab.toy("press").happened == ["open", "crimp"]
        assert await lab.happened(run, "left") == ["left press.crimp"]


async def test_a_run_that_a_window_led_to_its_end_says_so_also_after_a_restart(bench: BenchMaker) -> None:
    late = "  late:\n    wait: 600 s\n    next: scrap\n"
    said = "the time window work.start to crimp.start has expired: 65 s passed"
    async with bench() as lab:
        lab.toy("press").script["open"] = [10.0]
        text = windowed("{from: work.start, to: crimp.start, within: 65 s, otherwise: late}", STATES + late)
        run = await lab.start(text)
        async with asyncio.timeout(300):
            while (await lab.engine.state(run)).protocol_state != "late":
                await asyncio.sleep(1)
        await lab.engine.leave_all()
    async with bench() as lab:
        state = await lab.engine.wait(run)
        assert (state.outcome, state.cause) == ("scrapped", said)
        (ended,) = await lab.events(run, "run.ended")
        assert ended.data["cause"] == said
        expired = [one.data for one in await lab.events(run, "protocol.decided") if one.data["value"] == "expired"]
        assert [(one["what"], one["because"]) for one in expired] == [
            ("window work.start to crimp.start", "65 s passed")
        ]


async def test_in_time_nothing_happens(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(windowed("{from: work.start, to: crimp.start, within: 70 s, otherwise: scrap}"))
        assert (await lab.engine.wait(run)).outcome == "complete"


@pytest.mark.parametrize(("device", "action"), [("press", "press.crimp"), ("arm", "arm.home")])
async def test_an_action_that_never_reached_its_device_is_not_in_time(
    bench: BenchMaker, device: str, action: str
) -> None:
    given = "    with: {force: 5 kN}\n" if action == "press.crimp" else ""
    states = STATES.replace("press.crimp\n    with: {force: 5 kN}\n", f"{action}\n{given}    within: 10 min\n")
    async with bench() as lab:
        lab.toy(device).script[action.partition(".")[2]] = [Unreachable("no link")] * 40
        run = await lab.start(windowed("{from: work.start, to: crimp.start, within: 90 s, otherwise: scrap}", states))
        start = clock.monotonic()
        assert (await lab.engine.wait(run)).outcome == "scrapped"
        assert clock.monotonic() - start == pytest.approx(90, abs=3)
        assert lab.toy(device).happened in (["open"], [])


class TestHeldByAPerson:
    async def test_it_expires_during_the_hold_and_leads_elsewhere_after_it(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(windowed("{from: work.start, to: crimp.start, within: 2 min, otherwise: scrap}"))
            await asyncio.sleep(10)
            await lab.engine.command(run, Command.HOLD, by="eva")
            await asyncio.sleep(600)
            assert (await lab.engine.state(run)).state == "Held"
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "scrapped"
            assert "crimp" not in lab.toy("press").happened

    async def test_what_waits_for_the_end_of_the_hold_is_not_begun(self, bench: BenchMaker) -> None:
        states = "  work:\n    do: press.open\n    next: crimp\n" + STATES[STATES.index("  crimp:") :]
        async with bench() as lab:
            lab.toy("press").script["open"] = [10.0]
            text = windowed("{from: work.start, to: crimp.end, within: 1 min, otherwise: scrap}", states)
            run = await lab.start(text)
            await until_busy(lab, "press")
            await lab.engine.command(run, Command.HOLD, by="eva")
            await until(lab, run, "Held")
            await asyncio.sleep(600)
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "scrapped"
            assert await lab.happened(run, "intended") == ["intended press.open"]

    async def test_without_otherwise_it_holds_once_more(self, bench: BenchMaker) -> None:
        async with bench() as lab:
            run = await lab.start(windowed("{from: work.start, to: crimp.start, within: 2 min}"))
            await asyncio.sleep(10)
            await lab.engine.command(run, Command.HOLD, by="eva")
            await asyncio.sleep(600)
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            await asyncio.sleep(10)
            state = await lab.engine.state(run)
            assert state.state == "Held"
            assert "the time window work.start to crimp.start has expired" in str(state.cause)
            await lab.engine.command(run, Command.UNHOLD, by="eva")
            assert (await lab.engine.wait(run)).outcome == "complete"


async def test_an_expiry_while_the_protocol_holds_goes_before_the_same_step(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [Rejected("the guard is open")]
        run = await lab.start(windowed("{from: work.start, to: crimp.end, within: 2 min, otherwise: scrap}"))
        await until(lab, run, "Held")
        await asyncio.sleep(600)
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(run)).outcome == "scrapped"
        assert lab.toy("press").happened == ["open"]


async def test_at_least_so_long_is_waited(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(windowed("{from: work.end, to: crimp.start, at_least: 10 min}"))
        start = clock.monotonic()
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert clock.monotonic() - start == pytest.approx(602, abs=2)


async def test_a_window_that_expires_while_devices_are_waited_for(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.engine.reservations.policy = None  # a plan would not have opened it
        first = await lab.start(protocol("  work:\n    steps: [{do: press.open}, {wait: 1 h}]\n    next: done\n"))
        states = STATES.replace("do: press.open", "do: arm.home")
        text = windowed("{from: work.start, to: crimp.start, within: 5 min, otherwise: scrap}", states)
        second = await lab.start(text, position="tray/cells/B1")
        start = clock.monotonic()
        assert (await lab.engine.wait(second)).outcome == "scrapped"
        assert clock.monotonic() - start == pytest.approx(300, abs=5)
        assert (await lab.engine.wait(first)).outcome == "complete"
