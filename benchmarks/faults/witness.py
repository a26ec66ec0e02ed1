"""Witnesses: what each simulated device really was or said, and whether what a driver took for it was so at that time.

A reading is right when, for each of its values, the device had it at some time between the reading's begin and end.
The truth comes from the simulator's own state, or, of devices whose readings carry noise, from the lines that it wrote
before the wire could spoil them; neither is read by the driver's code.

An answer that is one look old is mostly right, too, where a device changes only by its own work. So each device tells
something else at each look: a witness sees to it (`stir`) where noise does not.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults.wires import Ear
from drivers.meca500 import Meca500
from drivers.meca500.codes import Message
from drivers.plc_crimper import PlcCrimper
from labd import clock
from labd.lab.device import Device
from simulators._kit.simulator import Simulator
from simulators.meca500 import MecaSimulator
from simulators.plc_crimper import CrimperSimulator

KEPT = 20_000  # values that are remembered


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
    damaged: int = 0  # wrong, and its own bytes had been damaged where the wire has nothing to tell it by
    by_device: Counter[str] = field(default_factory=Counter)  # the wrong ones
    told: list[str] | None = None


class Witness:
    """The truth about one device; `ear` goes into its wire.

    Args:
        simulator: the device; None before it is there.
        verdicts: where what is found goes.
    """

    signals: tuple[str, ...] = ()

    def __init__(self, simulator: Simulator | None, verdicts: Verdicts) -> None:
        self.simulator = simulator
        self.verdicts = verdicts
        self.ear = Ear(self.heard, self.spoke, self.delivered)
        self.said: deque[Said] = deque(maxlen=KEPT)
        self._asked = 0

    def heard(self, data: bytes, at: int | None) -> None:
        """The device gets bytes, damaged at one of them or nowhere."""
        self._asked += bool(data)
        self.request(data, at)
        self.look()

    def spoke(self, data: bytes) -> None:
        """The device gives bytes."""
        self.reply(data)
        self.look()

    def delivered(self, data: bytes, at: int | None) -> None:
        """For lines: what the driver is given, damaged at one of its bytes or nowhere."""

    def request(self, data: bytes, at: int | None) -> None:
        """For lines: what was asked."""

    def reply(self, data: bytes) -> None:
        """For lines: what was said."""

    def state(self) -> Mapping[str, Any]:
        """What is so now, where the simulator can be asked."""
        return {}

    def stir(self) -> None:
        """Changes what the device will tell next; where it carries noise, that does it."""

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
            self.stir()
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
        damaged = all(self.excused(name, values[name], began) for name in wrong)
        self.verdicts.damaged += damaged
        self.verdicts.wrong += not damaged
        self.verdicts.by_device[self.name] += not damaged
        if not damaged and self.verdicts.told is not None:
            said = {name: [one.value for one in self._since(began) if one.name == name][-3:] for name in wrong}
            given = {name: values[name] for name in wrong}
            self.verdicts.told.append(f"{self.name} {what} at {began:.3f}: {given}, and it was {said}")

    def excused(self, name: str, value: Any, began: float) -> bool:
        """Whether nobody could tell that a value is wrong: never where the wire has a check sum."""
        del name, value, began
        return False

    def _since(self, began: float) -> Iterator[Said]:
        for one in reversed(self.said):
            if one.at < began:
                return
            yield one

    def _was_so(self, name: str, value: Any, began: float) -> bool:
        return any(one.name == name and same(one.value, value) for one in self._since(began))


def same(said: Any, taken: Any) -> bool:
    if isinstance(said, float) and isinstance(taken, float):
        return math.isclose(said, taken, rel_tol=1e-5, abs_tol=1e-9)
    return bool(said == taken)


# ── by state ─────────────────────────────────────────────────────────────────────────────────────────────────────
class RobotWitness(Witness):
    signals = ("door_closed",)

    def stir(self) -> None:
        assert self.simulator is not None
        self.simulator.faults["door_open"] = not self.simulator.faults.get("door_open")

    def state(self) -> Mapping[str, Any]:
        assert self.simulator is not None
        return {"door_closed": not self.simulator.faults.get("door_open")}


class ArmWitness(Witness):
    """Its signals change by its own work alone. So each answer about its state is looked at as a whole, also in an
    action, and each ends with a number of its own.
    """

    signals = ("gripped", "moving", "error")

    def attend(self, device: Device) -> None:
        super().attend(device)
        assert isinstance(device.driver, Meca500)
        control = device.driver._control  # noqa: SLF001 - nobody else tells what the driver heard
        ask = control.ask

        async def asking(command: str, *args: Any, **options: Any) -> Message:
            if command not in ("GetStatusRobot", "GetStatusGripper"):
                return await ask(command, *args, **options)
            assert self.simulator is not None
            self.simulator.faults["numbered"] = int(self.simulator.faults.get("numbered", 0)) + 1
            self.look()
            began = clock.monotonic()
            message = await ask(command, *args, **options)
            self.look()
            if not message.is_error:
                self.verdicts.readings += 1
                self._check(began, {command: message.text}, command)
            return message

        control.ask = asking  # type: ignore[method-assign]

    def state(self) -> Mapping[str, Any]:
        assert isinstance(self.simulator, MecaSimulator)
        arm = self.simulator.arm
        if arm is None:
            return {}
        robot, gripper = arm.robot_status().split(","), arm.gripper_status().split(",")
        return {
            "moving": robot[5] == "0",
            "error": robot[3] == "1",
            "gripped": gripper[2] == "1",
            "GetStatusRobot": ",".join(robot),
            "GetStatusGripper": ",".join(gripper),
        }

    def claims(self, action: str, result: Any) -> Mapping[str, Any]:
        if action == "pick":
            return {"gripped": result.gripped}
        return {"gripped": not result.released} if action == "place" else {}


class PressWitness(Witness):
    """Looks also at each answer as a whole, in polls and actions: its heartbeat beats, its force drifts."""

    signals = ("force", "ram", "guard_closed", "estop", "cycles")
    drift = 0.02  # kN; of its force's zero, less than any force that is acted on

    def __init__(self, simulator: Simulator | None, verdicts: Verdicts) -> None:
        super().__init__(simulator, verdicts)
        self._rng = random.Random("drift")

    def attend(self, device: Device) -> None:
        super().attend(device)
        assert isinstance(device.driver, PlcCrimper)
        link = device.driver._link  # noqa: SLF001 - nobody else tells what the driver heard
        bits, registers = link.read_discrete_inputs, link.read_input_registers

        async def read_discrete_inputs(address: int, count: int = 1) -> list[bool]:
            began = clock.monotonic()
            found = await bits(address, count)
            packed = sum(bit << at for at, bit in enumerate(found)).to_bytes((count + 7) // 8, "little")
            self._check_answer(began, 2, packed)
            return found

        async def read_input_registers(address: int, count: int = 1) -> list[int]:
            began = clock.monotonic()
            found = await registers(address, count)
            self._check_answer(began, 4, b"".join(one.to_bytes(2, "big") for one in found))
            return found

        link.read_discrete_inputs = read_discrete_inputs  # type: ignore[method-assign]
        link.read_input_registers = read_input_registers  # type: ignore[method-assign]

    def _check_answer(self, began: float, function: int, payload: bytes) -> None:
        self.verdicts.readings += 1
        self._check(began, {"answer": bytes([function, len(payload)]) + payload}, "answer")

    def reply(self, data: bytes) -> None:
        self.note("answer", data)

    def _was_so(self, name: str, value: Any, began: float) -> bool:
        if name != "answer":
            return super()._was_so(name, value, began)
        said = [one.value for one in self._since(began) if one.name == name]
        return value in b"".join(reversed(said))  # in its frame, which may have come in pieces

    def stir(self) -> None:
        assert self.simulator is not None
        self.simulator.faults["force_offset"] = self._rng.uniform(-self.drift, self.drift)

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
