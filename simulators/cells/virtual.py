"""Virtual experiments: what a cell of a formulation would do, without a lab.

`outcome` is a plain function of plain values: it may run in a process pool, and a campaign's file names it as
`simulators.cells.virtual:outcome`.
"""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from simulators._kit.stack import HALF_CELL, LID
from simulators._kit.world import Cell
from simulators.cells.formulation import Composition, conductivity, of_materials, of_point, viscosity
from simulators.cells.materials import ADDITIVES, SOLVENTS
from simulators.cells.model import CellModel

UPPER, LOWER = 4.2, 2.8  # V
DT = 60.0  # s
LONGEST = 40 * 3600.0  # s of a charge or discharge
OHMIC_AT = 1e4  # Hz
PARTS = frozenset({*SOLVENTS, *ADDITIVES, "molality", "molarity", "salt", "water"})


def outcome(
    formulation: Mapping[str, float | str],
    dose: float = 45.0,
    force: float = 7.8,
    wait: float = 240.0,
    temperature: float = 25.0,
    cycles: int = 3,
    *,
    rate: float = 0.25,
    hold: bool = True,
    seed: int | str | None = None,
    failures: float = 0.0,
    model: Literal["light", "pybamm"] = "light",
) -> dict[str, float]:
    """The figures of a cell that is built, formed and cycled: to 4.2 V and held there, and down to 2.8 V.

    Args:
        formulation: shares of solvents and additives with a molality, as `of_point` reads them; or materials of
            `simulators.cells.materials` with their volumes or shares of volume.
        dose: µL.
        force: kN of the crimp.
        wait: s between wetting and crimp.
        temperature: °C.
        cycles: how many, at least one.
        rate: 1/h, on 2 mAh.
        hold: whether the light model holds the upper voltage until a tenth of the current flows.
        seed: of the spread between replicates; None: the cell without any.
        failures: share of cells that fail without a cause, where there is a seed.
        model: which computes it; `pybamm` takes the extra `physics`, and tells no energy.

    Returns:
        `conductivity` (mS/cm), `viscosity` (mPa·s), `r_ohmic` and `r_transfer` (Ω, at the end), `capacity` (mAh, of
        the last discharge), `capacity_1` … by cycle, `ce_1` … and `energy_efficiency_1` … (%), `retention` (%, last
        discharge over the first), `energy` (mWh of the last discharge): names and units are those that a run's figures
        have, see `labd.records.figures`. What could not be measured is NaN: of a dead cell all but its electrolyte's.

    Raises:
        ValueError: no cycles, a formulation that is none, or PyBaMM is not installed.
    """
    if model == "pybamm" and importlib.util.find_spec("pybamm") is None:
        raise ValueError("PyBaMM is not installed: pip install 'labd[physics]', or take the light model")
    if cycles < 1:
        raise ValueError(f"{cycles} cycles: there must be one at least")
    liquid = composition_of(formulation)
    figures = {
        "conductivity": conductivity(liquid, temperature),
        "viscosity": viscosity(liquid, temperature),
    }
    cell = Cell(
        id="virtual",
        parts=[HALF_CELL, LID],
        electrolyte={"LP57": dose},
        wetted_at=0.0,
        crimp_force=force,
        crimp_dwell=2.0,
        crimped_at=wait,
    )
    rng = _Even() if seed is None else random.Random(f"{seed}")
    if model == "pybamm":
        from simulators.cells.heavy import HeavyModel

        heavy = HeavyModel(cell, rng, temperature=temperature, failures=failures, liquid=liquid)
        if not heavy.live:
            return figures | _unmeasured(cycles)
        return figures | _figures(heavy, [heavy.cycle(rate * 2e-3) for _ in range(cycles)])
    light = CellModel(cell, rng, temperature=temperature, failures=failures, liquid=liquid)
    if not light.live:
        energies = ["energy", *(f"energy_efficiency_{number}" for number in range(1, cycles + 1))]
        return figures | _unmeasured(cycles) | dict.fromkeys(energies, math.nan)
    return figures | _cycled(light, cycles, rate * 2e-3, hold=hold)


