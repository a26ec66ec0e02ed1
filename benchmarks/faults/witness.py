"""Witnesses: what each simulated device really was or said, and whether what a driver took for it was so at that time.

A reading is right when, for each of its values, the device had it at some time between the reading's begin and end.
The truth comes from the simulator's own state, or, of devices whose readings carry noise, from the lines that it wrote
before the wire could spoil them; neither is read by the driver's code.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.faults.wires import Ear
from labd import clock
from labd.lab.device import Device
from simulators._kit.simulator import Simulator
from simulators.meca500 import MecaSimulator
from simulators.plc_crimper import CrimperSimulator

KEPT = 20_000  # values that are remembered
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Said:
    """A value that a device had at a time, s."""

    at: float
    name: str
    value: Any


@dataclass(slots=True)
class Verdicts:
    """What came of readings and results."""

    readings: int = 0
    results: int = 0
    silent: int = 0  # readings for which nothing went over the wire: the driver gave what it had
    wrong: int = 0
    damaged: int = 0  # wrong, and its bytes had been damaged where the wire has nothing to tell it by
    told: list[str] | None = None


class Witness:
    """The truth about one device; `ear` goes into its wire.

    Args:
        simulator: the device; None before it is there.
        verdicts: where what is found goes.
    """

    checked = True  # whether the wire has a check sum, so that damaged bytes must never be believed
    signals: tuple[str, ...] = ()

    def __init__(self, simulator: Simulator | None, verdicts: Verdicts) -> None:
        self.simulator = simulator
        self.verdicts = verdicts
        self.ear = Ear(self.heard, self.spoke)
        self.said: deque[Said] = deque(maxlen=KEPT)
        self._asked = 0

    def heard(self, data: bytes) -> None:
        """The device gets bytes."""
        self._asked += 1
        self.request(data)
        self.look()

    def spoke(self, data: bytes) -> None:
        """The device gives bytes."""
        self.reply(data)
        self.look()

    def request(self, data: bytes) -> None:
        """For lines: what was asked."""

    def reply(self, data: bytes) -> None:
        """For lines: what was said."""

    def state(self) -> Mapping[str, Any]:
        """What is so now, where the simulator can be asked."""
        return {}

    def look(self) -> None:
        if self.simulator is None:
            return
        for name, value in self.state().items():
            self.note(name, value)

    def note(self, name: str, value: Any) -> None:
        self.said.append(Said(clock.monotonic(), name, value))

    @property
    def name(self) -> str:
        return self.simulator.name if self.simulator is not None else "nobody"

    # ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────
    def attend(self, device: Device) -> None:
        """Checks from now on every reading and every result of a device's driver."""
        driver = device.driver
        read, invoke = driver.read_state, driver.invoke

        async def read_state() -> Any:
            self.look()
            began, asked = clock.monotonic(), self._asked
            reading = await read()
            self.look()
            if asked == self._asked:
                self.verdicts.silent += 1
            else:
                self.verdicts.readings += 1
                self._check(began, {name: getattr(reading, name) for name in self.signals}, "reading")
            return reading

        async def invoke_action(action: Any, parameters: Any, call: Any) -> Any:
            self.look()
            began = clock.monotonic()
            result = await invoke(action, parameters, call)
            self.look()
            claims = self.claims(action.name, result)
            if claims:
                self.verdicts.results += 1
                self._check(began, claims, action.name)
            return result

        driver.read_state = read_state  # type: ignore[method-assign]
        driver.invoke = invoke_action  # type: ignore[method-assign]

    def claims(self, action: str, result: Any) -> Mapping[str, Any]:
        """What a result says that must have been so."""
        del action, result
        return {}

    def _check(self, began: float, values: Mapping[str, Any], what: str) -> None:
        wrong = [name for name, value in values.items() if value is not None and not self._was_so(name, value, began)]
        if not wrong:
            return
        damaged = not self.checked and self.ear.damage_in(began, clock.monotonic())
        self.verdicts.damaged += damaged
        self.verdicts.wrong += not damaged
        if not damaged and self.verdicts.told is not None:
            said = {name: [one.value for one in self._since(began) if one.name == name][-3:] for name in wrong}
            given = {name: values[name] for name in wrong}
            self.verdicts.told.append(f"{self.name} {what} at {began:.3f}: {given}, and it was {said}")

    def _since(self, began: float) -> Iterator[Said]:
        for one in reversed(self.said):
            if one.at < began:
                return
            yield one

    def _was_so(self, name: str, value: Any, began: float) -> bool:
        return any(one.name == name and _same(one.value, value) for one in self._since(began))


