"""What holds for every pump that drives syringes, against its simulator."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from drivers.cavro import DRIVER as CAVRO
from drivers.ml600 import DRIVER as ML600
from labd.sdk import OutcomeUnknown, Setup, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.cavro import SIMULATOR as CAVRO_SIMULATOR
from simulators.ml600 import SIMULATOR as ML600_SIMULATOR
from tests.wires.acting import act, carried_out, intended

KINDS: dict[str, tuple[Any, Any]] = {"cavro": (CAVRO, CAVRO_SIMULATOR), "ml600": (ML600, ML600_SIMULATOR)}
Stand = Callable[[], contextlib.AbstractAsyncContextManager[tuple[Any, Any]]]


@pytest.fixture(params=KINDS)
def pump(request: pytest.FixtureRequest) -> Stand:
    kind, simulated = KINDS[request.param]

    @contextlib.asynccontextmanager
    async def stand() -> AsyncIterator[tuple[Any, Any]]:
        said = {"address": "tcp://127.0.0.1:0", "syringe": "1 mL"}
        simulator = simulated(Bench("pump", World(3), said, {}))
        driver = kind(Setup("pump", {**said, **await simulator.start()}))
        try:
            await driver.connect()
            yield driver, simulator
        finally:
            await driver.close()
            await simulator.stop()

    return stand


def given(simulator: Any) -> float:
    well = simulator.world.well("pump/outlet")
    return well.volume if well is not None else 0.0


async def test_an_order_whose_answer_is_lost_is_seen_to_be_under_way_and_goes_out_once(pump: Stand) -> None:
    async with pump() as (driver, simulator):
        await act(driver, "aspirate", volume="500 µL")
        intent = await intended(driver, "dispense", volume="300 µL")
        simulator.faults["reply_lost"] = 1
        assert (await carried_out(driver, intent)).volume == 300
        assert (await driver.outcome(intent)).verdict is Verdict.DONE
        assert given(simulator) == pytest.approx(300, abs=1)


async def test_an_order_that_was_not_heard_is_unknown_and_then_found_not_done(pump: Stand) -> None:
    async with pump() as (driver, simulator):
        await act(driver, "aspirate", volume="500 µL")
        intent = await intended(driver, "dispense", volume="300 µL")
        simulator.faults["unheard"] = 1
        with pytest.raises(OutcomeUnknown):
            await carried_out(driver, intent)
        assert (await driver.outcome(intent)).verdict is Verdict.NOT_DONE
        assert given(simulator) == 0


async def test_made_safe_in_the_midst_the_rest_is_not_given_and_it_is_known_how_much_was(pump: Stand) -> None:
    async with pump() as (driver, simulator):
        await act(driver, "aspirate", volume="1 mL")
        intent = await intended(driver, "dispense", volume="900 µL", rate="150 µL/s")
        task = asyncio.create_task(carried_out(driver, intent))
        await asyncio.sleep(3)
        await driver.safe_state()
        with pytest.raises(OutcomeUnknown, match="it was stopped"):
            await task
        outcome = await driver.outcome(intent)
        assert outcome.verdict is Verdict.PARTIAL
        assert outcome.result.volume == pytest.approx(given(simulator), abs=1)