def composition_of(point: Mapping[str, float | str]) -> Composition:
    """What a formulation is, by its parts or by its materials. Raises ValueError.

    `{"EC": 0.3, "EMC": 0.7, "molality": 1.0}` names parts; as soon as one name is none, all of them are bottles.
    """
    if point and point.keys() <= PARTS:
        return of_point(point)
    volumes = {name: amount for name, amount in point.items() if isinstance(amount, (int, float))}
    liquid = of_materials(volumes)
    if liquid.unknown or not sum(volumes.values()) > 0:
        raise ValueError(f"no such material: {', '.join(liquid.unknown) or 'none is named'}")
    return liquid


class _Even(random.Random):
    """No luck, good or bad."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:  # noqa: ARG002 - it has none
        return mu

    def random(self) -> float:
        return 0.5


def _cycled(model: CellModel, cycles: int, current: float, *, hold: bool) -> dict[str, float]:
    done: list[tuple[float, float]] = []
    efficiencies: dict[str, float] = {}
    energy = 0.0
    for number in range(1, cycles + 1):
        charge, spent = _flow(model, current, UPPER)
        if hold:
            held = _hold(model, UPPER, current / 10)
            charge, spent = charge + held, spent + held * UPPER
        discharge, energy = _flow(model, -current, LOWER)
        done.append((charge / 3.6, discharge / 3.6))
        efficiencies[f"energy_efficiency_{number}"] = _percent(energy, spent)
    return _figures(model, done) | efficiencies | {"energy": energy / 3.6}


class _Measured(Protocol):
    def impedance(self, frequency: float) -> complex: ...


def _figures(model: _Measured, cycles: Sequence[tuple[float, float]]) -> dict[str, float]:
    """What the mAh in and out of each cycle, and the impedance at the end, come to."""
    figures: dict[str, float] = {}
    for number, (charge, discharge) in enumerate(cycles, 1):
        figures[f"capacity_{number}"] = discharge
        figures[f"ce_{number}"] = _percent(discharge, charge)
    high, low = model.impedance(OHMIC_AT), model.impedance(1.0)
    return figures | {
        "capacity": cycles[-1][1],
        "retention": _percent(cycles[-1][1], cycles[0][1]),
        "r_ohmic": high.real,
        "r_transfer": low.real - high.real,
    }


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole > 0 else math.nan


def _unmeasured(cycles: int) -> dict[str, float]:
    """The figures of a dead cell."""
    numbered = [f"{name}_{number}" for number in range(1, cycles + 1) for name in ("capacity", "ce")]
    return dict.fromkeys([*numbered, "capacity", "retention", "r_ohmic", "r_transfer"], math.nan)


def _flow(model: CellModel, current: float, until: float) -> tuple[float, float]:
    """C and J that flow at a current until a voltage; the last step ends where the voltage is met."""
    sign = math.copysign(1.0, current)
    charge = energy = elapsed = 0.0
    before = model.voltage
    while elapsed < LONGEST:
        state = dict(model.cell.physics)
        dt = DT
        volts, _ = model.step(dt, current=current)
        over = sign * (volts - until)
        if over > 0:
            rise = sign * (volts - before)
            dt *= max(0.0, 1.0 - over / rise) if rise > 0 else 0.0
            model.cell.physics.update(state)
            volts, _ = model.step(dt, current=current)
        charge += abs(current) * dt
        energy += abs(current) * dt * 0.5 * (volts + before)
        if over >= 0:
            break
        before = volts
        elapsed += dt
    return charge, energy


def _hold(model: CellModel, volts: float, until: float) -> float:
    """C that flow at a voltage until the current has fallen."""
    charge = elapsed = 0.0
    while elapsed < LONGEST:
        _, current = model.step(DT, voltage=volts)
        charge += current * DT
        if abs(current) <= until:
            break
        elapsed += DT
    return charge