def _same(said: Any, taken: Any) -> bool:
    if isinstance(said, float) and isinstance(taken, float):
        return math.isclose(said, taken, rel_tol=1e-5, abs_tol=1e-9)
    return bool(said == taken)


# ── by state ─────────────────────────────────────────────────────────────────────────────────────────────────────
class RobotWitness(Witness):
    signals = ("door_closed",)

    def state(self) -> Mapping[str, Any]:
        assert self.simulator is not None
        return {"door_closed": not self.simulator.faults.get("door_open")}


class ArmWitness(Witness):
    signals = ("gripped", "moving", "error")

    def state(self) -> Mapping[str, Any]:
        assert isinstance(self.simulator, MecaSimulator)
        arm = self.simulator.arm
        if arm is None:
            return {}
        robot, gripper = arm.robot_status().split(","), arm.gripper_status().split(",")
        return {"moving": robot[5] == "0", "error": robot[3] == "1", "gripped": gripper[2] == "1"}

    def claims(self, action: str, result: Any) -> Mapping[str, Any]:
        if action == "pick":
            return {"gripped": result.gripped}
        return {"gripped": not result.released} if action == "place" else {}


class PressWitness(Witness):
    signals = ("force", "ram", "guard_closed", "estop", "cycles")

    def state(self) -> Mapping[str, Any]:
        assert isinstance(self.simulator, CrimperSimulator)
        plc = self.simulator.plc
        if plc is None:
            return {}
        return {
            "force": plc.force,
            "ram": plc.ram,
            "guard_closed": plc.guard_closed,
            "estop": plc.estop,
            "cycles": plc.cycles,
            "peak": plc.peak,
            "displacement": plc.displacement,
        }

    def claims(self, action: str, result: Any) -> Mapping[str, Any]:
        if action != "crimp":
            return {}
        return {"peak": result.peak_force, "displacement": result.displacement, "cycles": result.cycles}


# ── by lines ─────────────────────────────────────────────────────────────────────────────────────────────────────
class LineWitness(Witness):
    """Of devices that speak in lines."""

    checked = False
    end = b"\n"

    def __init__(self, simulator: Simulator | None, verdicts: Verdicts) -> None:
        super().__init__(simulator, verdicts)
        self._in = self._out = b""

    def request(self, data: bytes) -> None:
        *lines, self._in = (self._in + data).split(self.end)
        for line in lines:
            self.asked(line.decode("ascii", "replace").strip())

    def reply(self, data: bytes) -> None:
        *lines, self._out = (self._out + data).split(b"\n")
        for line in lines:
            self.told(line.decode("ascii", "replace").strip("\r\n"))

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

    def asked(self, line: str) -> None:
        self._query = line

    def told(self, line: str) -> None:
        # The simulator answers in the moment in which it is asked; this comes before the next request does.
        name = self._names.get(self._query)
        if name == "status":
            self.note(name, line)
        elif name == "running":
            self.note(name, line == "1")
        elif name is not None and _NUMBER.fullmatch(line):
            self.note(name, float(line))


class BalanceWitness(LineWitness):
    signals = ("mass", "stable")
    end = b"\r\n"

    def told(self, line: str) -> None:
        parts = line.split()
        if len(parts) == 4 and parts[0] == "S":
            self.note("mass", float(parts[2]))
            self.note("stable", parts[1] == "S")

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

    def asked(self, line: str) -> None:
        if self._script is None:
            self._script = [] if line == "e" else None
        elif line:
            self._script.append(line)
        else:
            self._pending, self._script = self._script, None

    def told(self, line: str) -> None:
        if line == "e" and self._pending is not None:
            loops = [one for one in self._pending if one.startswith("meas_loop")]
            self.scripts += any("100m 100m" not in loop for loop in loops)  # that is a poll's glance
            self._pending = None
        match = self._value.search(line) if line.startswith("P") else None
        if match is not None:
            number = int(match[1], 16) - 0x8000000
            self.note("voltage", float(f"{number}e{self._prefix[match[2]]}"))

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
