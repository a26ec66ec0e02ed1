"""A role of several channels: all of them are taken for its states, and nobody else gets them meanwhile."""

from __future__ import annotations

import asyncio

from labd.run.reservations import Reservations
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


STATS = {f"stat{number}": "stat" for number in (1, 2, 3)}


async def test_two_runs_that_need_two_of_three_channels_go_one_after_the_other(bench: BenchMaker) -> None:
    async with bench(**STATS) as lab:
        first = await lab.start(TWO, "tray/cells/A1")
        second = await lab.start(TWO, "tray/cells/B1")
        await asyncio.sleep(60)
        held = [lab.engine.reservations.holder(stat, "") for stat in STATS]
        assert held == [first, first, None]
        assert (await lab.engine.wait(first)).outcome == "complete"
        await asyncio.sleep(1)
        assert [lab.engine.reservations.holder(stat, "") for stat in STATS].count(second) == 2
        assert (await lab.engine.wait(second)).outcome == "complete"


async def test_two_runs_with_two_channels_each_share_four(bench: BenchMaker) -> None:
    async with bench(**STATS, stat4="stat") as lab:
        runs = [await lab.start(TWO, place) for place in ("tray/cells/A1", "tray/cells/B1")]
        await asyncio.sleep(60)
        held = [lab.engine.reservations.holder(f"stat{number}", "") for number in range(1, 5)]
        assert sorted(map(str, held)) == sorted([*runs, *runs])


async def test_who_needs_several_channels_is_not_passed_by_those_that_need_one(bench: BenchMaker) -> None:
    async with bench(**STATS) as lab:
        reservations = Reservations(lab.lab)  # without a plan: who asked first goes first
        stat = {"stat": "potentiostat"}
        ahead = [await reservations.acquire(f"run-{number}", number, f"cell-{number}", stat) for number in (1, 2)]
        several = asyncio.create_task(reservations.acquire("run-3", 3, "cell-3", stat, {"stat": 2}))
        late = asyncio.create_task(reservations.acquire("run-4", 4, "cell-4", stat))
        await asyncio.sleep(1)
        assert not late.done()
        assert "stat3 is kept for run-3, which needs several and came before" in str(reservations.waiting("run-4"))
        reservations.release("run-1", ahead[0])
        await asyncio.sleep(1)
        assert {device for device, _ in (await several)["stat"].keys} == {"stat1", "stat3"}
        assert not late.done()  # nothing is free
        reservations.release("run-2", ahead[1])
        assert (await late)["stat"].device.id == "stat2"


async def test_a_sample_that_is_in_a_channel_is_kept_waiting_by_nobody(bench: BenchMaker) -> None:
    async with bench(**STATS) as lab:
        reservations = Reservations(lab.lab)
        stat = {"stat": "potentiostat"}
        for number in (1, 2):
            await reservations.acquire(f"run-{number}", number, f"cell-{number}", stat)
        several = asyncio.create_task(reservations.acquire("run-3", 3, "cell-3", stat, {"stat": 2}))
        lab.lab.places.move("cell-4", "stat3/cell")
        late = await reservations.acquire("run-4", 4, "cell-4", stat)
        assert late["stat"].device.id == "stat3"
        several.cancel()


async def test_a_plan_lets_those_that_need_one_channel_go_first_only_for_a_while(bench: BenchMaker) -> None:
    async with bench(stat1="stat", stat2="stat") as lab:
        ahead = [await lab.start(ONE, f"tray/cells/A{index}", rest=rest) for index, rest in ((1, "1 h"), (2, "30 min"))]
        several = await lab.start(TWO, "tray/cells/B1")
        late = [await lab.start(ONE, f"tray/cells/C{index}", rest="1 h") for index in range(1, 5)]
        for run in (*ahead, several, *late):
            assert (await lab.engine.wait(run)).outcome == "complete"
        begun = {run: (await lab.events(run, "protocol.entered"))[0].at for run in (several, *late)}
        assert begun[several] < max(begun[run] for run in late)
