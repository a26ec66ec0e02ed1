"""Every code has an example that triggers it, and the page of codes shows what is really said."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from labd.protocol import CODES

DOCS = Path(__file__).parents[2] / "docs"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PAGE = _module("checks")
SHOWN = [code for code in CODES if not code.startswith(tuple(PAGE.ELSEWHERE))]


@pytest.mark.parametrize("code", SHOWN)
def test_a_code_has_an_example_that_triggers_it(code: str) -> None:
    told = PAGE.said(code)
    assert f" {code} " in f" {told}".replace("\n", " ")
    codes = [word for line in told.splitlines() for word in line.split() if word in CODES]
    assert set(codes) <= {code} | ({"P204"} if code == "P214" else set()), told


def test_the_page_shows_what_is_said() -> None:
    page = (DOCS / "reference" / "checks.md").read_text(encoding="utf-8")
    assert "\n\n".join(PAGE.checks()) in page, "run `make docs`"


def test_no_example_is_of_a_code_that_there_is_none_of() -> None:
    names = {path.stem for path in PAGE.EXAMPLES.glob("[PWLC][0-9]*.yaml")}
    assert names == set(SHOWN)
