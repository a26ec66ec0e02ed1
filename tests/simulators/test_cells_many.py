"""Many cells step as each of them would alone, and both as a Doyle-Fuller-Newman model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulators._kit.world import HALF_CELL, LID, Cell, World
from simulators.cells import CellModel, accuracy
from simulators.cells.build import build_of
from simulators.cells.many import Cells

REFERENCE: dict[str, Any] = json.loads(Path(__file__).with_name("dfn_chen2020.json").read_text())


def made(number: int) -> Cell:
    return Cell(
        id=f"c{number}",
        parts=[HALF_CELL, LID],
        electrolyte={("LP57", "LP30", "1M LiPF6 in EMC")[number % 3]: (45.0, 20.0, 120.0)[number % 3]},
        wetted_at=0.0,
        crimp_force=(7.8, 6.0, 9.5, 7.8)[number % 4],
        crimped_at=240.0,
    )


def both(count: int, failures: float = 0.0) -> tuple[Cells, list[CellModel]]:
    world = World(3)
    cells = [made(number) for number in range(count)]
    many = Cells([build_of(cell, world.random(cell.id), failures) for cell in cells])
    return many, [CellModel(cell, world.random(cell.id), failures=failures) for cell in cells]


@pytest.mark.parametrize("imposed", [{"current": 5e-4}, {"voltage": 3.9}, {}, {"current": -3e-4}], ids=str)
def test_many_cells_step_as_each_alone(imposed: dict[str, float]) -> None:
    many, ones = both(12)
    dice = random.Random(1)
    for _ in range(40):
        dt = dice.choice([0.1, 5.0, 60.0, 150.0])
        for kind in ({"current": 5e-4}, imposed):
            volts, amps = many.step(dt, **kind)
            alone = [one.step(dt, **kind) for one in ones]
            assert volts == pytest.approx([each for each, _ in alone], abs=1e-9)
            assert amps == pytest.approx([each for _, each in alone], abs=1e-12)
    assert many.soc == pytest.approx([one.soc for one in ones], abs=1e-12)
    assert many.capacity == pytest.approx([one.capacity for one in ones])
    assert many.voltage == pytest.approx([one.voltage for one in ones], abs=1e-9)
    assert many.impedance(10.0) == pytest.approx([one.impedance(10.0) for one in ones])


def test_each_cell_has_its_own_current_or_voltage() -> None:
    many, ones = both(3)
    volts, amps = many.step(60.0, current=[4e-4, 0.0, -1e-4], voltage=[np.nan, 3.0, np.nan])
    alone = [ones[0].step(60.0, current=4e-4), ones[1].step(60.0, voltage=3.0), ones[2].step(60.0, current=-1e-4)]
    assert volts == pytest.approx([each for each, _ in alone], abs=1e-9)
    assert amps == pytest.approx([each for _, each in alone], abs=1e-12)


def test_cells_cycle_to_their_own_limits_and_fade() -> None:
    many, _ = both(6)
    cycles = [many.cycle(1e-3) for _ in range(6)]
    assert 0.7 < cycles[0].efficiency.min() < cycles[0].efficiency.max() < 0.91
    assert (cycles[5].discharge < cycles[1].discharge).all()
    assert (cycles[5].efficiency > 0.9).all()
    assert cycles[1].energy == pytest.approx(cycles[1].discharge * 3.6, rel=0.1)


def test_cells_that_fail_are_told_and_do_not_hold_up_the_others() -> None:
    many, ones = both(12, failures=1.0)
    assert 0 < many.live.sum() < 12
    assert many.live.tolist() == [one.live for one in ones]
    volts, amps = many.step(60.0, current=1e-4)
    assert np.isnan(volts).tolist() == [not one.live for one in ones]
    assert (amps[~many.live] == 0).all()
    assert np.isnan(many.cycle(1e-3).discharge).tolist() == [not one.live for one in ones]


@pytest.mark.parametrize("rate", list(accuracy.ALLOWED))
def test_the_light_model_is_near_the_recorded_dfn(rate: float, record_property: Any) -> None:
    curve = next(each for each in REFERENCE["discharges"] if each["rate"] == rate)
    error = accuracy.rmse(accuracy.discharge(rate, curve["time"]), curve["voltage"])
    print(f"{rate} C: {error:.2f} mV against PyBaMM {REFERENCE['pybamm']} (DFN, Chen2020)")  # noqa: T201
    record_property("rmse_mv", error)
    assert error <= accuracy.ALLOWED[rate]
