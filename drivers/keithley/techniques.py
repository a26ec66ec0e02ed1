"""What samples come to: rows, charge, and results."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from drivers.keithley.meter import Sample
from labd.sdk import Rejected

_MAH = 1 / 3.6  # mAh in an A·s


@dataclass(slots=True)
class Part:
    """One stretch under one order: its samples, and the charge that has passed, mAh, by trapezoids.

    Its time counts from its own begin; `begin` is where that is in the whole, in s.
    """

    begin: float = 0.0
    charge: float = 0.0
    count: int = 0
    last: Sample = field(default_factory=lambda: Sample(0.0, math.nan, math.nan))
    _sum: float = 0.0
    _told: float = -math.inf

    def take(self, sample: Sample) -> None:
        """Adds a sample."""
        if self.count:
            self.charge += (self.last.current + sample.current) / 2 * (sample.time - self.last.time) * _MAH
        self.last = sample
        self.count += 1
        self._sum += sample.voltage

    def due(self, interval: float) -> bool:
        """Whether the last sample is to be a row: the first, and then one an interval."""
        if self.last.time < self._told + interval - 1e-3:
            return False
        self._told = self.last.time
        return True

    @property
    def pending(self) -> bool:
        """Whether the last sample is no row yet."""
        return bool(self.count) and self.last.time > self._told

    @property
    def mean_voltage(self) -> float:
        """V. Raises Rejected: there is no sample."""
        if not self.count:
            raise Rejected("it ended before its first reading: there is nothing to report")
        return self._sum / self.count


@dataclass(slots=True)
class Halves:
    """The halves of cycles, as they are over: mAh in and out, by cycle."""

    into: dict[int, float] = field(default_factory=dict)
    out: dict[int, float] = field(default_factory=dict)
    timed: list[int] = field(default_factory=list)

    def charged(self, cycle: int, charge: float) -> None:
        self.into[cycle] = self.into.get(cycle, 0.0) + charge

    def discharged(self, cycle: int, charge: float) -> None:
        self.out[cycle] = -charge

    def late(self, cycle: int) -> None:
        """A half of this cycle was ended by its time limit."""
        if cycle not in self.timed:
            self.timed.append(cycle)

    @property
    def capacities(self) -> list[float]:
        return [self.out[cycle] for cycle in sorted(self.out)]

    @property
    def efficiencies(self) -> list[float]:
        """Percent."""
        pairs = [(self.out[cycle], self.into.get(cycle, 0.0)) for cycle in sorted(self.out)]
        return [100 * out / into if into else 0.0 for out, into in pairs]

    @property
    def reason(self) -> str:
        if not self.timed:
            return "cycles"
        return f"cycles; the time limit ended a half of {', '.join(map(str, self.timed))}"
