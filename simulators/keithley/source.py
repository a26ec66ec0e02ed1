"""The source and its meters: a voltage with a current limit, or a current with a voltage limit, on the cell.

Two-wire readings see the leads' resistance, four-wire ones do not. What is switched on goes on whoever asks or not;
the physics is brought up to now at each look.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulators.holder import Holder

LEADS = 0.15  # Ω of the leads to the cell and back
TRIPPED = 0.9995  # share of a limit at which it is what governs
_BIAS = 5e-11  # A that flow into the meter of a current source at zero


@dataclass(frozen=True, slots=True)
class Model:
    """One kind of instrument: V and A it reaches, and its ranges."""

    name: str
    serial: str
    firmware: str
    volts: float
    amps: float
    volt_ranges: tuple[float, ...]
    amp_ranges: tuple[float, ...]


_MICRO = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
MODELS = {
    "2450": Model("2450", "0445", "1.6.7c", 210.0, 1.05, (0.02, 0.2, 2.0, 20.0, 200.0), (1e-8, 1e-7, *_MICRO)),
    "2461": Model("2461", "0433", "1.7.0b", 105.0, 7.35, (0.2, 2.0, 10.0, 20.0, 100.0), (*_MICRO, 4.0, 5.0, 7.0)),
}


@dataclass(slots=True)
class Setup:
    """What `*RST` sets."""

    function: str = "VOLT"  # what is sourced
    sense: str = "CURR"
    level: dict[str, float] = field(default_factory=lambda: {"VOLT": 0.0, "CURR": 0.0})
    limit: dict[str, float] = field(default_factory=lambda: {"VOLT": 1.05e-4, "CURR": 2.1})  # of the other quantity
    range_: dict[str, float] = field(default_factory=lambda: {"VOLT": 0.02, "CURR": 1e-8})
    readback: dict[str, bool] = field(default_factory=lambda: {"VOLT": True, "CURR": True})
    four_wire: dict[str, bool] = field(default_factory=lambda: {"VOLT": False, "CURR": False, "RES": False})
    off_state: dict[str, str] = field(default_factory=lambda: {"VOLT": "NORM", "CURR": "NORM"})
    terminals: str = "FRON"
    more: dict[str, str] = field(default_factory=dict)  # settings without physics, as they were given


class Source:
    """The output. `wall` gives s since the epoch; what is wired to the rear terminals is not there at the front."""

    def __init__(
        self,
        model: Model,
        holder: Holder,
        rng: random.Random,
        wall: Callable[[], float],
        faults: Mapping[str, Any],
        wired: str = "FRON",
    ) -> None:
        self.model = model
        self.setup = Setup()
        self.on = False
        self.charges = 0  # how often it was switched on otherwise than to look at the cell with no current
        self.volts, self.amps = 0.0, 0.0  # at the cell
        self._holder = holder
        self._gauss = rng.gauss
        self._wall = wall
        self._faults = faults
        self._wired = wired

    def reset(self) -> None:
        """As after `*RST` and at power-up: off."""
        self.advance()
        self.setup = Setup()
        self.on = False

    def switch(self, *, on: bool) -> None:
        self.advance()
        self.charges += on and not self.on and (self.setup.function == "VOLT" or self.setup.level["CURR"] != 0)
        self.on = on
        self.advance()

    @property
    def tripped(self) -> bool:
        """Whether the limit governs, not the level."""
        self.advance()
        if not self.on:
            return False
        setup = self.setup
        value = self.amps if setup.function == "VOLT" else self.volts
        return abs(value) >= TRIPPED * setup.limit[setup.function]

    def advance(self) -> None:
        """Brings the cell up to now under what is switched on."""
        now, setup = self._wall(), self.setup
        connected = setup.terminals == self._wired
        if self.on and not connected:
            self._holder.advance(now)
            self.volts, self.amps = (setup.level["VOLT"] if setup.function == "VOLT" else 0.0), 0.0
        elif not self.on and connected and setup.off_state[setup.function] == "NORM" and self._holder.clip(now):
            # the normal off state is 0 V with a little current: a cell runs down through it
            self.volts, self.amps = self._holder.advance(now, voltage=0.0, limit=setup.limit["VOLT"])
        elif not self.on:
            self.volts, self.amps = self._holder.advance(now)
        elif setup.function == "VOLT":
            top = min(setup.limit["VOLT"], float(self._faults.get("compliance") or math.inf))
            self.volts, self.amps = self._holder.advance(now, voltage=setup.level["VOLT"], limit=top)
        else:
            self.volts, self.amps = self._holder.advance(
                now, current=setup.level["CURR"] + _BIAS, limit=setup.limit["CURR"]
            )

    def read(self) -> tuple[float, float]:
        """Source readback and reading, as they are measured."""
        self.advance()
        setup = self.setup
        four = setup.four_wire[setup.sense if setup.sense in setup.four_wire else "CURR"]
        volts = self.volts + (0.0 if four else self.amps * LEADS) + self._gauss(0.0, 3e-5)
        amps = self.amps * (1 + self._gauss(0.0, 2e-5)) + self._gauss(0.0, 2e-10)
        measured = {"VOLT": volts, "CURR": amps, "RES": volts / amps if amps else 9.9e37}
        sourced = volts if setup.function == "VOLT" else amps
        if not setup.readback[setup.function]:
            sourced = setup.level[setup.function]
        return sourced, measured[setup.sense]
