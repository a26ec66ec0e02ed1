"""Robotiq 2F-85 and 2F-140 adaptive grippers (and Hand-E, which speaks the same) by Modbus RTU.

Three registers are written at 1000: action (activate, go, release), position 0 (open) to 255 (closed), speed and force;
three are read at 2000 with function 4: status, fault and echo of the requested position, position and current. The line
is 115200 8N1, the unit 9. gOBJ says what became of a move: 0 it goes on, 1 and 2 something is between the fingers
(opening, closing), 3 they are where they were sent, with nothing between.

A grip is sent to 255, or to 254 where 255 was asked for before: so the echo tells after a crash whether it had arrived.

Source: Robotiq 2F-85 and 2F-140 Instruction Manual, chapter control by Modbus RTU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from labd import clock
from labd.io.arrival import Orders
from labd.io.modbus import ModbusAddress, ModbusLink
from labd.sdk import (
    About,
    Bounds,
    Call,
    DeviceError,
    Duration,
    Effect,
    Fault,
    Force,
    Gripper,
    Intent,
    Length,
    Outcome,
    OutcomeUnknown,
    Rejected,
    Result,
    Settings,
    Setup,
    Speed,
    Unreachable,
    Verdict,
    action,
)
from labd.sdk.quality import Quality
from labd.sdk.roles import GripperSignals, GripResult

COMMAND, STATUS = 1000, 2000
ACTIVATE, GO = 0x01, 0x08
CLOSED, ALMOST = 255, 254
ACTIVE = 3
MOVING, MET_OPENING, MET_CLOSING, ARRIVED = 0, 1, 2, 3
POLL = 0.1  # s
MOVE_LIMIT = 12.0  # s; the slowest full stroke takes 7 s
ACTIVATION_LIMIT = 12.0  # s
LOOKS = 3  # answers in a row that may be lost while it is waited for

FAULTS = {
    5: "its activation must be completed first",
    7: "it is not activated",
    8: "it is too hot; let it cool",
    10: "its supply is below 20 V",
    11: "its automatic release is under way",
    12: "it has an internal fault; switch it off and on",
    13: "its activation failed: is something in the way of the fingers?",
    14: "the current was too high: something is in the way of the fingers",
    15: "its automatic release has ended; activate it again",
}
_NOT_READY = frozenset({5, 7})
_UNHEARD = 9  # it heard nothing for a second: over with its answer, and the rule where it is polled seldom


@dataclass(frozen=True, slots=True)
class Model:
    """mm of the stroke, the count at which the fingers meet, mm/s and kN from least to most."""

    stroke: float
    closed: int
    speeds: tuple[float, float]
    forces: tuple[float, float]


MODELS = {
    "2f85": Model(85.0, 230, (20.0, 150.0), (0.020, 0.235)),
    "2f140": Model(140.0, 230, (30.0, 250.0), (0.010, 0.125)),
    "hand_e": Model(50.0, 255, (20.0, 150.0), (0.020, 0.185)),
}


class RobotiqSettings(Settings):
    """Where the gripper is, and how it grips.

    Args:
        address: `serial:///dev/serial/by-id/…` (115200 8N1 unless it says otherwise), `modbus+rtu://host:port` for a
            serial server, `modbus://host:port` for a gateway.
        model: `2f85`, `2f140` or `hand_e`.
        device_id: the Modbus unit; the factory's is 9.
        speed: of all moves; left out: the model's greatest.
        force: of a grip that names none; left out: the model's least.
        closed_count: the count at which these fingers meet, 0 to 255; left out: the model's. With other fingertips
            close them once and take what `labd` shows as `count`.
        reply_within: how long each exchange may take.
    """

    address: str
    model: Literal["2f85", "2f140", "hand_e"] = "2f85"
    device_id: Annotated[int, Field(ge=1, le=247)] = 9
    speed: Annotated[Speed, Bounds(min=20, max=250)] | None = None
    force: Annotated[Force, Bounds(min=0.01, max=0.235)] | None = None
    closed_count: Annotated[int, Field(ge=100, le=255)] | None = None
    reply_within: Annotated[Duration, Bounds(min=0.05, max=10)] = 0.5

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        ModbusAddress.parse(text)
        return text

    @property
    def at(self) -> ModbusAddress:
        """Its address, with the gripper's speed of the line where the text has none."""
        address = ModbusAddress.parse(self.address)
        return address if "baudrate=" in self.address else replace(address, baudrate=115200)


