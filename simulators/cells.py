"""A light physical coin cell: an equivalent circuit whose numbers follow from how the cell was built.

Open-circuit curve, ohmic resistance, one RC pair for the charge transfer and one for diffusion; solid electrolyte
interphase (SEI) on the first cycle, slow fading after it, self-discharge. Capacity and resistances depend on the
electrolyte in the cell, the force of the crimp and the time between wetting and crimp. Positive current charges.

Orders of magnitude: a CR2032 full cell of 15 mm discs, about 2 mAh, formation efficiency 85-90 %; electrolyte doses
and press force as AutoBASS (35 µL), ODACell (45 µL) and Aurora (100 µL, 7.8 kN) use them; relative standard deviation
of the capacity of well-made cells about 2 % (ODACell).
"""

from __future__ import annotations

import math
import random
from typing import Any

from simulators._kit.stack import Worth, worth
from simulators._kit.world import Cell

CAPACITY = 7.2  # C, 2 mAh: a well-made cell's between 2.5 and 4.2 V
BEST_FORCE = 7.8  # kN
FREE_VOLUME = 110.0  # µL; more is squeezed out at the crimp
EVAPORATION = 0.4 / 60  # µL/s from an open, wetted cell
SUBSTEP = 60.0  # s; one step of the circuit at most
_REFRESH = 300.0  # s of cell time between two looks at the electrolyte that is left

_LOW, _HIGH, _POINTS = -0.06, 1.15, 1211  # range and grid of the tabled open-circuit curve, in states of charge


def _anode(x: float) -> float:
    """Graphite against lithium, V; fit of Chen et al., J. Electrochem. Soc. 167 (2020) 080534."""
    return (
        1.9793 * math.exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * math.tanh(29.8538 * (x - 0.1234))
        - 0.04478 * math.tanh(14.9159 * (x - 0.2769))
        - 0.0205 * math.tanh(30.4444 * (x - 0.6103))
    )


def _cathode(y: float) -> float:
    """Nickel-rich NMC against lithium, V; the same source."""
    return (
        -0.8090 * y
        + 4.4875
        - 0.0428 * math.tanh(18.5138 * (y - 0.5542))
        - 17.7326 * math.tanh(15.7890 * (y - 0.3117))
        + 17.5842 * math.tanh(15.9308 * (y - 0.3120))
    )


def _formula(soc: float) -> float:
    """Open-circuit voltage of the full cell; below 0 the steep way down to a cell that was never charged (0.1 V)."""
    inside = max(0.0, soc)
    volts = _cathode(0.9077 - 0.6416 * inside) - _anode(0.0279 + 0.8735 * inside)
    if soc < 0:
        return 0.1 + (volts - 0.1) * math.exp(soc / 0.008) + 2.0 * soc
    return volts + 5.0 * max(0.0, soc - 1.02) ** 2


_STEP = (_HIGH - _LOW) / (_POINTS - 1)
_TABLE = [_formula(_LOW + index * _STEP) for index in range(_POINTS)]


def open_circuit_voltage(soc: float) -> float:
    """Open-circuit voltage, V, at a state of charge (0: 2.5 V, 1: 4.2 V); grows everywhere."""
    return _ocv(soc)[0]


def _ocv(soc: float) -> tuple[float, float]:
    """Voltage and its slope, V a unit of state of charge."""
    position = (soc - _LOW) / _STEP
    index = min(int(position), _POINTS - 2) if position > 0 else 0
    here = _TABLE[index]
    slope = (_TABLE[index + 1] - here) / _STEP
    return here + (position - index) * _STEP * slope, slope


