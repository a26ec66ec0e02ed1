"""Cells that stand in each other's way: none waits for a place that another leaves only into its own."""

from __future__ import annotations

import asyncio

import pytest

from tests.run.conftest import BenchMaker
from tests.run.waiting import until_busy

PRESSED = """\
labd: 1
protocol: pressed
version: 1.0.0
summary: Take a cell, press it, and bring it back, each in a state of its own.
roles: {arm: arm, press: crimper}
start: take
states:
  take:
    summary: Take it.
    do: arm.pick
    with: {place: =sample.position}
    next: load
  load:
    summary: Into the press.
    do: arm.place
    with: {place: =press.place}
    next: crimp
  crimp:
    summary: Press it shut.
    do: press.crimp
    with: {force: 5 kN}
    next: unload
  unload:
    summary: Take it out.
    do: arm.pick
    with: {place: =sample.position}
    next: store
  store:
    summary: Bring it back.
    do: arm.place
    with: {place: =sample.home}
    next: done
  done: {end: complete}
"""


async def test_the_arm_is_not_given_to_a_cell_that_would_wait_with_it_for_the_press(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.engine.reservations.policy = None  # no plan that would see to it as well
        lab.toy("press").script["crimp"] = [20.0]
        first = await lab.start(PRESSED, "tray/cells/A1")
        await until_busy(lab, "press")
        second = await lab.start(PRESSED, "tray/cells/B1")
        await asyncio.sleep(5)
        assert "lets run-0001 go first" in str((await lab.engine.state(second)).cause)
        assert lab.lab.places.place_of("cell-0002") == "tray/cells/B1"
        assert (await lab.engine.wait(first)).outcome == "complete"
        assert (await lab.engine.wait(second)).outcome == "complete"


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("presses", [1, 2])
async def test_many_cells_all_come_to_their_end(bench: BenchMaker, presses: int, planned: bool) -> None:
    devices = {"arm": "arm", "press": "press"} | {f"press{number}": "press" for number in range(2, presses + 1)}
    async with bench(**devices) as lab:
        if not planned:
            lab.engine.reservations.policy = None
        runs = [await lab.start(PRESSED, f"tray/cells/{well}") for well in ("A1", "B1", "A2", "B2", "A3", "B3")]
        ends = await asyncio.gather(*(lab.engine.wait(run) for run in runs))
        assert [end.outcome for end in ends] == ["complete"] * 6
        assert sum(lab.toy(name).happened.count("crimp") for name in devices if name != "arm") == 6


async def test_what_stands_in_the_press_is_known_after_a_restart(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [20.0]
        await lab.start(PRESSED, "tray/cells/A1")
        await until_busy(lab, "press")
        await lab.engine.leave_all()
    async with bench() as lab:
        second = await lab.start(PRESSED, "tray/cells/B1")
        third = await lab.start(PRESSED, "tray/cells/A2")
        ends = await asyncio.gather(*(lab.engine.wait(run) for run in ("run-0001", second, third)))
        assert [end.outcome for end in ends] == ["complete"] * 3
