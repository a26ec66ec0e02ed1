"""One motion at a time: ordered, watched to its end, and told in the driver's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from drivers.mg400.alarms import told
from drivers.mg400.settings import Mg400Settings
from drivers.mg400.wire import CommandPort, Feedback, Frame, Mode, Pose, Reply, apart
from labd import clock
from labd.io import LinkLost
from labd.io.arrival import Orders
from labd.sdk import DeviceError, Fault, OutcomeUnknown, Rejected, Unreachable

ANSWER_LIMIT = 5.0  # s
LOOK = 0.2  # s between two looks at the mode
SWITCH_LIMIT = 2.0  # s until an output is seen to be switched
STILL = 3.0  # s at rest beside its target, after which an order counts as dropped
TURN = 1.0  # ° by which the last axis may be off its target


@dataclass(slots=True)
class Progress:
    """How far an action came."""

    moved: bool = False  # something of it was sent
    switched: bool = False  # the gripper was switched at the place


class Body:
    """The arm behind its three ports."""

    def __init__(self, settings: Mg400Settings) -> None:
        self._settings = settings
        self._dashboard = CommandPort(*settings.at(settings.dashboard))
        self._motion = CommandPort(*settings.at(settings.motion))
        self.orders = Orders()

    async def open(self) -> None:
        """Opens both command ports and asks for the mode. Raises Unreachable."""
        await self.close()
        self.orders.written()
        await self._dashboard.link.open()
        try:
            await self._motion.link.open()
            await self.mode()
        except DeviceError as error:
            await self.close()
            raise Unreachable(
                f"no MG400 in TCP/IP mode answers there: {error.message}", received=error.received
            ) from error

    async def close(self) -> None:
        await self._dashboard.link.close()
        await self._motion.link.close()

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def go(self, command: str, target: Pose, progress: Progress) -> None:
        """One motion to its end."""
        order = f"{command}({','.join(f'{number:.10g}' for number in target)})"
        self.orders.written()
        try:
            await self._motion.ask(order, ANSWER_LIMIT)
        except OutcomeUnknown:
            progress.moved = True
            raise
        progress.moved = True
        feedback = Feedback(*self._settings.at(self._settings.feedback))
        try:
            async with asyncio.timeout(self._settings.motion_limit):
                await self.until_there(feedback, target)
        except TimeoutError as error:
            limit = self._settings.motion_limit
            raise OutcomeUnknown(f"the arm is not where it was sent within {limit:g} s", sent=order) from error
        except LinkLost as error:
            raise feedback.lost(error) from error
        finally:
            await feedback.close()

    async def until_there(self, feedback: Feedback, target: Pose) -> None:
        still: float | None = None
        while True:
            frame = await feedback.next()
            if frame.mode is Mode.ERROR:
                raise await self.stopped("the arm stopped")
            if frame.mode in {Mode.DISABLED, Mode.INIT, Mode.BRAKE_OPEN}:
                raise Fault(f"the arm was switched off in mid-motion; its mode is {frame.mode.name}")
            if not frame.idle:
                still = None
                continue
            away, turned = apart(frame.pose, target)
            if away <= self._settings.tolerance and turned <= TURN:
                return
            still = clock.monotonic() if still is None else still
            if clock.monotonic() - still > STILL:
                raise Fault(
                    f"the arm stands still {away:.3g} mm and {turned:.3g}° beside its target: its order was dropped"
                )

    async def grip(self, progress: Progress, *, on: bool) -> None:
        """Switches the gripper, sees that its output is switched, and gives it its time."""
        settings = self._settings
        changes = [(settings.grip_output, on)]
        if settings.release_output is not None:
            changes.insert(0 if on else 1, (settings.release_output, not on))
        for line, value in changes:
            self.orders.written()
            try:
                await self.command(f"DO({line},{int(value)})")
            except OutcomeUnknown:
                progress.moved = True
                raise
            progress.moved = True
        end = clock.monotonic() + SWITCH_LIMIT
        while (await self.look()).output(settings.grip_output) is not on:
            if clock.monotonic() >= end:
                raise Fault(f"output {settings.grip_output} does not go {'on' if on else 'off'}")
            await asyncio.sleep(LOOK)
        await asyncio.sleep(settings.grip_time)

    def held(self, frame: Frame) -> bool | None:
        line = self._settings.held_input
        return None if line is None else frame.input(line) is self._settings.held_when

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def command(self, command: str, limit: float = ANSWER_LIMIT) -> Reply:
        return await self._dashboard.ask(command, limit)

    async def mode(self) -> Mode:
        reply = await self.command("RobotMode()")
        if reply.number is None:
            raise Fault("the arm's mode cannot be read", sent="RobotMode()", received=reply.values)
        return Mode.of(reply.number)

    async def wait_for(self, wanted: Callable[[Mode], bool], seconds: float) -> bool:
        end = clock.monotonic() + seconds
        while not wanted(await self.mode()):
            if clock.monotonic() >= end:
                return False
            await asyncio.sleep(LOOK)
        return True

    async def look(self) -> Frame:
        """One frame. Raises Unreachable."""
        feedback = Feedback(*self._settings.at(self._settings.feedback))
        try:
            return await feedback.next()
        except LinkLost as error:
            raise Unreachable(str(error)) from error
        finally:
            await feedback.close()

    async def ready(self) -> Frame:
        """A frame of an arm that would carry out a motion now, and only that one."""
        frame = await self.look()
        if frame.mode is Mode.ERROR:
            raise await self.stopped("the arm is in error")
        if frame.mode is Mode.RUNNING:
            raise Rejected("the arm moves already: by another program, or by an order of before")
        if frame.mode is not Mode.ENABLED:
            raise Rejected(f"the arm is not enabled (mode {frame.mode.name}); run `home` first")
        return frame

    async def stopped(self, what: str) -> Fault:
        """The fault of an arm in error, with its alarms in words."""
        try:
            reply = await self.command("GetErrorID()")
        except DeviceError as error:
            return Fault(f"{what}; its alarms cannot be read: {error.message}")
        alarms = told(reply.lists() or [[]])
        return Fault(
            f"{what}: alarm {alarms}" if alarms else f"{what}; look at it, then run `home`", received=reply.values
        )