class CellModel:
    """The physics of one crimped cell. Its state is `cell.physics`, plain numbers that live and persist with the world.

    Args:
        cell: as the lab made it. Without a crimp, an electrode or a case it is no cell: open circuit.
        rng: seeded by the cell's id (`world.random(cell.id)`); decides the spread between cells, and is drawn the same
            number of times for every cell, so that a restart finds the same cell again.
    """

    def __init__(self, cell: Cell, rng: random.Random) -> None:
        self.cell = cell
        self._worth = worth(cell.parts)
        self.made = self._worth is not Worth.DEAD and cell.crimped_at is not None
        self._spread = [rng.gauss(0.0, 1.0) for _ in range(6)]
        self._luck = rng.random()
        state = cell.physics
        if self.made and "q" not in state:
            state.update(
                q=0.0,  # C on the anode; below zero: never charged
                v1=0.0,  # V over the charge transfer
                v2=0.0,  # V over the diffusion
                sei=0.0,  # C lost to the first film
                fade=0.0,  # share of the capacity that ageing took
                passed=0.0,  # C through the cell, both ways
                lost=0.0,  # µL of electrolyte that left through a bad seal
                age=0.0,  # s since the physics began
            )
        self._state: dict[str, Any] = state
        self._since_refresh = 0.0
        self._noise = random.Random(self._luck)
        self.capacity = 0.0  # C between 2.5 and 4.2 V, as it is now
        self._build()
        if self.live and not state["age"]:
            state["q"] = -0.03 * self.capacity

    # ── how it was built ─────────────────────────────────────────────────────────────────────────────────────────
    def _build(self) -> None:
        cell, spread = self.cell, self._spread
        force = cell.crimp_force or 0.0
        waited = max(0.0, (cell.crimped_at or 0.0) - (cell.wetted_at or 0.0)) if cell.wetted_at is not None else 0.0
        poured = max(0.0, cell.volume - EVAPORATION * waited)
        spilt = max(0.0, poured - FREE_VOLUME)
        self._dose = poured - spilt
        weak = max(0.0, BEST_FORCE - force)
        # A crimp below about 6 kN does not close the gasket; electrolyte on the rim keeps it from closing too.
        openness = 1.0 / (1.0 + math.exp((force - 5.5) / 0.35)) + min(0.5, spilt / 60.0)
        self._leak = openness * 2.0 / 3600.0  # µL/s
        self._contact = 1.5 * math.expm1(weak / 1.4)  # Ω
        self._nominal = CAPACITY * (1.0 + 0.02 * spread[0])
        self._r0_dry = 6.0 * math.exp(0.06 * spread[1])
        self._r1 = 18.0 * math.exp(0.08 * spread[2])
        self._r2 = 14.0 * math.exp(0.08 * spread[3])
        self._tau1, self._tau2 = 0.02, 140.0
        # Solvent that evaporated leaves a richer salt: the film costs more.
        self._sei = self._nominal * min(0.3, max(0.08, 0.105 + 0.008 * spread[4] + 0.06 * min(1.0, waited / 3600.0)))
        self._shunt = 3.0e7 * math.exp(0.3 * spread[5])  # Ω; some 2 % of charge in half a year
        crushed = max(0.0, (force - 9.0) / 3.0)
        shorted = self._worth is Worth.SHORT or any("short" in word for word in cell.damage)
        if self._luck < crushed or shorted:
            self._shunt = 2500.0 * math.exp(1.2 * spread[5])
        self._nominal *= max(0.4, 1.0 - 0.25 * crushed - 0.05 * len(cell.damage))
        if self._worth is Worth.LOOSE:
            self._contact += 60.0
            self._nominal *= 0.6
        self._refresh()

    def _refresh(self) -> None:
        """What the electrolyte that is left allows."""
        self._since_refresh = 0.0
        volume = max(0.0, self._dose - self._state.get("lost", 0.0))
        self.wetted = 1.0 - math.exp(-((volume / 17.0) ** 2))  # share of the electrodes that takes part
        dryness = 1.0 - self.wetted
        share = max(self.wetted, 1e-6)
        self._r0 = self._r0_dry / share + self._contact
        self._r1_now = self._r1 / share
        self._r2_now = self._r2 / share
        # Charge lost a cycle: 0.25 % at best, some percent in a starved or leaking cell.
        self._wear = 0.0025 + 0.02 * dryness + 0.01 * min(1.0, self._leak * 1800.0)
        before, self.capacity = self.capacity, self._nominal * self.wetted * (1.0 - self._state.get("fade", 0.0))
        if before > 0:  # the part that dries out or ages takes its lithium with it
            self._state["q"] *= self.capacity / before

    @property
    def soc(self) -> float:
        """State of charge; 0 is 2.5 V and 1 is 4.2 V at rest."""
        return float(self._state["q"]) / self.capacity if self.live else 0.0

    @property
    def live(self) -> bool:
        """Whether it conducts at all: closed, crimped and wet."""
        return self.made and self.wetted > 1e-3

    @property
    def voltage(self) -> float:
        """Voltage without current at this moment, V."""
        if not self.live:
            return self._floating()
        return _ocv(self.soc)[0] + float(self._state["v1"]) + float(self._state["v2"])

    def _floating(self) -> float:
        return self._noise.gauss(0.0, 2e-4)

    # ── what it does ─────────────────────────────────────────────────────────────────────────────────────────────
    def step(
        self,
        dt: float,
        *,
        current: float | None = None,
        voltage: float | None = None,
        limit: float = math.inf,
    ) -> tuple[float, float]:
        """Goes on by dt seconds under a current (A) or a voltage (V), or at open circuit; gives (V, A) at its end.

        `limit` bounds the size of the quantity that is not imposed: what the source's compliance allows. The RC pairs
        relax by exact exponentials and an imposed voltage is met at the end of the step: stable for any dt; longer
        ones than 60 s are parted.
        """
        if not self.live:
            return self._dead(current, voltage, limit)
        while dt > SUBSTEP:
            self._once(SUBSTEP, current, voltage, limit)
            dt -= SUBSTEP
        return self._once(dt, current, voltage, limit)

    def _dead(self, current: float | None, voltage: float | None, limit: float) -> tuple[float, float]:
        if voltage is not None:
            return voltage, self._noise.gauss(0.0, 1e-10)
        return (math.copysign(limit, current), 0.0) if current and limit < math.inf else (self._floating(), 0.0)

    def _once(self, dt: float, current: float | None, voltage: float | None, limit: float) -> tuple[float, float]:
        state, capacity, shunt = self._state, self.capacity, self._shunt
        q: float = state["q"]
        kept1, kept2 = math.exp(-dt / self._tau1), math.exp(-dt / self._tau2)
        r1, r2, r0 = self._r1_now, self._r2_now, self._r0
        if voltage is None and not current:
            kept_sei = 1.0
        else:
            charging = current > 0 if current is not None else (voltage or 0.0) > _ocv(q / capacity)[0]
            kept_sei = self._stored_share() if charging else 1.0
        relaxed = state["v1"] * kept1 + state["v2"] * kept2
        ohms = r0 + r1 * (1.0 - kept1) + r2 * (1.0 - kept2)
        volts, slope = _ocv(q / capacity)
        inner = applied = terminal = 0.0
        for _ in range(3):  # the curve's slope over the step itself: a secant, from the tangent on
            rise = slope * dt * kept_sei / capacity
            total = ohms + rise
            source = volts + relaxed
            if voltage is not None:
                inner, terminal = (voltage - source) / total, voltage
                applied = inner + voltage / shunt
            else:
                applied = current or 0.0
                terminal = (source + applied * total) / (1.0 + total / shunt)
                inner = applied - terminal / shunt
            moved = inner * dt * kept_sei
            after = _ocv((q + moved) / capacity)[0]
            if abs(moved) < 1e-9 or abs(after - volts - slope * moved / capacity) < 1e-6:
                break
            slope = (after - volts) / (moved / capacity)
        if voltage is not None and abs(applied) > limit:
            return self._once(dt, math.copysign(limit, applied), None, math.inf)
        if voltage is None and abs(terminal) > limit:
            return self._once(dt, None, math.copysign(limit, terminal), math.inf)
        state["q"] = q + inner * dt * kept_sei
        state["v1"] = state["v1"] * kept1 + inner * r1 * (1.0 - kept1)
        state["v2"] = state["v2"] * kept2 + inner * r2 * (1.0 - kept2)
        self._age(dt, inner, kept_sei)
        return terminal, applied

    def _stored_share(self) -> float:
        """Share of a charging current that is stored; the rest makes film, most of it on the first charge."""
        formed = float(self._state["sei"]) / (self._sei * self.wetted)
        return 1.0 - self._wear - 0.30 * max(0.0, 1.0 - formed)

    def _age(self, dt: float, inner: float, kept: float) -> None:
        state = self._state
        through = abs(inner) * dt
        state["passed"] += through
        state["age"] += dt
        if inner > 0 and kept < 1.0:
            state["sei"] += max(0.0, through * (1.0 - kept - self._wear))
            state["fade"] = min(0.9, state["fade"] + 0.35 * self._wear * through / self._nominal)
        self._since_refresh += dt
        if self._since_refresh > _REFRESH:
            state["lost"] += self._leak * self._since_refresh
            self._refresh()

    def impedance(self, frequency: float) -> complex:
        """Impedance, Ω, at a frequency in Hz: inductance, ohmic, a depressed semicircle, finite-length diffusion.

        The imaginary part of a capacitive cell is negative.
        """
        if not self.live:
            return 1.0 / complex(1e-11, 2.0 * math.pi * frequency * 2e-12)  # leads in air
        omega = 2.0 * math.pi * frequency
        r1 = self._r1_now * (1.0 + 0.8 * math.exp(-max(0.0, self.soc) / 0.08))
        transfer = r1 / (1.0 + (1j * omega * self._tau1) ** 0.88)
        root = (1j * omega * self._tau2) ** 0.5
        diffusion = self._r2_now * (1.0 / root if abs(root) > 300.0 else _tanh(root) / root)
        inner = self._r0 + transfer + diffusion
        return inner * self._shunt / (inner + self._shunt) + 1j * omega * 2e-7


def _tanh(z: complex) -> complex:
    e = complex(math.exp(-2.0 * z.real)) * complex(math.cos(2.0 * z.imag), -math.sin(2.0 * z.imag))
    return (1.0 - e) / (1.0 + e)
