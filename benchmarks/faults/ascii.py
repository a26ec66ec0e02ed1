"""Witnesses of devices that speak in lines of ASCII without a check sum, and which of their values nobody could check.

A wrong value is excused only where its own bytes were damaged: the line that gives it was, on its way to the driver, or
the request that it answers was, on its way to the device. An old answer stays an old answer, whatever else was damaged.
"""

from __future__ import annotations

import difflib
import random
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.faults.witness import (
    KEPT,
    ArmWitness,
    PressWitness,
    RobotWitness,
    Said,
    Verdicts,
    Witness,
    same,
)
from labd import clock
from simulators._kit.simulator import Simulator
from simulators.julabo import JulaboSimulator

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ALIKE = 0.9  # how much of a script is left of it, at the least, when it was damaged


class MarkedLines:
    """The lines of a stream, and of each whether it is damaged."""

    def __init__(self, end: bytes) -> None:
        self._end = end
        self._data, self._marks = bytearray(), bytearray()
        self._lost = False  # what was damaged was at the end, and is not there any more

    def take(self, data: bytes, at: int | None) -> Iterator[tuple[str, bool]]:
        """Takes what comes next, damaged at one of its bytes or nowhere; gives the lines that are complete."""
        marks = bytearray(len(data))
        near = set() if at is None else {at - 1, at, at + 1}
        for number in near | ({0} if self._lost else set()):
            if 0 <= number < len(data):
                marks[number] = 1
        self._lost = at == len(data) if at is not None else self._lost and not data
        self._data += data
        self._marks += marks
        while (found := self._data.find(self._end)) >= 0:
            after = found + len(self._end)
            yield self._data[:found].decode("ascii", "backslashreplace").strip(), any(self._marks[:after])
            del self._data[:after], self._marks[:after]


class LineWitness(Witness):
    """Of devices that speak in lines."""

    end = b"\n"

    def __init__(self, simulator: Simulator | None, verdicts: Verdicts) -> None:
        super().__init__(simulator, verdicts)
        self._in, self._out, self._given = MarkedLines(self.end), MarkedLines(b"\n"), MarkedLines(b"\n")
        self._spoilt: deque[Said] = deque(maxlen=KEPT)
        self._garbled = self._answered = False  # what was asked last, and whether anything was said since

    def request(self, data: bytes, at: int | None) -> None:
        for line, damaged in self._in.take(data, at):
            self._garbled = damaged or (self._garbled and not self._answered)
            self._answered = False
            self.asked(line.strip())

    def reply(self, data: bytes) -> None:
        for line, _ in self._out.take(data, None):
            self._answered = True
            if self._garbled:
                self._spoil(line)
            self.told(line)

    def delivered(self, data: bytes, at: int | None) -> None:
        for line, damaged in self._given.take(data, at):
            if damaged:
                self._spoil(line)

    def _spoil(self, line: str) -> None:
        now = clock.monotonic()
        self._spoilt.extend(Said(now, name, value) for name, value in self.values(line).items())

    def excused(self, name: str, value: Any, began: float) -> bool:
        return any(one.name == name and one.at >= began and same(one.value, value) for one in self._spoilt)

    def values(self, line: str) -> Mapping[str, Any]:
        """What a line may be taken for."""
        raise NotImplementedError

    def asked(self, line: str) -> None:
        """A line that came to the device."""

    def told(self, line: str) -> None:
        """A line that the device wrote."""


class BathWitness(LineWitness):
    signals = ("temperature", "setpoint", "running", "status")
    end = b"\r"
    _names = {"in_pv_00": "temperature", "in_sp_00": "setpoint", "in_mode_05": "running", "status": "status"}

    def __init__(self, simulator: Simulator | None, verdicts: Verdicts) -> None:
        super().__init__(simulator, verdicts)
        self._query = ""
        self._rng = random.Random("draught")

    def stir(self) -> None:
        assert isinstance(self.simulator, JulaboSimulator)
        self.simulator.bath.temperature += self._rng.uniform(-0.1, 0.1)  # beyond what it rounds to

    def values(self, line: str) -> Mapping[str, Any]:
        found: dict[str, Any] = {"status": line}
        if line in ("0", "1"):
            found["running"] = line == "1"
        if _NUMBER.fullmatch(line):
            found |= dict.fromkeys(("temperature", "setpoint"), float(line))
        return found

    def asked(self, line: str) -> None:
        self._query = line

    def told(self, line: str) -> None:
        # The simulator answers in the moment in which it is asked; this comes before the next request does.
        name = self._names.get(self._query)
        values = self.values(line)
        if name in values:
            self.note(name, values[name])


class BalanceWitness(LineWitness):
    signals = ("mass", "stable")
    end = b"\r\n"

    def values(self, line: str) -> Mapping[str, Any]:
        parts = line.split()
        if len(parts) == 4 and parts[0] == "S" and _NUMBER.fullmatch(parts[2]):
            return {"mass": float(parts[2]), "stable": parts[1] == "S"}
        return {}

    def told(self, line: str) -> None:
        for name, value in self.values(line).items():
            self.note(name, value)

    def claims(self, action: str, result: Any) -> Mapping[str, Any]:
        return {"mass": result.mass, "stable": result.stable} if action == "weigh" else {}


class StatWitness(LineWitness):
    """Beside the readings it counts scripts that were begun: each is a technique on a cell."""

    signals = ("voltage",)
    _value = re.compile(r"(?:da|ab)([0-9A-F]{7})([afpnum kMGTPE])")
    _prefix = dict(zip("afpnum kMGT", range(-18, 13, 3), strict=True))

    def __init__(self, simulator: Simulator | None, verdicts: Verdicts) -> None:
        super().__init__(simulator, verdicts)
        self.scripts = 0
        self._script: list[str] | None = None
        self._pending: list[str] | None = None
        self._glance = ""

    def asked(self, line: str) -> None:
        if self._script is None:
            self._script = [] if line == "e" else None
        elif line:
            self._script.append(line)
        else:
            self._pending, self._script = self._script, None

    def values(self, line: str) -> Mapping[str, Any]:
        match = self._value.search(line) if line.startswith("P") else None
        if match is None or match[2] not in self._prefix:
            return {}
        return {"voltage": float(f"{int(match[1], 16) - 0x8000000}e{self._prefix[match[2]]}")}

    def told(self, line: str) -> None:
        if line == "e" and self._pending is not None:
            self.scripts += self._technique(self._pending)
            self._pending = None
        for name, value in self.values(line).items():
            self.note(name, value)

    def _technique(self, script: list[str]) -> bool:
        """Whether a script that was begun is one on a cell, and no poll's glance; also where it came damaged."""
        text, loops = "\n".join(script), [line for line in script if line.startswith("meas_loop")]
        if self._garbled and self._glance:
            alike = difflib.SequenceMatcher(None, text, self._glance, autojunk=False).ratio()
            return bool(loops) and alike < _ALIKE
        if all("100m 100m" in loop for loop in loops):
            self._glance = text if loops else self._glance
            return False
        return True

    def claims(self, action: str, result: Any) -> Mapping[str, Any]:
        return {"voltage": result.final_voltage} if action == "open_circuit" else {}


WITNESSES: dict[str, type[Witness]] = {
    "ot2": RobotWitness,
    "arm": ArmWitness,
    "press": PressWitness,
    "balance": BalanceWitness,
    "bath": BathWitness,
    "stat": StatWitness,
}
