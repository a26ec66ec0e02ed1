"""The driver of the MG400 arm.

Wire: text commands on the ports 29999 (dashboard) and 30003 (motion), frames of 1440 bytes on 30005 (each 200 ms) or
30004 (each 8 ms). A motion is done when a frame that was made after its order says that the arm is at rest and is where
it was sent; so each motion is ordered by itself, and a lost link leaves one of them at most. `RunQueuedCmd` in the
frames is not read: Dobot's guide calls it the flag of a queue that runs, and Dobot's own client one of a queue that is
open, which an arm at rest has as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import JsonValue

from drivers.mg400.body import LOOK, Body, Progress
from drivers.mg400.settings import FEEDBACK, Mg400Settings
from drivers.mg400.wire import Feedback, Frame, Mode, Pose
from labd import clock
from labd.io import LinkLost
from labd.sdk import (
    About,
    Arm,
    Bounds,
    Call,
    Fault,
    Force,
    Intent,
    Outcome,
    OutcomeUnknown,
    Place,
    Quality,
    Rejected,
    Setup,
    Unreachable,
    Verdict,
)
from labd.sdk.roles import ArmSignals, MoveResult, PickResult, PlaceResult

ALARM_LIMIT = 5.0  # s until an alarm that was cleared is gone
ENABLE_LIMIT = 30.0  # s
COLUMN = 2.0  # mm beside a place, in which the arm stands over it
_KEPT = 64  # actions that are remembered after their end


class Mg400Signals(ArmSignals):
    """`gripped` is None where no input tells it; `mode` is the arm's, in its words."""

    mode: str | None = None


