"""A lid in the gripper: nobody else gets the arm until it is set down."""

from __future__ import annotations

import asyncio

from labd.run.lifecycle import Command
from labd.sdk import Rejected
from tests.run.conftest import BenchMaker
from tests.run.waiting import until

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
        await lab.engine.command(first, Command.CLEAR, by="eva")
        assert (await lab.engine.wait(second)).outcome == "complete"
        assert lab.lab.places.part_for("arm/gripper") is None


async def test_a_lid_in_the_fingers_is_known_after_a_restart(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("arm").script["place"] = [Rejected("not homed"), Rejected("not homed")]
        first = await lab.start(CLOSE, "tray/cells/A1", lid="tray/cells/F1")
        await until(lab, first, "Held")
    async with bench() as lab:
        assert lab.lab.places.part_for("arm/gripper") == "cell-0001"
