"""The world that simulators share: parts, liquids, and what is left of it after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulators._kit.hands import Hands
from simulators._kit.stack import Worth, worth
from simulators._kit.world import HALF_CELL, LID, Cell, Part, World

DECK = [
    {"place": "tray/cells", "labware": "cell_tray_8", "fill": HALF_CELL, "contents": {}},
    {"place": "tray/lids", "labware": "lid_tray_8", "fill": LID, "contents": {}},
    {
        "place": "ot2/2",
        "labware": "vials_8x20ml",
        "fill": None,
        "contents": {"A1": {"material": "LP57", "volume": "12 mL", "dead": "1 mL"}},
    },
]


def test_a_deck_is_laid_out_with_a_part_in_every_well() -> None:
    world = World()
    world.furnish(DECK)
    assert {place for place, item in world.items() if isinstance(item, Cell)} == {
        f"tray/cells/{row}{column}" for row in "AB" for column in (1, 2, 3, 4)
    }
    assert len(list(world.items())) == 16
    well = world.well("ot2/2/A1")
    assert well is not None
    assert (well.volume, well.dead) == (12_000.0, 1_000.0)


def test_a_dose_stays_with_the_cell_that_is_carried_on() -> None:
    world = World()
    world.furnish(DECK)
    world.pour("tray/cells/A1", {"LP57": 35.0}, at=100.0)
    cell = world.take("tray/cells/A1")
    assert cell is not None
    assert world.put("press/nest", cell)
    found = world.cell("press/nest")
    assert found is not None
    assert (found.volume, found.wetted_at) == (35.0, 100.0)
    assert world.cell("tray/cells/A1") is None


def test_a_lid_closes_an_open_cell_once() -> None:
    world = World()
    world.put("press/nest", Cell(id="one"))
    assert world.put("press/nest", Part(id="lid:1", name=LID))
    assert not world.put("press/nest", Part(id="lid:2", name=LID))
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.parts == [HALF_CELL, LID]


def test_a_place_that_is_taken_takes_no_second_cell() -> None:
    world = World()
    assert world.put("press/nest", Cell(id="one"))
    assert not world.put("press/nest", Cell(id="two"))


def test_liquid_does_not_get_into_a_closed_cell() -> None:
    world = World()
    world.put("press/nest", Cell(id="one", parts=[HALF_CELL, LID]))
    world.pour("press/nest", {"LP57": 35.0}, at=0.0)
    cell = world.cell("press/nest")
    assert cell is not None
    assert cell.volume == 0.0


def test_a_vial_runs_dry_at_its_dead_volume() -> None:
    world = World()
    world.furnish([{"place": "v", "labware": "x", "contents": {"A1": {"material": "LP57", "volume": 50, "dead": 20}}}])
    assert world.draw("v/A1", 20.0) == {"LP57": 20.0}
    assert world.draw("v/A1", 20.0) == {"LP57": 10.0}
    assert world.draw("v/A1", 20.0) == {}


def test_what_is_drawn_from_a_mixture_has_its_share_of_everything() -> None:
    world = World()
    world.pour("v/A1", {"EC": 300.0}, at=0.0)
    world.pour("v/A1", {"EMC": 700.0}, at=1.0)
    assert world.draw("v/A1", 100.0) == pytest.approx({"EC": 30.0, "EMC": 70.0})
    well = world.well("v/A1")
    assert well is not None
    assert well.contents == pytest.approx({"EC": 270.0, "EMC": 630.0})


def test_a_world_on_disk_keeps_its_story(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    world = World(3, path)
    world.furnish(DECK)
    world.pour("tray/cells/A1", {"LP57": 35.0}, at=100.0)
    world.memory("press")["cycles"] = 7
    world.save()

    again = World(3, path)
    again.furnish(DECK)  # nothing: it is not fresh
    cell = again.cell("tray/cells/A1")
    assert cell is not None
    assert cell.volume == 35.0
    assert again.memory("press")["cycles"] == 7


def test_one_more_device_changes_no_other_ones_numbers() -> None:
    world = World(5)
    first = world.random("stat1").random()
    world.random("stat2").random()
    assert world.random("stat1").random() == first
    assert World(6).random("stat1").random() != first


SINGLE = ("cr2032_bottom", "spacer", "anode", "separator", "cathode", "spacer", "spring", "cr2032_top")


def stacked(names: Sequence[str], place: str = "ot2/3/A1") -> World:
    world = World()
    for number, name in enumerate(names):
        world.put(place, Part(id=f"{name}:{number}", name=name))
    return world


def test_single_parts_become_a_cell_that_keeps_their_order() -> None:
    cell = stacked(SINGLE).cell("ot2/3/A1")
    assert cell is not None
    assert cell.parts == list(SINGLE)
    assert cell.closed


def test_electrolyte_goes_into_an_open_stack_in_as_many_doses_as_one_likes() -> None:
    world = World()
    for part in SINGLE[:3]:
        world.put("post", Part(id=part, name=part))
    world.pour("post", {"LP57": 17.5}, at=10.0)
    world.put("post", Part(id="separator", name="separator"))
    world.pour("post", {"LP57": 17.5}, at=60.0)
    for part in SINGLE[4:]:
        world.put("post", Part(id=part, name=part))
    world.pour("post", {"LP57": 17.5}, at=90.0)  # its top is on: it runs off
    cell = world.cell("post")
    assert cell is not None
    assert (cell.volume, cell.wetted_at) == (35.0, 10.0)
    assert world.well("post") is None


def test_nothing_lies_on_a_closed_stack_or_on_a_part_that_is_no_case() -> None:
    world = stacked(SINGLE)
    assert not world.put("ot2/3/A1", Part(id="more", name="spacer"))
    world.put("tray/A1", Part(id="anode", name="anode"))
    assert not world.put("tray/A1", Part(id="separator", name="separator"))
    world.pour("tray/A1", {"LP57": 10.0}, at=0.0)
    assert world.well("tray/A1") is None


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (SINGLE, Worth.GOOD),
        ((HALF_CELL, LID), Worth.GOOD),
        ((HALF_CELL, *SINGLE[4:]), Worth.GOOD),
        ((*SINGLE[:4], LID), Worth.GOOD),
        ((*SINGLE[:5], "spring", "cr2032_top"), Worth.LOOSE),
        ((*SINGLE[:3], "separator", *SINGLE[3:]), Worth.LOOSE),
        ((*SINGLE[:3], *SINGLE[4:]), Worth.SHORT),
        (("cr2032_bottom", "spacer", "separator", "anode", *SINGLE[4:]), Worth.SHORT),
        ((*SINGLE[:2], *SINGLE[3:]), Worth.DEAD),
        (SINGLE[:-1], Worth.DEAD),
        ((*SINGLE[:2], "cathode", "separator", "anode", *SINGLE[5:]), Worth.DEAD),
    ],
    ids=str,
)
def test_what_a_stack_is_worth_follows_from_what_lies_where(parts: tuple[str, ...], found: Worth) -> None:
    assert worth(parts) is found


class TestHands:
    """What people tell labd that they did."""

    def told(self, kind: str, **data: object) -> SimpleNamespace:
        return SimpleNamespace(kind=kind, data={"by": "eva", **data})

    def test_parts_are_laid_and_taken_out(self) -> None:
        world = World()
        world.furnish(DECK)
        hands = Hands(world)
        world.take("tray/lids/A1")
        hands.do([self.told("stock.unloaded", thing="part", wells=["tray/lids/B1"])])
        assert (world.item("tray/lids/A1"), world.item("tray/lids/B1")) == (None, None)
        laid = {"thing": "part", "name": LID, "wells": ["tray/lids/A1", "tray/lids/B1"]}
        hands.do([self.told("stock.loaded", **laid)])
        assert [getattr(world.item(f"tray/lids/{well}"), "name", "") for well in ("A1", "B1")] == [LID, LID]
        hands.do([self.told("stock.loaded", thing="part", name=HALF_CELL, wells=["tray/cells/A1"])])
        assert isinstance(world.item("tray/cells/A1"), Cell)

    def test_liquids_are_poured_topped_up_and_emptied(self) -> None:
        world = World()
        world.furnish(DECK)
        hands = Hands(world)
        portion = {"material": "LP57", "lot": "L-2", "amount": 3000.0, "expires": None}
        liquid = {"thing": "liquid", "place": "ot2/2/A1", "portions": [portion], "amount": 3000.0}
        hands.do([self.told("stock.unloaded", **liquid), self.told("stock.loaded", **liquid, dead=500.0)])
        well = world.well("ot2/2/A1")
        assert well is not None
        assert (well.volume, well.dead) == (3000.0, 500.0)
        hands.do([self.told("stock.counted", **liquid)])
        assert well.volume == 3000.0  # who only looks changes nothing
        hands.do([self.told("stock.counted", **liquid, poured=1000.0)])
        assert well.volume == 4000.0
        hands.do([self.told("stock.unloaded", **liquid)])
        assert world.well("ot2/2/A1") is None

    def test_what_lab_yaml_says_is_furnished_and_not_poured_once_more(self) -> None:
        world = World()
        world.furnish(DECK)
        portion = {"material": "LP57", "lot": None, "amount": 12_000.0, "expires": None}
        liquid = {"thing": "liquid", "place": "ot2/2/A1", "portions": [portion], "amount": 12_000.0, "dead": 0.0}
        Hands(world).do([self.told("stock.loaded", **{**liquid, "by": "lab.yaml"})])
        well = world.well("ot2/2/A1")
        assert well is not None
        assert well.volume == 12_000.0

    def test_a_sample_that_is_cleared_leaves_the_world(self) -> None:
        world = World()
        world.furnish(DECK)
        Hands(world).do([self.told("sample.moved", **{"sample": "a", "from": "tray/cells/A1", "to": None})])
        assert world.item("tray/cells/A1") is None
