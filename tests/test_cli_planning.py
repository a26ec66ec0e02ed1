"""`labd plan`: what it tells, writes, and with which status it ends."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from labd.cli.app import app

LAB = str(Path(__file__).parent.parent / "examples" / "simulated-lab" / "lab.yaml")
TIGHT = """\
labd: 1
protocol: tight
version: 1.0.0
roles: {press: crimper}
windows: [{from: first.start, to: second.start, within: 2 s, otherwise: scrap}]
start: first
states:
  first: {steps: [{do: press.open}], next: second}
  second: {steps: [{do: press.open}], next: done}
  done: {end: complete}
  scrap: {end: scrapped}
"""


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def test_a_shift_of_autobass_cells_keeps_its_windows_and_is_near_the_bound(runner: CliRunner, tmp_path: Path) -> None:
    svg = tmp_path / "plan.svg"
    asked = ["plan", "autobass_cr2032", "--lab", LAB, "--cells", "36", "--limit", "0", "--json", "--svg", str(svg)]
    ended = runner.invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    told = json.loads(ended.stdout)
    assert told["ratio"] <= 1.10
    assert told["windows"]["wet.start to crimp.start"]["broken"] == 0
    assert len({row["work"] for row in told["rows"]}) == 36
    assert told["utilisation"]["arm"] > 0.9
    assert ET.fromstring(svg.read_text()) is not None


def test_people_read_lines(runner: CliRunner) -> None:
    ended = runner.invoke(app, ["plan", "autobass_cr2032", "--lab", LAB, "--cells", "2", "--limit", "0"])
    assert ended.exit_code == 0, ended.output
    assert "2 works in" in ended.output
    assert "cell-0002  begins at" in ended.output


def test_parameters_change_the_plan_and_wrong_ones_are_refused(runner: CliRunner) -> None:
    asked = ["plan", "cr2032_dose_crimp_form", "--lab", LAB, "--cells", "1", "--limit", "0", "--json"]
    short, long = (json.loads(runner.invoke(app, [*asked, f"rest={rest}"]).stdout) for rest in ("10 min", "5 h"))
    assert long["makespan"] - short["makespan"] == pytest.approx(5 * 3600 - 600)
    refused = runner.invoke(app, [*asked, "rest=10 kN"])
    assert refused.exit_code == 2
    assert "rest" in refused.output


def test_a_window_that_cannot_be_kept_ends_with_1(runner: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "tight.yaml"
    file.write_text(TIGHT)
    ended = runner.invoke(app, ["plan", str(file), "--lab", LAB, "--cells", "1", "--limit", "0"])
    assert ended.exit_code == 1, ended.output
    assert "1 of 1 broken" in ended.output


def test_no_such_protocol_and_no_such_lab(runner: CliRunner, tmp_path: Path) -> None:
    assert runner.invoke(app, ["plan", "autobas_cr2032", "--lab", LAB]).exit_code == 2
    assert runner.invoke(app, ["plan", "autobass_cr2032", "--lab", str(tmp_path / "none.yaml")]).exit_code == 2


def test_a_table_is_planned_row_by_row_and_checked_as_for_the_queue(runner: CliRunner, tmp_path: Path) -> None:
    table = tmp_path / "cells.csv"
    table.write_text("sample,piece,priority\nslow,5 h,0\nquick,10 min,5\n")
    asked = ["plan", "eis_after_rest", "--lab", LAB, "--table", str(table), "--limit", "0", "--json"]
    ended = runner.invoke(app, [*asked, "-p", "f_min=1 Hz"])
    assert ended.exit_code == 0, ended.output
    rows = {row["work"]: row for row in json.loads(ended.stdout)["rows"] if row["state"] == "rest"}
    assert rows["slow"]["end"] - rows["slow"]["start"] == pytest.approx(5 * 3600)
    assert rows["quick"]["end"] - rows["quick"]["start"] == pytest.approx(600)
    table.write_text("sample,piece\nslow,5 kN\n")
    refused = runner.invoke(app, asked)
    assert refused.exit_code == 2
    assert "row 2" in refused.output
    assert runner.invoke(app, [*asked, "--cells", "3"]).exit_code == 2
