"""A technique while it runs: what its packages mean as rows, and what they come to in the end."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass, field

from drivers.methodscript.script import Half
from drivers.methodscript.wire import Package
from labd.sdk import Rejected, Result
from labd.sdk.roles import (
    ConstantCurrentResult,
    ConstantVoltageResult,
    CycleResult,
    ImpedanceResult,
    OpenCircuitResult,
    VoltammetryResult,
)

Row = tuple[float | None, ...]

_MAH = 1 / 3.6  # mAh in an A·s
_MARGIN = 60.0  # s beyond the expected wait between two lines
_VOLTAGES = ("a", "da")  # beginnings of types
_CURRENTS = ("b", "db")
_COLUMNS = {
    "t": ("eb",),
    "p": _VOLTAGES,
    "c": _CURRENTS,
    "n": ("ee",),
    "s": ("ee",),
    "f": ("dc",),
    "r": ("cc",),
    "j": ("cd",),
}


@dataclass
class Charge:
    """The integral of current over time, apart for each part of a technique."""

    _sums: defaultdict[tuple[int, int], float] = field(default_factory=lambda: defaultdict(float))
    _last: tuple[float, float, tuple[int, int]] | None = None

    def add(self, time: float, current: float, part: tuple[int, int] = (0, 0), *, whole: bool = True) -> None:
        """Takes a sample (s, A); within a part by trapezoids, from one part to the next by the new one's current.

        The first sample counts from time 0 when the technique was seen whole; else it only begins.
        """
        if math.isnan(time) or math.isnan(current):
            return
        if self._last is not None:
            before, was, last_part = self._last
            mean = (was + current) / 2 if last_part == part else current
            self._sums[part] += mean * (time - before)
        elif whole:
            self._sums[part] += current * time
        self._last = (time, current, part)

    def of(self, *parts: tuple[int, int]) -> float:
        """The signed charge of some parts, in mAh."""
        return sum(self._sums[part] for part in parts) * _MAH

    @property
    def total(self) -> float:
        """The signed charge of all, in mAh."""
        return sum(self._sums.values()) * _MAH


class Technique(ABC):
    """One run of a technique.

    Args:
        text: the script.
        gap: s; the time that two lines are apart at most, if all goes well.
    """

    columns: str  # the variables of a package, by their names in the script
    stop = "Y"  # ends the loop that runs; the script then ends in order

    def __init__(self, text: str, gap: float) -> None:
        self.text = text
        self.gap = gap + _MARGIN
        self.whole = True
        self.cancelled = False
        self.points = 0

    def taken_up(self) -> Technique:
        """Says that it runs already, so that its first packages are lost."""
        self.whole = False
        return self

    def take(self, package: Package) -> Row | None:
        """The row of a package; None for one that is not of this technique."""
        if not self.fits(package):
            return None
        self.points += 1
        return tuple(None if math.isnan(value) else value for value in self._take([v.value for v in package.values]))

    def fits(self, package: Package) -> bool:
        """Whether a package has this technique's columns."""
        types = package.types
        return len(types) == len(self.columns) and all(
            kind.startswith(_COLUMNS[name]) for kind, name in zip(types, self.columns, strict=True)
        )

    def result(self) -> Result:
        """What it came to.

        Raises:
            Rejected: it ended before its first point.
        """
        if not self.points:
            raise Rejected("it ended before its first point: there is nothing to report")
        return self._result()

    @abstractmethod
    def _take(self, values: list[float]) -> tuple[float, ...]: ...

    @abstractmethod
    def _result(self) -> Result: ...

    def _reason(self, otherwise: str) -> str:
        reason = "cancelled" if self.cancelled else otherwise
        return reason if self.whole else f"{reason}; taken up while it ran, what came before is not counted"


class OpenCircuit(Technique):
    columns = "tp"

    def __init__(self, text: str, gap: float) -> None:
        super().__init__(text, gap)
        self._voltages: list[float] = []

    def _take(self, values: list[float]) -> tuple[float, ...]:
        time, voltage = values
        if not math.isnan(voltage):
            self._voltages.append(voltage)
        return time, voltage, 0.0

    def _result(self) -> OpenCircuitResult:
        if not self._voltages:
            raise Rejected("every potential was overloaded: is the cell connected?")
        return OpenCircuitResult(
            final_voltage=self._voltages[-1], mean_voltage=math.fsum(self._voltages) / len(self._voltages)
        )


class Channel(Technique):
    """Time, potential, current; with the charge that has passed."""

    columns = "tpc"

    def __init__(self, text: str, gap: float) -> None:
        super().__init__(text, gap)
        self.charge = Charge()
        self.time = self.voltage = self.current = math.nan

    def _take(self, values: list[float]) -> tuple[float, ...]:
        self.time, self.voltage, self.current = values
        self.charge.add(self.time, self.current, whole=self.whole)
        return self.time, self.voltage, self.current


class ConstantCurrent(Channel):
    def __init__(self, text: str, gap: float, *, low: float | None, high: float | None, until: float | None) -> None:
        super().__init__(text, gap)
        self._low, self._high, self._until = low, high, until

    def _result(self) -> ConstantCurrentResult:
        crossed = self._low if _reached(self._low, -self.voltage, -1) else None
        crossed = self._high if _reached(self._high, self.voltage, 1) else crossed
        reason = "time" if crossed is None else "voltage" if crossed == self._until else "limit"
        return ConstantCurrentResult(charge=self.charge.total, final_voltage=self.voltage, reason=self._reason(reason))


