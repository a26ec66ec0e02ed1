"""The shipped protocols: each passes its check, and each runs on the simulated lab to the end that it foresees."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.clock import VirtualTimeline
from labd.lab.check import check_lab
from labd.protocol import check, load
from labd.protocol.facts import LabFacts
from labd.run.facts import facts_of
from labd.run.shipped import library, shipped
from simulators._kit.stack import Worth, worth
from simulators._kit.world import Cell, Part, Well
from simulators.cells import CellModel
from tests.protocols.bench import LAB, Ran
from tests.protocols.session import session

ORDER = ["cr2032_bottom", "spacer", "anode", "separator", "cathode", "spacer", "spring", "cr2032_top"]
SCHEMA = "# yaml-language-server: $schema=../docs/reference/protocol.schema.json"


# ── before anything moves ────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def lab() -> LabFacts:
    checked = check_lab(LAB / "lab.yaml")
    assert checked.problems == ()
    assert checked.lab is not None
    return facts_of(checked.lab)


@pytest.mark.parametrize("name", shipped())
def test_it_passes_its_check_without_a_warning(name: str, lab: LabFacts) -> None:
    protocol = load(shipped()[name], library=library())
    assert [problem.render() for problem in (*check(protocol), *check(protocol, lab))] == []


@pytest.mark.parametrize("name", shipped())
def test_it_is_named_as_its_file_and_says_of_each_state_what_it_is_for(name: str) -> None:
    protocol = load(shipped()[name], library=library())
    assert protocol.text.startswith(SCHEMA)
    assert protocol.name == name
    assert protocol.summary
    assert all(state.summary for state in protocol.states.values() if not hasattr(state, "end"))


def test_a_cell_as_autobass_builds_it_takes_fewer_than_120_lines() -> None:
    assert len(shipped()["autobass_cr2032"].read_text(encoding="utf-8").splitlines()) < 120


# ── at work ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Ran], dict[str, Any], list[str]]:
    directory: Path = tmp_path_factory.mktemp("lab")
    return clock.run(session(directory), VirtualTimeline())


@pytest.fixture(scope="module")
def ran(played: tuple[dict[str, Ran], dict[str, Any], list[str]]) -> dict[str, Ran]:
    return played[0]


@pytest.fixture(scope="module")
def world(played: tuple[dict[str, Ran], dict[str, Any], list[str]]) -> dict[str, Cell | Part | Well]:
    return played[1]


def test_the_inventory_agrees_with_the_world_after_all_of_them(
    played: tuple[dict[str, Ran], dict[str, Any], list[str]],
) -> None:
    assert played[2] == []


def cell_at(world: Mapping[str, object], place: str) -> Cell:
    cell = world.get(place)
    assert isinstance(cell, Cell), f"{place}: {cell}"
    return cell


def test_every_shipped_protocol_has_run(ran: dict[str, Ran]) -> None:
    started = {event.data["protocol"] for one in ran.values() for event in one.events if event.kind == "run.started"}
    called = {name for one in ran.values() for event in one.events for name in event.data.get("called", ())}
    assert started | called == set(shipped()) - {"mix_and_form_cr2032"}  # that one runs in tests/demo, in its campaign


@pytest.mark.parametrize(
    "name",
    ["self_test", "mixed", "calibrated", "autobass", "aurora", "missed_once", "formed", "ladder", "spectrum"],
)
def test_where_nothing_is_off_it_comes_to_its_end_and_asks_nobody(name: str, ran: dict[str, Ran]) -> None:
    assert (ran[name].outcome, ran[name].asked) == ("complete", ())


def test_a_self_test_doses_presses_and_charges_nothing(ran: dict[str, Ran]) -> None:
    assert {event.data["effect"] for event in ran["self_test"].events if event.kind == "action.intended"} == {
        "read",
        "state",
    }


# ── a cell from single parts ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("well", "dose"), [("A1", 35.0), ("B1", 100.0), ("A2", 35.0), ("A3", 35.0), ("A4", 35.0)])
def test_the_parts_lie_in_order_the_doses_are_in_it_and_it_is_crimped(
    well: str, dose: float, world: dict[str, Cell | Part | Well]
) -> None:
    cell = cell_at(world, f"tray/cells/{well}")
    assert cell.parts == ORDER
    assert cell.electrolyte == {"LP57": pytest.approx(dose, rel=0.05)}
    assert cell.crimp_force == pytest.approx(7.8, abs=0.2)
    assert cell.damage == []
    assert worth(cell.parts) is Worth.GOOD


def test_a_cell_from_single_parts_is_as_good_as_any(world: dict[str, Cell | Part | Well]) -> None:
    cell = CellModel(cell_at(world, "tray/cells/A1").model_copy(deep=True), random.Random(1))
    assert cell.capacity == pytest.approx(7.2, rel=0.1)  # C


def test_autobass_is_as_fast_as_autobass(ran: dict[str, Ran]) -> None:
    wet = [event.at for event in ran["autobass"].events if is_intent(event, "robot", "transfer")]
    crimp = [event.at for event in ran["autobass"].events if is_intent(event, "press", "crimp")]
    assert 60 < seconds(wet[0], crimp[0]) < 742


def test_the_stack_is_aligned_at_half_the_force_of_the_grip(ran: dict[str, Ran]) -> None:
    grips = [pick["parameters"]["force"]["v"] for pick in ran["autobass"].actions("arm.pick")]
    assert grips == [0.02] * 8 + [0.01] + [0.02] * 2  # kN


def test_the_arm_is_out_of_the_way_before_a_dose_and_before_the_crimp(ran: dict[str, Ran]) -> None:
    did = [event.data for event in ran["autobass"].events if event.kind == "action.intended"]
    for before, after in pairwise(did):
        if after["action"] in ("transfer", "crimp"):
            assert before["action"] == "home"


def test_a_grip_that_misses_is_tried_again_and_nobody_is_asked(ran: dict[str, Ran]) -> None:
    assert len(ran["missed_once"].actions("arm.pick")) == len(ran["autobass"].actions("arm.pick")) + 1


def test_after_three_misses_a_person_is_asked_and_it_goes_on(ran: dict[str, Ran]) -> None:
    thrice = ran["missed_thrice"]
    assert len(thrice.actions("arm.pick")) == len(ran["autobass"].actions("arm.pick")) + 3
    (asked,) = thrice.asked
    assert asked.startswith("The arm finds nothing to grip at tray/separators/A3 for auto-a3.")
    assert thrice.outcome == "complete"


def test_a_part_that_is_lost_on_the_way_is_asked_for_and_replaced(
    ran: dict[str, Ran], world: dict[str, Cell | Part | Well]
) -> None:
    asked, supply = ran["lost"].asked
    assert "was lost on the way to ot2/3/A4" in asked
    assert supply.startswith("nothing lies at tray/separators/A4 any more")  # nobody had told the inventory
    assert ran["lost"].outcome == "complete"
    fallen = [item for place, item in world.items() if place.startswith("arm/fallen/")]
    assert next(item.name for item in fallen if isinstance(item, Part)) == "separator"


def test_a_cell_that_waited_too_long_for_its_crimp_is_scrapped(ran: dict[str, Ran]) -> None:
    late = ran["too_late"]
    assert late.outcome == "scrapped"
    assert late.actions("press.crimp") == []
    assert any("742" in str(event.data) or "window" in str(event.data) for event in late.events)


@pytest.mark.parametrize("name", ["stopped", "too_late", "too_weak"])
def test_what_does_not_come_to_its_end_leaves_press_and_gantry_free(name: str, ran: dict[str, Ran]) -> None:
    events = ran[name].events
    begun = next(index for index, event in enumerate(events) if event.kind == "cleanup.started")
    done = [
        f"{event.data['role']}.{event.data['action']}" for event in events[begun:] if event.kind == "action.intended"
    ]
    assert done == ["press.open", "robot.home"]
    assert ran[name].count("cleanup.ended") == 1


def test_a_stop_is_a_stop(ran: dict[str, Ran]) -> None:
    assert ran["stopped"].outcome == "stopped"
    assert ran["stopped"].actions("press.crimp") == []


def test_too_little_force_is_asked_about(ran: dict[str, Ran]) -> None:
    (asked,) = ran["too_weak"].asked
    assert "of 7.8 kN. Is auto-b4 sound?" in asked
    assert ran["too_weak"].outcome == "scrapped"


# ── by weight ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_mixture_is_what_was_asked_for(ran: dict[str, Ran], world: dict[str, Cell | Part | Well]) -> None:
    vial = world["ot2/6/A1"]
    assert isinstance(vial, Well)
    assert vial.contents == {
        "EC": pytest.approx(300, rel=0.05),
        "EMC": pytest.approx(700, rel=0.05),
        "DMC": pytest.approx(300, rel=0.05),
    }
    results = ran["mixed"].results
    weighed = results["one"]["mass"] + results["two"]["mass"] + results["three"]["mass"]
    assert weighed == pytest.approx((300 * 1.32 + 700 * 1.01 + 300 * 1.07) / 1000, rel=0.03)


def test_a_dose_that_weighs_what_it_should_not_is_asked_about(ran: dict[str, Ran]) -> None:
    (asked,) = ran["mixed_wrong"].asked
    assert asked.startswith("300 µL of DMC weigh 3")
    assert "instead of 396 mg" in asked
    assert (ran["mixed_wrong"].outcome, "three" in ran["mixed_wrong"].results) == ("complete", False)


def test_a_pipette_is_told_its_error(ran: dict[str, Ran]) -> None:
    assert ran["calibrated"].results["average"] == pytest.approx(100, rel=0.02)
    assert len(ran["calibrated"].actions("robot.transfer")) == 10
    assert ran["calibrated_off"].outcome == "scrapped"
    assert "on average. Is the pipette to be used as it is?" in ran["calibrated_off"].asked[0]


# ── in their channels ────────────────────────────────────────────────────────────────────────────────────────────
def test_a_formed_cell_has_its_capacity_and_lies_where_it_belongs(
    ran: dict[str, Ran], world: dict[str, Cell | Part | Well]
) -> None:
    assert cell_at(world, "tray/lids/B4").parts == ["half_cell", "lid"]
    assert ran["formed"].results["formed"]["capacity"] == pytest.approx(1.87, abs=0.15)  # mAh


def test_a_cell_gives_less_the_faster_it_is_asked(ran: dict[str, Ran]) -> None:
    rates = [action["parameters"]["c_rate"] for action in ran["ladder"].actions("cycler.cycle")]
    assert rates == [0.05, 0.1, 0.2, 0.5]
    measured = ran["ladder"].results["measured"]
    assert measured["capacity"] == pytest.approx(1.9, abs=0.2)
    assert 0.5 < measured["rate_capability"] * measured["capacity"] < measured["capacity"]


def test_a_cell_beyond_its_limits_is_taken_off_at_once(ran: dict[str, Ran]) -> None:
    unsafe = ran["unsafe"]
    assert unsafe.states == ["rest", "ladder", "unsafe"]
    assert unsafe.outcome == "scrapped"
    assert unsafe.actions("cycler.cell_off")


def test_a_spectrum_is_taken_of_a_cell_at_rest(ran: dict[str, Ran]) -> None:
    results = ran["spectrum"].results
    assert abs(results["ocv"]["final_voltage"] - results["ocv"]["mean_voltage"]) < 1e-3
    assert 3 < results["eis"]["r_ohmic"] < 12


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────
def is_intent(event: Any, role: str, action: str) -> bool:
    return event.kind == "action.intended" and (event.data["role"], event.data["action"]) == (role, action)


def seconds(first: Any, second: Any) -> float:
    ends = [datetime.fromisoformat(str(at)) for at in (first, second)]
    return (ends[1] - ends[0]).total_seconds()
