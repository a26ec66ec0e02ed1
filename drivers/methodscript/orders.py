"""What is ordered, checked against what instrument and cell bear, as techniques that are ready to run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from drivers.methodscript import script, techniques
from drivers.methodscript.models import Model
from drivers.methodscript.techniques import Technique
from labd.sdk import Quantity, Rejected, cycling_current


@dataclass(frozen=True, slots=True)
class Orders:
    """Makes techniques within limits; each method raises Rejected where a limit forbids what is asked.

    Args:
        device: the device's name, for errors.
        model: the instrument.
        voltage: the cell's least and greatest potential, in V; None where only the instrument's limit holds.
        greatest_current: the cell's greatest current, in A; None where only the instrument's limit holds.
        sweep_step: the step of a sweep, in V.
    """

    device: str
    model: Model
    voltage: tuple[float | None, float | None] = (None, None)
    greatest_current: float | None = None
    sweep_step: float = 0.005

    def open_circuit(self, duration: float, interval: float) -> Technique:
        self._check_duration("duration", duration)
        interval = min(interval, duration)
        return techniques.OpenCircuit(script.open_circuit(self.model, duration, interval), interval)

    def constant_current(
        self, current: float, until_time: float, until_voltage: float | None, interval: float
    ) -> Technique:
        self._check_galvanostat("constant_current")
        self._check_current("current", current)
        if not current:
            raise Rejected("a constant current of 0 A is an open circuit: use open_circuit")
        self._check_duration("until_time", until_time)
        low, high = self.voltage
        if until_voltage is not None:
            self._check_voltage("until_voltage", until_voltage)
            low, high = (low, until_voltage) if current > 0 else (until_voltage, high)
        interval = min(interval, until_time)
        text = script.constant_current(self.model, current, until_time, interval, low, high)
        return techniques.ConstantCurrent(text, interval, low=low, high=high, until=until_voltage)

    def constant_voltage(
        self, voltage: float, until_time: float, until_current: float | None, interval: float
    ) -> Technique:
        self._check_voltage("voltage", voltage)
        self._check_duration("until_time", until_time)
        until = None if until_current is None else abs(until_current)
        interval = min(interval, until_time)
        largest, ceiling = self._largest_current, self.greatest_current
        text = script.constant_voltage(self.model, voltage, until_time, interval, until, largest, ceiling)
        return techniques.ConstantVoltage(text, interval, until=until, ceiling=ceiling)

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
    ) -> Technique:
        self._check_galvanostat("cycle")
        self._check_voltage("upper", upper)
        self._check_voltage("lower", lower)
        self._check_duration("half_cycle_limit", half_cycle_limit)
        if not upper > lower:
            raise Rejected(f"upper, {upper:g} V, must be above lower, {lower:g} V")
        drive = cycling_current(current, c_rate, capacity, active_mass, specific_capacity)
        self._check_current("current", drive)
        if cv_until is not None and cv_until >= drive:
            raise Rejected(f"cv_until, {_plain(cv_until, 'A')}, must be below the current, {_plain(drive, 'A')}")
        interval = min(interval, half_cycle_limit)
        text = script.cycle(self.model, drive, lower, upper, cycles, cv_until, rest, interval, half_cycle_limit)
        return techniques.Cycle(text, max(interval, min(interval, rest)), lower=lower, upper=upper, drive=drive)

    def cyclic_voltammetry(
        self, start: float, vertex1: float, vertex2: float, scan_rate: float, scans: int
    ) -> Technique:
        for name, voltage in (("start", start), ("vertex1", vertex1), ("vertex2", vertex2)):
            self._check_voltage(name, voltage)
        if vertex1 == vertex2:
            raise Rejected(f"vertex1 and vertex2 are both {vertex1:g} V: there is nothing to sweep")
        step = self.sweep_step
        text = script.cyclic_voltammetry(
            self.model, start, vertex1, vertex2, step, scan_rate, scans, self._largest_current, self.greatest_current
        )
        return techniques.Voltammetry(text, step / scan_rate)

    def impedance(
        self, f_max: float, f_min: float, points_per_decade: int, amplitude: float, dc: float | None
    ) -> Technique:
        least, greatest = self.model.frequency
        if not f_max > f_min:
            raise Rejected(f"f_max, {f_max:g} Hz, must be above f_min, {f_min:g} Hz")
        if f_max > greatest or f_min < least:
            raise Rejected(f"{self.model.name} measures from {least:g} Hz to {greatest:g} Hz")
        if dc is not None:
            self._check_voltage("dc", dc)
        points = round(math.log10(f_max / f_min) * points_per_decade) + 1
        text = script.impedance(self.model, f_max, f_min, points, amplitude, dc, self._largest_current)
        return techniques.Impedance(text, 20 / f_min)

    @property
    def _largest_current(self) -> float:
        limit = self.greatest_current
        return self.model.current if limit is None else min(limit, self.model.current)

    def _check_galvanostat(self, name: str) -> None:
        if not self.model.galvanostat:
            raise Rejected(f"{self.model.name} is a potentiostat and cannot drive a current: no {name} on it")

    def _check_voltage(self, name: str, voltage: float) -> None:
        low, high = self.model.voltage
        if not low <= voltage <= high:
            raise Rejected(f"{name}: {voltage:g} V is out of the {self.model.name}'s range, {low:g} V to {high:g} V")
        least, greatest = self.voltage
        if least is not None and voltage < least:
            raise Rejected(f"{name}: {voltage:g} V is below min_voltage of {self.device}, {least:g} V")
        if greatest is not None and voltage > greatest:
            raise Rejected(f"{name}: {voltage:g} V is above max_voltage of {self.device}, {greatest:g} V")

    def _check_current(self, name: str, current: float) -> None:
        if abs(current) > self._largest_current:
            whose = self.model.name if self._largest_current == self.model.current else f"max_current of {self.device}"
            raise Rejected(
                f"{name}: {_plain(current, 'A')} is above the limit of {whose}, {_plain(self._largest_current, 'A')}"
            )

    def _check_duration(self, name: str, seconds: float) -> None:
        if seconds <= 0:
            raise Rejected(f"{name}: {seconds:g} s is no time to measure in")


def _plain(value: float, unit: str) -> str:
    return str(Quantity(value, unit))
