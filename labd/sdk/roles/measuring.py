"""The roles that measure: potentiostat, balance."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any

from labd.sdk.actions import Call, Data, Effect, OnLoss, Result, action
from labd.sdk.driver import Driver, Signals
from labd.sdk.errors import Rejected
from labd.sdk.quantities import (
    Bounds,
    Charge,
    Current,
    Duration,
    Frequency,
    Mass,
    Plain,
    Resistance,
    ScanRate,
    SpecificCharge,
    Voltage,
)
from labd.sdk.rates import whole_capacity

PositiveDuration = Annotated[Duration, Bounds(min=0.0)]
Interval = Annotated[Duration, Bounds(min=0.001)]
C_RATE = Plain("C-rate: 1 charges or discharges the capacity in an hour")


# ── potentiostat ──────────────────────────────────────────────────────────────────────────────────────────────────────
class PotentiostatSignals(Signals):
    voltage: Voltage | None = None
    current: Current | None = None
    range: str | None = None
    overload: bool | None = None


class ChannelData(Data):
    """Rows of a technique: time since its start; a positive current charges."""

    time: Duration
    voltage: Voltage
    current: Current


class CycleData(ChannelData):
    """Rows of cycling; the cycle counts from 1."""

    cycle: int


class ImpedanceData(Data):
    """Rows of an impedance spectrum. `z_imag` is Im(Z): negative for a capacitance."""

    frequency: Frequency
    z_real: Resistance
    z_imag: Resistance


class OpenCircuitResult(Result):
    final_voltage: Voltage
    mean_voltage: Voltage


class ConstantCurrentResult(Result):
    charge: Charge
    final_voltage: Voltage
    reason: str


class ConstantVoltageResult(Result):
    charge: Charge
    final_current: Current
    reason: str


class CycleResult(Result):
    """Discharge capacity and coulombic efficiency (discharge over charge, in percent) of each cycle, in order.

    `current` is what was driven: that of the order, or what its C-rate came to.
    """

    capacities: list[Charge]
    coulombic_efficiencies: list[Annotated[float, Plain("percent")]]
    capacity: Charge
    reason: str
    current: Current | None = None


class VoltammetryResult(Result):
    peak_current: Current


class ImpedanceResult(Result):
    r_ohmic: Resistance | None


def _cycle_limit(p: Any) -> float:
    return float(p.cycles * 2 * (p.half_cycle_limit + p.rest) + 300)


def _cycling(p: Any) -> float | None:
    """At a C-rate, or at a current of a known capacity (mAh): two halves a cycle, a rest after each."""
    rate = p.c_rate
    whole = whole_capacity(p.capacity, p.active_mass, p.specific_capacity)
    if rate is None and whole and p.current is not None:
        rate = abs(p.current) * 1000 / whole
    return None if not rate else float(p.cycles * 2 * (3600 / rate + p.rest))


def _spectrum(p: Any) -> float:
    """About three periods a point, and a second besides."""
    decades = math.log10(p.f_max / p.f_min)
    points = min(2_000, max(1, round(decades * p.points_per_decade) + 1))
    step = decades / max(1, points - 1)
    return float(sum(3 / (p.f_min * 10 ** (step * index)) + 1 for index in range(points)))


def _sweep(p: Any) -> float:
    path = abs(p.vertex1 - p.start) + abs(p.vertex2 - p.vertex1) + abs(p.start - p.vertex2)
    return float(p.scans * path / p.scan_rate)


class Potentiostat(Driver):
    """Measures and drives electrochemical cells, one a unit (channel)."""

    role = "potentiostat"
    Signals = PotentiostatSignals

    @action(
        effect=Effect.ONCE,
        timeout=lambda p: p.duration * 1.05 + 60,
        duration=lambda p: p.duration,
        least=lambda p: p.duration,
        on_loss=OnLoss.CONTINUE,
        data=ChannelData,
    )
    @abstractmethod
    async def open_circuit(self, call: Call, duration: PositiveDuration, interval: Interval = 1.0) -> OpenCircuitResult:
        """Records the open-circuit voltage."""

    @action(
        effect=Effect.ONCE,
        timeout=lambda p: p.until_time * 1.05 + 60,
        duration=lambda p: p.until_time,
        least=lambda p: p.until_time if p.until_voltage is None else 0.0,
        on_loss=OnLoss.CONTINUE,
        data=ChannelData,
    )
    @abstractmethod
    async def constant_current(
        self,
        call: Call,
        current: Current,
        until_time: PositiveDuration,
        until_voltage: Voltage | None = None,
        interval: Interval = 1.0,
    ) -> ConstantCurrentResult:
        """Drives a constant current until a voltage or a time is reached."""

    @action(
        effect=Effect.ONCE,
        timeout=lambda p: p.until_time * 1.05 + 60,
        duration=lambda p: p.until_time,
        least=lambda p: p.until_time if p.until_current is None else 0.0,
        on_loss=OnLoss.CONTINUE,
        data=ChannelData,
    )
    @abstractmethod
    async def constant_voltage(
        self,
        call: Call,
        voltage: Voltage,
        until_time: PositiveDuration,
        until_current: Current | None = None,
        interval: Interval = 1.0,
    ) -> ConstantVoltageResult:
        """Keeps a constant voltage until the current has fallen to a magnitude, or a time is reached."""

    @action(
        effect=Effect.ONCE,
        timeout=_cycle_limit,
        duration=_cycling,
        on_loss=OnLoss.CONTINUE,
        data=CycleData,
        one_of=("current", "c_rate"),
    )
    @abstractmethod
    async def cycle(
        self,
        call: Call,
        upper: Voltage,
        lower: Voltage,
        cycles: Annotated[int, Bounds(min=1, max=10000)],
        current: Annotated[Current, Bounds(min=1e-9)] | None = None,
        c_rate: Annotated[float, C_RATE, Bounds(min=1e-4, max=100)] | None = None,
        capacity: Annotated[Charge, Bounds(min=1e-6)] | None = None,
        cv_until: Annotated[Current, Bounds(min=1e-9)] | None = None,
        rest: PositiveDuration = 0.0,
        interval: Interval = 10.0,
        half_cycle_limit: PositiveDuration = 360000.0,
        active_mass: Annotated[Mass, Bounds(min=1e-9)] | None = None,
        specific_capacity: Annotated[SpecificCharge, Bounds(min=1e-3)] | None = None,
    ) -> CycleResult:
        """Charges and discharges between two voltages, at a current, or at a C-rate of the cell's capacity.

        The capacity is given, or `active_mass` times `specific_capacity`; those, where they are not given, are the
        sample's own.
        """

    @action(effect=Effect.ONCE, timeout=lambda p: _sweep(p) * 1.1 + 60, duration=_sweep, least=_sweep, data=ChannelData)
    @abstractmethod
    async def cyclic_voltammetry(
        self,
        call: Call,
        start: Voltage,
        vertex1: Voltage,
        vertex2: Voltage,
        scan_rate: Annotated[ScanRate, Bounds(min=1e-6)],
        scans: Annotated[int, Bounds(min=1, max=1000)] = 1,
    ) -> VoltammetryResult:
        """Sweeps the potential from start over both vertices and back, so many times."""

    @action(effect=Effect.ONCE, timeout=3600, duration=_spectrum, data=ImpedanceData)
    @abstractmethod
    async def impedance(
        self,
        call: Call,
        f_max: Annotated[Frequency, Bounds(min=1e-6)],
        f_min: Annotated[Frequency, Bounds(min=1e-6)],
        points_per_decade: Annotated[int, Bounds(min=1, max=100)] = 10,
        amplitude: Annotated[Voltage, Bounds(min=0.0001, max=0.5)] = 0.01,
        dc: Voltage | None = None,
    ) -> ImpedanceResult:
        """Measures the impedance from the highest to the lowest frequency; at open circuit unless dc is given."""

    @action(effect=Effect.STATE, timeout=15, duration=1)
    @abstractmethod
    async def cell_off(self, call: Call) -> None:
        """Opens the cell's circuit: no current flows."""


