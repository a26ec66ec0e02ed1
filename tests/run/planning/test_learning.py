"""Durations learnt of runs that a lab really made."""

from __future__ import annotations

import pytest

from labd.run.planning.durations import KINDS, Durations
from tests.run.conftest import BenchMaker


async def test_a_run_that_waits_for_the_press_teaches_the_time_that_its_states_take(bench: BenchMaker) -> None:
    async with bench() as lab:
        first = await lab.start()
        second = await lab.start(position="tray/cells/A2")
        for run in (first, second):
            await lab.engine.wait(run)
        durations = Durations()
        durations.fold([event for run in (first, second) for event in await lab.events(run, *KINDS)])
        entered = await lab.events(second, "protocol.entered")
        assert entered[0].data["waited"] > 0  # the other had arm and press
        assert durations.visits("assemble", "to_press") == 2
        assert durations.seconds("assemble", "rest") == pytest.approx(3600, abs=5)
        alone = Durations()
        alone.fold(await lab.events(first, *KINDS))
        for state in ("to_press", "crimp", "to_stat"):
            found, expected = durations.seconds("assemble", state), alone.seconds("assemble", state)
            assert found == pytest.approx(expected, abs=3)
