"""The instrument: its output, what it sources and measures, and its event log."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from drivers.keithley.wire import Wire
from labd.sdk import DeviceError, Fault, OutcomeUnknown, Rejected, Unreachable

NO_NUMBER = 9.9e36  # SCPI says 9.91e37 where there is no number, 9.9e37 for infinity
ABOVE = 0.5  # V beyond the cell's limits to which open leads drift

_LANGUAGES = frozenset({"SCPI", "TSP", "SCPI2400", "SCPI34401"})
# the normal off state is 0 V across the cell, which runs it down; the high-impedance one opens a relay
_OFF = (":OUTP:VOLT:SMOD HIMP", ":OUTP:CURR:SMOD HIMP", ":OUTP OFF")
_CLEARED = (':TRAC:CLE "defbuffer1"',)
_EVENT = re.compile(r'(-?\d+)\s*,\s*"([^";]*)')
_IDENTITY = re.compile(r"KEITHLEY INSTRUMENTS[^,]*,\s*MODEL\s*(\w+),\s*([^,]*),\s*(.*)", re.IGNORECASE)

ModelName = Literal["2450", "2461"]


@dataclass(frozen=True, slots=True)
class Model:
    """What an instrument reaches at once: V, and A at that voltage."""

    voltage: float
    current: float


MODELS: dict[ModelName, Model] = {"2450": Model(20.0, 1.05), "2461": Model(20.0, 5.0)}


@dataclass(frozen=True, slots=True)
class Identity:
    """What `*IDN?` told."""

    model: str
    serial: str
    firmware: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: s of the instrument's own clock since the first, V and A at the cell."""

    time: float
    voltage: float
    current: float


