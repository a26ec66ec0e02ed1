"""PyBaMM behind the same face as the light model; extra `physics`.

One discretised model is shared by all cells of a process. What differs between them (area, contacts, kinetics, salt,
temperature) is an input of it, and so is the mode: one algebraic equation imposes a current, a voltage or rest. Of a
cell only its last state is kept. PyBaMM's current is positive in discharge, ours in charge: the sign turns here only.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, Literal

from simulators._kit.world import FAILED_CELLS, Cell
from simulators.cells import chen2020 as chen
from simulators.cells.build import CAPACITY, LEAST_WETTED, Build, Condition, blank_resistance, build_of, condition
from simulators.cells.chen2020 import ANODE, CATHODE, COIN, DX, DY, X0, Y0
from simulators.cells.formulation import Composition
from simulators.cells.impedance import LEADS, of_blank, of_leads
from simulators.cells.model import FADED, FADING, FORMING, LEAKED

# PyBaMM would otherwise tell its makers of each import.
os.environ.setdefault("PYBAMM_DISABLE_TELEMETRY", "true")

UNCHARGED = -0.028  # state of charge of a cell that was never charged; a little lithium must be there
Kind = Literal["SPMe", "DFN"]
_NEVER = 99.0  # V; no limit
_PIECE = 0.02  # of that, while the film grows
_STATE = ("_solution", "_volts", "_amps", "_aged", "_fading", "_leaking", "_sei", "_now", "q")
_LONGEST = 2.0  # of a half cycle, as a part of what the nominal capacity takes


# ── the one model ────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Shared:
    model: Any  # discretised
    solver: Any
    volts: int  # rows of a solution's states
    amps: int
    passed: int  # Ah discharged
    scale: float  # A that one of the current's state is


def _parameters() -> Any:
    """Chen2020 as a coin cell, with what differs between cells as inputs."""
    import pybamm

    given = pybamm.InputParameter
    low, mid, high = chen.NYMAN

    def conductivity(salt: Any, kelvin: Any) -> Any:  # noqa: ARG001 - the law is asked at the temperature before
        z = salt / given("filled")
        return given("conductivity") * z * (low + mid * z**0.5 + high * z**2) / chen.NYMAN_CONDUCTIVITY

    def diffusivity(salt: Any, kelvin: Any) -> Any:  # noqa: ARG001
        z = salt / given("filled")
        return given("diffusivity") * (0.8794 * z**2 - 3.972 * z + 4.862) / 1.7694

    def exchange(electrode: chen.Electrode) -> Any:
        def current(salt: Any, surface: Any, most: Any, kelvin: Any) -> Any:
            warm = pybamm.exp(electrode.activation / chen.GAS * (1.0 / chen.WARM - 1.0 / kelvin))
            return given("kinetics") * electrode.rate * warm * (salt * surface * (most - surface)) ** 0.5

        return current

    def graphite(x: Any) -> Any:
        soc = pybamm.minimum(x - X0, 0.0) / DX
        never = (chen.open_circuit_voltage(0.0) - 0.1) * (1.0 - pybamm.exp(soc / 0.008)) - 2.0 * soc
        usual = given_graphite(x)
        # What the light model's table has below 2.5 V: both potentials at their edge, and the way down to 0.1 V.
        return usual * (x >= X0) + (x < X0) * (edge - 0.8 * (x - X0) * DY / DX + never)

    values = pybamm.ParameterValues("Chen2020")
    given_graphite = values["Negative electrode OCP [V]"]
    edge = chen.tabled(chen.GRAPHITE, X0)
    values.update(
        {
            "Negative electrode thickness [m]": COIN.anode,
            "Separator thickness [m]": COIN.separator,
            "Positive electrode thickness [m]": COIN.cathode,
            "Separator porosity": COIN.porosity,
            "Electrode height [m]": 1.0,
            "Electrode width [m]": given("area"),
            "Nominal cell capacity [A.h]": CAPACITY / 3600.0,
            "Contact resistance [Ohm]": given("contact"),
            "Electrolyte conductivity [S.m-1]": conductivity,
            "Electrolyte diffusivity [m2.s-1]": diffusivity,
            "Initial concentration in electrolyte [mol.m-3]": given("filled"),
            "Negative electrode exchange-current density [A.m-2]": exchange(ANODE),
            "Positive electrode exchange-current density [A.m-2]": exchange(CATHODE),
            "Negative particle diffusivity [m2.s-1]": ANODE.diffusivity * given("solid"),
            "Positive particle diffusivity [m2.s-1]": CATHODE.diffusivity * given("solid"),
            "Negative electrode OCP [V]": graphite,
            "Initial concentration in negative electrode [mol.m-3]": ANODE.most * given("x"),
            "Initial concentration in positive electrode [mol.m-3]": CATHODE.most * given("y"),
            "Ambient temperature [K]": given("kelvin"),
            "Initial temperature [K]": given("kelvin"),
            "Lower voltage cut-off [V]": -_NEVER,
            "Upper voltage cut-off [V]": _NEVER,
        }
    )
    return values


@lru_cache(maxsize=2)
def _shared(kind: Kind) -> _Shared:
    """Built once in a process, in about a second."""
    import pybamm

    given = pybamm.InputParameter

    def imposed(variables: Mapping[str, Any]) -> Any:
        amps, volts = variables["Current [A]"], variables["Voltage [V]"]
        return given("by voltage") * (volts - given("volts")) + (1 - given("by voltage")) * (amps - given("amps"))

    options = {"operating mode": imposed, "contact resistance": "true", "voltage as a state": "true"}
    model = getattr(pybamm.lithium_ion, kind)(options)
    volts, amps = model.variables["Voltage [V]"], model.variables["Current [A]"]
    # With this word in its name PyBaMM goes on after an event.
    model.events = [
        pybamm.Event("upper [experiment]", given("upper") - volts),
        pybamm.Event("lower [experiment]", volts - given("lower")),
        pybamm.Event("held [experiment]", pybamm.AbsoluteValue(amps) - given("held")),
    ]
    simulation = pybamm.Simulation(model, parameter_values=_parameters())
    simulation.build()
    built = simulation.built_model
    scale = float(next(each for each in built.y_slices if each.name == "Current variable [A]").scale.evaluate())
    rows = {variable.name: parts[0].start for variable, parts in built.y_slices.items()}
    return _Shared(
        built,
        pybamm.IDAKLUSolver(rtol=1e-4, atol=1e-6),
        volts=rows["Voltage [V]"],
        amps=rows["Current variable [A]"],
        passed=rows["Discharge capacity [A.h]"],
        scale=scale,
    )


@lru_cache(maxsize=1)
def _spectra() -> Any:
    """The same cell for small signals, with its double layers."""
    import pybamm

    model = pybamm.lithium_ion.SPMe({"surface form": "differential", "contact resistance": "true"})
    return pybamm.EISSimulation(model, parameter_values=_parameters())


def discharge(kind: Kind, rate: float, points: int = 120) -> tuple[list[float], list[float]]:
    """Times (s) and voltages of the LG M50, Chen2020 as published, from full to 2.5 V at a rate (1/h)."""
    import numpy as np
    import pybamm

    simulation = pybamm.Simulation(
        getattr(pybamm.lithium_ion, kind)(), parameter_values=pybamm.ParameterValues("Chen2020"), C_rate=rate
    )
    solution = simulation.solve([0.0, 1.1 * 3600.0 / rate])
    times = np.linspace(0.0, float(solution.t[-1]), points + 1)[1:]
    return times.tolist(), solution["Voltage [V]"](times).tolist()


# ── one cell ─────────────────────────────────────────────────────────────────────────────────────────────────────
class HeavyModel:
    """The physics of one cell by PyBaMM, with the face of `CellModel`. Its state lives in the object.

    Args:
        cell: as the lab made it.
        rng: seeded by the cell's id.
        temperature: °C.
        failures: share of cells that fail without a cause.
        liquid: its electrolyte, where its materials do not say that.
        kind: which of PyBaMM's models.
    """

    def __init__(
        self,
        cell: Cell,
        rng: random.Random,
        *,
        temperature: float = 25.0,
        failures: float = FAILED_CELLS,
        liquid: Composition | None = None,
        kind: Kind = "SPMe",
    ) -> None:
        self._begin(build_of(cell, rng, failures, liquid), temperature, kind)

    @classmethod
    def of_build(cls, build: Build, temperature: float = 25.0, kind: Kind = "SPMe") -> HeavyModel:
        """The cell of a build."""
        self = cls.__new__(cls)
        self._begin(build, temperature, kind)
        return self

    def _begin(self, build: Build, temperature: float, kind: Kind) -> None:
        self.build, self.temperature, self._kind = build, temperature, kind
        self._aged = {"fade": 0.0, "lost": 0.0}
        self._fading = self._leaking = self._sei = 0.0
        self._now: Condition = condition(build, self._aged, temperature)
        self._start = UNCHARGED
        self._solution: Any = None
        self._volts, self._amps = chen.open_circuit_voltage(UNCHARGED), 0.0
        self.q = UNCHARGED * self.capacity
        self._noise = random.Random(build.luck)

    @property
    def capacity(self) -> float:
        """C between 2.5 and 4.2 V, as it is now."""
        return self._now.numbers.capacity

    @property
    def live(self) -> bool:
        """Whether it conducts at all."""
        return self.build.closed and self._now.wetted > LEAST_WETTED

    @property
    def soc(self) -> float:
        """State of charge; 0 is 2.5 V and 1 is 4.2 V at rest."""
        return self.q / self.capacity if self.live else 0.0

    def _inputs(self) -> dict[str, float]:
        cell, build = self._now.numbers, self.build
        kelvin = self.temperature + 273.15
        warm = chen.DIFFUSION_ACTIVATION / chen.GAS * (1.0 / chen.WARM - 1.0 / kelvin)
        area = cell.capacity / COIN.areal
        paths = COIN.separator / (cell.pores_s * COIN.porosity**1.5 * area)
        salt = chen.salt_modes(COIN)
        return {
            "area": area,
            "contact": build.contact,
            "conductivity": paths,
            "diffusivity": salt.times[0] / cell.taus[6],
            "filled": 1000.0 * max(0.02, build.composition.molarity),
            "kinetics": build.kinetics,
            "solid": build.diffusion * math.exp(warm),
            "kelvin": kelvin,
            "x": X0 + DX * self._start,
            "y": Y0 - DY * self._start,
        }

    def step(
        self,
        dt: float,
        *,
        current: float | None = None,
        voltage: float | None = None,
        limit: float = math.inf,
    ) -> tuple[float, float]:
        """As `CellModel.step`: V and A at the end of dt seconds under a current (A), to a voltage (V), or at rest.

        While the first film grows, a step of more than some minutes takes too much for it.
        """
        if not self.live:
            if voltage is not None:
                return voltage, 0.0
            return (math.copysign(limit, current) if current and limit < math.inf else 0.0), 0.0
        if dt <= 0:
            return self._volts, self._amps
        before = {name: getattr(self, name) for name in _STATE}
        volts, amps, _ = self._solve(dt, current, voltage)
        if voltage is not None and abs(amps) > limit:
            self._restore(before)
            volts, amps, _ = self._solve(dt, math.copysign(limit, amps), None)
        elif voltage is None and abs(volts) > limit:
            self._restore(before)
            volts, amps, _ = self._solve(dt, None, math.copysign(limit, volts))
        return volts, amps

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def _solve(
        self,
        dt: float,
        current: float | None,
        voltage: float | None,
        *,
        upper: float = _NEVER,
        lower: float = -_NEVER,
        held: float = -1.0,
    ) -> tuple[float, float, float]:
        """Goes on for dt, or to the first limit: V and A at the end, and the seconds that it took."""
        shared = _shared(self._kind)
        charging = current > 0 if current else voltage is not None and voltage > self._volts - 1e-6
        formed = self._sei / (self.build.film * self._now.wetted)
        stored = 1.0 - self._now.wear - FORMING * max(0.0, 1.0 - formed) if charging else 1.0
        shunt = self.build.shunt
        wanted = stored * ((current or 0.0) - self._volts / shunt)
        inputs = self._inputs() | {
            "by voltage": float(voltage is not None),
            "volts": voltage if voltage is not None else 0.0,
            "amps": -wanted,
            "upper": upper,
            "lower": lower,
            "held": held * stored if held > 0 else -1.0,
        }
        began = 0.0 if self._solution is None else float(self._solution.t[-1])
        solution = shared.solver.step(self._solution, shared.model, dt, inputs=inputs, save=False)
        took = float(solution.t[-1]) - began
        states = solution.y  # its variables by name would be compiled anew for each solution
        inner = -float(states[shared.amps, -1]) * shared.scale / stored
        moved = -float(states[shared.passed, -1] - states[shared.passed, 0]) * 3600.0
        self._volts = float(states[shared.volts, -1])
        self._amps = current if current is not None else inner + self._volts / shunt if voltage is not None else 0.0
        self._solution = solution.last_state
        self.q += moved
        self._age(took, moved / stored, stored)
        return self._volts, self._amps, took

    def _age(self, took: float, inner: float, stored: float) -> None:
        """What the light model does to itself in a step, after C through the electrodes."""
        if stored < 1.0 and inner > 0:
            self._sei += max(0.0, inner * (1.0 - stored - self._now.wear))
            self._fading += FADING * self._now.wear * inner / self.build.nominal
        self._leaking += self.build.leak * took
        if self._fading > FADED or self._leaking > LEAKED:
            before = self.capacity
            self._aged = {
                "fade": min(0.9, self._aged["fade"] + self._fading),
                "lost": self._aged["lost"] + self._leaking,
            }
            self._fading = self._leaking = 0.0
            self._now = condition(self.build, self._aged, self.temperature)
            self.q *= self.capacity / before

    @property
    def voltage(self) -> float:
        """Voltage at the end of the last step, V."""
        return self._volts if self.live else self._noise.gauss(0.0, 2e-4)

    def impedance(self, frequency: float) -> complex:
        """Impedance, Ω, at rest, at a frequency in Hz; the imaginary part of a capacitive cell is negative."""
        return self.spectrum([frequency])[0]

    def spectrum(self, frequencies: Sequence[float]) -> list[complex]:
        """The impedance at many frequencies: linearising the model costs as much as some of them."""
        if (ohms := blank_resistance(self.build, self._now)) is not None:
            return [of_blank(ohms, frequency) for frequency in frequencies]
        if not self.live:
            return [of_leads(frequency) for frequency in frequencies]
        inputs = self._inputs() | {"x": X0 + DX * self.soc, "y": Y0 - DY * self.soc}
        found = _spectra().solve(list(frequencies), inputs=inputs).impedance
        leads = [2j * math.pi * frequency * LEADS for frequency in frequencies]
        shunt = self.build.shunt
        return [complex(z / (1.0 + z / shunt)) + lead for z, lead in zip(found, leads, strict=True)]

    def cycle(
        self, current: float, upper: float = 4.2, lower: float = 2.8, *, hold: float = 0.1
    ) -> tuple[float, float]:
        """Charges at a current (A), holds at the upper voltage, discharges; gives mAh in and out.

        Each of the three is one call of the solver, which ends where its limit is met; a charge that still makes its
        film is parted.
        """
        longest = _LONGEST * CAPACITY / current
        charging = 0.0
        while self._volts < upper - 1e-3 and charging < longest:
            forming = self._sei < 0.99 * self.build.film * self._now.wetted
            charging += self._solve(_PIECE * longest if forming else longest, current, None, upper=upper)[2]
        before = self.q
        stored = self._sei
        if self._volts >= upper - 1e-3:
            self._solve(longest, None, upper, held=hold * current)
        held = self.q - before + self._sei - stored
        _, _, discharging = self._solve(longest, -current, None, lower=lower)
        return (current * charging + held) / 3.6, current * discharging / 3.6


def cycle_many(
    builds: Sequence[Build], cycles: int, current: float, *, temperature: float = 25.0, workers: int | None = None
) -> list[list[tuple[float, float]]]:
    """Cycles cells in a pool of processes; gives for each its cycles' mAh in and out, none of a dead cell.

    Args:
        builds: the cells.
        cycles: how many of each.
        current: A.
        temperature: °C.
        workers: processes; as many as the machine has cores by default.
    """
    jobs = [(build, cycles, current, temperature) for build in builds]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_cycled, jobs))


def _cycled(job: tuple[Build, int, float, float]) -> list[tuple[float, float]]:
    build, cycles, current, temperature = job
    cell = HeavyModel.of_build(build, temperature)
    return [cell.cycle(current) for _ in range(cycles)] if cell.live else []
