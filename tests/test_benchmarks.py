"""The benchmarks' own rules: what a goal that is not reached comes to."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import all as every
from benchmarks._figures import Figures


@pytest.mark.parametrize(
    ("value", "arguments", "status"), [(1.0, [], 0), (1.0, ["--strict"], 0), (3.0, [], 0), (3.0, ["--strict"], 1)]
)
def test_a_goal_that_is_not_reached_is_a_failure_where_that_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    arguments: list[str],
    status: int,
) -> None:
    def run(_: bool, figures: Figures) -> None:
        figures.add("spent", value, "s", goal=2.0, better="lower")
        figures.add("told", 5.0, "s")

    monkeypatch.setattr(every, "importlib", SimpleNamespace(import_module=lambda _: SimpleNamespace(run=run)))
    monkeypatch.setattr(every, "Figures", partial(Figures, results=tmp_path))
    monkeypatch.setattr(
        every, "structlog", SimpleNamespace(**dict.fromkeys(vars(every.structlog), lambda *_, **__: None))
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments, "stop"])
    assert every.main() == status
    assert ("short of their goal: stop.spent" in capsys.readouterr().err) == bool(status)
