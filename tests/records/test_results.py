"""The table of cells and the voltage profiles."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Event
from labd.records import CellRow, Profile, cell_rows
from labd.records.plots import PlotError, capacity_against_dose, voltage_profiles
from labd.records.results import half_cycles


def events(run: str, *told: tuple[int, str, dict[str, Any]]) -> Iterator[Event]:
    """Events of a run, each with the second of its minute when it happened."""
    for seq, (second, kind, data) in enumerate(told, 1):
        yield Event(seq, f"2026-01-01T08:{second // 60:02}:{second % 60:02}.000000Z", run, kind, data, "")


def done(second: int, number: int, action: str, parameters: dict[str, Any], result: dict[str, Any]) -> list[Any]:
    """An action that was intended and sent at a second and done 10 s later."""
    action_id = f"r-{number}"
    intended = {"action_id": action_id, "device": "dev", "unit": "", "action": action, "parameters": parameters}
    return [
        (second, "action.intended", intended),
        (second, "action.sent", {"action_id": action_id}),
        (second + 10, "action.done", {"action_id": action_id, "result": result}),
    ]


def transfer(second: int, number: int, volume: float, to: str) -> list[Any]:
    return done(
        second, number, "transfer", {}, {"volume": {"v": volume, "u": "µL"}, "source": "LP57", "destination": to}
    )


STARTED = (
    0,
    "run.started",
    {"sample": "cell-1", "home": "ot2/3/A1", "protocol": "p", "version": "1", "parameters": {}},
)


def test_a_row_tells_what_was_done_to_a_cell() -> None:
    told = events(
        "run-1",
        STARTED,
        *transfer(5, 1, 100.0, "ot2/9/A1"),  # a rinse into the waste is no dose
        *transfer(30, 2, 20.0, "ot2/3/A1"),
        *transfer(60, 3, 15.0, "ot2/3/A1"),
        (80, "sample.moved", {"sample": "cell-1", "from": "ot2/3/A1", "to": "press/nest"}),
        *done(150, 4, "crimp", {}, {"peak_force": {"v": 7.7, "u": "kN"}, "cycles": 9}),
        *done(200, 5, "open_circuit", {}, {"final_voltage": {"v": 2.9, "u": "V"}}),
        *done(
            300,
            6,
            "cycle",
            {},
            {"capacities": {"v": [1.8, 1.79], "u": "mAh"}, "coulombic_efficiencies": [88.0, 99.1]},
        ),
        *done(900, 7, "open_circuit", {}, {"final_voltage": {"v": 3.3, "u": "V"}}),
        (999, "run.ended", {"outcome": "complete"}),
    )
    assert cell_rows(told) == [
        CellRow("cell-1", "run-1", 35.0, 7.7, 2.9, (1.8, 1.79), (88.0, 99.1), 120.0, "complete", "")
    ]


def test_a_pump_doses_the_cell_at_its_outlet_and_no_other() -> None:
    given = {"volume": {"v": 30.0, "u": "µL"}}
    told = events(
        "run-1",
        STARTED,
        *done(5, 1, "dispense", {}, given),
        (20, "sample.moved", {"sample": "cell-1", "from": "ot2/3/A1", "to": "dev/outlet"}),
        *done(30, 2, "dispense", {}, given),
        (999, "run.ended", {"outcome": "complete"}),
    )
    assert cell_rows(told)[0].dose == 30.0


def test_a_dose_that_a_person_vouched_for_counts_and_is_noted() -> None:
    intended = {
        "action_id": "r-1",
        "device": "ot2",
        "action": "transfer",
        "parameters": {"volume": {"v": 35.0, "u": "µL"}, "destination": "ot2/3/A1"},
    }
    told = events(
        "run-1",
        STARTED,
        (5, "action.intended", intended),
        (5, "action.sent", {"action_id": "r-1"}),
        (9, "action.unknown", {"action_id": "r-1", "message": "no answer"}),
        (10, "question.asked", {"question_id": "q1", "text": "Was it done?", "choices": ["done", "scrap"]}),
        (99, "question.answered", {"question_id": "q1", "choice": "done", "by": "mk"}),
        (99, "action.reconciled", {"action_id": "r-1", "verdict": "done", "by": "mk"}),
    )
    (row,) = cell_rows(told)
    assert row.dose == 35.0
    assert row.outcome is None
    assert row.note == "Was it done? → done (mk); ot2.transfer: done, says mk"


def test_rows_stand_in_the_order_of_the_runs_and_say_why_one_ended() -> None:
    first = list(events("run-1", STARTED))
    second = list(
        events("run-2", (0, "run.started", {"sample": "cell-2"}), (1, "action.refused", {"message": "no tip"}))
    )
    ended = list(events("run-1", (60, "run.ended", {"outcome": "aborted", "cause": "the guard was opened"})))
    rows = cell_rows([*first, *second, *ended])
    assert [(row.sample, row.outcome, row.note) for row in rows] == [
        ("cell-1", "aborted", "the guard was opened"),
        ("cell-2", None, "no tip"),
    ]


def columns(*rows: tuple[float, float, float, float]) -> dict[str, array[float]]:
    return {
        name: array("d", values)
        for name, values in zip(("time", "voltage", "current", "cycle"), zip(*rows, strict=True), strict=True)
    }


def test_half_cycles_integrate_the_current() -> None:
    nan = float("nan")
    found = half_cycles(
        columns(
            (0, 3.0, 1e-3, 1),
            (1800, 3.5, 1e-3, 1),
            (3600, 4.2, 1e-3, 1),
            (3700, 4.1, 1e-9, 1),  # a rest: noise of either sign
            (3800, 4.1, -1e-9, 1),
            (3900, 4.0, -2e-3, 1),
            (4800, nan, nan, 1),
            (5700, 3.0, -2e-3, 1),
            (5800, 3.1, 1e-3, 2),
            (7600, 3.9, 0.5e-3, 2),
        ),
        after=3,
    )
    assert [(half.cycle, half.charging) for half in found] == [(4, True), (4, False), (5, True)]
    assert [half.capacity[-1] for half in found] == pytest.approx([1.0, 1.0, 0.375])
    assert list(found[0].voltage) == [3.0, 3.5, 4.2]


def test_plots_are_written_as_png_and_svg_the_same_each_time(tmp_path: Path) -> None:
    halves = half_cycles(columns((0, 3.0, 1e-3, 1), (3600, 4.2, 1e-3, 1), (3601, 4.1, -1e-3, 1), (7000, 3.0, -1e-3, 1)))
    rows = [
        CellRow("cell-1", "run-1", 35.0, capacities=(0.94, 0.93), outcome="complete"),
        CellRow("cell-2", "run-2", 20.0, outcome="scrapped"),
        CellRow("cell-3", "run-3"),
    ]
    for name in ("a", "b"):
        plots = voltage_profiles([Profile(rows[0], tuple(halves)), Profile(rows[1], ())], tmp_path / name / "profiles")
        plots += capacity_against_dose(rows, tmp_path / name / "dose")
        assert [plot.name for plot in plots] == ["profiles.png", "profiles.svg", "dose.png", "dose.svg"]
    for plot in plots:
        assert plot.read_bytes() == (tmp_path / "a" / plot.name).read_bytes()
    assert plots[0].read_bytes().startswith(b"\x89PNG")
    text = plots[3].read_text(encoding="utf-8")
    assert "electrolyte dose / µL" in text
    assert "discharge capacity / mAh" in text
    assert "cell-2, scrapped" in text


def test_a_plot_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="no cells"):
        voltage_profiles([], tmp_path / "profiles")
    with pytest.raises(PlotError, match="no cell was dosed"):
        capacity_against_dose([CellRow("cell-1", "run-1")], tmp_path / "dose")
