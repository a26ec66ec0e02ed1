"""Battery Data Format: what is written others take, what is read is ours, and a flipped sign is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from labd.records.bdf import BdfError, check_sign, foreign, read, write_csv, write_parquet
from tests.records.cell import columns, cycled, write_bdf

CAPACITIES = [(2.0, 1.8), (1.8, 1.79)]


def told(rows: Any) -> dict[str, Any]:
    return columns(rows)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_written_the_alliances_validator_takes(tmp_path: Path, ending: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own
        import bdf
        import pandas as pd
    file = tmp_path / f"cell.bdf.{ending}"
    if ending == "csv":
        write_csv(file, told(cycled(CAPACITIES)))
        frame = pd.read_csv(file)
    else:
        write_parquet(file, told(cycled(CAPACITIES)), {"run": "run-0001"})
        frame = pd.read_parquet(file)
    report = bdf.validate_df(frame)
    assert report["ok"]
    assert (report["extras"], report["legacy_labels"]) == ([], [])
    assert list(frame.columns) == ["Test Time / s", "Voltage / V", "Current / A", "Cycle Count / 1"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_written_is_read_as_it_was(tmp_path: Path, ending: str) -> None:
    before = told(cycled(CAPACITIES))
    file = tmp_path / f"cell.bdf.{ending}"
    write_csv(file, before) if ending == "csv" else write_parquet(file, before, {})
    after = read(file).columns
    assert {name: list(values) for name, values in after.items()} == before


def test_a_file_whose_sign_is_flipped_is_refused_when_read(tmp_path: Path) -> None:
    file = write_bdf(tmp_path / "flipped.bdf.csv", cycled(CAPACITIES), sign=-1)
    with pytest.raises(BdfError, match="sign of the current is flipped"):
        foreign(read(file))


def test_a_flipped_file_is_read_when_one_says_so(tmp_path: Path) -> None:
    file = write_bdf(tmp_path / "flipped.bdf.csv", cycled(CAPACITIES), sign=-1)
    assert foreign(read(file), flip=True).cycles[0].cycle.discharge == pytest.approx(1.8)


def test_a_test_whose_sign_is_flipped_is_not_written(tmp_path: Path) -> None:
    rows = told(cycled(CAPACITIES))
    rows["current"] = [-current for current in rows["current"]]
    for write in (lambda: write_csv(tmp_path / "a.csv", rows), lambda: write_parquet(tmp_path / "a.parquet", rows, {})):
        with pytest.raises(BdfError, match="flipped"):
            write()
    assert not list(tmp_path.iterdir())


def test_the_alliances_validator_takes_the_flipped_file_that_ours_refuses(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bdf
        import pandas as pd
    file = write_bdf(tmp_path / "flipped.bdf.csv", cycled(CAPACITIES), sign=-1)
    assert bdf.validate_df(pd.read_csv(file))["ok"]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_step_at_a_currents_onset_alone_tells_its_sign(sign: int) -> None:
    time = [float(t) for t in range(20)]
    current = [sign * 0.001 if 5 <= t < 15 else 0.0 for t in range(20)]
    voltage = [3.6 if 5 <= t < 15 else 3.5 for t in range(20)]
    rows = {"time": time, "voltage": voltage, "current": current}
    if sign > 0:
        assert check_sign(rows) == pytest.approx(0.1)
    else:
        with pytest.raises(BdfError, match="flipped"):
            check_sign(rows)


def test_a_cell_that_rests_has_no_sign_and_passes() -> None:
    assert check_sign({"time": [0.0, 1.0], "voltage": [3.0, 2.9], "current": [0.0, 0.0]}) == 0.0


def test_a_half_cell_that_is_discharged_first_passes() -> None:
    rows = cycled([(1.8, 2.0)], first="discharge", lower=0.01, upper=1.0)
    assert check_sign(told(rows)) > 1.0


@pytest.mark.parametrize(
    ("headers", "current"),
    [
        (("test_time_second", "voltage_volt", "current_ampere", "cycle_count"), 0.001),
        (("Test Time / s", "Voltage / V", "Current / mA", "Cycle Count / 1"), 1e-6),
        (("test time/s", "voltage/V", "current/A", "Cycle Count"), 0.001),
    ],
)
def test_machine_names_and_other_units_are_understood(tmp_path: Path, headers: Any, current: float) -> None:
    table = read(write_bdf(tmp_path / "cell.bdf.csv", cycled(CAPACITIES), headers=headers))
    assert max(table.columns["current"]) == pytest.approx(current)
    assert table.others == ()


def test_a_files_own_counters_stand_beside_ours(tmp_path: Path) -> None:
    rows = cycled(CAPACITIES)
    file = tmp_path / "cell.bdf.csv"
    counted, before = [], rows[0]
    total = 0.0
    for row in rows:
        total += 0.0019 * (row[0] - before[0]) / 3600 if row[2] < 0 and before[2] < 0 else 0.0
        counted.append(total)
        before = row
    columns_of = {**told(rows), "discharged": counted}
    write_csv(file, columns_of)
    first, second = foreign(read(file)).cycles
    assert first.cycle.discharge == pytest.approx(1.8)
    assert (first.discharged, second.discharged) == pytest.approx((1.9 * 1.8, 1.9 * 1.79), rel=0.01)
    assert first.charged is None


def paused(hours: float) -> dict[str, Any]:
    """A charge, a pause with nobody there, and a discharge; the steps are counted."""
    rows = columns(cycled(CAPACITIES[:1]))
    falls = next(at for at, current in enumerate(rows["current"]) if current < 0)
    later = [at + (3600 * hours if row >= falls else 0.0) for row, at in enumerate(rows["time"])]
    return {**rows, "time": later, "step": [1.0 + (row >= falls) for row in range(len(later))]}


@pytest.mark.parametrize("hours", [0.0, 5.0])
def test_in_a_pause_between_two_steps_nothing_flows(tmp_path: Path, hours: float) -> None:
    write_csv(tmp_path / "held.bdf.csv", paused(hours))
    found = foreign(read(tmp_path / "held.bdf.csv"))
    (one,) = found.cycles
    assert (one.cycle.charge, one.cycle.discharge) == pytest.approx((2.0, 1.8), rel=0.01)
    assert found.paused == pytest.approx(3600 * hours, abs=120)


def step_by_step(times: list[list[float]]) -> dict[str, Any]:
    """Steps of 1 mA, each with rows at these seconds, numbered 1, 2, 1, 2 …"""
    flat = [at for own in times for at in own]
    step = [1.0 + number % 2 for number, own in enumerate(times) for _ in own]
    rows = len(flat)
    return {
        "time": flat,
        "voltage": [3.0 + row / rows for row in range(rows)],
        "current": [0.001] * rows,
        "step": step,
    }


@pytest.mark.parametrize(
    "times",
    [
        [[3600 * n + 0.5 * (n > 0 and not row) + 60 * row for row in range(60)] for n in range(3)],  # a row comes late
        [[0, 300, 900, 1800], [3000, 3300, 3900]],  # rows where the voltage has moved enough
        [[3600 * n, 3600 * n + 3000] for n in range(4)],  # too few of a step to tell
    ],
)
def test_rows_that_are_far_apart_are_no_pause(tmp_path: Path, times: list[list[float]]) -> None:
    write_csv(tmp_path / "sparse.bdf.csv", step_by_step(times))
    found = foreign(read(tmp_path / "sparse.bdf.csv"))
    assert found.paused == 0.0
    assert found.cycles[0].cycle.charge == pytest.approx((times[-1][-1] - times[0][0]) / 3600)


def test_what_its_own_counter_counted_is_no_pause(tmp_path: Path) -> None:
    told_of = paused(5.0)
    falls = told_of["step"].index(2.0)
    files = {"idle": 0.002, "begun": 0.002 + 3e-6, "anew": 3e-6, "on": 0.002 + 0.0095}  # Ah after it: 1.9 mA for 5 h
    for file, after in files.items():
        counted = [after if row >= falls else 0.002 for row in range(len(told_of["time"]))]
        write_csv(tmp_path / f"{file}.bdf.csv", {**told_of, "charged": counted})
    found = {file: foreign(read(tmp_path / f"{file}.bdf.csv")).paused for file in files}
    assert found == {**dict.fromkeys(files, pytest.approx(18000, abs=120)), "on": 0.0}


def test_without_steps_a_pause_cannot_be_told(tmp_path: Path) -> None:
    told_of = {name: column for name, column in paused(5.0).items() if name != "step"}
    write_csv(tmp_path / "held.bdf.csv", told_of)
    assert foreign(read(tmp_path / "held.bdf.csv")).paused == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Voltage / V,Current / A\n3,0\n", r"no column 'Test Time / s'"),
        ("Test Time / s,Voltage / V,Current / A\n0,3,zero\n", r":2: 'Current / A' is 'zero', which is no number"),
        ("Test Time / s,Voltage / V,Current / A\n0,3\n", r":2: 2 cells under 3 headers"),
        ("Test Time / s,Voltage / V,Voltage / mV,Current / A\n", r"two columns are 'Voltage / V'"),
        ("Test Time / s,Voltage / K,Current / A\n", r"column 'Voltage / K': K is a temperature difference"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.bdf.csv"
    file.write_text(text)
    with pytest.raises(BdfError, match=message):
        read(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BdfError, match="cannot be read"):
        read(tmp_path / "none.csv")
