"""`labd analyse` on files in Battery Data Format: without a daemon, and of a real cell where its file is there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labd.cli import result_views
from labd.cli.app import app
from tests.records.cell import cycled, write_bdf

EXAMPLE = Path(__file__).parent / "records" / "synthetic.bdf.csv"
REAL = Path(
    os.environ.get("LABD_BDF") or Path(__file__).parents[2] / "shared/data/bdf/bdf_SINTEF_LiGrR2032_coin.bdf.csv"
)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def test_our_own_small_cell_is_analysed_beside_its_counters(runner: CliRunner) -> None:
    ended = runner.invoke(app, ["analyse", str(EXAMPLE)])
    assert ended.exit_code == 0, ended.output
    assert "a positive current charges" in ended.output
    first = next(line.split() for line in ended.output.splitlines() if line.startswith("1 "))
    assert first == ["1", "0.5000", "0.00", "0.5000", "0.4500", "0.00", "0.4500", "90.00", "1.6200"]


def test_the_same_for_programs(runner: CliRunner) -> None:
    told = json.loads(runner.invoke(app, ["analyse", str(EXAMPLE), "--json"]).output)
    assert [one["cycle"]["complete"] for one in told["cycles"]] == [True, True]
    assert told["cycles"][0]["discharged"] == pytest.approx(0.45)


def test_a_flipped_file_ends_with_2_and_its_mend(runner: CliRunner, tmp_path: Path) -> None:
    file = write_bdf(tmp_path / "flipped.bdf.csv", cycled([(2.0, 1.8)]), sign=-1)
    ended = runner.invoke(app, ["analyse", str(file)])
    assert ended.exit_code == 2
    assert f"{file}: the sign of the current is flipped" in ended.stderr
    assert "--flip" in ended.stderr
    assert runner.invoke(app, ["analyse", str(file), "--flip"]).exit_code == 0


def test_a_file_that_is_none_ends_with_2(runner: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "notes.csv"
    file.write_text("a,b\n1,2\n")
    ended = runner.invoke(app, ["analyse", str(file)])
    assert ended.exit_code == 2
    assert "no column 'Test Time / s'" in ended.stderr


def test_plots_of_a_file_are_written(runner: CliRunner, tmp_path: Path) -> None:
    ended = runner.invoke(app, ["analyse", str(EXAMPLE), "--plots", str(tmp_path / "plots")])
    assert ended.exit_code == 0, ended.output
    names = {file.name for file in (tmp_path / "plots").iterdir()}
    assert names == {
        f"synthetic_{plot}.{form}" for plot in ("voltage_profiles", "capacity", "dqdv") for form in ("png", "svg")
    }


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real cell's file {REAL.name} is not here; LABD_BDF names it")
def test_a_real_cells_capacities_agree_with_its_cyclers_own(runner: CliRunner) -> None:
    told = json.loads(runner.invoke(app, ["analyse", str(REAL), "--json"]).output)
    assert told["rows"] == 25_162
    assert told["sign"] > 1.0
    first, second = told["cycles"]
    assert (first["cycle"]["begins"], second["cycle"]["complete"]) == ("discharge", False)
    for counted in (first, second):  # the file tells its current to 0.1 mA, half of what flows
        cycle = counted["cycle"]
        assert cycle["discharge"] == pytest.approx(counted["discharged"], abs=cycle["discharge_error"])
        assert cycle["charge"] == pytest.approx(counted["charged"], abs=cycle["charge_error"])


def test_results_of_a_run_are_told_with_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    figure = {"v": 1.8, "u": "mAh", "std": None, "source": "run-0001-001"}
    test = {"verdict": "valid", "rms": 0.002}
    fit = {"circuit": "R0", "r_ohmic": 5.0, "r_polarisation": None, "residual": 0.001, "problem": "", "test": test}
    run = {"run": "run-0001", "sample": "cell-1", "protocol": "form", "version": "1", "outcome": None, "failed": None}
    more = {
        "figures": {"capacity_1": figure, "capacity": figure, "form.capacity": figure},
        "missing": {"r_ohmic": "no impedance was measured"},
        "series": [{"series": "run-0001-002", "analysis": {"kind": "impedance", **fit}}],
    }
    result_views.show_results({"runs": [{**run, **more}], "waiting": ["job-2"], "kind": "batch"}, every=False)
    told = capsys.readouterr().out
    assert "run-0001, cell-1, form 1: under way" in told
    assert "1.8000" in told
    assert "Kramers-Kronig valid (0.20% of |Z| are left); R0, R0 5 Ω" in told
    assert "no r_ohmic: no impedance was measured" in told
    assert "form.capacity" not in told
    assert "not started yet: job-2" in told
