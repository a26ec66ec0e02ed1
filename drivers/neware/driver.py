"""The driver of Neware cyclers behind a BTS 8 server.

The cycler holds each test itself: labd writes a step file where the server reads it, starts it on a channel, and then
only looks and downloads. So a test goes on when the link or the daemon is lost (`on_loss: continue`), and what was
recorded meanwhile is downloaded afterwards, each row once. The action's id travels as the test's barcode: by it
`outcome` knows the test again.

Protection of each test is the cycler's own: voltages and current beyond the limits in lab.yaml end it. Impedance and
cyclic voltammetry it cannot do.

Wire: see `drivers.neware.wire`. Step files: see `drivers.neware.schedule`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import JsonValue

from drivers.neware.files import StepFiles, password_of
from drivers.neware.orders import Orders
from drivers.neware.runner import Runner
from drivers.neware.settings import NewareSettings, NewareSignals
from drivers.neware.techniques import Test
from drivers.neware.wire import PORT, Bts, Channel, Look
from labd.io.tcp import host_and_port
from labd.sdk import (
    About,
    Bounds,
    Call,
    Charge,
    Current,
    Effect,
    Fault,
    Intent,
    Mass,
    Outcome,
    OutcomeUnknown,
    Quality,
    Rejected,
    Result,
    Setup,
    SpecificCharge,
    Unreachable,
    Verdict,
    Voltage,
    action,
    each,
)
from labd.sdk.roles import (
    C_RATE,
    ConstantCurrentResult,
    ConstantVoltageResult,
    CycleResult,
    Interval,
    OpenCircuitResult,
    PositiveDuration,
    StepPotentiostat,
)

_R = TypeVar("_R", bound=Result)

MANY = 2000  # records of a test; more take longer than a question may


@dataclass(slots=True)
class _Running:
    call: Call
    test: Test


class Neware(StepPotentiostat):
    """A Neware cycler; a unit is a channel."""

    quality = Quality("recorded", firmware="BTS 8.0")
    quirks = (
        "A start is answered by `ok`, or by `false`: no such file on the cycler's PC, or the channel is not free.",
        "A look at a channel has four digits after the point: 0.1 mA; the rows of a test have all of them.",
        "Its reply to a download is misspelt `donwload_resp`.",
    )
    Settings = NewareSettings
    settings: NewareSettings
    found_at = {"{host}:502": 502}
    Signals = NewareSignals

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        limits = self.settings
        host, port = host_and_port(limits.address.removeprefix("tcp://"), PORT)
        self._bts = Bts(host, port, limits.user)
        self._files = StepFiles(limits.directory, limits.directory_there)
        self._orders = Orders(setup.name, limits.min_voltage, limits.max_voltage, limits.max_current, limits.margin)
        self._runner = Runner(self._bts, self._files, self._orders.protection, limits.backup)
        self._channels: dict[str, Channel] = {}
        self._running: dict[str, _Running] = {}

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(self.settings.channels)

    def place_of(self, unit: str) -> str | None:
        """`<name>/<channel>`."""
        return f"{self.name}/{unit}"

    def own_link(self) -> str | None:
        """None: a server takes several clients, so that two devices of a lab may part its channels between them."""
        return None

    def lacks(self) -> Mapping[str, str]:
        return {
            "impedance": "a cycler measures no impedance",
            "cyclic_voltammetry": "a cycler steps and does not sweep the potential",
        }

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the link, logs in, and finds the channels. Tests that run go on, and can be taken up.

        Raises:
            Unreachable: no server, no answer, or the folder of the step files is not there.
            Fault: the login is refused, or the server does not have a channel of lab.yaml.
        """
        await self._files.check()
        await self._bts.enter(await password_of(self.settings.password_file))
        found = await self._bts.channels()
        missing = [unit for unit in self.units if unit not in found]
        if missing:
            await self.close()
            known = ", ".join(found) or "none; is the cycler on, and does BTS Client show it?"
            raise Fault(f"the BTS server has no channel {', '.join(missing)}; it has: {known}")
        self._channels = {unit: found[unit] for unit in self.units}
        kinds = sorted({channel.kind for channel in self._channels.values()})
        return About(model=f"BTS 8, device type {', '.join(kinds)}")

    async def close(self) -> None:
        await self._bts.link.close()

    async def read_state(self) -> Mapping[str, NewareSignals]:
        """One `inquire` for all channels."""
        looks = await self._bts.look([self._channel(unit) for unit in self.units])
        return {unit: NewareSignals.of(look) for unit, look in zip(self.units, looks, strict=True)}

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops the test of a channel, or of all, also where one does not stop. Then nothing flows there."""
        units = self.units if unit is None else (unit,)
        looks = await self._bts.look([self._channel(one) for one in units])  # a dead line is told at once
        at_work = [one for one, look in zip(units, looks, strict=True) if look.busy or one in self._running]
        await each(self._stop, at_work)

    async def _stop(self, unit: str) -> None:
        running = self._running.get(unit)
        if running is not None:
            running.test.cancelled = True
        await self._runner.stop(self._channel(unit))

    async def cancel(self, action_id: str) -> None:
        unit = next((unit for unit, one in self._running.items() if one.call.id == action_id), None)
        if unit is None:
            raise Rejected(f"{action_id} does not run on {self.name}")
        await self._stop(unit)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(cancellable=True)
    async def open_circuit(self, call: Call, duration: PositiveDuration, interval: Interval = 1.0) -> OpenCircuitResult:
        """Records the open-circuit voltage, as a rest of the channel."""
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
        """Drives a constant current until a voltage, a limit of the cell, or a time is reached."""
        test = self._orders.constant_current(current, until_time, until_voltage, interval)
        return await self._run(call, test, ConstantCurrentResult)

    @action(cancellable=True)
    async def constant_voltage(
        self,
        call: Call,
        voltage: Voltage,
        until_time: PositiveDuration,
        until_current: Current | None = None,
        interval: Interval = 1.0,
    ) -> ConstantVoltageResult:
        """Keeps a constant voltage, at max_current at most, until the current has fallen, or a time is reached."""
        look = await self._runner.look(self._channel(call.unit))
        charges = look.voltage is None or look.voltage <= voltage
        test = self._orders.constant_voltage(voltage, until_time, until_current, interval, charges=charges)
        return await self._run(call, test, ConstantVoltageResult)

    @action(cancellable=True)
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
        """Charges and discharges between two voltages, all cycles in one step file that the cycler holds."""
        test = self._orders.cycle(
            upper, lower, cycles, current, c_rate, capacity, cv_until, rest, interval, half_cycle_limit,
            active_mass, specific_capacity,
        )  # fmt: skip
        return await self._run(call, test, CycleResult)

    async def cell_off(self, call: Call) -> None:
        """Stops whatever test is on the channel: nothing flows then."""
        self._refuse_second(call.unit)
        await self._runner.stop(self._channel(call.unit))

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        """The number of the channel's last test, which each start counts up."""
        del action
        number, _ = await self._bts.test(self._channel(unit))
        return {"test": number}

    async def outcome(self, intent: Intent) -> Outcome:
        """By the barcode of the channel's last test.

        That nothing was started is proven by the number of its last test, once the step file is gone: a start that is
        still under way finds nothing.
        """
        channel = self._channel(intent.unit)
        if self.actions[intent.action].effect is not Effect.ONCE:
            return Outcome(Verdict.UNKNOWN, f"{intent.action} begins no test that could be found")
        look = await self._runner.look(channel)
        if look.barcode != intent.id:
            await self._files.remove(intent.id)
            look = await self._runner.look(channel)
        number, count = await self._bts.test(channel)
        if look.barcode == intent.id:
            return await self._known(intent, channel, look, (number, count))
        if number == intent.baseline.get("test"):
            return Outcome(Verdict.NOT_DONE, f"the channel's last test is {number}, as it was before")
        return Outcome(Verdict.UNKNOWN, f"the channel has had another test since: {number}, {look.barcode!r}")

    async def _known(self, intent: Intent, channel: Channel, look: Look, of: tuple[int, int]) -> Outcome:
        """What became of a test that is an action's, by its number and the count of its records."""
        number, count = of
        if look.busy:
            return Outcome(Verdict.RUNNING, f"test {number} with this action's barcode is {look.state}")
        if count > MANY:
            return Outcome(Verdict.RUNNING, f"test {number} has ended: {look.state}; its {count} records are to come")
        test = self._ordered(intent)
        await self._runner.download(channel, number, test, None)
        if test.last is None:
            return Outcome(Verdict.UNKNOWN, f"test {number} with this action's barcode has no record")
        if look.state == "finish":
            return Outcome(Verdict.DONE, f"test {number} with this action's barcode has finished", test.result())
        test.cancelled = True
        return Outcome(Verdict.PARTIAL, f"test {number} was ended before its end: {look.state}", test.result())

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Follows the test that still runs. Rows that were downloaded before are not given again."""
        channel = self._channel(intent.unit)
        look = await self._runner.look(channel)
        if look.barcode != intent.id:
            raise OutcomeUnknown(f"channel {intent.unit} has {look.barcode!r} now, not {intent.id}")
        number, _ = await self._bts.test(channel)
        test = self._ordered(intent)
        with self._occupied(call, test):
            call.accepted(test=number, taken_up=True)
            return await self._runner.follow(call, channel, number, test)

    async def catch_up(self, intent: Intent, call: Call) -> None:
        """The rows of a test that ended unheard, as long as its channel has had no other."""
        channel = self._channel(intent.unit)
        if (await self._runner.look(channel)).barcode == intent.id:
            number, _ = await self._bts.test(channel)
            await self._runner.download(channel, number, self._ordered(intent), call)

    def _ordered(self, intent: Intent) -> Test:
        made: Test = getattr(self._orders, intent.action)(
            **{name: getattr(intent.parameters, name) for name in type(intent.parameters).model_fields}
        )
        return made

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def _run(self, call: Call, test: Test, kind: type[_R]) -> _R:
        channel = self._channel(call.unit)
        with self._occupied(call, test):
            number = await self._runner.begin(call, channel, test)
            result = await self._runner.follow(call, channel, number, test)
        assert isinstance(result, kind)
        return result

    @contextlib.contextmanager
    def _occupied(self, call: Call, test: Test) -> Iterator[None]:
        """Keeps the channel for one action. Raises Rejected: it has another."""
        self._refuse_second(call.unit)
        self._running[call.unit] = _Running(call, test)
        try:
            yield
        finally:
            self._running.pop(call.unit, None)

    def _refuse_second(self, unit: str) -> None:
        running = self._running.get(unit)
        if running is not None:
            raise Rejected(f"channel {unit} is busy with {running.call.id}; cancel that first")

    def _channel(self, unit: str) -> Channel:
        channel = self._channels.get(unit)
        if channel is None:
            if unit not in self.units:
                raise Rejected(f"{self.name} has no channel {unit!r}; it has {', '.join(self.units)}")
            raise Unreachable(f"{self.name} was never connected: its channels are not known")
        return channel
