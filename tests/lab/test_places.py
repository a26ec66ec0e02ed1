"""Places and limits."""

from __future__ import annotations

import asyncio

import pytest

from labd import clock
from labd.lab.limit import Limit
from labd.lab.places import Places


def test_a_place_stays_occupied_until_its_sample_is_moved() -> None:
    places = Places()
    places.move("c1", "press/nest")
    with pytest.raises(ValueError, match="press/nest is occupied by c1"):
        places.move("c2", "press/nest")
    places.move("c1", "stat1/cell")
    places.move("c2", "press/nest")
    assert places.occupied() == {"stat1/cell": "c1", "press/nest": "c2"}
    places.move("c1", None)
    assert places.place_of("c1") is None
    assert places.sample_at("stat1/cell") is None


async def test_a_limit_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError):
        async with Limit(10):
            await asyncio.sleep(11)


async def test_a_limit_stands_still_while_it_is_paused() -> None:
    limit = Limit(10)
    start = clock.monotonic()

    async def operator() -> None:
        await asyncio.sleep(5)
        limit.pause()
        await asyncio.sleep(1000)
        limit.resume()

    async with asyncio.TaskGroup() as group:
        group.create_task(operator())
        with pytest.raises(TimeoutError):
            async with limit:
                await asyncio.sleep(5000)
    assert clock.monotonic() - start == pytest.approx(1010)
