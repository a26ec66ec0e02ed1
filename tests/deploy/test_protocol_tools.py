"""What other programs know of labd's commands: GitHub's problem matcher, and the hooks of pre-commit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command
from typer.testing import CliRunner

from labd.cli.app import app

ROOT = Path(__file__).parents[2]
MATCHERS = json.loads((ROOT / "deploy" / "github" / "labd-check-matcher.json").read_text())["problemMatcher"]
SPOILT = """\
labd: 1
protocol: spoilt
version: 1.0.0
roles: {cycler: potentiostat}
start: rest
states:
  rest:
    do: cycler.open_circuit
    with: {duration: 10 min, interval: 1}
    next: dne
  done: {end: complete}
"""


def matched(line: str) -> tuple[str, dict[str, str]] | None:
    """What GitHub makes of a line: its severity, and the parts that the pattern names."""
    for matcher in MATCHERS:
        [pattern] = matcher["pattern"]
        if found := re.search(pattern["regexp"], line):
            parts = {name: found[group] for name, group in pattern.items() if name != "regexp"}
            return matcher["severity"], parts
    return None


def test_github_finds_a_file_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    file = tmp_path / "binary.yaml"
    file.write_bytes(bytes(100))
    line = CliRunner().invoke(app, ["check", str(file)]).stdout.splitlines()[0]
    parts = {"file": str(file), "code": "P101", "message": "this is a binary file, no text"}
    assert matched(line) == ("error", parts)


def test_github_finds_every_problem_that_labd_check_tells(tmp_path: Path) -> None:
    file = tmp_path / "spoilt.yaml"
    file.write_text(SPOILT)
    ended = CliRunner().invoke(app, ["check", str(file)])
    assert ended.exit_code == 2
    found = [match for line in ended.stdout.splitlines() if (match := matched(line))]
    told = json.loads(CliRunner().invoke(app, ["check", "--json", str(file)]).stdout)["files"][str(file)]["problems"]
    expected = [
        (problem["severity"], {key: str(problem[key]) for key in ("file", "line", "column", "code", "message")})
        for problem in told
    ]
    assert found == expected
    assert len(found) > 1


def test_github_tells_a_warning_as_one() -> None:
    parts = {"file": "a.yaml", "line": "3", "column": "9", "code": "P302", "message": "nobody comes here: x"}
    assert matched("a.yaml:3:9: warning P302 nobody comes here: x") == ("warning", parts)


@pytest.mark.parametrize("line", ["a.yaml: holds", "   15 |     with: {duration: 1:2:3 s}", "      → write `1 s`"])
def test_github_leaves_other_lines_alone(line: str) -> None:
    assert matched(line) is None


HOOKS: list[dict[str, Any]] = YAML(typ="safe", pure=True).load((ROOT / ".pre-commit-hooks.yaml").read_text())


def test_pre_commit_finds_nothing_to_complain_about() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_hooks_run_commands_that_there_are_on_protocols_only(hook: dict[str, Any]) -> None:
    program, command = hook["entry"].split()
    assert program == "labd"
    assert command in get_command(app).commands  # type: ignore[attr-defined]
    assert re.search(hook["files"], "protocols/form.yaml")
    assert re.search(hook["files"], "cells/protocols/form.yml")
    assert not re.search(hook["files"], "lab.yaml")
