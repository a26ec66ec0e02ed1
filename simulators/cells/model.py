"""One cell under an instrument's leads: the light model, stepped in plain Python."""

from __future__ import annotations

import math
import random
from typing import Any

from simulators._kit.world import FAILED_CELLS, Cell
from simulators.cells import impedance as spectra
from simulators.cells import spme
from simulators.cells.build import LEAST_WETTED, blank_resistance, build_of, condition
from simulators.cells.formulation import Composition

SUBSTEP = 60.0  # s; one step of the model at most
UNCHARGED = -0.03  # state of charge of a cell that was never charged
FADED, LEAKED = 1e-4, 0.02  # share and µL after which the cell's numbers are reckoned again
FORMING = 0.30  # share of a charging current that makes film in a cell without any
FADING = 0.35  # share of what a cycle loses that is capacity for good


def fresh() -> dict[str, Any]:
    """The state of a cell that nothing was done to."""
    return {
        "q": 0.0,  # C on the anode; below zero: never charged
        "m": [0.0] * spme.MODES,  # of diffusion, see spme
        "i": 0.0,  # A at the end of the last step
        "sei": 0.0,  # C lost to the first film
        "fade": 0.0,  # share of the capacity that ageing took
        "fading": 0.0,  # the same, since numbers were last reckoned
        "passed": 0.0,  # C through the cell, both ways
        "lost": 0.0,  # µL of electrolyte that left through a bad seal
        "leaking": 0.0,  # the same, since numbers were last reckoned
        "age": 0.0,  # s since the physics began
    }


class CellModel:
    """The physics of one crimped cell. Its state is `cell.physics`, plain values that live and persist with the world.

    Args:
        cell: as the lab made it. Without a crimp, an electrode or a case it is no cell: open circuit.
        rng: seeded by the cell's id (`world.random(cell.id)`); decides the spread between cells.
        temperature: °C, of the cell; may be set later.
        failures: share of cells that fail without a cause.
        liquid: its electrolyte, where its materials do not say that.
    """

    def __init__(
        self,
        cell: Cell,
        rng: random.Random,
        *,
        temperature: float = 25.0,
        failures: float = FAILED_CELLS,
        liquid: Composition | None = None,
    ) -> None:
        self.cell = cell
        self.build = build_of(cell, rng, failures, liquid)
        self._temperature = temperature
        state = cell.physics
        if self.build.closed:
            for name, value in fresh().items():
                state.setdefault(name, value)
        self._state: dict[str, Any] = state
        self._noise = random.Random(self.build.luck)
        self._paces: dict[float, spme.Pace] = {}
        self._reckon()
        if self.live and not state["age"]:
            state["q"] = UNCHARGED * self.capacity

    def _refresh(self) -> None:
        """What age and the electrolyte that is left allow."""
        state, before = self._state, self.capacity
        if self.build.closed:
            state["fade"] = min(0.9, state["fade"] + state["fading"])
            state["lost"] += state["leaking"]
            state["fading"] = state["leaking"] = 0.0
        self._reckon()
        if self.build.closed:  # the part that dries out or ages takes its lithium with it
            state["q"] *= self.capacity / before

    def _reckon(self) -> None:
        self._age = (self._state.get("fade"), self._state.get("lost"))
        self._now = condition(self.build, self._state, self._temperature)
        self._paces.clear()

    @property
    def temperature(self) -> float:
        """Of the cell, °C."""
        return self._temperature

    @temperature.setter
    def temperature(self, celsius: float) -> None:
        self._temperature = celsius
        self._refresh()

    @property
    def numbers(self) -> spme.Numbers:
        """What the model makes of it now."""
        return self._now.numbers

    @property
    def capacity(self) -> float:
        """C between 2.5 and 4.2 V, as it is now."""
        return self._now.numbers.capacity

    @property
    def wetted(self) -> float:
        """Share of the electrodes that takes part."""
        return self._now.wetted

    @property
    def ohmic(self) -> float:
        """Resistance of contacts, solids and electrolyte as filled, Ω."""
        cell = self._now.numbers
        return cell.fixed + cell.pores_n + cell.pores_s + cell.pores_p

    @property
    def soc(self) -> float:
        """State of charge; 0 is 2.5 V and 1 is 4.2 V at rest."""
        return float(self._state["q"]) / self.capacity if self.live else 0.0

    @property
    def live(self) -> bool:
        """Whether it conducts at all: closed, crimped and wet."""
        return self.build.closed and self._now.wetted > LEAST_WETTED

    @property
    def voltage(self) -> float:
        """Voltage without current at this moment, V."""
        if not self.live:
            return self._floating()
        return spme.resting_voltage(self._now.numbers, self._state["q"], self._state["m"])

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

        `limit` bounds the size of the quantity that is not imposed: what the source's compliance allows. Diffusion
        goes on by exact exponentials and an imposed voltage is met at the end of the step: stable for any dt; longer
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
        state = self._state
        if (state["fade"], state["lost"]) != self._age:  # it was taken back to where it was
            self._reckon()
        now = self._now
        pace = self._paces.get(dt)
        if pace is None:
            if len(self._paces) > 50:
                self._paces.clear()
            pace = self._paces[dt] = spme.pace(now.numbers, dt)
        guess: float
        if voltage is None:
            guess = current or 0.0
            charging = guess > 0
        else:
            guess = state["i"]
            charging = guess > 0 if guess else voltage > self.voltage
        stored = self._stored_share() if charging else 1.0
        ended = spme.advance(now.numbers, pace, state["q"], state["m"], guess, stored, voltage)
        volts, applied, inner, modes = ended
        if voltage is not None and not -limit <= applied <= limit:
            return self._once(dt, math.copysign(limit, applied), None, math.inf)
        if voltage is None and not -limit <= volts <= limit:
            return self._once(dt, None, math.copysign(limit, volts), math.inf)
        state["q"] += inner * dt * stored
        state["m"] = modes
        state["i"] = applied
        through = abs(inner) * dt
        state["passed"] += through
        state["age"] += dt
        if stored < 1.0 and inner > 0:
            state["sei"] += max(0.0, through * (1.0 - stored - now.wear))
            state["fading"] += FADING * now.wear * through / self.build.nominal
        state["leaking"] += self.build.leak * dt
        if state["fading"] > FADED or state["leaking"] > LEAKED:
            self._refresh()
        return volts, applied

    def _stored_share(self) -> float:
        """Share of a charging current that is stored; the rest makes film, most of it on the first charge."""
        formed = self._state["sei"] / (self.build.film * self._now.wetted)
        return float(1.0 - self._now.wear - FORMING * max(0.0, 1.0 - formed))

    def impedance(self, frequency: float) -> complex:
        """Impedance, Ω, at a frequency in Hz; the imaginary part of a capacitive cell is negative."""
        if (ohms := blank_resistance(self.build, self._now)) is not None:
            return spectra.of_blank(ohms, frequency)
        if not self.live:
            return spectra.of_leads(frequency)
        return spectra.impedance(self._now.numbers, self.soc, frequency)
