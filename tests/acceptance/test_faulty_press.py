"""A press on Modbus that meets faults from a file in mid-order: it presses once, or a person is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from labd.faults import load_faults
from labd.lab.config import load_lab
from labd.simulate import Dry, Story
from labd.simulate.runs import one_run

LAB = """\
labd: 1
lab: bench
store: store
devices:
  press: {driver: plc_crimper, settings: {address: "modbus://127.0.0.1:1502", profile: handshake}}
deck:
  - {place: tray/cells, labware: cell_tray_8, fill: half_cell}
"""
PROTOCOL = """\
labd: 1
protocol: press
version: 1.0.0
summary: Press once.
roles: {press: crimper}
start: press
states:
  press:
    summary: Press.
    do: press.crimp
    with: {force: 5 kN}
    next: done
  done: {end: complete}
"""
COIL = r"^.{7}\x05"
"""A command to the PLC: the write of a single coil."""


def meet(folder: Path, name: str, given: dict[str, Any] | None = None, **when: Any) -> Story:
    """One run on an empty nest, with one fault of the press."""
    (folder / "lab.yaml").write_text(LAB, encoding="utf-8")
    fault = {"device": "press", "fault": name, "with": given or {}, **when}
    YAML().dump({"labd": 1, "faults": [fault]}, folder / "faults.yaml")
    wrong = load_faults(folder / "faults.yaml", load_lab(folder / "lab.yaml"))
    dry = Dry(folder / "lab.yaml", PROTOCOL, "p.yaml", position="press/nest", roles={"crimper": 1}, faults=wrong)
    return one_run(dry)


@pytest.mark.parametrize("after", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "given", "when"),
    [
        ("reply_lost", {"matching": COIL}, {"times": 1}),
        ("drop", {"way": "requests"}, {"times": 1}),
        ("duplicate", {}, {"times": 20}),
        ("delay", {"delay": "1500 ms"}, {"times": 5}),
        ("half_open", {}, {}),
        ("cut", {}, {"for": "5 s"}),
    ],
)
def test_whatever_the_wire_does_at_whichever_command_it_presses_once_or_asks(
    tmp_path: Path, name: str, given: dict[str, Any], when: dict[str, Any], after: int
) -> None:
    story = meet(tmp_path, name, given, after={"count": after, "matching": COIL}, **when)
    assert story.faults[f"press.{name}"] >= 1
    assert story.outcome == "complete"
    assert story.actions["press.crimp"] == 1 + len(story.questions)


@pytest.mark.parametrize("name", ["busy_stuck", "jam", "estop", "light_curtain"])
def test_a_press_that_is_stuck_holds_the_run(tmp_path: Path, name: str) -> None:
    story = meet(tmp_path, name, after={"count": 3, "matching": COIL})
    assert story.faults == {f"press.{name}": 1}
    assert story.outcome == "held"
    assert story.states == {"press": 1}


def test_a_press_whose_power_fails_in_its_order_is_back_and_the_run_ends(tmp_path: Path) -> None:
    story = meet(tmp_path, "power_cycle", {"off": "10 s"}, after={"count": 3, "matching": COIL})
    assert story.faults == {"press.power_cycle": 1}
    assert story.outcome == "complete"
    assert story.actions["press.crimp"] == 1 + len(story.questions)
