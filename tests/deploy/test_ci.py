"""CI tries once more, alone, what failed: tests, and nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("ci_alone", ROOT / ".ci" / "alone.py")
assert _SPEC is not None
assert _SPEC.loader is not None
ALONE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(ALONE)


def asked(folder: Path, end: str, *names: str) -> tuple[list[str], str]:
    (folder / "r.xml").write_text(
        f'<testsuites><testsuite><testcase name="a">{end}</testcase></testsuite></testsuites>'
    )
    (folder / "last").write_text(json.dumps(dict.fromkeys(names, True)))
    found: tuple[list[str], str] = ALONE.failed(folder / "r.xml", folder / "last")
    return found


@pytest.mark.parametrize("end", ['<failure message="assert 1 == 2"/>', '<error message="failed on setup"/>'])
def test_a_test_that_failed_is_tried_again(tmp_path: Path, end: str) -> None:
    assert asked(tmp_path, end, "tests/a.py::a") == (["tests/a.py::a"], "")


@pytest.mark.parametrize(
    ("end", "names", "why"),
    [
        ("<failure message=\"worker 'gw0' crashed while running 'a'\"/>", ("tests/a.py::a",), "crashed"),
        ('<error message="collection failure"/>', ("tests/a.py",), "collection failure"),
        ("", ("tests/a.py",), "not collected: tests/a.py"),
        ("", (), "no test failed"),
    ],
)
def test_a_run_that_ended_for_another_reason_is_not(tmp_path: Path, end: str, names: tuple[str, ...], why: str) -> None:
    assert why in asked(tmp_path, end, *names)[1]


def test_a_run_without_a_report_is_not(tmp_path: Path) -> None:
    assert "no report" in ALONE.failed(tmp_path / "none.xml", tmp_path / "none")[1]