class Mg400(Arm):
    """An MG400 with a gripper on a digital output. Connecting moves nothing: `home` clears alarms and enables it."""

    quality = Quality("simulated")
    quirks = (
        "It must be set to TCP/IP secondary development in DobotStudio Pro.",
        "It goes on with the motion that it has when the connection is lost, and no further.",
        "A position out of reach is taken, and then alarms: mode 9, alarm 17.",
        "Its outputs wait in the queue behind the motion before them.",
        "An alarm closes its queue: motions are taken then and not made, until `Continue()` opens it again.",
    )
    Settings = Mg400Settings
    settings: Mg400Settings
    Signals = Mg400Signals
    found_at = {"{host}": FEEDBACK}

    @classmethod
    async def identify(cls, address: str) -> About | None:
        """Listens to its feedback, which it tells everybody; nothing is sent."""
        feedback = Feedback(address.strip("[]"), FEEDBACK)
        try:
            await feedback.next()
        except LinkLost:
            return None
        finally:
            await feedback.close()
        return About(model="Dobot MG400")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._body = Body(self.settings)
        self._progress: dict[str, Progress] = {}

    def place_of(self, unit: str) -> str | None:
        """`<name>/gripper`."""
        del unit
        return f"{self.name}/gripper"

    def own_link(self) -> str | None:
        host, port = self.settings.at(self.settings.motion)
        return f"{host}:{port}"

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens both command ports and asks for the mode.

        Raises:
            Unreachable: nobody listens, or what answers is no MG400.
        """
        await self._body.open()
        return About(model="Dobot MG400")

    async def close(self) -> None:
        await self._body.close()

    async def read_state(self) -> Mg400Signals:
        mode = await self._body.mode()
        held: bool | None = None
        if self.settings.held_input is not None:
            value = (await self._body.command(f"DI({self.settings.held_input})")).number
            held = None if value is None else bool(value) is self.settings.held_when
        moving = mode in {Mode.RUNNING, Mode.BACKDRIVE, Mode.RECORDING, Mode.JOG}
        return Mg400Signals(gripped=held, moving=moving, error=mode is Mode.ERROR, mode=mode.name.lower())

    async def pose(self) -> tuple[float, float, float, float, float, float]:
        """Where its tool is, by the feedback; an MG400 turns about the upright alone."""
        x, y, z, r = (await self._body.look()).pose
        return x, y, z, 0.0, 0.0, r

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops, forgets what was queued, and switches the drives off. The gripper stays as it is: nothing falls."""
        del unit
        with contextlib.suppress(Rejected, Fault):  # one in error may refuse it: without its drives it moves no more
            await self._body.command("ResetRobot()")
        await self._body.command("DisableRobot()")

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def home(self, call: Call) -> None:
        """Clears alarms and what was queued, enables the arm, and goes to the position `home` where one is taught."""
        if await self._body.mode() is Mode.ERROR:
            await self._body.command("ClearError()")
        if not await self._body.wait_for(lambda mode: mode is not Mode.ERROR, ALARM_LIMIT):
            raise await self._body.stopped("the alarm stays")
        await self._body.command("ResetRobot()")  # before the queue is opened: nothing of before may go on then
        if await self._body.mode() is not Mode.ENABLED:
            await self._body.command("EnableRobot()", ENABLE_LIMIT)
        if not await self._body.wait_for(lambda mode: mode is Mode.ENABLED, ENABLE_LIMIT):
            raise Fault(
                f"the arm is not enabled after {ENABLE_LIMIT:g} s; its mode is {(await self._body.mode()).name}"
            )
        with contextlib.suppress(Rejected):  # an older controller does not know it
            await self._body.command("Continue()")
        frame = await self._body.ready()
        with self._under_way(call) as progress:
            await self._go_up(frame, progress)
            if "home" in self.setup.positions:
                await self._body.go("MovJ", self._position("home"), progress)

    async def pick(
        self, call: Call, place: Place, force: Annotated[Force, Bounds(min=0.001, max=0.2)] = 0.02
    ) -> PickResult:
        """Takes what lies at a place: over it, straight down, grip, straight up. The grip's force is the gripper's own.

        Without an input for it, nobody can tell whether a part is held, and the result says that it is.
        """
        del force
        spot = self._position(place)
        frame = await self._body.ready()
        held = self._body.held(frame)
        if held or (held is None and frame.output(self.settings.grip_output)):  # opening it here would drop the part
            raise Rejected(f"the gripper already holds a part; place it before picking at {place}")
        with self._under_way(call) as progress:
            await self._go_up(frame, progress)
            await self._body.grip(progress, on=False)
            await self._body.go("MovJ", self._above(spot), progress)
            await self._body.go("MovL", spot, progress)
            await self._body.grip(progress, on=True)
            progress.switched = True
            await self._body.go("MovL", self._above(spot), progress)
            return PickResult(gripped=self._body.held(await self._body.look()) is not False, width=None)

    async def place(self, call: Call, place: Place) -> PlaceResult:
        """Sets down at a place what the gripper holds. With nothing in the gripper nothing moves: `released: false`."""
        spot = self._position(place)
        frame = await self._body.ready()
        if self._body.held(frame) is False or not frame.output(self.settings.grip_output):
            return PlaceResult(released=False)
        with self._under_way(call) as progress:
            await self._go_up(frame, progress)
            await self._body.go("MovJ", self._above(spot), progress)
            await self._body.go("MovL", spot, progress)
            await self._body.grip(progress, on=False)
            progress.switched = True
            await self._body.go("MovL", self._above(spot), progress)
            return PlaceResult(released=not self._body.held(await self._body.look()))

    async def move(self, call: Call, position: Place) -> MoveResult:
        """Moves to a taught position; to a spot of a device (`press/nest`) from above."""
        target = self._position(position)
        frame = await self._body.ready()
        with self._under_way(call) as progress:
            await self._go_up(frame, progress)
            if "/" in position:
                await self._body.go("MovJ", self._above(target), progress)
                await self._body.go("MovL", target, progress)
            else:
                await self._body.go("MovJ", target, progress)
        return MoveResult(position=position)

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        del action, unit
        frame = await self._body.look()
        return {
            "enabled": frame.idle,
            "gripped": self._body.held(frame),
            "output": frame.output(self.settings.grip_output),
        }

    async def outcome(self, intent: Intent) -> Outcome:
        """Done when the gripper was seen to be switched at the place; not done when the gripper proves it.

        A pick whose grip output is off has gripped nothing, and a placing whose part is still held has set down
        nothing, as long as the arm stayed enabled (it is not after a restart) and no order is still to come.
        """
        if intent.action not in {"pick", "place"}:
            return await super().outcome(intent)
        await self._body.orders.arrived()
        frame = await self._at_rest()
        progress = self._progress.get(intent.id)
        held = self._body.held(frame)
        if progress is not None and progress.switched and frame.idle:
            result = PickResult(gripped=held is not False, width=None)
            if intent.action == "pick":
                return Outcome(Verdict.DONE, "the gripper was closed at the place, and the arm stands still", result)
            return Outcome(
                Verdict.DONE,
                "the gripper was opened at the place, and the arm stands still",
                PlaceResult(released=not held),
            )
        if intent.baseline.get("enabled") and frame.idle:
            before, gripping = intent.baseline.get("gripped"), frame.output(self.settings.grip_output)
            if intent.action == "pick" and before is not True and not gripping and not held:
                return Outcome(Verdict.NOT_DONE, "the gripper's output is off: it never closed")
            if intent.action == "place" and before is True and gripping and held:
                return Outcome(Verdict.NOT_DONE, "the gripper still holds the part")
        now = {True: "holds a part", False: "holds nothing", None: "has no sensor for a part"}[held]
        return Outcome(Verdict.UNKNOWN, f"its end was not seen; the gripper {now}; look where arm and part are")

    async def _at_rest(self) -> Frame:
        """The first frame of an arm that does not move any more, or the last one before the time was over."""
        end = clock.monotonic() + self.settings.motion_limit
        while True:
            frame = await self._body.look()
            if frame.mode is not Mode.RUNNING or clock.monotonic() >= end:
                return frame
            await asyncio.sleep(LOOK)

    # ── positions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _position(self, name: str) -> Pose:
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
        x, y, z, a, b, r = position.pose
        if a or b:
            raise Rejected(f"position {name!r} is tilted by {a:g}° and {b:g}°; this arm has x, y, z, 0, 0 and r")
        return x, y, z, r

    def _above(self, pose: Pose) -> Pose:
        x, y, z, r = pose
        return x, y, z + self.settings.approach, r

    @property
    def _clear(self) -> float:
        """Height over a place, mm, from which on the arm may go sideways."""
        return self.settings.approach - self.settings.tolerance

    def _low_at(self, pose: Pose) -> Pose | None:
        """The place over which the arm stands lower than it should before it goes sideways, or None."""
        for name, position in self.setup.positions.items():
            x, y, z, *_ = position.pose
            over = pose[2] - z
            if "/" in name and math.hypot(pose[0] - x, pose[1] - y) <= COLUMN and -COLUMN <= over < self._clear:
                return x, y, z, pose[3]
        return None

    # ── motion ───────────────────────────────────────────────────────────────────────────────────────────────────
    @contextlib.contextmanager
    def _under_way(self, call: Call) -> Iterator[Progress]:
        """What goes wrong once something was sent is neither `nothing was sent` nor `nothing moved`."""
        progress = Progress()
        self._progress.pop(call.id, None)
        self._progress[call.id] = progress
        while len(self._progress) > _KEPT:
            self._progress.pop(next(iter(self._progress)))
        try:
            yield progress
        except Unreachable as error:
            if not progress.moved:
                raise
            raise OutcomeUnknown(f"{error.message}; the arm had begun", received=error.received) from error
        except Rejected as error:
            if not progress.moved:
                raise
            raise Fault(
                f"{error.message}; the arm had begun, and stands where it came to",
                sent=error.sent,
                received=error.received,
            ) from error
        finally:
            self._body.orders.written()

    async def _go_up(self, frame: Frame, progress: Progress) -> None:
        """Sets the speed, and leaves a place straight up where the arm stands low over one."""
        await self._body.command(f"SpeedFactor({self.settings.speed})")
        spot = self._low_at(frame.pose)
        if spot is not None:
            await self._body.go("MovL", self._above(spot), progress)
