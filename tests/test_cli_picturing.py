"""`labd explain`, `labd diagram`, `labd schema`: what they write, and with which status they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from labd.cli.app import app

PROTOCOL = """\
labd: 1
protocol: open_press
version: 1.0.0
roles: {press: crimper}
start: open
states:
  open: {do: press.open, within: 30 s, next: done}
  done: {end: complete}
"""
LAB = "labd: 1\nlab: bench\nstore: store\ndevices: {}\n"


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(PROTOCOL)
    return path


def test_explain_tells_a_file_or_a_shipped_protocol(runner: CliRunner, file: Path) -> None:
    ended = runner.invoke(app, ["explain", str(file)])
    assert ended.exit_code == 0
    assert "1. open\n   Time: 3 s expected (0 s to 30 s).\n   The press (a crimper) drives the ram up" in ended.stdout
    assert runner.invoke(app, ["explain", "first_steps"]).stdout.startswith("first_steps ")


def test_diagram_is_mermaid_or_svg_on_stdout_or_in_a_file(runner: CliRunner, file: Path) -> None:
    assert runner.invoke(app, ["diagram", str(file)]).stdout.startswith("stateDiagram-v2\n")
    picture = file.with_name("p.svg")
    ended = runner.invoke(app, ["diagram", str(file), "--format", "svg", "--output", str(picture)])
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert picture.read_text().startswith("<svg ")


def test_what_they_tell_of_is_found_beside_the_file(runner: CliRunner, file: Path) -> None:
    states = "start: all\nstates:\n  all: {call: open_press@1, next: done}\n  done: {end: complete}\n"
    caller = PROTOCOL.partition("start:")[0].replace("open_press", "caller") + states
    (file.parent / "open_press.yaml").write_text(PROTOCOL)
    file.write_text(caller)
    assert "The protocol open_press 1.0.0 is done" in runner.invoke(app, ["explain", str(file)]).stdout
    assert "call open_press@1" in runner.invoke(app, ["diagram", str(file)]).stdout


@pytest.mark.parametrize("command", ["explain", "diagram"])
def test_a_protocol_that_does_not_hold_is_told_with_its_place(runner: CliRunner, file: Path, command: str) -> None:
    file.write_text(PROTOCOL.replace("press.open", "press.opne"))
    ended = runner.invoke(app, [command, str(file)])
    assert ended.exit_code == 2
    assert f"{file}:7:20: P202" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("command", [["explain"], ["diagram"]])
def test_a_lab_is_asked_what_it_has(runner: CliRunner, file: Path, command: list[str]) -> None:
    lab = file.with_name("lab.yaml")
    lab.write_text(LAB)
    ended = runner.invoke(app, [*command, str(file), "--lab", str(lab)])
    assert ended.exit_code == 2
    assert "bench has no crimper" in ended.stderr


@pytest.mark.parametrize(("arguments", "title"), [([], "labd protocol, version 1"), (["--of", "lab"], "lab.yaml")])
def test_schema_of_protocols_and_of_lab_yaml(runner: CliRunner, arguments: list[str], title: str) -> None:
    ended = runner.invoke(app, ["schema", *arguments])
    assert ended.exit_code == 0
    assert json.loads(ended.stdout)["title"] == title


def test_schema_of_a_lab_that_does_not_hold_is_refused(runner: CliRunner, file: Path) -> None:
    lab = file.with_name("lab.yaml")
    lab.write_text(LAB.replace("store: store\n", ""))
    ended = runner.invoke(app, ["schema", "--lab", str(lab)])
    assert ended.exit_code == 2
    assert "lab.yaml:1:1" in ended.stderr


def test_schema_of_the_mqtt_contract_is_an_asyncapi_document(runner: CliRunner, file: Path) -> None:
    ended = runner.invoke(app, ["schema", "--mqtt"])
    assert ended.exit_code == 0
    assert json.loads(ended.stdout)["asyncapi"] == "3.0.0"
    written = file.with_name("asyncapi.yaml")
    assert runner.invoke(app, ["schema", "--mqtt", "--output", str(written)]).exit_code == 0
    assert written.read_text().startswith("asyncapi: 3.0.0\n")
    assert YAML(typ="safe").load(written) == json.loads(ended.stdout)


def test_schema_of_the_mqtt_contract_of_one_lab(runner: CliRunner, file: Path) -> None:
    lab = file.with_name("lab.yaml")
    lab.write_text(LAB)
    told = json.loads(runner.invoke(app, ["schema", "--mqtt", "--lab", str(lab)]).stdout)
    assert told["channels"]["status"]["address"] == "labd/1/bench/status"


def test_schemas_of_the_mqtt_contract_are_files(runner: CliRunner, tmp_path: Path) -> None:
    ended = runner.invoke(app, ["schema", "--mqtt", "--schemas", str(tmp_path / "new" / "schemas")])
    assert (ended.exit_code, ended.stdout) == (0, "")
    found = json.loads((tmp_path / "new" / "schemas" / "run_state.schema.json").read_text())
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_schemas_without_mqtt_are_refused(runner: CliRunner, tmp_path: Path) -> None:
    ended = runner.invoke(app, ["schema", "--schemas", str(tmp_path)])
    assert ended.exit_code == 2
    assert "labd schema --mqtt --schemas DIR" in ended.stderr
