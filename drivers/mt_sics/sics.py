"""The conversation with a balance in MT-SICS, the command set that all of Mettler Toledo's have in common.

Each command and each answer is a line of ASCII that ends with CR LF. An answer begins with its command and a status:
`S S     100.00 g` (stable), `S D …` (dynamic), `S I` (not executable now), `S +` and `S -` (more, less than it can
weigh), `S L` (wrong parameter). Three answers stand for themselves: ES (unknown command), ET (received damaged), EL
(cannot be executed). `@` cancels whatever waits, keeps the tare, and is answered with the serial number, as `I4` is.

Source: MT-SICS Interface Commands for Standard and Advanced Laboratory Balances, Mettler Toledo 30014405.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from labd.io import Exchange, StreamLink
from labd.sdk import Fault, OutcomeUnknown, Rejected

ANSWER_LIMIT = 3.0  # s; what needs no rest of the pan is answered within a tenth
QUIET = 0.02  # s; so long nothing must come before a command is sent, or it is the answer to nothing (a print key)
END = b"\r\n"

GRAMS = {
    "g": 1.0,
    "kg": 1e3,
    "t": 1e6,
    "mg": 1e-3,
    "ug": 1e-6,
    "µg": 1e-6,
    "mcg": 1e-6,
    "ct": 0.2,
    "lb": 453.59237,
    "oz": 28.349523125,
    "ozt": 31.1034768,
    "GN": 0.06479891,
    "dwt": 1.55517384,
}
_WEIGHT = re.compile(r"([+-]?\s*\d+(?:\.\d*)?)\s+(\S+)")
_BUSY = "the balance is busy: it adjusts itself, carries out another order, or somebody is in its menu"
_REFUSALS = {
    "I": _BUSY,
    "+": "the balance is overloaded: too much stands on the pan",
    "-": "the balance is underloaded: is the pan on it, and free?",
    "L": "the balance refuses the parameter",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the balance: `S S     100.00 g` is command S, status S, rest `100.00 g`."""

    line: str
    command: str
    status: str
    rest: str

    @classmethod
    def read(cls, line: str) -> Answer:
        """Reads a line; never raises."""
        command, _, rest = line.partition(" ")
        status, _, rest = rest.partition(" ")
        return cls(line, command, status, rest.strip())

    @property
    def text(self) -> str:
        """What stands in quotes, of several texts with spaces between."""
        return " ".join(re.findall(r'"([^"]*)"', self.rest))


@dataclass(frozen=True, slots=True)
class Weight:
    """What was weighed, in g; `mass` is None where the balance could not, and `why` then says so."""

    mass: float | None
    stable: bool
    why: str = ""
    line: str = ""

    @classmethod
    def read(cls, answer: Answer) -> Weight:
        """Reads the answer to S or SI.

        Raises:
            Rejected: it weighs in a unit that is no mass.
            Fault: it tells an error of its own, or nothing that is a weight.
        """
        if answer.status in _REFUSALS:
            return cls(None, stable=False, why=_REFUSALS[answer.status], line=answer.line)
        match = _WEIGHT.fullmatch(answer.rest)
        if answer.status not in {"S", "D"} or match is None:
            raise Fault("the balance has an error; look at its display", received=answer.line)
        number, unit = match.groups()
        if unit not in GRAMS:
            raise Rejected(f"the balance weighs in {unit!r}; set its host unit to g", received=answer.line)
        # by way of the decimal text: 17.5 mg is 0.0175 g, not 0.017500000000000002
        grams = float(f"{float(number.replace(' ', '')) * GRAMS[unit]:.12g}")
        return cls(grams, answer.status == "S", line=answer.line)


class Sics:
    """One balance on one link.

    Every order raises:
        Unreachable: nothing was sent.
        OutcomeUnknown: it was sent, and no answer came; or the balance received it damaged (ET).
        Rejected: the balance does not know it (ES) or cannot carry it out (EL, I, +, -, L).

    Args:
        link: to the balance, not open.
    """

    def __init__(self, link: StreamLink) -> None:
        self.link = link
        self._waiting = False  # an order may still be answered: `@` must go first

    async def reset(self) -> str:
        """Cancels whatever waits, and gives the serial number. Zero and tare stay."""
        self._waiting = True
        return (await self.ask("I4")).text

    async def ask(self, command: str) -> Answer:
        """A command that is answered at once. Raises Rejected also where the status is not A."""
        async with self.link.exchange(None) as exchange:
            await self._clear(exchange)
            answer = await self._order(exchange, command, ANSWER_LIMIT)
        if answer.status != "A":
            raise Rejected(_REFUSALS.get(answer.status, "the balance refuses"), sent=command, received=answer.line)
        return answer

    async def weigh_now(self) -> Weight:
        """`SI`: what it shows now, at rest or not."""
        async with self.link.exchange(None) as exchange:
            await self._clear(exchange)
            return Weight.read(await self._order(exchange, "SI", ANSWER_LIMIT))

    async def weigh_stable(self, settle: float) -> Weight | None:
        """`S`: waits for rest for up to so many seconds. None: it did not come to rest, or is busy."""
        answer = await self._until_rest("S", settle)
        return None if answer is None or answer.status == "I" else Weight.read(answer)

    async def when_stable(self, command: str, limit: float) -> None:
        """`T` or `Z`: is carried out once the pan is at rest.

        Raises:
            Rejected: it did not come to rest within so many seconds, and nothing was done; or it is out of range.
        """
        answer = await self._until_rest(command, limit)
        if answer is None:
            raise Rejected(f"the pan did not come to rest within {limit:g} s: is there a draught?", sent=command)
        if answer.status not in {"S", "A"}:
            raise Rejected(_REFUSALS.get(answer.status, "the balance refuses"), sent=command, received=answer.line)

    # ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _until_rest(self, command: str, limit: float) -> Answer | None:
        """The answer to an order that waits for rest; after so many seconds the order is taken back: None."""
        async with self.link.exchange(None) as exchange:
            await self._clear(exchange)
            try:
                return await self._order(exchange, command, limit)
            except TimeoutError:
                return await self._cancel(exchange, command)

    async def _clear(self, exchange: Exchange) -> None:
        """Sees to it that what comes next answers what is sent next."""
        if self._waiting:
            await self._cancel(exchange)
        await self.link.drain(QUIET)

    async def _cancel(self, exchange: Exchange, command: str | None = None) -> Answer | None:
        """`@`; gives the answer to a command that came after all, in the same moment."""
        late: Answer | None = None
        await exchange.write(b"@" + END)
        async with asyncio.timeout(ANSWER_LIMIT):
            while True:
                answer = Answer.read(await exchange.read_line())
                if answer.command == "I4" and answer.status == "A":
                    break
                if answer.command == command:
                    late = answer
        self._waiting = False
        return late

    async def _order(self, exchange: Exchange, command: str, limit: float) -> Answer:
        self._waiting = True
        await exchange.write(command.encode() + END)
        echo = "S" if command == "SI" else command
        async with asyncio.timeout(limit):
            while True:
                answer = Answer.read(await exchange.read_line())
                if answer.command in {echo, "ES", "ET", "EL"}:
                    break
        self._waiting = False
        match answer.line.strip():
            case "ES":
                raise Rejected(f"the balance has no command {command}", sent=command, received="ES")
            case "ET":
                raise OutcomeUnknown("the balance received it damaged; do baud rate and parity agree?", sent=command)
            case "EL":
                raise Rejected(f"the balance cannot carry {command} out now", sent=command, received="EL")
        return answer
