"""When devices are read."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from labd import clock
from labd.lab.pacing import pause


async def test_a_slow_device_rests_a_whole_period_after_each_reading() -> None:
    assert [pause("arm", period) for period in (0.5, 1.0, 10.0)] == [0.5, 1.0, 10.0]


async def test_a_device_that_is_read_often_keeps_its_moment_whatever_its_readings_take() -> None:
    reads = []
    for takes in (0.0, 0.03, 0.01, 0.07, 0.0):
        await asyncio.sleep(pause("d7", 0.1))
        reads.append(clock.monotonic())
        await asyncio.sleep(takes)
    assert [after - before for before, after in pairwise(reads)] == pytest.approx([0.1] * 4)


async def test_after_a_reading_that_took_nearly_a_period_one_is_left_out() -> None:
    await asyncio.sleep(pause("d7", 0.1))
    await asyncio.sleep(0.09)
    assert pause("d7", 0.1) == pytest.approx(0.11)


async def test_devices_that_were_kept_waiting_together_part_again() -> None:
    pauses = sorted(pause(f"d{number:03}", 0.1) for number in range(100))
    assert max(after - before for before, after in pairwise(pauses)) < 0.01
