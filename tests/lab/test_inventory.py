"""The book of a lab's stock: whatever people and actions do, it is the fold of what was written, and adds up."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labd.journal import NewEvent
from labd.lab.inventory import Deed, Inventory, StockError, stock_of
from labd.lab.inventory.rows import history, rows
from labd.lab.lab import Lab
from tests.run.pipetting import DECK, ToyRobot
from tests.toys import TOYS, toy_lab

WELLS = ("robot/2/A1", "robot/2/B1", "robot/2/A2")


class Kept:
    """A journal that only remembers."""

    def __init__(self) -> None:
        self.written: list[NewEvent] = []

    async def events(self, *, kinds: Any) -> list[NewEvent]:
        return [event for event in self.written if event.kind in kinds]

    async def append(self, *events: NewEvent) -> None:
        self.written += events

    def post(self, event: NewEvent) -> None:
        self.written.append(event)

    def together(self) -> Any:
        return contextlib.nullcontext()


def a_lab(path: Path, **more: Any) -> Lab:
    devices = {"robot": "robot", "arm": "arm"}
    return toy_lab(path, devices, {**TOYS, "robot": ToyRobot}, **{"deck": DECK, **more})


async def taken_up(path: Path, **more: Any) -> tuple[Inventory, Kept]:
    inventory, journal = a_lab(path, **more).inventory, Kept()
    await inventory.take_up(journal)  # type: ignore[arg-type]
    return inventory, journal


def dose(inventory: Inventory, source: str, to: str, volume: float, number: int) -> None:
    device = inventory._devices["robot"]
    action = device.driver.actions["transfer"]
    parameters = action.parameters.model_validate({"source": source, "destination": to, "volume": f"{volume} µL"})
    deed = Deed("run-0001", "cell-0001", f"a-{number}", device, None, "transfer", parameters)
    if inventory.shortage(deed) is None:
        inventory.done(deed, None)


OPERATION = st.one_of(
    st.tuples(st.just("load"), st.sampled_from(WELLS), st.floats(1, 9_000), st.sampled_from(["L-1", "L-2", None])),
    st.tuples(st.just("add"), st.sampled_from(WELLS), st.floats(1, 900), st.sampled_from(["L-1", "L-3"])),
    st.tuples(st.just("count"), st.sampled_from(WELLS), st.floats(0, 9_000), st.none()),
    st.tuples(st.just("unload"), st.sampled_from(WELLS), st.none(), st.none()),
    st.tuples(st.just("dose"), st.sampled_from(WELLS), st.floats(0.1, 500), st.sampled_from([*WELLS, "tray/cells/A1"])),
)


async def carry_out(inventory: Inventory, number: int, operation: tuple[Any, ...]) -> None:
    kind, place, amount, more = operation
    if kind in ("load", "add"):
        await inventory.load_liquid(place, "LP57", amount, lot=more, dead=0.0, add=kind == "add", by="anna")
    elif kind == "count":
        await inventory.count(place, amount, by="anna")
    elif kind == "unload":
        await inventory.unload(place, by="anna")
    else:
        dose(inventory, place, more, amount, number)


@settings(deadline=None, max_examples=60)
@given(st.lists(OPERATION, max_size=12))
def test_what_came_is_what_went_and_what_is_left_and_each_restart_finds_the_same(operations: list[Any]) -> None:
    async def story(path: Path) -> None:
        inventory, journal = await taken_up(path)
        for number, operation in enumerate(operations):
            with contextlib.suppress(StockError):
                await carry_out(inventory, number, operation)
            assert stock_of(journal.written) == inventory.stock  # type: ignore[arg-type]
        balance = 0.0
        for event in journal.written:
            data = event.data
            if data["thing"] != "liquid":
                continue
            sign = {"stock.loaded": 1, "stock.unloaded": -1, "stock.spent": -1, "stock.corrected": 1}.get(event.kind, 0)
            balance += sign * data["amount"] + (data["amount"] if data.get("fills") else 0.0)
            balance += data["difference"] if event.kind == "stock.counted" else 0.0
        assert sum(well.volume for well in inventory.stock.wells.values()) == pytest.approx(balance, abs=1e-3)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


async def test_a_blend_carries_its_lots_into_the_history_of_each(tmp_path: Path) -> None:
    inventory, journal = await taken_up(tmp_path)
    await inventory.load_liquid("robot/2/B1", "EC", 300.0, lot="S-1", by="anna")
    await inventory.load_liquid("robot/2/A2", "DMC", 100.0, lot="S-2", by="anna")
    dose(inventory, "robot/2/A2", "robot/2/B1", 100.0, 1)
    dose(inventory, "robot/2/B1", "tray/cells/A1", 40.0, 2)
    events: Any = [SimpleNamespace(kind=event.kind, data=event.data, run=event.run, at="") for event in journal.written]
    passages = history([event for event in events if event.kind.startswith("stock.")], "S-1")
    assert [(one.kind, one.amount, one.to) for one in passages] == [
        ("loaded", 300.0, None),
        ("spent", 30.0, "tray/cells/A1"),
    ]
    blend = next(row for row in rows(inventory) if row.place == "robot/2/B1")
    assert (blend.name, blend.lot, blend.amount) == ("EC + DMC", "S-1 + S-2", 360.0)
    assert inventory.stock.wells["robot/2/B1"].material is None


async def test_the_first_to_expire_serves_of_those_that_have_enough(tmp_path: Path) -> None:
    inventory, _ = await taken_up(tmp_path)
    later, sooner = inventory.today.replace(year=2098), inventory.today.replace(year=2097)
    await inventory.load_liquid("robot/2/B1", "LP57", 500.0, expires=later, by="anna")
    await inventory.load_liquid("robot/2/A2", "LP57", 50.0, expires=sooner, by="anna")
    assert inventory.locate("LP57", 40.0) == "robot/2/A2"
    assert inventory.locate("LP57", 90.0) == "robot/2/B1"
    assert inventory.locate("LP57", 9000.0) == "robot/2/B1"  # the one with most, to be told as dry


async def test_rows_that_need_more_than_is_free_are_told_by_their_number(tmp_path: Path) -> None:
    inventory, _ = await taken_up(tmp_path)
    need = {"materials": {"LP57": 40.0}, "tips": {"20": 1}, "parts": {"lid": 4}}
    found = inventory.problems([(2, need), (3, need), (4, need)])
    assert [(row, text) for row, text, _ in found] == [
        (4, "40 µL LP57 is needed, 20 µL is left that nobody else needs"),
        (4, "4 of `lid` are needed, 0 are left"),
    ]
    assert found[0][2].startswith("refill it: labd load robot/2/A1 --material LP57")
    inventory.reserve("job-0001", need)
    assert inventory.free().parts["lid"] == 4
    assert inventory.reason(SimpleNamespace(id="job-0002", needs=need)) is None  # jobs wait in line, runs have it
    inventory.reserve("run-0001", {"materials": {"LP57": 90.0}})
    said = inventory.reason(SimpleNamespace(id="job-0002", needs=need))
    assert said is not None
    assert "10 µL is left" in said
    inventory.release("run-0001")
    inventory.release("job-0001")
    assert inventory.free().parts["lid"] == 8


async def test_an_expired_lot_counts_for_nothing(tmp_path: Path) -> None:
    old = [
        {**DECK[1], "contents": {"A1": {"material": "LP57", "lot": "L-0", "volume": "5 mL", "expires": "2020-01-01"}}}
    ]
    inventory, _ = await taken_up(tmp_path, deck=old)
    ((row, text, mend),) = inventory.problems([(7, {"materials": {"LP57": 40.0}})])
    assert (row, text) == (7, "LP57 (lot L-0) in robot/2/A1 expired on 2020-01-01")
    assert mend.startswith("put in a fresh one: labd load robot/2/A1")
    (told,) = rows(inventory)
    assert (told.usable, told.remarks) == (0.0, ("expired on 2020-01-01: it counts for nothing",))
    expires = inventory.stock.wells["robot/2/A1"].expires
    with pytest.raises(StockError, match="lot L-0 of LP57 expired on 2020-01-01"):
        await inventory.load_liquid("robot/2/A1", "LP57", 50.0, lot="L-0", expires=expires, by="anna")


async def test_counts_of_trays_racks_and_loose_parts(tmp_path: Path) -> None:
    inventory, journal = await taken_up(tmp_path, parts={"cr2032_bottom": 64})
    await inventory.count("tray/lids", 6, by="anna")
    assert "tray/lids/A1" not in inventory.stock.parts  # robots take the first ones first
    await inventory.count("tray/lids/B4", 0, by="anna")
    assert inventory.parts() == {"lid": 5, "cr2032_bottom": 64}
    await inventory.count("robot/1", 90, by="anna")
    assert inventory.tips() == {"robot/1": 90}
    await inventory.count("cr2032_bottom", 60, by="anna")
    await inventory.load_loose("cr2032_bottom", 10, by="anna")
    assert inventory.parts()["cr2032_bottom"] == 70
    differences = [event.data["difference"] for event in journal.written if event.kind == "stock.counted"]
    assert differences == [-2, -1, -6, -4]
    with pytest.raises(StockError, match="9 is no count of pieces; say a whole number from 0 to 8"):
        await inventory.count("tray/lids", 9, by="anna")


async def test_a_count_of_a_tray_of_several_lots_leaves_each_part_its_own(tmp_path: Path) -> None:
    inventory, journal = await taken_up(tmp_path)
    await inventory.load_parts("tray/lids", "lid", lot="L-1", by="anna")
    for well in ("B4", "A4"):
        await inventory.load_parts(f"tray/lids/{well}", "lid", lot="L-2", by="anna")
    await inventory.count("tray/lids", 3, by="eva")
    lots = {at.rpartition("/")[2]: piece.lot for at, piece in inventory.stock.parts.items() if at.startswith("tray/li")}
    assert lots == {"B3": "L-1", "A4": "L-2", "B4": "L-2"}
    told = [event.data for event in journal.written if event.kind == "stock.counted"]
    found = [(one["lot"], one["before"], one["amount"], one["difference"]) for one in told]
    assert found == [("L-1", 6, 1, -5), ("L-2", 2, 2, 0)]
    assert stock_of(journal.written).parts == inventory.stock.parts  # type: ignore[arg-type]
    await inventory.count("tray/lids", 4, by="eva")  # one more: nobody knows of which lot
    assert sorted(str(piece.lot) for at, piece in inventory.stock.parts.items() if at.startswith("tray/li")) == [
        "L-1",
        "L-2",
        "L-2",
        "None",
    ]
    assert stock_of(journal.written).parts == inventory.stock.parts  # type: ignore[arg-type]