class RobotiqSignals(GripperSignals):
    """Beside the role's: `activated`, its `fault` in words, and `count`, its position as the wire has it, 0 to 255."""

    activated: bool | None = None
    fault: str | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The three registers of its status."""

    activated: bool
    going: bool
    object: int
    fault: int
    asked: int
    count: int

    @classmethod
    def read(cls, registers: list[int]) -> State:
        status, fault = registers[0] >> 8, registers[1] >> 8 & 0x0F
        fault = 0 if fault == _UNHEARD else fault
        ready = status & 0x30 == ACTIVE << 4 and bool(status & ACTIVATE)
        return cls(ready, bool(status & GO), status >> 6, fault, registers[1] & 0xFF, registers[2] >> 8)

    @property
    def moving(self) -> bool:
        return self.going and self.object == MOVING

    @property
    def gripped(self) -> bool:
        return self.going and self.object in (MET_CLOSING, MET_OPENING)

    @property
    def problem(self) -> DeviceError | None:
        """What its fault means: Rejected where it must be activated first, else Fault."""
        if not self.fault:
            return None
        words = f"the gripper tells fault {self.fault}: {FAULTS.get(self.fault, 'see its manual')}"
        return Rejected(words) if self.fault in _NOT_READY else Fault(words)


class Robotiq(Gripper):
    """One gripper. Connecting moves nothing."""

    quality = Quality("simulated")
    quirks = (
        "It must be activated after power-up, which opens and closes the fingers.",
        "A grip is sent to 255 and to 254 by turns, so that the echo tells whether it has arrived.",
        "Its line is 115200 8N1, its unit 9.",
        "It tells fault 9 when nobody has asked it for a second; that is none, since it answers.",
        "Its own stops are some counts before 0 and 255: wide open it tells a width of some mm less than its stroke.",
    )
    Settings = RobotiqSettings
    settings: RobotiqSettings
    found_at = {"serial://{port}": 0}
    Signals = RobotiqSignals

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        settings = self.settings
        self._model = MODELS[settings.model]
        self._closed = settings.closed_count or self._model.closed
        self._link = ModbusLink(settings.at, device_id=settings.device_id, deadline=settings.reply_within)
        self._orders = Orders()

    def own_link(self) -> str | None:
        """Over TCP a gateway takes several clients, each for a unit of its own; a serial port takes one program."""
        at = self.settings.at
        return super().own_link() if at.kind == "serial" or at.port == 0 else f"{at} unit {self.settings.device_id}"

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the link and reads the status; nothing is written.

        Raises:
            Unreachable: no port, or no gripper answers.
        """
        await self._link.open()
        self._orders.written()
        try:
            await self._state()
        except OutcomeUnknown as error:
            await self.close()
            raise Unreachable(
                f"{self.settings.address}: no gripper answers as unit {self.settings.device_id}; has it 24 V, and are "
                f"A and B of its RS-485 the right way round? ({error.message})"
            ) from error
        return About(model=f"Robotiq {self.settings.model}")

    async def close(self) -> None:
        await self._link.close()

    async def read_state(self) -> RobotiqSignals:
        """One look at all of its status; a fault is a value, not an error of the line."""
        state = await self._state()
        return RobotiqSignals(
            gripped=state.gripped if state.going else None,
            moving=state.moving,
            width=self._width(state),
            activated=state.activated,
            fault=FAULTS.get(state.fault, str(state.fault)) if state.fault else None,
            count=state.count,
        )

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops fingers that move. Fingers at rest stay as they are: what they hold is not dropped."""
        del unit
        state = await self._state()
        if state.moving and state.activated:
            await self._write(ACTIVATE, state.asked, 0.0)

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    @action(effect=Effect.STATE, timeout=30, duration=5)
    async def activate(self, call: Call) -> None:
        """Activates it after power-up or a fault: the fingers open and close once. What they hold falls.

        Fault: it does not become active.
        """
        del call
        await self._activate()

    async def grip(self, call: Call, force: Annotated[Force, Bounds(min=0.001, max=0.235)] | None = None) -> GripResult:
        """Closes until something is held, with a force within the model's range.

        Rejected: no such force, or it is not activated. Fault: it tells one, or its fingers do not come to rest.
        """
        code = self._force(force)
        try:
            state = await self._state()
        except OutcomeUnknown as error:
            raise Unreachable(f"{error.message}, before the order: nothing moved", sent=error.sent) from error
        if not state.activated:
            raise Rejected("the gripper is not activated: give it `release` or `activate`; both open the fingers")
        target = _other(state.asked)
        await self._write(ACTIVATE | GO, target, code)
        call.accepted(asked=target)
        return self._result(await self._arrived(target))

    async def release(self, call: Call, width: Annotated[Length, Bounds(min=0, max=140)] | None = None) -> None:
        """Opens: all the way, or to a width. Activates the gripper where it must be: that ends wide open as well.

        Rejected: the fingers do not open so wide. Fault: they meet something on their way.
        """
        del call
        if width is not None and width > self._model.stroke:
            raise Rejected(f"{width:g} mm: the fingers of a {self.settings.model} open {self._model.stroke:g} mm")
        if not (await self._state()).activated:
            await self._activate()
        target = 0 if width is None else round(self._closed * (1 - width / self._model.stroke))
        await self._write(ACTIVATE | GO, target, self._force(None))
        state = await self._arrived(target)
        if state.object != ARRIVED:
            raise Fault(f"the fingers met something on their way, at {self._width(state):g} mm: look at the gripper")

    async def _activate(self) -> None:
        await self._write(0, 0, 0.0)  # a rising edge is what activates it
        await self._write(ACTIVATE, 0, 0.0)
        state = await self._until(lambda state: state.activated, ACTIVATION_LIMIT, "it did not become active")
        if state.problem is not None:
            raise state.problem

    async def _arrived(self, target: int) -> State:
        """The first state in which the fingers rest on a move to a target."""
        words = "the fingers did not come to rest"
        return await self._until(lambda state: state.asked == target and not state.moving, MOVE_LIMIT, words)

    async def _until(self, met: Callable[[State], bool], limit: float, words: str) -> State:
        """Polls until it is met.

        Raises:
            Fault: it is not in so many seconds, or the gripper tells a fault.
            OutcomeUnknown: it does not answer any more, or was stopped.
        """
        end, lost = clock.monotonic() + limit, 0
        while True:
            await asyncio.sleep(POLL)
            try:
                state, lost = await self._state(), 0
            except (OutcomeUnknown, Unreachable) as error:
                lost += 1
                if lost == LOOKS:
                    raise OutcomeUnknown(f"{error.message}, while the fingers move", sent=error.sent) from error
                continue
            if state.fault and state.fault not in _NOT_READY:
                raise state.problem or Fault(words)
            if met(state):
                return state
            if clock.monotonic() > end:
                raise Fault(f"{words} within {limit:g} s; look at the gripper")

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        """The position that was asked for last, of a gripper that is active."""
        del unit
        state = await self._state()
        return {"asked": state.asked} if action == "grip" and state.activated else {}

    async def outcome(self, intent: Intent) -> Outcome:
        """By the echo of the position that was asked for: a grip asks for another one than stood there before."""
        asked = intent.baseline.get("asked")
        if intent.action != "grip" or not isinstance(asked, int):
            return await super().outcome(intent)
        found = await self._judged(asked)
        if found.verdict is Verdict.NOT_DONE:
            await self._orders.arrived()  # an order on an earlier connection may still be on its way
            found = await self._judged(asked)
        return found

    async def _judged(self, asked: int) -> Outcome:
        state, target = await self._state(), _other(asked)
        said = f"position {asked} was asked for before the order, and {state.asked} now"
        if not state.activated or state.fault:
            return Outcome(Verdict.UNKNOWN, f"the gripper was restarted, or has a fault; {said}")
        if state.asked == asked:
            return Outcome(Verdict.NOT_DONE, said)
        if state.asked != target or not state.going:
            return Outcome(Verdict.UNKNOWN, f"the gripper had another order, or was stopped; {said}")
        if state.moving:
            return Outcome(Verdict.RUNNING, "the fingers close")
        return Outcome(Verdict.DONE, said, self._result(state))

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Waits until the fingers rest."""
        del call
        asked = intent.baseline.get("asked")
        if intent.action != "grip" or not isinstance(asked, int):
            raise OutcomeUnknown(f"{intent.action} cannot be taken up again")
        return self._result(await self._arrived(_other(asked)))

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _state(self) -> State:
        return State.read(await self._link.read_input_registers(STATUS, 3))

    async def _write(self, action_bits: int, position: int, force: float) -> None:
        low, high = self._model.speeds
        speed = 255 if self.settings.speed is None else round(255 * (self.settings.speed - low) / (high - low))
        self._orders.written()
        words = [action_bits << 8, position, max(0, min(255, speed)) << 8 | round(255 * force)]
        await self._link.write_registers(COMMAND, words)

    def _force(self, force: float | None) -> float:
        """A force (kN) as a share of the model's range. Raises Rejected: it is out of it."""
        low, high = self._model.forces
        wanted = force if force is not None else self.settings.force if self.settings.force is not None else low
        if not low <= wanted <= high:
            words = f"{wanted * 1e3:g} N: a {self.settings.model} grips with {low * 1e3:g} to {high * 1e3:g} N"
            raise Rejected(words)
        return (wanted - low) / (high - low)

    def _width(self, state: State) -> float:
        return round(max(0.0, self._model.stroke * (1 - state.count / self._closed)), 2)

    def _result(self, state: State) -> GripResult:
        return GripResult(gripped=state.object in (MET_CLOSING, MET_OPENING), width=self._width(state))


def _other(asked: int) -> int:
    """What a grip asks for where that stood there before."""
    return ALMOST if asked == CLOSED else CLOSED


DRIVER = Robotiq
