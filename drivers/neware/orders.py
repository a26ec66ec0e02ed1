"""What is ordered, checked against what channels and cells bear, as tests that are ready to start."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.neware import techniques
from drivers.neware.schedule import Protection
from drivers.neware.techniques import Test
from labd.sdk import Quantity, Rejected, cycling_current

LEAST_INTERVAL = 0.1  # s; what the cycler records at most often


@dataclass(frozen=True, slots=True)
class Orders:
    """Makes tests within limits; each method raises Rejected where a limit forbids what is asked.

    Args:
        device: the device's name, for errors.
        low, high: V; the cell's limits.
        greatest: A.
        margin: V beyond the limits at which protection ends a test.
    """

    device: str
    low: float
    high: float
    greatest: float
    margin: float

    @property
    def protection(self) -> Protection:
        """What the cycler itself watches: a little beyond the limits, so that a step may end at one."""
        return Protection(self.low - self.margin, self.high + self.margin, self.greatest * 1.05)

    def open_circuit(self, duration: float, interval: float) -> Test:
        _check_duration("duration", duration)
        return techniques.OpenCircuit(duration, _interval(interval, duration))

    def constant_current(self, current: float, until_time: float, until_voltage: float | None, interval: float) -> Test:
        if not current:
            raise Rejected("a constant current of 0 A is an open circuit: use open_circuit")
        self._check_current("current", current)
        _check_duration("until_time", until_time)
        if until_voltage is not None:
            self._check_voltage("until_voltage", until_voltage)
        limit = self.high if current > 0 else self.low
        stop = limit if until_voltage is None else until_voltage
        return techniques.ConstantCurrent(
            current, until_time, stop, _interval(interval, until_time), asked=until_voltage is not None
        )

    def constant_voltage(
        self, voltage: float, until_time: float, until_current: float | None, interval: float, *, charges: bool = True
    ) -> Test:
        self._check_voltage("voltage", voltage)
        _check_duration("until_time", until_time)
        until = None if until_current is None else abs(until_current)
        return techniques.ConstantVoltage(
            voltage, until_time, until, self.greatest, _interval(interval, until_time), charges=charges
        )

    def cycle(
        self,
        upper: float,
        lower: float,
        cycles: int,
        current: float | None,
        c_rate: float | None,
        capacity: float | None,
        cv_until: float | None,
        rest: float,
        interval: float,
        half_cycle_limit: float,
        active_mass: float | None = None,
        specific_capacity: float | None = None,
    ) -> Test:
        self._check_voltage("upper", upper)
        self._check_voltage("lower", lower)
        _check_duration("half_cycle_limit", half_cycle_limit)
        if not upper > lower:
            raise Rejected(f"upper, {upper:g} V, must be above lower, {lower:g} V")
        drive = cycling_current(current, c_rate, capacity, active_mass, specific_capacity)
        self._check_current("current", drive)
        if cv_until is not None and cv_until >= drive:
            raise Rejected(f"cv_until, {_plain(cv_until)}, must be below the current, {_plain(drive)}")
        step = _interval(interval, half_cycle_limit)
        return techniques.Cycle(drive, (lower, upper), cycles, cv_until, rest, step, half_cycle_limit)

    def _check_voltage(self, name: str, voltage: float) -> None:
        if not self.low <= voltage <= self.high:
            raise Rejected(
                f"{name}: {voltage:g} V is beyond min_voltage and max_voltage of {self.device}, "
                f"{self.low:g} V to {self.high:g} V"
            )

    def _check_current(self, name: str, current: float) -> None:
        if abs(current) > self.greatest:
            raise Rejected(f"{name}: {_plain(current)} is above max_current of {self.device}, {_plain(self.greatest)}")


def _check_duration(name: str, seconds: float) -> None:
    if seconds <= 0:
        raise Rejected(f"{name}: {seconds:g} s is no time to measure in")


def _interval(interval: float, whole: float) -> float:
    return max(LEAST_INTERVAL, min(interval, whole))


def _plain(current: float) -> str:
    return str(Quantity(current, "A"))
