"""The driver of Keithley 2450 and 2461 SourceMeters, as potentiostats of one cell.

labd runs each technique itself, step by step. What protects the cell while it does, and if it dies, stands in the
instrument: it always sources a voltage at which the cell may stay, with a limit of the current, so a charge that nobody
watches any more ends at its voltage and is held there, and a discharge at the lower one. A current of the other kind,
without such a voltage, is never sourced. Actions say `on_loss: stop`: labd switches the output off when it comes back,
and when it is stopped.

Open circuit is measured with the output on, as a current source of 0 A: off, the relay cuts the sense leads too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from drivers.keithley.meter import Meter
from drivers.keithley.runner import End, Runner, ended
from drivers.keithley.settings import KeithleySettings
from drivers.keithley.techniques import Halves
from drivers.keithley.wire import Address
from labd.io.tcp import TcpLink, host_and_port
from labd.sdk import (
    About,
    Bounds,
    Call,
    Charge,
    Current,
    DeviceError,
    Fault,
    Mass,
    OnLoss,
    Quality,
    Quantity,
    Rejected,
    Setup,
    SpecificCharge,
    Voltage,
    action,
    cycling_current,
)
from labd.sdk.roles import (
    C_RATE,
    ConstantCurrentResult,
    ConstantVoltageResult,
    CycleData,
    CycleResult,
    Interval,
    OpenCircuitResult,
    PositiveDuration,
    PotentiostatSignals,
    StepPotentiostat,
)

REACHED = 2e-3  # V from a voltage that counts as there

IDENTIFY_LIMIT = 3.0  # s


class Keithley(StepPotentiostat):
    """A 2450 or 2461 with one cell."""

    quality = Quality("simulated")
    quirks = (
        "Its normal off state is 0 V across the cell, which runs it down; labd sets the high-impedance one.",
        "While its output is off nobody sees the cell: an idle one tells no voltage.",
        "A line is ended by the first thing in it that is not taken; what it was stands in the event log.",
    )
    Settings = KeithleySettings
    settings: KeithleySettings
    found_at = {"tcp://{host}:5025": 5025}

    @classmethod
    async def identify(cls, address: str) -> About | None:
        """Asks `*IDN?`, which each instrument with SCPI answers and none acts upon."""
        host, port = host_and_port(address.removeprefix("tcp://"), 5025)
        async with TcpLink(host, port, open_timeout=2.0) as link, link.exchange(IDENTIFY_LIMIT) as exchange:
            await exchange.write(b"*IDN?\n")
            maker, model, serial, firmware = (await exchange.read_line()).strip().split(",")
        known = "KEITHLEY" in maker.upper() and any(one in model for one in ("2450", "2461"))
        return About(model=f"{maker} {model}", serial=serial, firmware=firmware) if known else None

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        limits = self.settings
        self._address = Address.parse(limits.address)
        self._meter = Meter(
            self._address.wire(limits.visa_library),
            four_wire=limits.four_wire,
            rear=limits.terminals == "rear",
            reach=max(abs(limits.min_voltage), abs(limits.max_voltage)),
        )
        self._running: Runner | None = None

    def place_of(self, unit: str) -> str | None:
        """`<name>/cell`."""
        del unit
        return f"{self.name}/cell"

    def own_link(self) -> str | None:
        address = self._address
        return (address.resource or f"{address.host}:{address.port}").lower()

    def lacks(self) -> Mapping[str, str]:
        return {
            "impedance": "a SourceMeter sources no alternating current",
            "cyclic_voltammetry": "labd steps a SourceMeter from outside, too slowly and unevenly for a sweep",
        }

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the link, asks who is there, and chooses the off state that opens a relay.

        An output that is on though nothing of this labd runs was left on by one that died: it is switched off.

        Raises:
            Unreachable: nobody answers.
            Fault: it is something else than lab.yaml says, or speaks TSP.
        """
        wire = self._meter.wire
        await wire.open()
        try:
            found = await self._meter.identify()
            if found.model != self.settings.model:
                raise Fault(f"lab.yaml says {self.settings.model}, and this is a {found.model}")
            if self._running is None:
                await self._meter.switch_off()
        except DeviceError:
            await wire.close()
            raise
        return About(model=f"Keithley {found.model}", serial=found.serial, firmware=found.firmware)

    async def close(self) -> None:
        await self._meter.wire.close()

    async def read_state(self) -> PotentiostatSignals:
        """While something runs what it read last; else whether the output is off: then nobody can see the cell."""
        running = self._running
        if running is not None and running.latest is not None:
            latest = running.latest
            return PotentiostatSignals(voltage=latest.voltage, current=latest.current)
        on = await self._meter.is_on()
        return PotentiostatSignals(current=None if on else 0.0)

    async def safe_state(self, unit: str | None = None) -> None:
        """Opens the cell's circuit."""
        del unit
        if self._running is not None:
            self._running.cancelled.set()
        await self._meter.switch_off()

    async def cancel(self, action_id: str) -> None:
        if self._running is None or self._running.call.id != action_id:
            raise Rejected(f"{action_id} does not run on {self.name}")
        self._running.cancelled.set()

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(cancellable=True, on_loss=OnLoss.STOP)
    async def open_circuit(self, call: Call, duration: PositiveDuration, interval: Interval = 1.0) -> OpenCircuitResult:
        """Records the open-circuit voltage, with a current of 0 A sourced."""
        _check_duration("duration", duration)
        async with self._runs(Runner(self._meter, call, min(interval, duration))) as runner:
            await self._meter.prepare_open_circuit()
            await self._on(runner)
            part, _ = await runner.stretch(duration)
        return OpenCircuitResult(final_voltage=part.last.voltage, mean_voltage=part.mean_voltage)

    @action(cancellable=True, on_loss=OnLoss.STOP)
    async def constant_current(
        self,
        call: Call,
        current: Current,
        until_time: PositiveDuration,
        until_voltage: Voltage | None = None,
        interval: Interval = 1.0,
    ) -> ConstantCurrentResult:
        """Drives a constant current until a voltage, a limit of the cell, or a time is reached."""
        if not current:
            raise Rejected("a constant current of 0 A is an open circuit: use open_circuit")
        self._check_current("current", current)
        _check_duration("until_time", until_time)
        if until_voltage is not None:
            self._check_voltage("until_voltage", until_voltage)
        limit = self.settings.max_voltage if current > 0 else self.settings.min_voltage
        target = limit if until_voltage is None else until_voltage
        async with self._runs(Runner(self._meter, call, min(interval, until_time))) as runner:
            await self._refuse_wrong_way(current, target)
            await self._meter.prepare_voltage(target, abs(current))
            await self._on(runner)
            part, end = await runner.stretch(until_time, lambda one: _there(one.voltage, target, current), to=target)
        reached = "limit" if until_voltage is None else "voltage"
        return ConstantCurrentResult(
            charge=part.charge, final_voltage=part.last.voltage, reason=reached if end is End.REACHED else end.value
        )

    @action(cancellable=True, on_loss=OnLoss.STOP)
    async def constant_voltage(
        self,
        call: Call,
        voltage: Voltage,
        until_time: PositiveDuration,
        until_current: Current | None = None,
        interval: Interval = 1.0,
    ) -> ConstantVoltageResult:
        """Keeps a constant voltage, at max_current at most, until the current has fallen, or a time is reached."""
        self._check_voltage("voltage", voltage)
        _check_duration("until_time", until_time)
        floor = None if until_current is None else abs(until_current)
        async with self._runs(Runner(self._meter, call, min(interval, until_time))) as runner:
            await self._meter.prepare_voltage(voltage, self.settings.max_current)
            await self._on(runner)
            reached = None if floor is None else (lambda one: abs(one.current) <= floor)
            part, end = await runner.stretch(until_time, reached)
        return ConstantVoltageResult(
            charge=part.charge,
            final_current=part.last.current,
            reason="current" if end is End.REACHED else end.value,
        )

    @action(cancellable=True, on_loss=OnLoss.STOP, data=CycleData)
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
        """Charges and discharges between two voltages; labd turns round, the instrument holds at either of them."""
        self._check_voltage("upper", upper)
        self._check_voltage("lower", lower)
        _check_duration("half_cycle_limit", half_cycle_limit)
        if not upper > lower:
            raise Rejected(f"upper, {upper:g} V, must be above lower, {lower:g} V")
        drive = cycling_current(current, c_rate, capacity, active_mass, specific_capacity)
        self._check_current("current", drive)
        if cv_until is not None and cv_until >= drive:
            raise Rejected(f"cv_until, {_plain(cv_until)}, must be below the current, {_plain(drive)}")
        number = 1
        runner = Runner(self._meter, call, interval, lambda *row: (*row, number))
        halves, end = Halves(), End.REACHED
        async with self._runs(runner):
            for number in range(1, cycles + 1):
                for way, target in ((1, upper), (-1, lower)):
                    end = await self._half(runner, halves, number, way, (target, drive, half_cycle_limit, cv_until))
                    if end is not End.CANCELLED and rest:
                        end = await self._rest(runner, rest)
                    if end is End.CANCELLED:
                        break
                if end is End.CANCELLED:
                    break
        capacities = halves.capacities
        return CycleResult(
            capacities=capacities,
            coulombic_efficiencies=halves.efficiencies,
            capacity=capacities[-1] if capacities else 0.0,
            reason="cancelled" if end is End.CANCELLED else halves.reason,
            current=drive,
        )

    async def cell_off(self, call: Call) -> None:
        """Opens the cell's circuit by the output relay."""
        del call
        if self._running is not None:
            raise Rejected(f"{self.name} is busy with {self._running.call.id}; cancel that first")
        await ended(self._meter)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────
    @contextlib.asynccontextmanager
    async def _runs(self, runner: Runner) -> AsyncIterator[Runner]:
        """A technique under way; at its end, whichever, the output is off.

        Raises:
            Rejected: another runs.
            Fault: it could not be switched off.
        """
        if self._running is not None:
            raise Rejected(f"{self.name} is busy with {self._running.call.id}; cancel that first")
        self._running = runner
        try:
            yield runner
            await ended(self._meter)
        except DeviceError as error:
            await self._off_after(error)
            raise
        except asyncio.CancelledError:  # nobody reads or ends it any more, and nobody else would switch it off
            with contextlib.suppress(DeviceError):
                await self._meter.switch_off()
            raise
        finally:
            self._running = None

    async def _off_after(self, error: DeviceError) -> None:
        try:
            await self._meter.switch_off()
        except DeviceError as second:
            if isinstance(error, (Fault, Rejected)):
                raise Fault(f"{error.message}; and the output could not be switched off: {second.message}") from error
            # one that does not answer is made safe by the runtime as soon as it does

    async def _on(self, runner: Runner) -> None:
        """Raises Rejected: it was cancelled meanwhile."""
        if runner.cancelled.is_set():
            raise Rejected("it was cancelled before the output was on")
        await self._meter.switch_on()
        runner.call.accepted(output="on")

    async def _half(
        self, runner: Runner, halves: Halves, cycle: int, way: int, order: tuple[float, float, float, float | None]
    ) -> End:
        """Half a cycle: to a voltage at a current, and kept there while it charges until the current has fallen."""
        target, drive, limit, cv_until = order
        if runner.cancelled.is_set():
            return End.CANCELLED
        if await self._meter.is_on():
            await self._meter.change_voltage(target, drive)
        else:
            await self._meter.prepare_voltage(target, drive)
            await self._on(runner)
        part, end = await runner.stretch(limit, lambda one: _there(one.voltage, target, way), to=target)
        if end is End.TIME:
            halves.late(cycle)
        if way > 0:
            halves.charged(cycle, part.charge)
            if cv_until is not None and end is not End.CANCELLED:
                held, end = await runner.stretch(limit, lambda one: abs(one.current) <= cv_until)
                halves.charged(cycle, held.charge)
        elif end is not End.CANCELLED:
            halves.discharged(cycle, part.charge)
        return end

    async def _rest(self, runner: Runner, rest: float) -> End:
        if runner.cancelled.is_set():
            return End.CANCELLED
        await self._meter.prepare_open_circuit()
        await self._on(runner)
        _, end = await runner.stretch(rest)
        await self._meter.switch_off()
        return end

    async def _refuse_wrong_way(self, current: float, target: float) -> None:
        """A voltage on the wrong side would drive the cell the other way: the source only knows a voltage.

        Raises:
            Rejected: it is on the wrong side, or there is no cell.
        """
        await self._meter.prepare_open_circuit()
        await self._meter.switch_on()
        here = await self._meter.sample()
        await self._meter.switch_off()
        if self._meter.is_open(here):
            raise Rejected(f"the leads are at {here.voltage:.4g} V, as if they touched nothing: is the cell connected?")
        if (target - here.voltage) * current < 0 and abs(target - here.voltage) > REACHED:
            raise Rejected(
                f"the cell is at {here.voltage:.4g} V: {'a charge' if current > 0 else 'a discharge'} to {target:g} V "
                "would go the other way"
            )

    # ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _check_voltage(self, name: str, voltage: float) -> None:
        low, high = self.settings.min_voltage, self.settings.max_voltage
        if not low <= voltage <= high:
            raise Rejected(
                f"{name}: {voltage:g} V is beyond min_voltage and max_voltage of {self.name}, {low:g} V to {high:g} V"
            )

    def _check_current(self, name: str, current: float) -> None:
        if abs(current) > self.settings.max_current:
            limit = _plain(self.settings.max_current)
            raise Rejected(f"{name}: {_plain(current)} is above max_current of {self.name}, {limit}")


def _there(voltage: float, target: float, way: float) -> bool:
    return (voltage - target if way > 0 else target - voltage) >= -REACHED


def _check_duration(name: str, seconds: float) -> None:
    if seconds <= 0:
        raise Rejected(f"{name}: {seconds:g} s is no time to measure in")


def _plain(current: float) -> str:
    return str(Quantity(current, "A"))
