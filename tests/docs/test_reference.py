"""The generated pages of the reference: in step with the code, and with examples that hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labd.protocol import check, load
from labd.protocol.model import STATE_KINDS, STEP_KINDS
from labd.run.shipped import library

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "reference" / "examples").glob("*.yaml"))


def test_the_generated_pages_are_those_of_the_code() -> None:
    """`make docs` writes them anew."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_protocol_that_holds(path: Path) -> None:
    protocol = load(path, library=library(path.parent))
    assert protocol.name == path.stem
    assert [problem.render() for problem in check(protocol)] == []


def test_there_is_an_example_of_every_kind_of_step_and_state() -> None:
    shown = {path.stem for path in EXAMPLES}
    assert (STEP_KINDS.keys() | STATE_KINDS.keys()) - {"steps"} <= shown


@pytest.mark.parametrize("path", sorted((ROOT / "protocols").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_protocol_names_the_schema_that_it_is_valid_against(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first == "# yaml-language-server: $schema=../docs/reference/protocol.schema.json"
    schema = (path.parent / first.partition("=")[2]).resolve()
    assert json.loads(schema.read_text(encoding="utf-8"))["title"].startswith("labd protocol")