class StepPotentiostat(Potentiostat):
    """Base of drivers that step and do nothing else: `lacks` says why it has neither impedance nor voltammetry."""

    async def cyclic_voltammetry(
        self,
        call: Call,
        start: Voltage,
        vertex1: Voltage,
        vertex2: Voltage,
        scan_rate: Annotated[ScanRate, Bounds(min=1e-6)],
        scans: Annotated[int, Bounds(min=1, max=1000)] = 1,
    ) -> VoltammetryResult:
        """Not on this device."""
        del call, start, vertex1, vertex2, scan_rate, scans
        raise Rejected(self.lacks()["cyclic_voltammetry"])

    async def impedance(
        self,
        call: Call,
        f_max: Annotated[Frequency, Bounds(min=1e-6)],
        f_min: Annotated[Frequency, Bounds(min=1e-6)],
        points_per_decade: Annotated[int, Bounds(min=1, max=100)] = 10,
        amplitude: Annotated[Voltage, Bounds(min=0.0001, max=0.5)] = 0.01,
        dc: Voltage | None = None,
    ) -> ImpedanceResult:
        """Not on this device."""
        del call, f_max, f_min, points_per_decade, amplitude, dc
        raise Rejected(self.lacks()["impedance"])


# ── balance ───────────────────────────────────────────────────────────────────────────────────────────────────────────
class BalanceSignals(Signals):
    mass: Mass | None = None
    stable: bool | None = None


class WeighResult(Result):
    """What stands on the pan, less the tare. `stable: false`: it had not come to rest when it was read."""

    mass: Mass
    stable: bool


class Balance(Driver):
    """Weighs what stands on its pan."""

    role = "balance"
    Signals = BalanceSignals

    @property
    def pan(self) -> str:
        """The place that it weighs: its own `<name>/pan`, or one of another device's deck that stands on it."""
        return f"{self.name}/pan"

    @action(effect=Effect.STATE, timeout=60, duration=5)
    @abstractmethod
    async def tare(self, call: Call) -> None:
        """Waits until the pan is at rest, and takes what stands on it as zero."""

    @action(effect=Effect.READ, timeout=lambda p: p.settle + 30, duration=lambda p: p.settle)
    @abstractmethod
    async def weigh(self, call: Call, settle: Annotated[Duration, Bounds(min=0, max=600)] = 5.0) -> WeighResult:
        """Weighs. A pan that has not come to rest within `settle` is a result, `stable: false`, not an error."""