class Meter:
    """Sources on one cell.

    Args:
        wire: the line.
        four_wire: whether the voltage is sensed at the cell by leads of its own.
        rear: whether the cell is at the terminals at the rear.
        reach: V; the greatest that will be sourced.
    """

    def __init__(self, wire: Wire, *, four_wire: bool, rear: bool, reach: float) -> None:
        self.wire = wire
        self._sense = "ON" if four_wire else "OFF"
        self._terminals = "REAR" if rear else "FRON"
        self._reach = reach
        self._sources_current = False

    async def identify(self) -> Identity:
        """Who it is. Raises Fault: it is no such instrument, or speaks TSP."""
        told = await self.wire.ask("*IDN?")
        found = _IDENTITY.fullmatch(told)
        if found is None and told.count(",") == 3:
            raise Fault("this is no Keithley SourceMeter", received=told)
        if found is None:
            raise self._unfit("*IDN?", told)
        language = await self.wire.ask("*LANG?")
        if language not in _LANGUAGES:
            raise self._unfit("*LANG?", language)
        if language != "SCPI":
            raise Fault(
                f"the instrument speaks {language}; choose SCPI in its menu (Settings, Command Set) and restart it"
            )
        return Identity(found[1], found[2].strip(), found[3].strip())

    def is_open(self, sample: Sample) -> bool:
        """Whether a reading at open circuit is that of leads that touch nothing: they drift to the limit."""
        return abs(sample.voltage) > self._reach + 0.8 * ABOVE

    # ── output ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def is_on(self) -> bool:
        """Whether the output is on."""
        told = await self.wire.ask(":OUTP?")
        if told not in {"0", "1"}:
            raise self._unfit(":OUTP?", told)
        return told == "1"

    async def switch_off(self) -> None:
        """Opens the cell's circuit by the output relay, and reads that back.

        Raises:
            OutcomeUnknown: it is still on.
        """
        told = await self.wire.ask(":OUTP?", *_OFF)
        if told != "0":
            self.wire.doubt()
            raise OutcomeUnknown("the output was switched off, and is still on", sent=":OUTP OFF", received=told)

    async def switch_on(self) -> None:
        """Closes the circuit. Raises Fault: it does not go on."""
        told = await self.wire.ask(":OUTP?", ":OUTP ON")
        code, text = await self._event()
        if told != "1" or code:
            raise Fault(f"the output does not go on: {text or 'no reason is told'}", sent=":OUTP ON", received=told)

    # ── what it does ─────────────────────────────────────────────────────────────────────────────────────────────
    async def prepare_voltage(self, volts: float, limit: float) -> None:
        """Off; a voltage, with a limit of the current, by the instrument itself. Nothing flows yet.

        Raises:
            Rejected: the instrument does not take it.
            Unreachable: it could not be told; nothing flows.
        """
        await self._set_up(
            ":SOUR:FUNC VOLT",
            ':SENS:FUNC "CURR"',
            f":SENS:CURR:RSEN {self._sense}",
            ":SENS:CURR:RANG:AUTO ON",
            ":SENS:CURR:NPLC 1",
            f":SOUR:VOLT:RANG {self._reach:g}",
            ":SOUR:VOLT:READ:BACK ON",
            f":SOUR:VOLT {volts:.7g}",
            f":SOUR:VOLT:ILIM {limit:.7g}",
        )
        self._sources_current = False

    async def prepare_open_circuit(self) -> None:
        """Off; a current of zero, so that the voltage of the cell can be measured. Raises as `prepare_voltage`."""
        await self._set_up(
            ":SOUR:FUNC CURR",
            ':SENS:FUNC "VOLT"',
            f":SENS:VOLT:RSEN {self._sense}",
            ":SENS:VOLT:RANG:AUTO ON",
            ":SENS:VOLT:NPLC 1",
            ":SOUR:CURR:RANG 1e-06",
            ":SOUR:CURR:READ:BACK ON",
            ":SOUR:CURR 0",
            f":SOUR:CURR:VLIM {self._reach + ABOVE:g}",
        )
        self._sources_current = True

    async def _set_up(self, *lines: str) -> None:
        try:
            told = await self.wire.ask(":OUTP?", *_OFF, f":ROUT:TERM {self._terminals}", *lines, *_CLEARED)
            code, text = await self._event()
        except OutcomeUnknown as error:
            raise Unreachable(f"it could not be set up, and its output is off: {error.message}") from error
        if code or told != "0":
            raise Rejected(f"the instrument does not take its set-up: {text or 'its output is on'}", received=str(code))

    async def change_voltage(self, volts: float, limit: float) -> None:
        """Another voltage and limit while it is on. Raises Fault: it is not taken."""
        told = await self.wire.ask(":OUTP?", f":SOUR:VOLT:ILIM {limit:.7g}", f":SOUR:VOLT {volts:.7g}")
        code, text = await self._event()
        if code or told != "1":
            raise Fault(f"the instrument does not take another voltage: {text or 'its output is off'}")

    async def sample(self) -> Sample:
        """One reading.

        Raises:
            Fault: the output is off: protection, a person at its panel, or its power.
            OutcomeUnknown: no answer, or another's.
        """
        query = ':READ? "defbuffer1",SOUR,READ,REL'
        told = await self.wire.ask(query)
        try:
            sourced, measured, time = (float(one) for one in told.split(","))
        except ValueError:
            raise self._unfit(query, told) from None
        if not all(map(math.isfinite, (sourced, measured, time))) or time < 0:
            raise self._unfit(query, told)
        if abs(sourced) >= NO_NUMBER or abs(measured) >= NO_NUMBER:
            if await self.is_on():
                raise Fault("a reading is beyond the instrument's range: is the cell connected?", received=told)
            raise Fault("the output has gone off: protection, a person at the panel, or a loss of power; look")
        return Sample(time, measured, sourced) if self._sources_current else Sample(time, sourced, measured)

    async def limited(self) -> bool:
        """Whether the limit of the current governs, not the voltage."""
        told = await self.wire.ask(":SOUR:VOLT:ILIM:TRIP?")
        if told not in {"0", "1"}:
            raise self._unfit(":SOUR:VOLT:ILIM:TRIP?", told)
        return told == "1"

    async def settle_log(self) -> None:
        """Looks into the event log at the end of an action. Raises Fault: something stands there."""
        code, text = await self._event()
        if code:
            raise Fault(f"the instrument's event log says: {text}", received=str(code))

    async def _event(self) -> tuple[int, str]:
        told = await self.wire.ask(":SYST:ERR?")
        found = _EVENT.match(told)
        if found is None:
            raise self._unfit(":SYST:ERR?", told)
        return int(found[1]), "" if found[1] == "0" else f"{found[2]} ({found[1]})"

    def _unfit(self, query: str, told: str) -> DeviceError:
        self.wire.doubt()
        return OutcomeUnknown(f"the answer to {query} is of something else", sent=query, received=told)
