"""A run that lacks material: it is suspended, says what and where, and goes on once it is there."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest

from labd.lab.inventory import ENTRIES, StockError, stock_of
from labd.run.lifecycle import Command, CommandRefusedError
from labd.sdk import OutcomeUnknown
from tests.run.conftest import Bench
from tests.run.pipetting import CRIMP, DECK, DOSE, LID, lab
from tests.run.waiting import until, until_asked

VIAL = "robot/2/A1"


async def dry(bench: Bench, source: str = DOSE, **more: Any) -> str:
    """A run that has been suspended for want of LP57."""
    run = await bench.start(source, **more)
    await bench.lab.inventory.count(VIAL, 1012.0, by="anna")
    await until(bench, run, "Suspended")
    return run


async def test_a_dose_is_booked_in_the_same_commit_as_its_done(tmp_path: Path) -> None:
    commits: list[list[str]] = []
    async with lab(tmp_path) as bench:
        bench.journal.on_commit(lambda events: commits.append([event.kind for event in events]))
        run = await bench.start(DOSE)
        await bench.engine.wait(run)
        (spent, tip) = await bench.events(run, "stock.spent")
        assert bench.lab.inventory.usable(VIAL) == pytest.approx(65.0)
    assert any({"action.done", "stock.spent"} <= set(commit) for commit in commits)
    told = {key: spent.data[key] for key in ("place", "lot", "amount", "unit", "by", "to", "sample")}
    assert told == {
        "place": VIAL,
        "lot": "L-1",
        "amount": 35.0,
        "unit": "µL",
        "by": "robot.transfer",
        "to": "tray/cells/A1",
        "sample": "cell-0001",
    }
    assert (tip.data["place"], tip.data["wells"]) == ("robot/1", ["A1"])


async def test_running_dry_suspends_the_run_and_says_what_and_where(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await dry(bench)
        question = await until_asked(bench, run)
        assert str(question["text"]).startswith("LP57: 12 µL usable in robot/2/A1, this needs 35 µL; refill")
        assert question["kind"] == "supply"
        other = await bench.start(CRIMP, position="tray/cells/B1")
        assert (await bench.engine.wait(other)).outcome == "complete"
        assert (await bench.engine.state(run)).state == "Suspended"
        await bench.lab.inventory.load_liquid(VIAL, "LP57", 12_000.0, lot="L-2", by="anna")
        assert (await bench.engine.wait(run)).outcome == "complete"
        states = ["Suspending", "Suspended", "Unsuspending", "Execute"]
        assert (await bench.packml(run))[2:6] == states
        assert len(await bench.events(run, "question.withdrawn")) == 1
        (spent, _) = await bench.events(run, "stock.spent")
        assert spent.data["lot"] == "L-2"


async def test_an_answer_with_what_is_there_now_lets_it_go_on(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await dry(bench)
        await until_asked(bench, run)
        with pytest.raises(CommandRefusedError, match="a quantity in µL from 1035"):
            await bench.engine.answer(run, "", value="20 µL", by="anna")
        await bench.engine.answer(run, "", value="5 mL", by="anna")
        assert (await bench.engine.wait(run)).outcome == "complete"
        assert bench.lab.inventory.usable(VIAL) == pytest.approx(3965.0)
        counted = (await bench.journal.events(kinds={"stock.counted"}))[-1]
        assert (counted.data["by"], counted.data["difference"]) == ("anna", pytest.approx(3988.0))
        (spent, _) = await bench.events(run, "stock.spent")
        assert spent.data["lot"] == "L-1 + unknown"  # of the new bottle nobody told it
        lots = {one.lot: one.amount for one in bench.lab.inventory.stock.wells[VIAL].portions}
        assert lots[None] == pytest.approx(lots["L-1"] * 3988.0 / 1012.0)


async def test_another_vial_with_enough_serves_at_once(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        await bench.lab.inventory.load_liquid("robot/2/B1", "LP57", 9_000.0, lot="L-9", by="anna")
        run = await bench.start(DOSE)
        await bench.lab.inventory.count(VIAL, 1012.0, by="anna")
        assert (await bench.engine.wait(run)).outcome == "complete"
        (spent, _) = await bench.events(run, "stock.spent")
        assert (spent.data["place"], spent.data["lot"]) == ("robot/2/B1", "L-9")


@pytest.mark.parametrize(("order", "end"), [(Command.STOP, "stopped"), (Command.ABORT, "aborted")])
async def test_it_is_ended_from_suspended(tmp_path: Path, order: Command, end: str) -> None:
    async with lab(tmp_path) as bench:
        run = await dry(bench)
        await bench.engine.command(run, order, by="anna")
        assert (await bench.engine.wait(run)).outcome == end
        assert bench.toy("robot").happened == []
        assert bench.lab.inventory.stock.reserved == {}


async def test_it_is_held_from_suspended_and_stays_so_when_it_is_refilled(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await dry(bench)
        await bench.engine.command(run, Command.HOLD, by="anna")
        await until(bench, run, "Held")
        await bench.lab.inventory.count(VIAL, 5_000.0, by="anna")
        await asyncio.sleep(600)
        assert (await bench.engine.state(run)).state == "Held"
        await bench.engine.command(run, Command.UNHOLD, by="anna")
        assert (await bench.engine.wait(run)).outcome == "complete"
        assert (await bench.engine.state(run)).question is None


async def test_unheld_while_it_is_dry_it_is_suspended_again_with_the_same_question(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await dry(bench)
        before = await until_asked(bench, run)
        await bench.engine.command(run, Command.HOLD, by="anna")
        await until(bench, run, "Held")
        await bench.engine.command(run, Command.UNHOLD, by="anna")
        await until(bench, run, "Suspended")
        assert (await until_asked(bench, run))["id"] == before["id"]


async def test_a_restart_keeps_it_suspended_until_it_is_refilled(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await dry(bench)
        before = await until_asked(bench, run)
    async with lab(tmp_path) as bench:
        await asyncio.sleep(60)
        assert (await bench.engine.state(run)).state == "Suspended"
        assert (await until_asked(bench, run))["id"] == before["id"]
        await bench.lab.inventory.count(VIAL, 5_000.0, by="anna")
        assert (await bench.engine.wait(run)).outcome == "complete"
        assert bench.toy("robot").happened == ["transfer"]


async def test_what_is_edited_in_lab_yaml_meanwhile_is_a_new_load(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await dry(bench)
    deck: list[dict[str, Any]] = copy.deepcopy(DECK)
    deck[1]["contents"]["A1"] |= {"volume": "8 mL", "lot": "L-3"}
    async with lab(tmp_path, deck) as bench:
        assert (await bench.engine.wait(run)).outcome == "complete"
        assert bench.lab.inventory.told == ["robot/2 was edited in lab.yaml: A1 is loaded as new from there"]
        assert bench.lab.inventory.usable(VIAL) == pytest.approx(6965.0)
    async with lab(tmp_path, deck) as bench:
        assert bench.lab.inventory.told == []
        assert bench.lab.inventory.usable(VIAL) == pytest.approx(6965.0)


@pytest.mark.parametrize(
    ("choice", "left"), [("done", 1065.0), ("not done", 1065.0), ("scrap", 1065.0)], ids=["done", "not done", "scrap"]
)
async def test_what_nobody_knows_is_in_doubt_until_somebody_says(tmp_path: Path, choice: str, left: float) -> None:
    async with lab(tmp_path) as bench:
        bench.toy("robot").script["transfer"] = [OutcomeUnknown("the link was lost")]
        run = await bench.start(DOSE)
        await until_asked(bench, run)
        inventory = bench.lab.inventory
        assert (inventory.stock.wells[VIAL].volume, inventory.usable(VIAL)) == (1100.0, 65.0)
        await bench.engine.answer(run, choice, by="anna")
        if choice != "scrap":
            await bench.engine.command(run, Command.UNHOLD, by="anna")
        await bench.engine.wait(run)
        assert inventory.stock.doubts == {}
        assert inventory.stock.wells[VIAL].volume == pytest.approx(left)
        spent = [event.data for event in await bench.events(run, "stock.spent") if event.data["thing"] == "liquid"]
        assert [one["by"] for one in spent] == ["robot.transfer" if choice == "not done" else "anna"]
        corrected = await bench.events(run, "stock.corrected")
        assert [event.data["by"] for event in corrected] == (["anna"] if choice == "not done" else [])


async def test_a_picked_part_leaves_its_place_and_the_next_pick_there_waits(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        first = await bench.start(LID)
        await asyncio.sleep(10)
        second = await bench.start(LID, position="tray/cells/B1")
        assert (await bench.engine.wait(first)).outcome == "complete"
        question = await until_asked(bench, second)
        assert str(question["text"]).startswith("nothing lies at tray/lids/A1 any more; lay a lid there")
        assert question["choices"] == ["refilled"]
        await bench.engine.answer(second, "refilled", by="anna")
        assert (await bench.engine.wait(second)).outcome == "complete"
        assert bench.lab.inventory.parts()["lid"] == 7
        loaded = (await bench.journal.events(kinds={"stock.loaded"}))[-1]
        assert (loaded.data["place"], loaded.data["amount"], loaded.data["by"]) == ("tray/lids/A1", 1, "anna")


async def test_without_a_tip_it_waits_for_a_rack(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await bench.start(DOSE)
        await bench.lab.inventory.count("robot/1", 0, by="anna")
        question = await until_asked(bench, run)
        assert str(question["text"]).startswith("no 20 µL tip is left in robot/1; put in a full rack")
        await bench.lab.inventory.load_rack("robot/1", by="anna")
        assert (await bench.engine.wait(run)).outcome == "complete"
        assert bench.lab.inventory.tips() == {"robot/1": 95}


async def test_a_start_is_refused_when_the_worst_path_needs_more_than_is_left(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        await bench.lab.inventory.count(VIAL, 1012.0, by="anna")
        with pytest.raises(Exception, match="P502"):
            await bench.start(DOSE)


async def test_a_run_under_way_has_reserved_what_it_needs(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        run = await bench.start(DOSE, volume="80 µL")
        with pytest.raises(Exception, match="P502"):
            await bench.start(DOSE, position="tray/cells/B1")
        await bench.engine.wait(run)
        assert bench.lab.inventory.free().materials["LP57"] == pytest.approx(20.0)


async def test_after_a_restart_the_stock_is_the_fold_of_the_journal(tmp_path: Path) -> None:
    async with lab(tmp_path) as bench:
        await bench.engine.wait(await bench.start(DOSE))
        await bench.engine.wait(await bench.start(LID, position="tray/cells/B1"))
        before = bench.lab.inventory.stock
    async with lab(tmp_path) as bench:
        assert bench.lab.inventory.stock == before
        assert stock_of(await bench.journal.events(kinds=ENTRIES)) == before


@pytest.mark.parametrize(
    ("place", "volume", "more", "told"),
    [
        ("robot/9/A1", 100.0, {}, "nothing stands at 'robot/9/A1'; did you mean"),
        ("robot/2/C9", 100.0, {}, r"robot/2 \(vials_8x20ml\) has no well 'C9'; it has"),
        ("robot/2/A1", 25_000.0, {}, "25 mL is more than a well of vials_8x20ml .* say at most 20 mL"),
        ("robot/2", 100.0, {}, "robot/2 .* has several wells; name one: robot/2/A1"),
        ("tray/lids/A1", 100.0, {}, "lid_tray_8 at tray/lids takes no liquid"),
        ("robot/2/B1", 100.0, {"dead": 200.0}, "the dead volume of robot/2/B1, 200 µL, is more than the 100 µL in it"),
    ],
)
async def test_a_load_that_cannot_be_is_refused_with_place_and_mend(
    tmp_path: Path, place: str, volume: float, more: dict[str, Any], told: str
) -> None:
    async with lab(tmp_path) as bench:
        with pytest.raises(StockError, match=told):
            await bench.lab.inventory.load_liquid(place, "LP57", volume, **more, by="anna")
