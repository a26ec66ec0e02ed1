"""A Mettler Toledo balance with MT-SICS, on a serial line or TCP, that weighs what really stands on its pan."""

from __future__ import annotations

import zlib

from simulators._kit.balance import BalanceSimulator, Reply
from simulators._kit.simulator import Bench
from simulators.faults.knobs import switch

MODEL = "MS204TS Standard"
FIRMWARE = "1.20 24.6.7.1361.781"
ZERO_RANGE = 0.02  # of the capacity
TRACKED = 5  # digits off zero that a balance at rest brings back to zero by itself

_UNITS = {"g": (1.0, 0), "mg": (1e3, -3), "kg": (1e-3, 3)}  # factor, and decimals more than in g
_PROMPT = frozenset({"I2", "I3", "I4", "@"})
_WEIGHING = {"S": "S", "SI": "S", "T": "T", "Z": "Z"}  # by what the answer begins with


class MtSicsSimulator(BalanceSimulator):
    """The balance `<name>`; for its pan, its options and its other faults see `BalanceSimulator`.

    Settings: also `serial_number`. Options: also `unit` (g, mg, kg).

    Faults:
        busy (bool): it adjusts itself, and can do nothing else.
        damaged (int, counts down): so many commands arrive damaged.
    """

    FAULTS = {
        **BalanceSimulator.FAULTS,
        "busy_stuck": switch("busy"),
        "ignored": switch("damaged", counts=True),
    }
    BY_HAND = {"tcp": "printf 'SI\\r\\n' | nc -q 1 {host} {port}"}

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._unit = str(bench.options.get("unit", "g"))
        if self._unit not in _UNITS:
            raise ValueError(f"unit {self._unit!r} is none of {', '.join(_UNITS)}")
        number = bench.settings.get("serial_number") or f"B{zlib.crc32(self.name.encode()) % 10**9:09d}"
        self.serial_number = str(number)

    def command(self, line: str, reply: Reply) -> None:
        self.advance()
        if self.faults.get("damaged"):
            self.faults["damaged"] = int(self.faults["damaged"]) - 1
            reply("ET")
            return
        command, _, parameter = line.strip().partition(" ")
        echo = _WEIGHING.get(command)
        if command in _PROMPT and not parameter:
            reply(self._tell(command))
        elif echo is None:
            reply("ES")
        elif parameter:
            reply(f"{echo} L")
        elif self.faults.get("busy") or self.waiting is not None:
            reply(f"{echo} I")
        elif command == "SI":
            reply(self._weight(echo))
        else:
            self.wait(command, reply)

    def _tell(self, command: str) -> str:
        if command == "I2":
            return f'I2 A "{MODEL} {self.capacity:.{self.decimals}f} g"'
        if command == "I3":
            return f'I3 A "{FIRMWARE}"'
        if command == "@":
            self.cancel()
        return f'I4 A "{self.serial_number}"'

    def carry_out(self, command: str) -> str:
        gross = self.gross()
        out = self.out_of_range(gross)
        if out is not None or not self.pan.at_rest:
            return f"{command} {out or 'I'}"
        memory = self.memory
        if command == "S":
            return self._weight("S")
        if command == "Z":
            if abs(gross) > ZERO_RANGE * self.capacity:
                return f"Z {'+' if gross > 0 else '-'}"
            memory["zero"], memory["tare"] = memory["zero"] + gross, 0.0
            self.world.save()
            return "Z A"
        if gross < -TRACKED * 10.0**-self.decimals:
            return "T -"
        memory["tare"] = gross
        self.world.save()
        return f"T S {self._number(gross)}"

    def printed(self) -> str:
        return self._weight("S")

    def _weight(self, echo: str) -> str:
        gross = self.gross()
        out = self.out_of_range(gross)
        if out is not None:
            return f"{echo} {out}"
        net = gross - float(self.memory["tare"])
        return f"{echo} {'S' if self.pan.at_rest else 'D'} {self._number(net)}"

    def _number(self, grams: float) -> str:
        """Ten characters, then the unit."""
        factor, fewer = _UNITS[self._unit]
        value = round(round(grams, self.decimals) * factor, 9) + 0.0  # never -0.0000
        return f"{value:>10.{max(0, self.decimals + fewer)}f} {self._unit}"


SIMULATOR = MtSicsSimulator
