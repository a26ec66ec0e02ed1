"""Figures: what a benchmark found, one a line, `area.name value unit goal ok|short`, and as JSON."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from labd import clock

RESULTS = Path(__file__).parent / "results"


class MissingData(Exception):
    """A data set that stays outside the repository is not there; the text says where it comes from."""

    status = 3  # of a process that ends for it


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured. `goal` is None where there is none to reach."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    better: Literal["higher", "lower"] = "higher"

    @property
    def ok(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal

    def line(self, area: str) -> str:
        goal = "-" if self.goal is None else f"{'>=' if self.better == 'higher' else '<='}{self.goal:.4g}"
        verdict = {None: "-", True: "ok", False: "short"}[self.ok]
        return f"{area}.{self.name} {_number(self.value)} {self.unit} {goal} {verdict}"


class Figures:
    """The figures of one area: each is printed when it is added, all are written when the block ends.

    Args:
        area: its name, which begins every line.
        smoke: a short run that shows only that the figures come about.
        results: the folder of the JSON.
    """

    def __init__(self, area: str, *, smoke: bool = False, results: Path = RESULTS) -> None:
        self.area = area
        self.smoke = smoke
        self.figures: list[Figure] = []
        self._results = results

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        goal: float | None = None,
        better: Literal["higher", "lower"] = "higher",
    ) -> None:
        """Tells one figure."""
        figure = Figure(name, value, unit, goal, better)
        self.figures.append(figure)
        print(figure.line(self.area), flush=True)

    def write(self) -> Path:
        """Writes `results/<area>.json`, and gives its path."""
        self._results.mkdir(parents=True, exist_ok=True)
        path = self._results / f"{self.area}.json"
        machine = {"python": platform.python_version(), "system": platform.platform(), "byteorder": sys.byteorder}
        told = [{**asdict(figure), "ok": figure.ok} for figure in self.figures]
        record = {"area": self.area, "at": clock.stamp(), "smoke": self.smoke, "machine": machine, "figures": told}
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.figures:
            self.write()


def _number(value: float) -> str:
    """Four significant digits, no exponent where it is readable without."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.3e}"
