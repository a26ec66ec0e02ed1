"""The driver of PalmSens' MethodSCRIPT potentiostats.

One instrument a port, one cell an instrument. A technique is one script, which the instrument runs by itself: a
formation of many cycles goes on when the daemon dies (`on_loss: continue`). While a script runs the instrument takes
nothing but `Z` (abort), `Y` (end the loop), `h` and `H`.

Wire: MethodSCRIPT over a serial port; EmStat4 and Nexus at 921600 baud, EmStat Pico at 230400 with XON/XOFF.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from drivers.methodscript import script
from drivers.methodscript.instrument import Instrument
from drivers.methodscript.models import MODELS, Model, ModelName, lacks, model_of
from drivers.methodscript.orders import Orders
from drivers.methodscript.techniques import Technique
from drivers.methodscript.wire import Package
from labd.io.serial import SerialLink
from labd.sdk import (
    About,
    Bounds,
    Call,
    Charge,
    Current,
    DeviceError,
    Duration,
    Fault,
    Frequency,
    Intent,
    Mass,
    OnLoss,
    Outcome,
    OutcomeUnknown,
    Potentiostat,
    Quality,
    Rejected,
    Result,
    ScanRate,
    Settings,
    Setup,
    SpecificCharge,
    Verdict,
    Voltage,
    action,
)
from labd.sdk.roles import (
    C_RATE,
    ConstantCurrentResult,
    ConstantVoltageResult,
    CycleData,
    CycleResult,
    ImpedanceResult,
    Interval,
    OpenCircuitResult,
    PositiveDuration,
    PotentiostatSignals,
    VoltammetryResult,
)

_R = TypeVar("_R", bound=Result)

GLANCE_LIMIT = 5.0  # s between two lines of a look at the potential


class MethodScriptSettings(Settings):
    """Settings of a MethodSCRIPT potentiostat in lab.yaml.

    `port` is the instrument's serial port, `model` what it is (`emstat4_hr`, `emstat4_lr`, `emstat_pico`, `nexus`),
    `baudrate` its speed where that is not the model's own, `settle` how long it takes after its port was opened, and
    `sweep_step` the step of a sweep's staircase.
    `min_voltage`, `max_voltage` and `max_current` protect the cell: no technique is ordered beyond them, and the
    scripts that drive a current end when the potential leaves them, those that set a potential when the current does:
    by the instrument itself, whoever listens. Left out, its own limits hold.
    `poll_voltage: false` leaves an idle cell alone instead of looking at its potential at each poll.
    """

    port: str
    model: ModelName = "emstat4_hr"
    baudrate: Annotated[int, Bounds(min=1200, max=4_000_000)] | None = None
    settle: Annotated[Duration, Bounds(min=0, max=30)] = 0.0
    min_voltage: Voltage | None = None
    max_voltage: Voltage | None = None
    max_current: Annotated[Current, Bounds(min=1e-12)] | None = None
    sweep_step: Annotated[Voltage, Bounds(min=1e-4, max=0.1)] = 0.005
    poll_voltage: bool = True


class MethodScript(Potentiostat):
    """An EmStat4, Nexus or EmStat Pico with one cell."""

    quality = Quality("simulated")
    quirks = (
        "An error at run time skips `on_finished:`: the cell is switched off by a script of its own.",
        "It remembers no script that has ended: what became of one is unknown after a kill.",
    )
    Settings = MethodScriptSettings
    settings: MethodScriptSettings
    found_at = {"{port}": 0}

    @classmethod
    async def identify(cls, address: str) -> About | None:
        """Asks for its version; of each model at its own speed."""
        for model in MODELS:
            driver = cls(Setup("scan", {"port": address, "model": model}))
            try:
                about = await driver.connect()
            except DeviceError:
                continue
            finally:
                await driver.close()
            return about
        return None

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._model: Model = MODELS[self.settings.model]
        link = SerialLink(
            self.settings.port,
            self.settings.baudrate or self._model.baudrate,
            xonxoff=self._model.xonxoff,
            settle=self.settings.settle,
        )
        self._instrument = Instrument(link)
        self._instrument.on_package = self._on_package
        limits = self.settings
        self._orders = Orders(
            setup.name,
            self._model,
            voltage=(limits.min_voltage, limits.max_voltage),
            greatest_current=limits.max_current,
            sweep_step=limits.sweep_step,
        )
        self._running: tuple[Call, Technique] | None = None
        self._last = PotentiostatSignals()
        self._turn = asyncio.Lock()  # of whose script runs: an action waits the moment that a poll's glance takes

    def place_of(self, unit: str) -> str | None:
        """`<name>/cell`."""
        del unit
        return f"{self.name}/cell"

    def lacks(self) -> Mapping[str, str]:
        return lacks(self._model)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the port and asks who is there. A script that still runs from before goes on, and can be taken up.

        Raises:
            Unreachable: no port, a port in use, or no answer.
            Fault: it is another model than lab.yaml says, so other limits hold.
        """
        await self._instrument.link.open()
        version = await self._instrument.identify()
        if not version:
            return About(model=self._model.name)
        found = model_of(version)
        if found is not None and found is not self._model:
            await self.close()
            raise Fault(
                f"lab.yaml says {self._model.name}, but {self.settings.port} is an {found.name}", received=version
            )
        serial_number = ""
        with contextlib.suppress(OutcomeUnknown):  # silence to `i` is an older firmware's
            serial_number = await self._instrument.serial_number()
        return About(model=self._model.name, serial=serial_number, firmware=version)

    async def close(self) -> None:
        await self._instrument.link.close()

    async def read_state(self) -> PotentiostatSignals:
        """The last values while a script runs; else a look at the potential of the cell, which stays off."""
        instrument = self._instrument
        if instrument.lost_thread and not instrument.occupied:
            self._last = PotentiostatSignals()  # what was seen before that is no answer to this poll
            await instrument.identify()
        if instrument.left is not None:
            await instrument.glean()
        elif self.settings.poll_voltage and not self._turn.locked() and not instrument.occupied:
            async with self._turn:
                # a glance that is cut short tells nothing, and what was seen before is no answer
                self._last = self._last.model_copy(update={"voltage": None, "current": 0.0})
                await instrument.run(script.glance(self._model), GLANCE_LIMIT)
            self._last = self._last.model_copy(update={"current": 0.0})
        return self._last

    async def safe_state(self, unit: str | None = None) -> None:
        del unit
        if self._running is not None:
            self._running[1].cancelled = True
        if self._instrument.occupied or self._instrument.lost_thread:
            await self._instrument.abort()
        await self._switch_off()

    async def cancel(self, action_id: str) -> None:
        if self._running is None or self._running[0].id != action_id:
            raise Rejected(f"{action_id} does not run on {self.name}")
        technique = self._running[1]
        technique.cancelled = True
        await self._instrument.interject(technique.stop)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(cancellable=True)
    async def open_circuit(self, call: Call, duration: PositiveDuration, interval: Interval = 1.0) -> OpenCircuitResult:
        """Records the open-circuit voltage; the cell is off."""
        return await self._run(call, self._orders.open_circuit(duration, interval), OpenCircuitResult)

    @action(cancellable=True)
    async def constant_current(
        self,
        call: Call,
        current: Current,
        until_time: PositiveDuration,
        until_voltage: Voltage | None = None,
        interval: Interval = 1.0,
    ) -> ConstantCurrentResult:
        """Drives a constant current until a voltage or a time is reached. Not on a Pico, which is a potentiostat."""
        return await self._run(
            call, self._orders.constant_current(current, until_time, until_voltage, interval), ConstantCurrentResult
        )

    @action(cancellable=True)
    async def constant_voltage(
        self,
        call: Call,
        voltage: Voltage,
        until_time: PositiveDuration,
        until_current: Current | None = None,
        interval: Interval = 1.0,
    ) -> ConstantVoltageResult:
        """Keeps a constant voltage until the current has fallen to a magnitude, or a time is reached."""
        return await self._run(
            call, self._orders.constant_voltage(voltage, until_time, until_current, interval), ConstantVoltageResult
        )

    @action(cancellable=True, on_loss=OnLoss.CONTINUE, data=CycleData)
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
        """Charges and discharges between two voltages, all cycles in one script that the instrument holds."""
        return await self._run(
            call,
            self._orders.cycle(
                upper,
                lower,
                cycles,
                current,
                c_rate,
                capacity,
                cv_until,
                rest,
                interval,
                half_cycle_limit,
                active_mass,
                specific_capacity,
            ),
            CycleResult,
        )

    @action(cancellable=True)
    async def cyclic_voltammetry(
        self,
        call: Call,
        start: Voltage,
        vertex1: Voltage,
        vertex2: Voltage,
        scan_rate: Annotated[ScanRate, Bounds(min=1e-6)],
        scans: Annotated[int, Bounds(min=1, max=1000)] = 1,
    ) -> VoltammetryResult:
        """Sweeps the potential from start over both vertices and back; the peak is the current of largest size."""
        return await self._run(
            call, self._orders.cyclic_voltammetry(start, vertex1, vertex2, scan_rate, scans), VoltammetryResult
        )

    @action(cancellable=True)
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
        return await self._run(
            call, self._orders.impedance(f_max, f_min, points_per_decade, amplitude, dc), ImpedanceResult
        )

    async def cell_off(self, call: Call) -> None:
        """Opens the cell's circuit: no current flows."""
        del call
        self._refuse_second()
        async with self._turn:
            if self._instrument.occupied:
                raise Rejected("a script runs on it; cancel that first")
            await self._switch_off()

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def outcome(self, intent: Intent) -> Outcome:
        """Running when a script with this action's columns still talks; the instrument remembers nothing of others."""
        if self._running is not None and self._running[0].id == intent.id:
            return Outcome(Verdict.RUNNING, "its script runs")
        if self._instrument.lost_thread:
            self._last = PotentiostatSignals()
            await self._instrument.identify()
        await self._instrument.glean()
        waiting = self._instrument.left
        if waiting is None:
            return Outcome(Verdict.UNKNOWN, "no script runs now, and the instrument does not remember which have run")
        technique = self._ordered(intent)
        if waiting and not technique.fits(waiting[-1]):
            return Outcome(Verdict.UNKNOWN, "another script runs on the instrument")
        return Outcome(Verdict.RUNNING, "the instrument runs a script with this action's data")

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Follows the script that still runs. Rows that nobody heard are lost; the result's reason says so."""
        if self._instrument.left is None:
            raise OutcomeUnknown(f"no script runs on it, so {intent.action} cannot be taken up")
        technique = self._ordered(intent).taken_up()
        call.accepted(taken_up=True)
        return await self._until_over(call, technique)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _ordered(self, intent: Intent) -> Technique:
        made: Technique = getattr(self._orders, intent.action)(**_values(intent))
        return made

    async def _run(self, call: Call, technique: Technique, kind: type[_R]) -> _R:
        result = await self._until_over(call, technique, technique.text)
        assert isinstance(result, kind)
        return result

    async def _until_over(self, call: Call, technique: Technique, text: str | None = None) -> Result:
        self._refuse_second()
        async with self._turn:
            return await self._follow(call, technique, text)

    def _refuse_second(self) -> None:
        if self._running is not None:
            raise Rejected(f"{self.name} is busy with {self._running[0].id}; cancel that first")

    async def _follow(self, call: Call, technique: Technique, text: str | None) -> Result:
        self._running = (call, technique)
        try:
            if text is None:
                await self._instrument.follow(technique.gap)
            else:
                await self._instrument.run(text, technique.gap, lambda: call.accepted(script=text))
        except Fault as fault:
            # an error at run time skips on_finished: the cell may be on
            try:
                await self._switch_off()
            except DeviceError as error:
                raise Fault(f"{fault.message}; and the cell could not be switched off: {error}") from fault
            raise
        finally:
            self._running = None
            if self._instrument.lost_thread:  # what it said last is from before that
                self._last = PotentiostatSignals()
        return technique.result()

    async def _switch_off(self) -> None:
        await self._instrument.run(script.CELL_OFF, GLANCE_LIMIT)

    def _on_package(self, package: Package) -> None:
        if self._running is not None:
            call, technique = self._running
            row = technique.take(package)
            if row is not None:
                call.row(*row)
        self._note(package)

    def _note(self, package: Package) -> None:
        seen: dict[str, Any] = {}
        for value in package.values:
            if math.isnan(value.value):
                continue
            if value.type[0] == "a" or value.type == "da":
                seen["voltage"] = value.value
            elif value.type[0] == "b" or value.type == "db":
                seen["current"] = value.value
                if value.range is not None:
                    seen["range"] = self._model.ranges.get(value.range, str(value.range))
        if package.values:
            seen["overload"] = any(value.overload for value in package.values)
        self._last = self._last.model_copy(update=seen)


def _values(intent: Intent) -> dict[str, Any]:
    return {name: getattr(intent.parameters, name) for name in type(intent.parameters).model_fields}
