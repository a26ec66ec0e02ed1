"""Cycling protocols of aurora-unicycler become protocols of labd, or say why they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labd.files import InputErrors, Problem
from labd.protocol.exchange.layout import laid_out
from labd.protocol.exchange.unicycler import imported

DATA = Path(__file__).parent / "data" / "unicycler"
FILES = sorted(DATA.glob("*.json"))
CHARGE = {"step": "constant_current", "current_mA": 0.5, "until_voltage_V": 4.2, "until_time_s": 3600}
TAG = {"step": "tag", "tag": "first"}


def made_of(*method: dict[str, Any], **more: Any) -> str:
    """The protocol of a method."""
    return imported(text_of(*method, **more), "method.json").text


def text_of(*method: dict[str, Any], **more: Any) -> str:
    return json.dumps({"record": {"time_s": 10}, "method": list(method), **more}, indent=2)


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(InputErrors) as caught:
        imported(text, "method.json")
    return list(caught.value.problems)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_the_package_and_of_people(path: Path) -> None:
    """`written_by_*` are files that those versions of the package wrote."""
    assert imported(path.read_text(), path.name).text == path.with_suffix(".yaml").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_made_is_laid_out(path: Path) -> None:
    text = imported(path.read_text(), path.name).text
    assert laid_out(text) == text


@pytest.mark.parametrize(
    ("rate", "current"),
    [
        ("C/10", "=capacity / 10 h"),
        ("D/3", "=-capacity / 3 h"),
        ("2C/3", "=0.6666666667 * capacity / 1 h"),
        ("1/5", "=capacity / 5 h"),
        (1, "=capacity / 1 h"),
        (-2.0, "=-2 * capacity / 1 h"),
        ("0.05", "=capacity / 20 h"),
    ],
)
def test_c_rates_are_of_the_capacity_that_the_run_is_given(rate: object, current: str) -> None:
    step = {"step": "constant_current", "rate_C": rate, "until_time_s": 60}
    assert f"current: {current}, until_time" in made_of(step)


def test_without_a_capacity_the_current_in_ma_counts() -> None:
    step = {**CHARGE, "rate_C": 1}
    assert "current: 0.5 mA" in made_of(step)
    assert "current: =capacity / 1 h" in made_of(step, sample={"capacity_mAh": 2})


def test_a_step_without_a_time_limit_gets_one_and_says_so() -> None:
    step = {"step": "constant_current", "current_mA": -0.5, "until_voltage_V": 3}
    made = made_of(step, sample={"capacity_mAh": 2})
    assert "# the file gives no time limit: 1.5 times what the whole capacity takes\n" in made
    assert "until_time: 6 h" in made
    assert "until_time: 100 h" in made_of(step)


def test_a_loop_of_one_round_is_no_loop() -> None:
    assert "repeat" not in made_of(CHARGE, {"step": "loop", "loop_to": 1, "cycle_count": 1})


def test_a_loop_goes_to_a_tag_or_to_a_step_by_number_that_counts_tags() -> None:
    by_tag = made_of(CHARGE, TAG, CHARGE, {"step": "loop", "loop_to": "first", "cycle_count": 2})
    by_number = made_of(CHARGE, TAG, CHARGE, {"step": "loop", "loop_to": 3, "cycle_count": 2})
    assert by_tag == by_number
    assert by_tag.count("- repeat: {times: 2}") == 1


def test_limits_are_watched_from_the_first_step_to_the_last() -> None:
    made = made_of(CHARGE, safety={"max_voltage_V": 4.5, "min_current_mA": -10, "delay_s": 5})
    assert "- {if: cycler.voltage > 4.5 V, for: 5 s, go: unsafe}" in made
    assert "- {if: cycler.current < -10 mA, for: 5 s, go: unsafe}" in made


def test_what_changes_only_the_record_is_a_warning_and_a_note() -> None:
    found = imported(text_of(CHARGE, record={"time_s": 1, "voltage_V": 0.01}), "method.json")
    assert [warning.severity for warning in found.warnings] == ["warning"]
    assert "# Note: record.voltage_V: " in found.text


LOOP = {"step": "loop", "loop_to": "first", "cycle_count": 2}
SCAN = {"step": "voltage_scan", "start_voltage_V": 3, "end_voltage_V": 4, "scan_rate_mV_per_s": 1}
GALVANOSTATIC = {"step": "impedance_spectroscopy", "amplitude_mA": 1, "start_frequency_Hz": 1, "end_frequency_Hz": 9}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{", "P601", "this is no JSON"),
        ("[" * 5000, "P601", "this is no JSON"),
        ("[]", "P601", "this is no protocol of unicycler"),
        ("{}", "P601", "this is no protocol of unicycler"),
        (text_of(), "P602", "no step that does something"),
        ('{"record": {"time_s": 1}, "method": [], "method": []}', "P103", "stands twice"),
        (text_of({"step": "constant_curent"}), "P601", "unknown technique `constant_curent`"),
        (text_of({"current_mA": 1}), "P112", "method[0] does not say which `step` it is"),
        (text_of({**CHARGE, "until_V": 1}), "P111", "method[0].until_V: unknown key"),
        (text_of({"step": "open_circuit_voltage"}), "P112", "method[0].until_time_s is missing"),
        (text_of({**CHARGE, "current_mA": "much"}), "P113", "method[0].current_mA: a number belongs here"),
        (text_of({**CHARGE, "current_mA": ""}), "P113", "neither `rate_C` nor `current_mA`"),
        (text_of({**CHARGE, "rate_C": "C/0"}), "P113", "a C-rate over 0 hours"),
        (text_of({**CHARGE, "until_voltage_V": 0, "until_time_s": None}), "P113", "where it ends"),
        (text_of(CHARGE).replace("4.2", "1e999"), "P113", "a finite number"),
        (text_of(CHARGE, safety={"max_voltage_V": 1, "min_voltage_V": 2}), "P113", "the least voltage"),
        (text_of(CHARGE, safety={"max_capacity_mAh": 1}), "P602", "cannot watch over a capacity"),
        (text_of(SCAN), "P602", "no sweep that goes one way"),
        (text_of(GALVANOSTATIC), "P602", "with an amplitude in V"),
        (text_of(CHARGE, LOOP), "P602", "no step before the loop has the tag `first`"),
        (text_of(TAG, LOOP), "P602", "goes back to no step"),
        (text_of(TAG, CHARGE, TAG), "P602", "the tag `first` stands twice"),
        (text_of(TAG), "P602", "no step that does something"),
        (text_of(CHARGE, {**LOOP, "loop_to": 2}), "P602", "goes to step 2, which is not before it"),
        (text_of(CHARGE, {**LOOP, "loop_to": 0}), "P113", "method[1].loop_to: a tag belongs here"),
        (
            text_of(CHARGE, TAG, CHARGE, {**LOOP, "loop_to": 1}, CHARGE, LOOP),
            "P602",
            "goes back into the middle of another one",
        ),
    ],
)
def test_what_cannot_be_imported_says_why(text: str, code: str, said: str) -> None:
    found = problems_of(text)
    assert code in {problem.code for problem in found}
    assert any(said in problem.message for problem in found), found


def test_problems_have_their_place_in_the_file() -> None:
    found = problems_of(text_of(CHARGE, {"step": "open_circuit_voltage", "until_time_s": -1}))
    assert [(problem.line, problem.source.strip()) for problem in found] == [(14, '"until_time_s": -1')]


def test_all_problems_are_told_at_once() -> None:
    assert len(problems_of(text_of(SCAN, GALVANOSTATIC, {**LOOP, "loop_to": "none"}))) == 3
