"""Labware by its name: wells, and what they take."""

from __future__ import annotations

import pytest

from labd.sdk import labware
from simulators._kit.world import LABWARE_SHAPES, wells_of


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("vials_8x20ml", 20_000),
        ("nest_96_wellplate_200ul_flat", 200),
        ("nest_96_wellplate_2ml_deep", 2000),
        ("opentrons_24_tuberack_nest_1.5ml_snapcap", 1500),
        ("nest_12_reservoir_15ml", 15_000),
        ("cell_tray_36", labware.CELL_CAPACITY),
        ("lid_tray_8", None),
        ("part_tray_36", None),
        ("opentrons_96_tiprack_300ul", None),
        ("our_24_rack", None),
    ],
)
def test_a_wells_capacity_stands_in_the_name(name: str, most: float | None) -> None:
    assert labware.capacity(name) == most


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("opentrons_96_tiprack_20ul", 20),
        ("opentrons_96_filtertiprack_200ul", 200),
        ("opentrons_flex_96_tiprack_1000ul", 1000),
        ("nest_96_wellplate_200ul_flat", None),
    ],
)
def test_tips_are_known_by_their_size(name: str, size: int | None) -> None:
    assert labware.tip_size(name) == size


def test_a_reservoir_is_one_row() -> None:
    assert labware.wells("nest_12_reservoir_15ml")[-1] == "A12"


@pytest.mark.parametrize("name", [*labware.SHAPES, "nest_96_wellplate_200ul_flat", "nest_12_reservoir_15ml", "x_384_y"])
def test_the_simulators_have_the_same_wells(name: str) -> None:
    assert labware.SHAPES == LABWARE_SHAPES
    assert wells_of(name) == labware.wells(name)


def test_parts_and_liquid_do_not_stand_in_the_same_things() -> None:
    assert labware.holds_parts("part_tray_8")
    assert not labware.holds_liquid("part_tray_8")
    assert labware.holds_liquid("vials_8x20ml")
    assert not labware.holds_parts("vials_8x20ml")
    assert not labware.holds_parts("opentrons_96_tiprack_20ul")
    assert not labware.holds_liquid("opentrons_96_tiprack_20ul")
