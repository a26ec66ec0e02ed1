"""Cells: how near the light model is to a Doyle-Fuller-Newman model, and how fast both models are.

The DFN's curves are those that are kept with the tests, and live ones where PyBaMM is installed.
"""

from __future__ import annotations

import importlib.util
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._figures import Figures
from simulators._kit.world import HALF_CELL, LID, Cell
from simulators.cells import CellModel, accuracy
from simulators.cells.build import Build, build_of
from simulators.cells.many import Cells
from simulators.cells.virtual import outcome

RECORDED = Path(__file__).parents[1] / "tests" / "simulators" / "dfn_chen2020.json"
CURRENT = 5e-4  # A, C/4
FREQUENCIES = [10 ** (5 - number / 10) for number in range(60)]


def run(smoke: bool, figures: Figures) -> None:
    recorded: dict[str, Any] = json.loads(RECORDED.read_text())
    for curve in recorded["discharges"]:
        rate = curve["rate"]
        error = accuracy.rmse(accuracy.discharge(rate, curve["time"]), curve["voltage"])
        figures.add(f"rmse_{rate}C", error, "mV", goal=accuracy.ALLOWED[rate], better="lower")
    light(smoke, figures)
    if importlib.util.find_spec("pybamm") is not None:
        heavy(smoke, figures)


def light(smoke: bool, figures: Figures) -> None:
    count, cycles = (5, 2) if smoke else (50, 50)
    many = Cells([built(number) for number in range(count)])
    figures.add(
        f"{count}_cells_{cycles}_cycles", cpu(lambda: [many.cycle(1e-3) for _ in range(cycles)]), "s", 30.0, "lower"
    )
    for name, imposed in (("current", {"current": CURRENT}), ("voltage", {"voltage": 3.8}), ("rest", {})):
        cell = CellModel(made(0), random.Random(0), failures=0.0)
        cell.step(6 * 3600.0, current=1e-4)
        steps = 100 if smoke else 2000

        def story(cell: CellModel = cell, imposed: dict[str, float] = imposed, steps: int = steps) -> None:
            for _ in range(steps):
                cell.step(10.0, **imposed)

        figures.add(f"step_{name}", 1e6 * cpu(story) / steps, "µs")
    figures.add("outcome_of_3_cycles", 1e3 * cpu(lambda: outcome({"LP57": 45.0}, cycles=3)), "ms")


def heavy(smoke: bool, figures: Figures) -> None:
    from simulators.cells import heavy as pybamm

    for rate, allowed in accuracy.ALLOWED.items():
        times, volts = pybamm.discharge("DFN", rate)
        error = accuracy.rmse(accuracy.discharge(rate, times), volts)
        figures.add(f"rmse_live_{rate}C", error, "mV", goal=allowed, better="lower")
    cell = pybamm.HeavyModel.of_build(built(0))
    figures.add("pybamm_first_cycle", 1e3 * cpu(lambda: cell.cycle(CURRENT)), "ms")
    cell.cycle(CURRENT)
    cycles = 2 if smoke else 20
    figures.add("pybamm_cycle", 1e3 * cpu(lambda: [cell.cycle(CURRENT) for _ in range(cycles)]) / cycles, "ms")
    steps = 5 if smoke else 60
    figures.add(
        "pybamm_step", 1e3 * cpu(lambda: [cell.step(60.0, current=CURRENT) for _ in range(steps)]) / steps, "ms"
    )
    cell.spectrum(FREQUENCIES)
    figures.add("pybamm_spectrum_60", 1e3 * cpu(lambda: cell.spectrum(FREQUENCIES)), "ms")


def built(number: int) -> Build:
    return build_of(made(number), random.Random(number), failures=0.05)


def made(number: int) -> Cell:
    return Cell(
        id=f"c{number}",
        parts=[HALF_CELL, LID],
        electrolyte={"LP57": 45.0},
        wetted_at=0.0,
        crimp_force=7.8,
        crimped_at=240.0,
    )


def cpu(work: Callable[[], object]) -> float:
    """Seconds of one core that some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began
