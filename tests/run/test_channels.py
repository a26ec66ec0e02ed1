"""A role of several channels: all of them are taken for its states, and nobody else gets them meanwhile."""

from __future__ import annotations

import asyncio

from tests.run.conftest import BenchMaker

TWO = """\
labd: 1
protocol: two_channels
version: 1.0.0
summary: A rest over two channels.
parameters: {rest: {type: quantity, default: 10 min, min: 1 s}}
roles: {stat: {role: potentiostat, channels: 2}}
start: rest
states:
  rest:
    summary: Rest.
    do: stat.open_circuit
    with: {duration: =rest, interval: 1 min}
    next: done
  done: {end: complete}
"""

ONE = TWO.replace("two_channels", "one_channel").replace("{role: potentiostat, channels: 2}", "potentiostat")


async def test_two_channels_are_reserved_and_given_back_together(bench: BenchMaker) -> None:
    async with bench() as lab:
        first = await lab.start(TWO, "tray/cells/A1")
        await asyncio.sleep(60)
        assert [lab.engine.reservations.holder(stat, "") for stat in ("stat1", "stat2")] == [first, first]
        second = await lab.start(ONE, "tray/cells/B1")
        await asyncio.sleep(60)
        assert "stat1 works for run-0001" in str((await lab.engine.state(second)).cause)
        assert (await lab.engine.wait(first)).outcome == "complete"
        assert (await lab.engine.wait(second)).outcome == "complete"
        assert [lab.engine.reservations.holder(stat, "") for stat in ("stat1", "stat2")] == [None, None]


async def test_a_role_of_two_channels_waits_until_both_are_free(bench: BenchMaker) -> None:
    async with bench() as lab:
        first = await lab.start(ONE, "tray/cells/A1", rest="5 min")
        await asyncio.sleep(30)
        second = await lab.start(TWO, "tray/cells/B1")
        await asyncio.sleep(60)
        assert lab.engine.reservations.holder("stat2", "") is None  # it holds nothing while it waits
        await lab.engine.wait(first)
        assert (await lab.engine.wait(second)).outcome == "complete"
