"""The driver of the Meca500 arm.

Wire: NUL-terminated text on TCP port 10000 (control), events on 10001 (monitoring). The codes are those of the
vendor's client mecademicpy 3.0.3. A motion is known to be done by its checkpoint (`[3030][n]`), a grip by
`GetStatusGripper` (`[2079]`, part held).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import JsonValue

from drivers.meca500 import codes
from drivers.meca500.codes import GripperStatus, Message, RobotStatus
from drivers.meca500.control import Control, Motion
from labd.io import LinkLost
from labd.io.tcp import TcpLink, host_and_port
from labd.sdk import (
    About,
    Arm,
    Bounds,
    Call,
    Duration,
    Fault,
    Force,
    Intent,
    Length,
    Outcome,
    OutcomeUnknown,
    Place,
    Plain,
    Position,
    Quality,
    Rejected,
    Result,
    Settings,
    Setup,
    Speed,
    Verdict,
)
from labd.sdk.roles import ArmSignals, MoveResult, PickResult, PlaceResult

CONTROL_PORT = 10000
MONITOR_PORT = 10001
LISTENED = 3  # messages of the monitoring port
ANSWER_LIMIT = 5.0  # s; the arm answers requests within milliseconds
ACTIVATION_LIMIT = 30.0  # s
HOMING_LIMIT = 60.0  # s
OPEN = 1.0  # mm; fingers at a limit of their way are wide open above it, and closed below
COLUMN = 2.0  # mm beside a place, in which the arm stands over it
LEAST_GRIP = 0.05  # of the gripper's greatest force: SetGripperForce takes 5 to 100 %


class Meca500Settings(Settings):
    """Settings of a Meca500 in lab.yaml.

    `address` is host or host:port (default port 10000); `monitor` the monitoring port (10001 on a real arm), left out
    when it is not to be used. `gripper_force` is the greatest force of the gripper that is mounted (MEGP 25: 40 N), and
    `grip_time` what it takes to close and open. `approach` is how high above a place it comes and goes, `joint_speed`
    and `linear_speed` how fast it moves to there and at it, `motion_limit` the longest that one action's motions take.
    """

    address: str
    monitor: Annotated[int, Bounds(min=1, max=65535)] | None = None
    approach: Annotated[Length, Bounds(min=1, max=200)] = 30.0
    joint_speed: Annotated[float, Plain("percent of the arm's greatest"), Bounds(min=0.1, max=100)] = 25.0
    linear_speed: Annotated[Speed, Bounds(min=0.1, max=1000)] | None = None
    gripper_force: Annotated[Force, Bounds(min=0.001, max=1)] = 0.04
    grip_time: Annotated[Duration, Bounds(min=0.1, max=10)] = 1.0  # 28 mm, from wide open to a coin cell, at half speed
    motion_limit: Annotated[Duration, Bounds(min=1, max=600)] = 60.0


class Meca500(Arm):
    """A Meca500 with an electric gripper. Connecting moves nothing: activation and homing are the action `home`."""

    quality = Quality("simulated")
    quirks = (
        "Its messages end with NUL.",
        "A motion is done when its checkpoint comes; homing is lost with the power.",
        "It takes one client at its control port.",
    )
    Settings = Meca500Settings
    settings: Meca500Settings
    found_at = {"{host}": MONITOR_PORT}  # whoever connects to the control port takes control of the arm

    @classmethod
    async def identify(cls, address: str) -> About | None:
        """Listens at the monitoring port, where the arm tells everybody its state; nothing is sent."""
        host, _ = host_and_port(address, CONTROL_PORT)
        link = TcpLink(host, MONITOR_PORT, open_timeout=2.0)
        try:
            await link.open()
            told = [Message.read(await link.read_until(b"\0", 2.0)) for _ in range(LISTENED)]
        except (TimeoutError, LinkLost):
            return None
        finally:
            await link.close()
        known = {codes.STATUS, codes.POSE, codes.GRIPPER}
        return About(model="Meca500") if any(one is not None and one.code in known for one in told) else None

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        host, port = host_and_port(self.settings.address, CONTROL_PORT)
        monitor = TcpLink(host, self.settings.monitor) if self.settings.monitor is not None else None
        self._control = Control(TcpLink(host, port), monitor)
        self._down_at: Position | None = None  # where it stands low over a place, and must first go up

    def place_of(self, unit: str) -> str | None:
        """`<name>/gripper`."""
        del unit
        return f"{self.name}/gripper"

    def own_link(self) -> str | None:
        host, port = host_and_port(self.settings.address, CONTROL_PORT)
        return f"{host}:{port}" if port else None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        greeting = await self._control.open()
        match = re.search(r"Connected to (.+?)(?:[ _]v?(\d[\w.-]*))?\s*\.?$", greeting)
        return About(model=match[1] if match else greeting, firmware=(match[2] or "").rstrip(".") if match else "")

    async def close(self) -> None:
        await self._control.close()

    async def read_state(self) -> ArmSignals:
        status = await self._status()
        gripper = await self._gripper()
        return ArmSignals(
            gripped=gripper.holds_part if gripper else None,
            moving=not status.block_ended,
            error=status.error or bool(gripper and gripper.error),
        )

    async def safe_state(self, unit: str | None = None) -> None:
        del unit
        for command, answer in (("PauseMotion", codes.PAUSED), ("ClearMotion", codes.CLEARED)):
            # an arm without power on its motors, or stopped by its error, does not move: that is safe
            safe = codes.NOT_READY | {codes.ALREADY_IN_ERROR}
            message = await self._control.ask(
                command, {answer}, ANSWER_LIMIT, refusals=safe | codes.BAD_COMMAND, at_once=True
            )
            if message.code in codes.BAD_COMMAND:
                raise Fault(f"the arm did not take {command}: {message}", sent=command, received=str(message))

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def home(self, call: Call) -> None:
        """Resets an error, activates, finds the axes' zero, and goes to the position `home` where one is taught."""
        if (await self._status()).error:
            await self._order("ResetError", codes.ERROR_RESET, ANSWER_LIMIT)
        if (await self._status()).paused:
            await self._resume()
        await self._order("ActivateRobot", codes.ACTIVATED, ACTIVATION_LIMIT)
        await self._order("Home", codes.HOMED, HOMING_LIMIT)
        home = self.setup.positions.get("home")
        if home is not None:
            await self._move(call, [*self._go_up(), *self._speeds(), _pose("MovePose", home)])
        self._down_at = None

    async def pick(
        self, call: Call, place: Place, force: Annotated[Force, Bounds(min=0.001, max=0.2)] = 0.02
    ) -> PickResult:
        """Takes what lies at a place: over it, straight down, grip, straight up; then reads whether a part is held."""
        spot = self._position(place)
        grip = self._grip(force)
        await self._ready()
        if await self._holds_part():
            raise Rejected(f"the gripper already holds a part; place it before picking at {place}")
        prepare = [*self._go_up(), *self._speeds(), f"SetGripperForce({grip:g})", "GripperOpen"]
        await self._move(call, [*prepare, *self._visit(spot, "GripperClose")])
        return PickResult(gripped=await self._holds_part(), width=None)

    async def place(self, call: Call, place: Place) -> PlaceResult:
        """Sets down at a place what the gripper holds. With nothing in the gripper nothing moves: `released: false`."""
        spot = self._position(place)
        await self._ready()
        if not await self._holds_part():
            return PlaceResult(released=False)
        await self._move(call, [*self._go_up(), *self._speeds(), *self._visit(spot, "GripperOpen")])
        return PlaceResult(released=not await self._holds_part())

    async def move(self, call: Call, position: Place) -> MoveResult:
        """Moves to a taught position; to a spot of a device (`press/nest`) from above."""
        target = self._position(position)
        await self._ready()
        commands = [*self._go_up(), *self._speeds()]
        if "/" in position:
            commands += [_pose("MovePose", self._above(target)), _pose("MoveLin", target)]
        else:
            commands.append(_pose("MovePose", target))
        await self._move(call, commands)
        self._down_at = target if "/" in position else None
        return MoveResult(position=position)

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        del action, unit
        status = await self._status()
        gripper = await self._gripper()
        return {
            "ready": status.activated and status.homed,
            "gripped": gripper.holds_part if gripper else None,
        }

    async def outcome(self, intent: Intent) -> Outcome:
        """Done when its checkpoint came; not done when the gripper proves it; else unknown.

        The gripper proves that a part was not set down by holding it, and that nothing was picked by fingers that are
        wide open: a pick begins by opening them, and nothing in it opens them again. A part in the gripper does not
        prove that a pick is done: the arm may still stand low in the nest.
        """
        motion = self._control.motion(intent.id)
        if motion is not None and motion.reached:
            return Outcome(Verdict.DONE, f"checkpoint {motion.checkpoint} was reached", await self._result(intent))
        status = await self._status()
        if motion is not None and not motion.over.is_set():
            if not status.block_ended:
                return Outcome(Verdict.RUNNING, f"the arm moves; checkpoint {motion.checkpoint} is to come")
            return Outcome(Verdict.UNKNOWN, f"the arm stands still, and checkpoint {motion.checkpoint} never came")
        held, holds = intent.baseline.get("gripped"), await self._holds_part()
        # homing is lost when the arm restarts; an ended block means that no order is still to come: one that was sent
        # on another connection cannot, since the arm takes one controller at a time and drops what a lost one had sent
        same_life = bool(intent.baseline.get("ready")) and status.activated and status.homed and status.block_ended
        why = None
        if same_life and intent.action == "place" and held is True and holds:
            why = "the gripper still holds the part"
        elif same_life and intent.action == "pick" and held is False and not holds and await self._wide_open():
            why = "the fingers are wide open, as a pick begins with them: they never closed"
        if why is not None:
            await self._note_where(intent)
            return Outcome(Verdict.NOT_DONE, why)
        now = "holds a part" if holds else "holds nothing"
        return Outcome(Verdict.UNKNOWN, f"no checkpoint was seen; the gripper {now}; look where arm and part are")

    async def _wide_open(self) -> bool:
        """Whether the fingers are at the open end of their way for certain."""
        gripper = await self._gripper()
        if gripper is None or not (gripper.homed and gripper.limit_reached):
            return False
        told = await self._told("GetRtGripperPos", codes.GRIPPER_OPENING)
        return len(told) >= 2 and told[1] > OPEN

    async def _note_where(self, intent: Intent) -> None:
        """Notes that the arm stands low over the action's place, where it does: what comes next goes up first."""
        spot = self.setup.positions.get(str(getattr(intent.parameters, "place", "")))
        pose = await self._told("GetPose", codes.POSE)
        if spot is not None and len(pose) >= 3:
            beside = math.hypot(pose[0] - spot.pose[0], pose[1] - spot.pose[1])
            if beside <= COLUMN and pose[2] < self._above(spot).pose[2]:
                self._down_at = spot

    async def pose(self) -> tuple[float, float, float, float, float, float]:
        """Its tool's pose in the base frame. Rejected: it is not homed, and does not know."""
        if not (await self._status()).homed:
            raise Rejected("the arm is not homed, and does not know where it stands; run `home` first")
        told = await self._told("GetPose", codes.POSE)
        if len(told) != 6:
            raise OutcomeUnknown("the answer to GetPose is no pose", sent="GetPose", received=str(told))
        x, y, z, alpha, beta, gamma = told
        return x, y, z, alpha, beta, gamma

    async def _told(self, command: str, answer: int) -> tuple[float, ...]:
        """The numbers that answer a request; empty where the arm does not know it."""
        refusals = codes.BAD_COMMAND | {codes.NO_GRIPPER}
        message = await self._control.ask(command, {answer}, ANSWER_LIMIT, refusals=refusals)
        return message.values if message.code == answer else ()

    async def attach(self, intent: Intent, call: Call) -> Result:
        motion = self._control.motion(intent.id)
        if motion is None:
            raise OutcomeUnknown(f"{intent.action} was not ordered on this connection")
        call.accepted(checkpoint=motion.checkpoint)
        await self._until_over(motion)
        return await self._result(intent)

    async def _result(self, intent: Intent) -> Result:
        if intent.action == "pick":
            return PickResult(gripped=await self._holds_part(), width=None)
        if intent.action == "place":
            return PlaceResult(released=not await self._holds_part())
        if intent.action == "move":
            return MoveResult(position=str(getattr(intent.parameters, "position", "")))
        return self.actions[intent.action].result()

    # ── positions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _position(self, name: str) -> Position:
        position = self.setup.positions.get(name)
        if position is None:
            known = sorted(self.setup.positions)
            near = difflib.get_close_matches(name, known, 1)
            listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
            raise Rejected(
                f"no position {name!r} is taught"
                + (f"; did you mean {near[0]!r}?" if near else "")
                + (f" Known: {listed}" if known else "; there are none: `positions` in lab.yaml names their file")
            )
        return position

    def _above(self, position: Position) -> Position:
        x, y, z, *angles = position.pose
        return Position((x, y, z + self.settings.approach, angles[0], angles[1], angles[2]))

    def _visit(self, spot: Position, gripper: str) -> list[str]:
        above = self._above(spot)
        return [
            _pose("MovePose", above),
            _pose("MoveLin", spot),
            gripper,
            f"Delay({self.settings.grip_time:g})",  # the gripper takes its time, and the queue does not wait for it
            _pose("MoveLin", above),
        ]

    def _go_up(self) -> list[str]:
        return [] if self._down_at is None else [_pose("MoveLin", self._above(self._down_at))]

    def _speeds(self) -> list[str]:
        linear = self.settings.linear_speed
        return [f"SetJointVel({self.settings.joint_speed:g})"] + (
            [f"SetCartLinVel({linear:g})"] if linear is not None else []
        )

    def _grip(self, force: float) -> float:
        """Percent of the gripper's greatest force; `force` in kN."""
        greatest = self.settings.gripper_force
        if force > greatest:
            raise Rejected(f"a grip of {force * 1e3:g} N is above the gripper's greatest, {greatest * 1e3:g} N")
        if force < LEAST_GRIP * greatest:
            least = LEAST_GRIP * greatest
            raise Rejected(f"a grip of {force * 1e3:g} N is below the gripper's least, {least * 1e3:g} N")
        return round(100 * force / greatest, 3)

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _order(
        self, command: str, answers: frozenset[int], limit: float, refusals: frozenset[int] = codes.REFUSALS
    ) -> Message:
        message = await self._control.ask(command, answers, limit, refusals=refusals)
        if message.code in answers:
            return message
        if message.code in codes.NOT_READY | codes.BAD_COMMAND:
            raise Rejected(f"the arm refused {command}: {message}", sent=command, received=str(message))
        raise Fault(f"the arm failed at {command}: {message}", sent=command, received=str(message))

    async def _status(self) -> RobotStatus:
        message = await self._order("GetStatusRobot", frozenset({codes.STATUS}), ANSWER_LIMIT, codes.BAD_COMMAND)
        status = RobotStatus.read(message)
        if status is None:
            raise Fault("the arm's status cannot be read", sent="GetStatusRobot", received=str(message))
        return status

    async def _gripper(self) -> GripperStatus | None:
        refusals = codes.BAD_COMMAND | {codes.NO_GRIPPER}
        message = await self._control.ask("GetStatusGripper", {codes.GRIPPER}, ANSWER_LIMIT, refusals=refusals)
        status = GripperStatus.read(message) if message.code == codes.GRIPPER else None
        return status if status is not None and status.present else None

    async def _holds_part(self) -> bool:
        gripper = await self._gripper()
        if gripper is None:
            raise Fault("the arm has no gripper, or its gripper does not answer", sent="GetStatusGripper")
        if gripper.error or gripper.overload:
            raise Fault("the gripper is in error or overloaded; look at it, then run `home`", sent="GetStatusGripper")
        return gripper.holds_part

    async def _ready(self) -> None:
        """Sees to it that a motion would be carried out now, and only that one."""
        status = await self._status()
        if status.error:
            raise Fault("the arm is in error; look at it, then run `home`")
        if not (status.activated and status.homed):
            raise Rejected("the arm is not homed; run `home` first")
        if status.paused:
            await self._resume()

    async def _resume(self) -> None:
        # what was queued before a stop must not come to life again
        await self._order("ClearMotion", frozenset({codes.CLEARED}), ANSWER_LIMIT)
        await self._order("ResumeMotion", frozenset({codes.RESUMED}), ANSWER_LIMIT)

    async def _move(self, call: Call, commands: Sequence[str]) -> None:
        motion = await self._control.start(call.id, commands)
        self._down_at = None
        call.accepted(checkpoint=motion.checkpoint)
        await self._until_over(motion)

    async def _until_over(self, motion: Motion) -> None:
        limit = self.settings.motion_limit
        if not await motion.wait(limit):
            raise OutcomeUnknown(
                f"checkpoint {motion.checkpoint} was not reached within {limit:g} s", sent="SetCheckpoint"
            )
        if motion.error is not None:
            raise motion.error


def _pose(command: str, position: Position) -> str:
    return f"{command}({','.join(f'{number:.10g}' for number in position.pose)})"
