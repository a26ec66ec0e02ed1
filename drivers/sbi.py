"""Sartorius (and Minebea Intec) balances by SBI, the Sartorius Balance Interface, over RS-232, USB or TCP.

A command is ESC and a letter: `ESC P` gives what the display shows, in 16 characters or, with a code of what it is
before it, in 22: `N     +   17.4971 g  ` CR LF. The unit stands there only when the weight is stable. `ESC T` tares and
`ESC V` zeroes, and neither is ever answered: whether it was done is read back. Instead of a weight there may stand
High, Low, Off, Cal or `Err 54`.

Answers carry no word of their question, and the print key sends the same line unasked: what has come before a question
is dropped, and after an answer that failed to come the line is opened anew.

Source: operating manuals of Sartorius Entris, Practum and Cubis, chapter data interface (SBI communication).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator

from labd import clock
from labd.io.address import Line, StreamAddress
from labd.sdk import (
    About,
    Balance,
    Bounds,
    Call,
    Duration,
    Effect,
    Fault,
    OutcomeUnknown,
    Rejected,
    Settings,
    Setup,
    Unreachable,
    action,
)
from labd.sdk.quality import Quality
from labd.sdk.roles import BalanceSignals, WeighResult

FACTORY = Line(9600, parity="O")
ESC = "\x1b"
ANSWER_LIMIT = 2.0  # s; answers come within 0.2 s
TOLD_LIMIT = 1.0  # s; older balances never answer the questions who they are
QUIET = 0.02  # s; so long nothing must come before a command is sent
LOOK = 0.25  # s between two readings while it is waited for
REST_LIMIT = 40.0  # s that taring and zeroing may take until the display stands at zero
ZERO_DIGITS = 10  # so near to zero it counts as tared: the pan may have moved since

GRAMS = {"g": 1.0, "kg": 1e3, "mg": 1e-3, "ct": 0.2, "lb": 453.59237, "oz": 28.349523125, "ozt": 31.1034768}
Unit = Literal["g", "kg", "mg", "ct", "lb", "oz", "ozt"]

_LENGTHS = (14, 20)  # without CR LF
_WEIGHT = re.compile(r"(?:[A-Za-z]\S{0,5}\s+)?([+-])\s*(\d+(?:[.,](\d*))?)\s*(\S*)\s*")
_SPECIAL = re.compile(
    r"(?:[A-Za-z]\w{0,5}\s+)?(High|HH?|Low|LL?|Off|Cal[.\s\w]*|C|Err\s*\d*|\w+\.ERR|-\s*-|-{2,})\s*", re.IGNORECASE
)
_WORDS = {
    "h": "the balance is overloaded: too much stands on the pan",
    "l": "the balance is underloaded: is the pan on it, and free?",
    "o": "the balance is in standby: switch it on",
    "c": "the balance adjusts itself",
    "-": "the balance shows no weight yet",
}


class SbiSettings(Settings):
    """Where the balance is, and what it weighs.

    Args:
        address: `/dev/serial/by-id/…`, `serial:///dev/…?baudrate=1200&bytesize=7&parity=O` or `tcp://host:port`;
            without options 9600 8O1.
        unit: what the balance is set to; while a weight moves the wire does not tell it.
        pan: the place that stands on it, where that is another device's: `ot2/6`. Left out: `<name>/pan`.
        serial_number: refuse any other balance than the one that was calibrated, and one that does not tell.
    """

    address: str
    unit: Unit = "g"
    pan: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,32}){1,3}$")] | None = None
    serial_number: str | None = None

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        StreamAddress.parse(text, FACTORY)
        return text


@dataclass(frozen=True, slots=True)
class Weight:
    """What the display shows: `mass` in g and `digit`, g of its last digit; no mass, and `why`, where it shows none."""

    mass: float | None
    stable: bool
    line: str
    digit: float = 0.0
    why: str = ""

    @classmethod
    def read(cls, line: str, unit: str) -> Weight:
        """Reads a line of 16 or 22 characters.

        Raises:
            OutcomeUnknown: it is none: no balance, or a disturbed line.
            Fault: it tells an error of its own.
            Rejected: it weighs in another unit than lab.yaml says.
        """
        match = _WEIGHT.fullmatch(_signed(line))
        if match is None:
            return cls._special(line)
        sign, number, decimals, told = match.groups()
        if told and told != unit:
            raise Rejected(
                f"the balance weighs in {told!r}, and lab.yaml says {unit!r}: set one of them", received=line
            )
        # by way of the decimal text: 17.5 mg is 0.0175 g, not 0.017500000000000002
        grams = float(f"{float(sign + number.replace(',', '.')) * GRAMS[unit]:.12g}")
        return cls(grams, bool(told), line, 10.0 ** -len(decimals or "") * GRAMS[unit])

    @classmethod
    def _special(cls, line: str) -> Weight:
        match = _SPECIAL.fullmatch(line.strip())
        if match is None:
            raise OutcomeUnknown("this is no weight of a balance that speaks SBI", sent="ESC P", received=line)
        if "err" in match[1].lower():
            raise Fault(f"the balance has an error, {match[1]}; look at its display", received=line)
        return cls(None, stable=False, line=line, why=_WORDS[match[1][0].lower()])


def _signed(line: str) -> str:
    """A line with its sign: some balances leave a blank for plus, which counts only in a line that is whole."""
    at = len(line) - _LENGTHS[0]
    return f"{line[:at]}+{line[at + 1 :]}" if len(line) in _LENGTHS and line[at] == " " else line


class Sbi(Balance):
    """A balance with SBI."""

    quality = Quality("simulated")
    quirks = (
        "Taring and zeroing are never answered: they are done when the display stands at zero.",
        "While a weight moves its unit is blank: lab.yaml tells which it is.",
        "The print key sends the same line as an answer.",
    )
    Settings = SbiSettings
    settings: SbiSettings
    found_at = {"{port}": 0}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._link = StreamAddress.parse(self.settings.address, FACTORY).link(late=1.0)
        self._turn = asyncio.Lock()
        self._last = BalanceSignals()

    def place_of(self, unit: str) -> str | None:
        """`<name>/pan`; None for a balance under another device's deck, which no sample has for itself."""
        del unit
        return None if self.settings.pan else f"{self.name}/pan"

    @property
    def pan(self) -> str:
        """As `pan` in its settings says."""
        return self.settings.pan or super().pan

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the link, reads the display, and asks who it is. Zero and tare stay.

        Raises:
            Unreachable: no port, or nothing that speaks SBI.
            Fault: another balance than lab.yaml says; it tells an error.
        """
        await self._link.open()
        try:
            await self._weight()
        except OutcomeUnknown as error:
            await self.close()
            raise Unreachable(
                f"{self.settings.address}: no balance answers; is it on, is its interface set to SBI and its print to "
                f"`manual without stability`, and do baud rate, bits and parity agree? ({error.message})",
                received=error.received,
            ) from error
        model, serial, firmware = (await self._told("x1_"), await self._told("x2_"), await self._told("x3_"))
        wanted = self.settings.serial_number
        if wanted is not None and serial != wanted:
            await self.close()
            raise Fault(f"lab.yaml says serial number {wanted}, and this balance has {serial or 'none'}")
        return About(model=model or "Sartorius", serial=serial, firmware=firmware)

    async def _told(self, question: str) -> str:
        """What it says of itself; empty where it is too old to tell."""
        try:
            text = (await self._ask(question, TOLD_LIMIT)).strip()
        except OutcomeUnknown:
            return ""
        return "" if _WEIGHT.fullmatch(text) else text

    async def close(self) -> None:
        await self._link.close()

    async def read_state(self) -> BalanceSignals:
        """What it shows; the values before, while an action has the line. No mass when it is out of range or off."""
        if not self._turn.locked():
            async with self._turn:
                self._note(await self._weight())
        return self._last

    async def safe_state(self, unit: str | None = None) -> None:
        """Nothing: a balance moves nothing and heats nothing."""

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def tare(self, call: Call) -> None:
        """Takes what stands on the pan as zero; done when the display stands at zero.

        Rejected: it does not come to rest, or is out of range. OutcomeUnknown: it was sent, and shows something else.
        """
        del call
        await self._to_zero("T")

    @action(effect=Effect.STATE, timeout=60, duration=5)
    async def zero(self, call: Call) -> None:
        """Sets the zero point of an empty pan; done when the display stands at zero."""
        del call
        await self._to_zero("V")

    async def weigh(self, call: Call, settle: Annotated[Duration, Bounds(min=0, max=600)] = 5.0) -> WeighResult:
        """Waits for rest for up to `settle`; then takes what the balance shows, `stable: false` where it moves.

        Rejected: what stands on it is out of its range, it adjusts itself, or is in standby.
        """
        del call
        async with self._turn:
            end = clock.monotonic() + settle
            weight = await self._weight()
            while not weight.stable and clock.monotonic() < end:
                await asyncio.sleep(min(LOOK, end - clock.monotonic()))
                weight = await self._weight()
            self._note(weight)
        if weight.mass is None:
            raise Rejected(weight.why, received=weight.line)
        return WeighResult(mass=weight.mass, stable=weight.stable)

    async def _to_zero(self, command: str) -> None:
        """Tares or zeroes once the pan is at rest, and reads back that it has."""
        async with self._turn:
            end = clock.monotonic() + REST_LIMIT
            await self._at_rest(end)
            async with self._link.exchange(ANSWER_LIMIT) as exchange:
                await exchange.write(f"{ESC}{command}\r\n".encode())
            await asyncio.sleep(LOOK)
            weight = await self._at_rest(end)
            while abs(weight.mass or 0.0) > ZERO_DIGITS * weight.digit:
                if clock.monotonic() >= end:
                    raise OutcomeUnknown(
                        f"ESC {command} was sent, and the balance shows {weight.mass} g", received=weight.line
                    )
                await asyncio.sleep(LOOK)
                weight = await self._at_rest(end)
            self._note(weight)

    async def _at_rest(self, end: float) -> Weight:
        """The first stable weight. Raises Rejected when there is none by then."""
        while True:
            weight = await self._weight()
            if weight.stable:
                return weight
            if clock.monotonic() >= end:
                why = weight.why or f"the pan did not come to rest within {REST_LIMIT:g} s: is there a draught?"
                raise Rejected(why, received=weight.line)
            await asyncio.sleep(LOOK)

    def _note(self, weight: Weight) -> None:
        self._last = BalanceSignals(mass=weight.mass, stable=weight.stable)

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _weight(self) -> Weight:
        line = await self._ask("P", ANSWER_LIMIT)
        try:
            return Weight.read(line, self.settings.unit)
        except OutcomeUnknown:
            self._link.dirty = True  # whose answer it was is not known
            raise

    async def _ask(self, command: str, limit: float) -> str:
        async with self._link.exchange(limit) as exchange:
            await self._link.drain(QUIET)
            await exchange.write(f"{ESC}{command}\r\n".encode())
            return await exchange.read_line()


DRIVER = Sbi
