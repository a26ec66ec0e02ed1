"""What a run is started with: texts as people type them, bound, checked, all mistakes at once."""

from __future__ import annotations

from typing import Any

import pytest

from labd.protocol import InputErrors, LabFacts, bind_parameters, load, standard_facts
from labd.protocol.parameters import told

TEXT = """\
labd: 1
protocol: any_kind
version: 1.0.0
parameters:
  volume: {type: quantity, default: 35 µL, min: 10 µL, max: 100 µL}
  bath: {type: quantity, min: 15 °C, max: 40 °C, default: 25 degC}
  cycles: {type: integer, default: 3, max: 500}
  ratio: {type: number, default: 1.1}
  wet: {type: boolean, default: true}
  note: {type: text, default: "012"}
  tip: {type: choice, choices: [always, never], default: always}
  electrolyte: {type: material, default: LP57}
  lid: {type: position}
start: done
states:
  done: {end: complete}
"""
PROTOCOL = load(TEXT)


def test_defaults_fill_what_is_not_given() -> None:
    assert bind_parameters(PROTOCOL, {"lid": "tray/lids/A1"}) == {
        "volume": 35.0,
        "bath": 25.0,
        "cycles": 3,
        "ratio": 1.1,
        "wet": True,
        "note": "012",
        "tip": "always",
        "electrolyte": "LP57",
        "lid": "tray/lids/A1",
    }


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("volume", "0.04 mL", 40.0),
        ("volume", "40 uL", 40.0),
        ("volume", {"v": 40, "u": "µL"}, 40.0),
        ("cycles", "12", 12),
        ("cycles", 12, 12),
        ("ratio", "1e-1", 0.1),
        ("ratio", 2, 2),
        ("wet", "false", False),
        ("wet", True, True),
        ("note", "7", "7"),
        ("tip", "never", "never"),
    ],
)
def test_texts_and_values_are_read_by_their_type(name: str, given: Any, value: Any) -> None:
    assert bind_parameters(PROTOCOL, {"lid": "a", name: given})[name] == value


@pytest.mark.parametrize(
    ("name", "given", "message", "mend"),
    [
        ("volume", "35", "35 needs a unit", "µL"),
        ("volume", 35, "35 needs a unit", "35 µL"),
        ("volume", "35 kN", "`35 kN` is a force, and a volume belongs here", "µL"),
        ("volume", "200 µL", "200 µL is above the greatest, 100 µL", ""),
        ("volume", "-1 µL", "-1 µL is below the least, 10 µL", ""),
        ("volume", "nan µL", "is no quantity", ""),
        ("bath", "25 K", "`25 K` is a temperature difference", "°C"),
        ("cycles", "2.5", "a whole number belongs here, not `2.5`", ""),
        ("cycles", "501", "501 is above the greatest, 500", ""),
        ("cycles", "3 cycles", "a whole number belongs here", ""),
        ("ratio", "inf", "a finite number belongs here", ""),
        ("ratio", float("nan"), "a finite number belongs here", ""),
        ("wet", "yes", "true or false belongs here, not `yes`", "write `true`"),
        ("tip", "alway", "`alway` does not belong here", "did you mean `always`?"),
        ("volum", "1 µL", "any_kind has no parameter `volum`", "did you mean `volume`?"),
    ],
)
def test_a_wrong_value_is_told_with_its_name_and_a_mend(name: str, given: Any, message: str, mend: str) -> None:
    with pytest.raises(InputErrors) as caught:
        bind_parameters(PROTOCOL, {"lid": "a", name: given})
    (problem,) = caught.value.problems
    assert problem.code == "P401"
    assert message in problem.message
    assert name in problem.message
    assert mend in problem.mend


def test_all_mistakes_are_told_at_once_with_what_is_missing() -> None:
    with pytest.raises(InputErrors) as caught:
        bind_parameters(PROTOCOL, {"volume": "7", "cycles": "many", "colour": "red"})
    told = " ".join(problem.message for problem in caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "the parameter `lid` has no value" in told


def test_places_and_materials_are_those_of_the_lab() -> None:
    facts = LabFacts(standard_facts().roles, frozenset({"tray/lids/A1"}), frozenset({"LP57"}))
    assert bind_parameters(PROTOCOL, {"lid": "tray/lids/A1"}, facts)
    with pytest.raises(InputErrors, match="did you mean `tray/lids/A1`"):
        bind_parameters(PROTOCOL, {"lid": "tray/lids/A2"}, facts)


def test_the_journal_keeps_quantities_with_their_units() -> None:
    kept = told(PROTOCOL, bind_parameters(PROTOCOL, {"lid": "a"}))
    assert kept["volume"] == {"v": 35.0, "u": "µL"}
    assert (kept["cycles"], kept["tip"]) == (3, "always")
