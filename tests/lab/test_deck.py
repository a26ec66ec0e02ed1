"""The deck of lab.yaml: what may stand where."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.files import Problem
from labd.lab.config import load_lab
from labd.lab.deck import Liquid
from tests.lab.test_config import problems_of, write

DECK = """\
labd: 1
lab: bench-1
store: state
devices: {}
parts: {cr2032_bottom: 64}
deck:
  - {place: ot2/1, labware: opentrons_96_tiprack_20ul}
  - place: ot2/2
    labware: vials_8x20ml
    contents:
      A1: {material: LP57, lot: 412, volume: 12 mL, dead: 1 mL, expires: 2999-12-31}
      B1: {material: LP30, volume: 500 µL}
  - {place: ot2/3, labware: cell_tray_8, contents: {A1: {part: half_cell}}}
  - {place: tray/bottoms, labware: part_tray_36, fill: cr2032_bottom}
"""


def test_a_deck_is_read_in_microlitres(tmp_path: Path) -> None:
    config = load_lab(write(tmp_path, DECK))
    vials = config.deck[1]
    assert [(place, liquid.usable) for place, liquid in vials.liquids] == [("ot2/2/A1", 11000.0), ("ot2/2/B1", 500.0)]
    lp57 = vials.contents["A1"]
    assert isinstance(lp57, Liquid)
    assert (lp57.lot, str(lp57.expires)) == ("412", "2999-12-31")


def test_parts_lie_in_single_wells_or_in_all(tmp_path: Path) -> None:
    deck = load_lab(write(tmp_path, DECK)).deck
    assert deck[2].parts == {"ot2/3/A1": "half_cell"}
    assert len(deck[3].parts) == 36
    assert deck[3].parts["tray/bottoms/F6"] == "cr2032_bottom"


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "told"),
    [
        ("place: ot2/3", "place: ot2/1", "L302", "13:13", "the first is entry 1"),
        ("      B1:", "      E1:", "L303", "12:7", "has no well `E1`"),
        ("12 mL", "21 mL", "L304", "11:46", "write at most `20 mL`"),
        ("dead: 1 mL", "dead: 13 mL", "L304", "11:59", "13 mL, is more than there is, 12 mL"),
        ("500 µL", "-500 µL", "L104", "12:36", "below the least, 0 µL"),
        ("500 µL", "500", "L105", "12:36", "write `500 µL`"),
        ("500 µL", "500 mg", "L105", "12:36", "g is a mass"),
        (", volume: 500 µL", "", "L102", "12:7", "`volume` is missing"),
        ("material: LP30", "materail: LP30", "L101", "12:12", "did you mean `material`?"),
        ("material: LP30", 'material: ""', "L103", "12:22", "`material` is empty"),
        ("2999-12-31", "31.12.2999", "L103", "11:74", "write year, month and day"),
        ("2999-12-31", "2999-13-31", "L103", "11:74", "there is no day"),
        ("2999-12-31", "2999", "L103", "11:74", "a day belongs here, not `2999`"),
        ("20ul}", "20ul, fill: lid}", "L306", "7:62", "takes no parts"),
        ("20ul}", "20ul, contents: {A1: {material: a, volume: 1 µL}}}", "L306", "7:82", "takes no liquid"),
        ("{material: LP30, volume: 500 µL}", "{part: lid}", "L306", "12:18", "parts stand on trays"),
        ("part: half_cell", "part: half cell", "L103", "13:64", "write `half-cell`"),
        ("part_tray_36", "part_tray_63", "L301", "14:36", "did you mean `part_tray_36`?"),
    ],
)
def test_what_does_not_hold_is_told_at_its_place(
    tmp_path: Path, old: str, new: str, code: str, where: str, told: str
) -> None:
    path = write(tmp_path, DECK.replace(old, new, 1))
    (problem,) = problems_of(path)
    assert (problem.code, problem.where) == (code, f"{path}:{where}")
    assert told in problem.render()


def test_what_has_expired_is_a_warning(tmp_path: Path) -> None:
    config = load_lab(write(tmp_path, DECK.replace("2999-12-31", "2020-12-31")))
    (warning,) = config.warnings
    assert isinstance(warning, Problem)
    assert (warning.code, warning.severity, warning.line, warning.column) == ("L305", "warning", 11, 74)
    assert "LP57 expired on 2020-12-31" in warning.message
