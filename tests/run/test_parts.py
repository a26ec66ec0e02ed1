"""A lid in the gripper: nobody else gets the arm until it is set down."""

from __future__ import annotations

import asyncio

import pytest

from labd.lab.inventory import stock_of
from labd.lab.inventory.stock import READ
from labd.run.lifecycle import Command, CommandRefusedError
from labd.sdk import Rejected
from tests.run.conftest import ASSEMBLE, BenchMaker
from tests.run.waiting import until

LIDS = [
    {"place": "tray/cells", "labware": "cell_tray_8", "fill": "half_cell"},
    {"place": "tray/lids", "labware": "lid_tray_8", "fill": "lid"},
]
CLOSE = """\
labd: 1
protocol: close
version: 1.0.0
summary: Put a lid on.
parameters:
  lid: {type: position}
roles: {arm: arm}
start: close
states:
  close:
    summary: Put the lid on.
    steps:
      - do: arm.pick
        with: {place: =lid}
      - do: arm.place
        with: {place: =sample.position}
    catch: {rejected: again}
    next: done
  again:
    summary: Once more, with the lid in the fingers.
    steps:
      - do: arm.place
        with: {place: =sample.position}
    next: late
  done: {end: complete}
  late: {end: scrapped}
"""


async def test_an_arm_with_a_lid_in_its_fingers_is_given_to_nobody_else(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("arm").script["place"] = [Rejected("not homed"), Rejected("not homed")]
        first = await lab.start(CLOSE, "tray/cells/A1", lid="tray/cells/F1")
        await until(lab, first, "Held")
        assert lab.lab.places.part_for("arm/gripper") == "cell-0001"
        await lab.engine.command(first, Command.STOP, by="eva")
        await lab.engine.wait(first)
        second = await lab.start(CLOSE, "tray/cells/B1", lid="tray/cells/F2")
        await asyncio.sleep(600)
        assert "arm holds a part for cell-0001" in str((await lab.engine.state(second)).cause)
        assert lab.toy("arm").happened == ["pick"]
        with pytest.raises(CommandRefusedError, match=r"arm still holds what cell-0001 has in it: take it out .*clear"):
            await lab.engine.command(first, Command.CLEAR, by="eva")
        lab.toy("arm").happened.append("place")  # by hand
        await lab.engine.command(first, Command.CLEAR, by="eva")
        assert (await lab.engine.wait(second)).outcome == "complete"
        assert lab.lab.places.part_for("arm/gripper") is None


async def test_a_part_that_was_taken_out_of_the_gripper_is_not_set_down_by_the_next_cell(bench: BenchMaker) -> None:
    async with bench({"deck": LIDS}) as lab:
        lab.toy("arm").script["place"] = [Rejected("not homed"), Rejected("not homed")]
        first = await lab.start(CLOSE, "tray/cells/A1", lid="tray/lids/A1")
        await until(lab, first, "Held")
        stock = lab.lab.inventory.stock
        assert stock.held["arm/gripper"].name == "lid"
        await lab.engine.command(first, Command.STOP, by="eva")
        await lab.engine.wait(first)
        lab.toy("arm").happened.append("place")  # by hand
        await lab.engine.command(first, Command.CLEAR, by="eva")
        assert stock.held == {}
        second = await lab.start(ASSEMBLE, "tray/cells/B1")
        assert (await lab.engine.wait(second)).outcome == "complete"
        assert [event.data["sample"] for event in await lab.journal.events(kinds={"stock.moved"})] == []
        written = await lab.journal.events(kinds=READ)
        assert stock_of(written).held == {}
        gone = [event.data for event in written if event.kind == "stock.unloaded"]
        assert [(one["place"], one["name"], one["by"]) for one in gone] == [("arm/gripper", "lid", "eva")]


async def test_what_a_gripper_holds_can_be_said_to_be_taken_out(bench: BenchMaker) -> None:
    async with bench({"deck": LIDS}) as lab:
        lab.toy("arm").script["place"] = [Rejected("not homed"), Rejected("not homed")]
        first = await lab.start(CLOSE, "tray/cells/A1", lid="tray/lids/A1")
        await until(lab, first, "Held")
        await lab.lab.inventory.unload("arm/gripper", by="eva")
        assert lab.lab.inventory.stock.held == {}
        await lab.lab.inventory.unload("arm/gripper", by="eva")  # until it is cleared
        assert lab.lab.places.part_for("arm/gripper") == "cell-0001"


async def test_a_lid_in_the_fingers_is_known_after_a_restart(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("arm").script["place"] = [Rejected("not homed"), Rejected("not homed")]
        first = await lab.start(CLOSE, "tray/cells/A1", lid="tray/cells/F1")
        await until(lab, first, "Held")
    async with bench() as lab:
        assert lab.lab.places.part_for("arm/gripper") == "cell-0001"
