"""A Sartorius balance with SBI, on a serial line or TCP, that weighs what really stands on its pan."""

from __future__ import annotations

import re
import zlib

from simulators._kit.balance import BalanceSimulator, Reply
from simulators._kit.simulator import Bench
from simulators.faults.knobs import switch
from simulators.faults.words import Takes

MODEL = "ENTRIS224-1S"
SOFTWARE = "01-61-04"
ZERO_RANGE = 0.02  # of the capacity
LENGTHS = (16, 22)  # characters of a line, its CR LF among them

_ORDER = re.compile(r"\x1b([PTUVKLMNOQSZ]|[fxk]\d?[A-Z]?_)")
_ASKS = {"x1_": "model", "x2_": "serial", "x3_": "software"}


class SbiSimulator(BalanceSimulator):
    """The balance `<name>`; for its pan, its options and its other faults see `BalanceSimulator`.

    Settings: also `serial_number`, `unit`. Options: also `characters` (16, 22), `tells` (false: an old balance, which
    does not answer who it is).

    Faults:
        busy (bool): it adjusts itself, and can do nothing else.
        standby (bool): its display is off.
        error (number): it tells an error of its own.
        deaf (int, counts down): so many orders to tare or zero are not carried out.
    """

    FAULTS = {
        **BalanceSimulator.FAULTS,
        "busy_stuck": switch("busy"),
        "standby": switch("standby"),
        "fail": switch("error", takes={"error": Takes("1", "its number", 54.0)}, make=lambda given, _: given["error"]),
        "ignored": switch("deaf", counts=True),
    }

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._characters = int(bench.options.get("characters", 22))
        if self._characters not in LENGTHS:
            raise ValueError(f"characters: a line has 16 or 22, not {self._characters}")
        self._unit = str(bench.settings.get("unit", "g"))
        self._factor = {"g": 1.0, "mg": 1e3, "kg": 1e-3}[self._unit]
        self._digits = max(0, self.decimals + {"g": 0, "mg": -3, "kg": 3}[self._unit])
        number = bench.settings.get("serial_number") or f"{zlib.crc32(self.name.encode()) % 10**8:08d}"
        self._about = {"model": MODEL, "serial": str(number), "software": SOFTWARE}
        self._text = ""

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _receive(self, data: bytes) -> None:
        """On a serial line a command needs no end: it begins with ESC, and its length is in it."""
        self._text += data.decode("latin-1")
        while (match := _ORDER.search(self._text)) is not None:
            self._text = self._text[match.end() :]
            self._order(match[1], self.send)
        self._text = self._text[-4:]

    def command(self, line: str, reply: Reply) -> None:
        for match in _ORDER.finditer(line):
            self._order(match[1], reply)

    def _order(self, order: str, reply: Reply) -> None:
        self.advance()
        if order == "P":
            reply(self.printed())
        elif order in _ASKS and self.bench.options.get("tells", True):
            reply(self._about[_ASKS[order]].ljust(self._characters - 2))
        elif order in "TUV" and not self._idle():
            if self.faults.get("deaf"):
                self.faults["deaf"] = int(self.faults["deaf"]) - 1
            else:
                self.wait(order, lambda _: None)  # it is never answered

    def _idle(self) -> bool:
        return bool(self.faults.get("busy") or self.faults.get("standby") or self.faults.get("error"))

    # ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────
    def carry_out(self, command: str) -> str:
        gross = self.gross()
        if self.pan.at_rest and self.out_of_range(gross) is None:
            memory = self.memory
            if command in "TU":
                memory["tare"] = gross
            elif abs(gross) <= ZERO_RANGE * self.capacity:
                memory["zero"], memory["tare"] = memory["zero"] + gross, 0.0
            self.world.save()
        return ""

    def printed(self) -> str:
        """What its display shows, as a line without its end."""
        gross = self.gross()
        out = self.out_of_range(gross)
        if self.faults.get("standby"):
            return self._special("Off")
        if self.faults.get("error"):
            return self._special(f"Err {int(self.faults['error']):02d}")
        if self.faults.get("busy"):
            return self._special("Cal")
        if out is not None:
            return self._special("High" if out == "+" else "Low")
        value = round(round(gross - float(self.memory["tare"]), self.decimals) * self._factor, 9) + 0.0
        unit = self._unit if self.pan.at_rest else ""
        body = f"{'-' if value < 0 else '+'} {abs(value):>8.{self._digits}f} {unit:<3}"
        return self._with_code("N", body)

    def _special(self, text: str) -> str:
        return self._with_code("Stat", f"   {text}".ljust(14))

    def _with_code(self, code: str, body: str) -> str:
        return body if self._characters == LENGTHS[0] else f"{code:<6}{body}"


SIMULATOR = SbiSimulator
