"""Deadlines that can stand still."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.lab.limit import Limit, Stopwatch


async def until_over(limit: Limit) -> float:
    start = clock.monotonic()
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.Event().wait()
    return clock.monotonic() - start


async def pause(limit: Limit, after: float, seconds: float) -> None:
    await asyncio.sleep(after)
    limit.pause()
    await asyncio.sleep(seconds)
    limit.resume()


async def test_a_pause_is_not_counted() -> None:
    limit = Limit(20)
    over, _ = await asyncio.gather(until_over(limit), pause(limit, 5, 1000))
    assert over == pytest.approx(1020)


async def test_a_limit_that_begins_in_a_pause_runs_from_its_end() -> None:
    limit = Limit(20)
    limit.pause()
    over, _ = await asyncio.gather(until_over(limit), pause(limit, 0, 100))
    assert over == pytest.approx(120)


async def test_pauses_end_with_the_most_that_it_may_take() -> None:
    limit = Limit(20, most=60)
    over, _ = await asyncio.gather(until_over(limit), pause(limit, 5, 1000))
    assert over == pytest.approx(60)


async def test_a_stopwatch_leaves_pauses_out() -> None:
    watch = Stopwatch()
    await asyncio.sleep(3)
    watch.pause()
    watch.pause()
    await asyncio.sleep(100)
    assert watch.elapsed == pytest.approx(3)
    watch.resume()
    watch.resume()
    await asyncio.sleep(4)
    assert watch.elapsed == pytest.approx(7)
