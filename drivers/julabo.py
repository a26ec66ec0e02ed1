"""Julabo thermostats and circulators over RS-232, or a serial server before it.

Wire: 4800 baud, 7 data bits, even parity, 1 stop bit (the factory's; a setting of the device). A command ends with CR.
IN commands (`version`, `status`, `in_pv_00`) are answered with a line that ends with LF, some firmware's with CR LF.
OUT commands (`out_sp_00 55.5`, `out_mode_05 1`) are never answered: whether one was taken is read back, and why it was
not stands in `status`, `03 REMOTE START` or a negative number with its reason. Between two commands lie 250 ms.

Answers carry no word of their question: a number that comes late is read as the answer to the next. So what comes
unasked is dropped before each command, and after an answer that failed to come or did not fit `version` is asked: it
is like no other answer, and once it has come nothing older is on the line.

Source: Julabo operating manuals (FL 601, SC 2500w, F38-ME), chapter remote control.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import field_validator, model_validator

from labd import clock
from labd.io import Exchange
from labd.io.address import Line, StreamAddress
from labd.sdk import (
    About,
    Bounds,
    Call,
    DeviceError,
    Effect,
    Fault,
    OutcomeUnknown,
    Quality,
    Rejected,
    Settings,
    Setup,
    Temperature,
    Thermostat,
    Unreachable,
    action,
)
from labd.sdk.roles import ThermostatSignals

FACTORY = Line(4800, bytesize=7, parity="E")
ANSWER_LIMIT = 2.0  # s; answers come within a tenth
LATE = 2.0  # s; so long a line that missed an answer must be silent before it is opened again
QUIET = 0.02  # s; so long nothing must come before a command is sent
GAP = 0.25  # s from one command to the next
LEAST, MOST = -150.0, 500.0  # °C; no bath is beyond
RESOLUTION = 0.051  # °C; the coarsest device keeps a tenth

_STATUS = re.compile(r"(-?\d{2,4})\s+(.+)")
_VERSION = re.compile(r"(.*?)[\s,]*(?:VERSION|VER\.?|V)\s*(\d[\w.]*)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d{1,4}(?:\.\d{1,3})?")
_OF_A_COMMAND = frozenset({-8, -9, -10, -11, -13})  # what the last command met; no alarm of the device
_BY_HAND = frozenset({0, 1})

_T = TypeVar("_T")

Safe = Literal["stop", "keep"] | Annotated[Temperature, Bounds(min=-100, max=400)]


class JulaboSettings(Settings):
    """Where the thermostat is, and what it may do.

    Args:
        address: `/dev/serial/by-id/…`, `serial:///dev/…?baudrate=4800&parity=E&bytesize=7` or `tcp://host:port`.
        min_temperature, max_temperature: what bath fluid and samples stand; no setpoint beyond is sent.
        safe: what a stop, an abort, a fault and the end of labd mean for it. `stop` (default): heating, cooling and
            pump off, since a bath must not go on heating when nobody is in charge of it. `keep`: it goes on as it is,
            for a bath that guards cells for weeks. A temperature: it goes there and stays on.
    """

    address: str
    min_temperature: Annotated[Temperature, Bounds(min=-100, max=400)] = 5.0
    max_temperature: Annotated[Temperature, Bounds(min=-100, max=400)] = 80.0
    safe: Safe = "stop"

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        StreamAddress.parse(text, FACTORY)
        return text

    @model_validator(mode="after")
    def _safe_is_allowed(self) -> JulaboSettings:
        problem = self.problem(self.safe) if isinstance(self.safe, float) else None
        if problem:
            raise ValueError(f"safe: {problem}")
        return self

    def problem(self, temperature: float) -> str | None:
        """What the limits say against a setpoint, or None."""
        return Bounds(self.min_temperature, self.max_temperature).problem(temperature, "°C")


class JulaboSignals(ThermostatSignals):
    """Beside the role's: `running`, whether it circulates, and `status`, its own words (`-01 LOW LEVEL ALARM`)."""

    running: bool | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to `status`."""

    text: str
    number: int

    @classmethod
    def read(cls, line: str) -> Status:
        """Reads `03 REMOTE START`. Raises OutcomeUnknown where it is none: no Julabo, or a disturbed line."""
        match = _STATUS.fullmatch(line)
        if match is None:
            raise OutcomeUnknown("this is no status of a Julabo", sent="status", received=line)
        return cls(line, int(match[1]))

    @property
    def alarm(self) -> bool:
        """Whether the device has stopped itself."""
        return self.number < 0 and self.number not in _OF_A_COMMAND and "WARNING" not in self.text

    @property
    def refusal(self) -> bool:
        """Whether it tells why the last command was not taken."""
        return self.number in _OF_A_COMMAND


class Julabo(Thermostat):
    """One thermostat. Connecting changes nothing; it must have been set to remote control at its panel."""

    quality = Quality("simulated")
    quirks = (
        "It never answers an OUT command: setpoint and start are read back.",
        "Remote control must be switched on at its panel.",
        "It forgets its setpoint with the power: a power cut shows as the first setpoint, switched off.",
        "It speaks in the unit of its display, which must be °C: not every model tells which it is.",
        "What is set is its working temperature 1 (Setpoint1), which must be the one that is chosen at its panel.",
    )
    Settings = JulaboSettings
    settings: JulaboSettings
    Signals = JulaboSignals
    found_at = {"{port}": 0}

    @classmethod
    async def identify(cls, address: str) -> About | None:
        """Asks for version and status."""
        driver = cls(Setup("scan", {"address": address}))
        try:
            return await driver.connect()
        finally:
            await driver.close()

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._link = StreamAddress.parse(self.settings.address, FACTORY).link(late=LATE)
        self._turn = asyncio.Lock()
        self._free_at = 0.0  # when the next command may be sent
        self._doubt = False  # an older answer may still come
        self._last = JulaboSignals()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the link and asks who is there.

        Raises:
            Unreachable: no port, no answer, or something else answers.
        """
        await self._link.open()
        try:
            version = await self._hello()
            await self._status()
        except OutcomeUnknown as error:
            await self.close()
            raise Unreachable(
                f"{self.settings.address}: no thermostat answers; is it on, is its interface RS232, and do baud rate "
                f"and parity agree? ({error.message})",
                received=error.received,
            ) from error
        match = _VERSION.fullmatch(version)
        return About(model=match[1] or "Julabo", firmware=match[2]) if match else About(model=version)

    async def close(self) -> None:
        await self._link.close()

    async def read_state(self) -> JulaboSignals:
        """Bath temperature, setpoint and status; the values before, while an action has the line.

        An alarm is a value of `status`, not an error: the line is sound.
        """
        if not self._turn.locked():
            async with self._turn:
                status = await self._status()
                temperature, setpoint = await self._number("in_pv_00"), await self._number("in_sp_00")
                running = await self._running()
            self._last = JulaboSignals(temperature=temperature, setpoint=setpoint, running=running, status=status.text)
        return self._last

    async def safe_state(self, unit: str | None = None) -> None:
        """As `safe` in the settings says; waits for an action that has the line, which takes a second or two.

        Raises:
            Rejected: somebody operates it by hand.
            Fault: it goes on, whatever it is told.
        """
        del unit
        safe = self.settings.safe
        if safe == "keep":
            return
        async with self._turn:
            if isinstance(safe, float):
                await self._set(safe)
                await self._switch(on=True)
            else:
                await self._switch(on=False)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def set_temperature(self, call: Call, temperature: Annotated[Temperature, Bounds(min=-100, max=400)]) -> None:
        """Sets the setpoint and starts; done when both are read back. The bath then takes its time to get there.

        Rejected: beyond the limits in lab.yaml or the device's own, or the device is operated by hand. Fault: an
        alarm. OutcomeUnknown: it was sent, and another setpoint is read back.
        """
        problem = self.settings.problem(temperature)
        if problem:
            raise Rejected(f"{problem} that its settings in lab.yaml allow")
        async with self._turn:
            status = await self._status()
            if status.alarm:
                raise Fault(f"the thermostat has an alarm; look at it: {status.text}", received=status.text)
            if status.number in _BY_HAND:
                raise _by_hand(status)
            await self._set(temperature)
            call.accepted(setpoint=temperature)
            await self._switch(on=True)

    @action(effect=Effect.STATE, timeout=60, duration=2)
    async def stop(self, call: Call) -> None:
        """Switches heating, cooling and pump off; the setpoint stays."""
        del call
        async with self._turn:
            await self._switch(on=False)

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _set(self, temperature: float) -> None:
        order = f"out_sp_00 {temperature:.2f}"
        await self._tell(order)
        found = await self._number("in_sp_00")
        if found is None or abs(found - temperature) > RESOLUTION:
            raise await self._refusal(order, "the setpoint", "nothing" if found is None else f"{found:g} °C")

    async def _switch(self, *, on: bool) -> None:
        order = f"out_mode_05 {on:d}"
        await self._tell(order)
        if await self._running() is not on:
            raise await self._refusal(order, "the device", "off" if on else "on")

    async def _refusal(self, order: str, what: str, found: str) -> DeviceError:
        """Why an order was not taken, as the error that it means."""
        status = await self._status()
        said = f"{order} was sent, and {what} is read back as {found}: {status.text}"
        if status.alarm:
            return Fault(f"the thermostat has an alarm; look at it: {said}", sent=order, received=status.text)
        if status.number in _BY_HAND:
            return _by_hand(status)
        kind = Rejected if status.refusal else OutcomeUnknown
        return kind(said, sent=order, received=status.text)

    async def _status(self) -> Status:
        return await self._ask("status", Status.read)

    async def _running(self) -> bool:
        return await self._ask("in_mode_05", _switch_position)

    async def _number(self, query: str) -> float | None:
        """The answer as a number, °C; None for dashes, which it sends where it has none."""
        return await self._ask(query, lambda line: _number(query, line))

    async def _ask(self, query: str, read: Callable[[str], _T]) -> _T:
        """An answer as `read` reads it; one that it refuses may be that to an earlier question."""
        async with self._link.exchange(None) as exchange:
            await self._clear(exchange)
            self._doubt = True
            answer = read(await self._line(exchange, query))
            self._doubt = False
        return answer

    async def _hello(self) -> str:
        """Its version; whatever came before it is dropped."""
        async with self._link.exchange(None) as exchange:
            self._doubt = True
            return await self._clear(exchange)

    async def _clear(self, exchange: Exchange) -> str:
        """Sees to it that what comes next answers what is sent next."""
        await asyncio.sleep(max(0.0, self._free_at - clock.monotonic()))
        await self._link.drain(QUIET)
        if not self._doubt:
            return ""
        line = await self._line(exchange, "version")
        async with asyncio.timeout(ANSWER_LIMIT):
            while not _is_version(line):
                line = (await exchange.read_line()).strip()
        self._doubt = False
        await asyncio.sleep(GAP)
        await self._link.drain(QUIET)
        return line

    async def _line(self, exchange: Exchange, query: str) -> str:
        await exchange.write(f"{query}\r".encode())
        self._free_at = clock.monotonic() + GAP
        async with asyncio.timeout(ANSWER_LIMIT):
            line = await exchange.read_line()
        self._free_at = clock.monotonic() + GAP
        return line.strip()

    async def _tell(self, order: str) -> None:
        async with self._link.exchange(None) as exchange:
            await self._clear(exchange)
            await exchange.write(f"{order}\r".encode())
            self._free_at = clock.monotonic() + GAP


def _number(query: str, line: str) -> float | None:
    if line and set(line) <= set("-. "):
        return None
    if _NUMBER.fullmatch(line) is None:
        raise OutcomeUnknown(f"the answer to {query} is no number", sent=query, received=line)
    value = float(line)
    if not LEAST <= value <= MOST:
        raise OutcomeUnknown(f"the answer to {query} is no temperature of a bath", sent=query, received=line)
    return value


def _switch_position(line: str) -> bool:
    if line not in {"0", "1"}:
        raise OutcomeUnknown("the answer to in_mode_05 is neither 0 nor 1", sent="in_mode_05", received=line)
    return line == "1"


def _is_version(line: str) -> bool:
    """Whether a line is what it says to `version`, `JULABO F25 V 1.3` or `V 1.30` alone: words, and no status."""
    known = _VERSION.fullmatch(line) is not None or len(re.findall("[A-Za-z]", line)) > 1
    return known and _STATUS.fullmatch(line) is None


def _by_hand(status: Status) -> Rejected:
    return Rejected("the thermostat is operated by hand; set it to remote control at its panel", received=status.text)


DRIVER = Julabo
