"""When devices are read."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from labd import clock
from labd.lab.pacing import BEAT, pause


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
    assert max(after - before for before, after in pairwise(pauses)) <= BEAT * 1.001


async def test_devices_that_are_read_often_share_moments_whatever_kept_them_waiting() -> None:
    moments = set()
    for number in range(100):
        await asyncio.sleep(0.0007)
        moments.add(round((clock.monotonic() + pause(f"d{number:03}", 0.1)) % 0.1, 6) % 0.1)
    assert len(moments) == 0.1 / BEAT


async def test_a_device_that_is_read_more_often_than_moments_come_keeps_its_period() -> None:
    reads = []
    for _ in range(4):
        await asyncio.sleep(pause("d7", BEAT / 4))
        reads.append(clock.monotonic())
    assert [after - before for before, after in pairwise(reads)] == pytest.approx([BEAT / 4] * 3)