def _reached(limit: float | None, value: float, sign: int) -> bool:
    """The instrument compares before it rounds what it sends: 10 µV are forgiven."""
    return limit is not None and value >= sign * limit - 1e-5


class ConstantVoltage(Channel):
    def __init__(self, text: str, gap: float, *, until: float | None, ceiling: float | None = None) -> None:
        super().__init__(text, gap)
        self._until = until
        self._ceiling = ceiling

    def _result(self) -> ConstantVoltageResult:
        fallen = self._until is not None and abs(self.current) <= self._until * (1 + 1e-6)
        beyond = self._ceiling is not None and abs(self.current) >= self._ceiling * (1 - 1e-6)
        return ConstantVoltageResult(
            charge=self.charge.total,
            final_current=self.current,
            reason=self._reason("limit" if beyond else "current" if fallen else "time"),
        )


class Voltammetry(Channel):
    def __init__(self, text: str, gap: float) -> None:
        super().__init__(text, gap)
        self._peak = 0.0

    def _take(self, values: list[float]) -> tuple[float, ...]:
        row = super()._take(values)
        if abs(self.current) > abs(self._peak):
            self._peak = self.current
        return row

    def _result(self) -> VoltammetryResult:
        return VoltammetryResult(peak_current=self._peak)


class Cycle(Technique):
    columns = "tpcns"
    stop = "Z"  # Y would end one half cycle, and the next would begin

    def __init__(self, text: str, gap: float, *, lower: float, upper: float, drive: float) -> None:
        super().__init__(text, gap)
        self._lower, self._upper, self._drive = lower, upper, drive
        self.charge = Charge()
        self._ends: dict[tuple[int, int], float] = {}  # the last potential of each half cycle
        self._first: int | None = None

    def _take(self, values: list[float]) -> tuple[float, ...]:
        time, voltage, current, number, half = values
        cycle, part = int(number), int(half)
        if part in (Half.REST_CHARGED, Half.REST_DISCHARGED):
            current = 0.0
        self.charge.add(time, current, (cycle, part), whole=self.whole)
        self._ends[cycle, part] = voltage
        if self._first is None:
            # a cycle that was not seen from its beginning cannot be told
            self._first = cycle if self.whole else cycle + 1
        return time, voltage, current, cycle

    def _result(self) -> CycleResult:
        discharged = sorted(cycle for cycle, part in self._ends if part == Half.DISCHARGE)
        counted = [cycle for cycle in discharged if self._first is not None and cycle >= self._first]
        if self.cancelled and counted and not self._ended(counted[-1]):
            counted.pop()
        capacities = [-self.charge.of((cycle, Half.DISCHARGE)) for cycle in counted]
        charges = [self.charge.of((cycle, Half.CHARGE), (cycle, Half.HOLD)) for cycle in counted]
        timed = [
            cycle
            for cycle in counted
            if self._ends.get((cycle, Half.CHARGE), math.inf) < self._upper - 1e-5
            or self._ends[cycle, Half.DISCHARGE] > self._lower + 1e-5
        ]
        reason = "cycles" if not timed else f"cycles; the time limit ended a half of {', '.join(map(str, timed))}"
        return CycleResult(
            capacities=capacities,
            coulombic_efficiencies=[
                100 * out / into if into else 0.0 for out, into in zip(capacities, charges, strict=True)
            ],
            capacity=capacities[-1] if capacities else 0.0,
            reason=self._reason(reason),
            current=self._drive,
        )

    def _ended(self, cycle: int) -> bool:
        return self._ends[cycle, Half.DISCHARGE] <= self._lower + 1e-5


class Impedance(Technique):
    """`cd` on the wire is Im(Z), so a row's `z_imag` is it as it comes: negative for a capacitance."""

    columns = "frj"

    def __init__(self, text: str, gap: float) -> None:
        super().__init__(text, gap)
        self._points: list[tuple[float, float, float]] = []

    def _take(self, values: list[float]) -> tuple[float, ...]:
        frequency, real, imaginary = values
        if not any(map(math.isnan, values)):
            self._points.append((frequency, real, imaginary))
        return frequency, real, imaginary

    def _result(self) -> ImpedanceResult:
        return ImpedanceResult(r_ohmic=ohmic_resistance(self._points))


def ohmic_resistance(points: list[tuple[float, float, float]]) -> float | None:
    """Where a spectrum (Hz, Ω, Ω) meets the real axis at its high end, in Ω.

    Between the two points where Im(Z) first turns negative; Re(Z) of the highest frequency when it is negative from
    the start but small against Re(Z); None when the spectrum does not reach the axis.
    """
    ordered = sorted(points, reverse=True)
    for (_, real, imaginary), (_, next_real, next_imaginary) in itertools.pairwise(ordered):
        if imaginary >= 0 > next_imaginary:
            share = imaginary / (imaginary - next_imaginary)
            return real + share * (next_real - real)
    if ordered and ordered[0][2] < 0 and abs(ordered[0][2]) <= 0.2 * ordered[0][1]:
        return ordered[0][1]
    return None
