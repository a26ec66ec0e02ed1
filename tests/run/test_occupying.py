"""What the states of protocols leave in grippers, nests and channels, read off before anything moves."""

from __future__ import annotations

import pytest

from labd.protocol import load
from labd.protocol.checker import compiled
from labd.run.scheduling.occupying import WHEREVER, Change, Spot, change_of
from labd.run.shipped import library, shipped
from tests.run.test_deadlock import PRESSED

ARM, PRESS = Spot("role", "arm"), Spot("role", "press")


def of_shipped(name: str, state: str, **values: object) -> Change:
    program = compiled(load(shipped()[name], library=library()))
    return change_of(program, ("arm",), state, values)


@pytest.mark.parametrize(
    ("state", "fills", "empties"),
    [
        ("lower_half", set(), {ARM}),
        ("wet", set(), {ARM}),
        ("to_press", {PRESS}, {ARM, WHEREVER}),
        ("crimp", set(), set()),
        ("retrieve", {Spot("place", "tray/cells/A1")}, {ARM, PRESS}),
    ],
)
def test_a_call_that_picks_and_places_leaves_the_gripper_empty(
    state: str, fills: set[Spot], empties: set[Spot]
) -> None:
    change = of_shipped("autobass_cr2032", state, store_at="tray/cells/A1")
    assert {spot for spot in change.fills if spot.kind == "role"} == {spot for spot in fills if spot.kind == "role"}
    assert fills <= change.fills
    assert {spot for spot in change.empties if spot.kind in ("role", "sample")} == empties


@pytest.mark.parametrize(
    ("state", "fills", "empties"),
    [
        ("take", {ARM}, {WHEREVER}),
        ("load", {PRESS}, {ARM}),
        ("crimp", set(), set()),
        ("unload", {ARM}, {WHEREVER}),
        ("store", set(), {ARM}),
    ],
)
def test_what_is_picked_stays_in_the_gripper_until_it_is_placed(
    state: str, fills: set[Spot], empties: set[Spot]
) -> None:
    assert change_of(compiled(load(PRESSED, "p.yaml")), ("arm",), state, {}) == Change(
        frozenset(fills), frozenset(empties)
    )


LOOSE = PRESSED.replace(
    """    do: arm.pick
    with: {place: =sample.position}
    next: load
""",
    """    steps:
      - if: visits < 2
        then:
          - do: arm.pick
            with: {place: =sample.position}
      - repeat: {times: 2}
        steps:
          - do: arm.place
            with: {place: tray/cells/A1}
          - do: arm.pick
            with: {place: tray/cells/A1}
    next: load
""",
    1,
)


def test_one_side_of_an_if_may_fill_and_does_not_surely_empty() -> None:
    change = change_of(compiled(load(LOOSE, "p.yaml")), ("arm",), "take", {})
    assert change.fills == {ARM}
    assert change.empties == {ARM, Spot("place", "tray/cells/A1")}
