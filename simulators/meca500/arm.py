"""The arm: states, motion queue and errors, told from the time.

Nothing runs by itself: what is due is kept with its time and done when somebody looks (`advance`). Messages go out
through `say`, in the codes of the vendor's client (mecademicpy 3.0.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

from simulators._kit.agenda import Agenda
from simulators._kit.arm_hand import ArmHand
from simulators.meca500 import kinematics
from simulators.meca500.gripper import WEAKEST_GRIP, Fingers
from simulators.meca500.kinematics import Frame, Joints, OutOfReach, Pose
from simulators.meca500.queue import Job, Queued

ACTIVATING = 5.0  # s
HOMING = 4.0  # s
HERE = Frame((0.0, 0.0, 0.0), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))

DEFAULTS = {
    "SetJointVel": 25.0,  # %
    "SetJointAcc": 100.0,  # %
    "SetCartLinVel": 150.0,  # mm/s
    "SetCartAngVel": 45.0,  # °/s
    "SetCartAcc": 50.0,  # %
    "SetBlending": 100.0,  # %; taken, but corners are not rounded here
    "SetGripperForce": 50.0,  # %
    "SetGripperVel": 50.0,  # %
}


class Arm:
    """A Meca500 with its gripper. Times are lab seconds on one clock of the caller's.

    Args:
        hand: the gripper's side of the world.
        memory: what survives power: joints, opening, counts.
        faults: the switches; see `simulators.meca500.MecaSimulator`.
        say: sends `[code][text]` to the one that has control.
        changed: is called when something changed that the monitoring port tells.
        stamp: turns the caller's clock into lab seconds since the epoch.
        stroke, part: the gripper's opening and the width of what it handles, mm.
    """

    def __init__(
        self,
        hand: ArmHand[Frame],
        memory: MutableMapping[str, Any],
        faults: MutableMapping[str, Any],
        say: Callable[[int, str], None],
        changed: Callable[[], None],
        stamp: Callable[[float], float],
        *,
        stroke: float,
        part: float,
    ) -> None:
        self.hand = hand
        self.memory = memory
        self.faults = faults
        self.activated = self.homed = self.error = self.paused = False
        self.say_end_of_block = True
        self.checkpoint = 0
        self.settings = dict(DEFAULTS)
        held = hand.item is not None
        opening = part if held else float(memory.get("opening", stroke))
        self.fingers = Fingers(stroke, opening, holding=held)
        self.estop_pressed: Callable[[], None] = lambda: None
        self._part = part
        self._say = say
        self._changed = changed
        self._stamp = stamp
        a, b, c, d, e, f = memory.get("joints", (0.0,) * 6)
        self._joints: Joints = (a, b, c, d, e, f)
        self._tool = self._world = HERE
        self._queue: deque[Queued] = deque()
        self._job: Job | None = None
        self._block = False  # something was done since the last end of block
        self._agenda = Agenda()
        self._fingers_turn = 0
        self._motors_on_at = 0.0

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def advance(self, now: float) -> None:
        """Does all that was due until now, each at its own time."""
        self._agenda.advance(now)

    @property
    def next_due(self) -> float | None:
        """When something happens next without anybody's doing."""
        return self._agenda.next

    @property
    def now(self) -> float:
        """How far `advance` has got, s."""
        return self._agenda.now

    # ── what can be read ─────────────────────────────────────────────────────────────────────────────────────────
    @property
    def joints(self) -> Joints:
        """Now, °."""
        if self._job is None:
            return self._joints
        return kinematics.between(self._job.origin, self._job.target, self._job.share(self.now))

    @property
    def tool(self) -> Frame:
        """The tool in the world frame, now."""
        return self._world.inverse().then(kinematics.flange(self.joints).then(self._tool))

    @property
    def pose(self) -> Pose:
        """The same as x, y, z (mm), α, β, γ (°)."""
        return kinematics.pose_of(self.tool)

    @property
    def idle(self) -> bool:
        return self._job is None and not self._queue

    @property
    def pending(self) -> int:
        return len(self._queue)

    def robot_status(self) -> str:
        """as, hs, sm, es, pm, eob, eom."""
        return self._status(self.activated, self.homed, False, self.error, self.paused, self.idle, self._job is None)

    def gripper_status(self) -> str:
        """ge, hs, ph, lr, es, fo."""
        return self._status(True, self.homed, self.fingers.holding, self.fingers.at_limit, False, False)

    def _status(self, *flags: bool) -> str:
        more = [int(self.faults["numbered"])] if "numbered" in self.faults else []
        return ",".join(map(str, [*map(int, flags), *more]))

    # ── states ───────────────────────────────────────────────────────────────────────────────────────────────────
    def activate(self) -> None:
        """[2000] when the motors are on."""

        def on(_at: float) -> None:
            if not self.activated:
                self.activated = True
                self.settings = dict(DEFAULTS)
                self._tool = self._world = HERE
            self._tell(2000, "Motors activated.")

        self._motors_on_at = self.now + (0.01 if self.activated else ACTIVATING)
        self._agenda.put(self._motors_on_at, on)

    @property
    def activating(self) -> bool:
        """Whether its motors are about to be on: it takes Home by then, and moves no sooner than they are."""
        return self.now < self._motors_on_at

    def deactivate(self) -> None:
        """[2004]; what was queued is lost."""
        self._drop_motion(self.now)
        self.activated = self.homed = False
        self._tell(2004, "Motors deactivated.")

    def home(self) -> None:
        """[2002] when the joints and the gripper know where they are."""

        def done(at: float) -> None:
            if not self.activated:
                return
            if not self.homed and not self.fingers.holding:
                self._move_fingers(self.fingers.stroke, at)
            self.homed = True
            self._tell(2002, "Homing done.")

        self._agenda.put(max(self.now, self._motors_on_at) + (0.01 if self.homed else HOMING), done)

    def pause(self) -> None:
        """[2042]; the rest of the way waits."""
        self._halt(self.now, keep=True)
        self.paused = True
        self._tell(2042, "Motion paused.")

    def resume(self) -> None:
        """[2043]."""
        self.paused = False
        self._tell(2043, "Motion resumed.")
        self._go_on(self.now)

    def clear(self) -> None:
        """[2044]; nothing is queued any more, and the arm is paused."""
        self._drop_motion(self.now)
        self.paused = True
        self._tell(2044, "The motion was cleared.")

    def reset_error(self) -> None:
        """[2005], or [2006] when there was none. Motion stays paused."""
        if not self.error:
            self._tell(2006, "There was no error to reset.")
            return
        self.error = False
        self._tell(2005, "The error was reset.")

    def fail(self, code: int, text: str, at: float) -> None:
        """An error stops the arm where it is."""
        self._drop_motion(at)
        self.error = self.paused = True
        self._tell(code, text)

    def lose_control(self) -> None:
        """The client is gone: the arm stops and forgets its queue."""
        self._drop_motion(self.now)

    def power_off(self) -> None:
        """The E-stop of a Meca500 R3 takes its power: it stops, and keeps what it holds."""
        self._drop_motion(self.now)
        self._agenda.clear()
        if self.fingers.moving:
            self.fingers.rest(self.fingers.width(self.now))
        self.activated = self.homed = self.error = self.paused = False
        self._motors_on_at = 0.0

    # ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────
    def enqueue(self, name: str, values: tuple[float, ...]) -> None:
        """Takes a motion command; what it means is found out when its turn comes."""
        self._queue.append(Queued(name, values))
        self._go_on(self.now)

    def _go_on(self, at: float) -> None:
        while self._queue and self._job is None and not self.paused and not self.error:
            self._block = True
            try:
                self._begin(self._queue.popleft(), at)
            except OutOfReach as error:
                self.fail(1016, f"The requested motion is not possible: {error}.", at)
        if self._block and self.idle and not self.error:
            self._block = False
            if self.say_end_of_block:
                self._say(3012, "End of block.")
            self._changed()

    def _begin(self, command: Queued, at: float) -> None:
        name, values = command.name, command.values
        if name == "Delay":
            self._start(Job(command, at, at + values[0], self._joints, self._joints))
        elif name.startswith("Move") and name != "MoveGripper":
            self._move(command, at)
        elif name == "SetCheckpoint":
            self.checkpoint = int(values[0])
            self._say(3030, str(self.checkpoint))
        elif name in ("GripperOpen", "GripperClose", "MoveGripper"):
            # The fingers move while the queue goes on: who wants them to arrive first puts a Delay in between.
            target = {"GripperOpen": self.fingers.stroke, "GripperClose": 0.0}.get(name)
            self._move_fingers(values[0] if target is None else target, at)
        elif name in ("SetTRF", "SetWRF"):
            if name == "SetTRF":
                self._tool = kinematics.frame(values)
            else:
                self._world = kinematics.frame(values)
        else:
            self.settings[name] = values[0]
            self.fingers.force = self.settings["SetGripperForce"]
            self.fingers.velocity = self.settings["SetGripperVel"]

    def _target(self, command: Queued) -> Joints:
        name, values = command.name, command.values
        if name == "MoveJoints":
            a, b, c, d, e, f = values
            for angle, (low, high) in zip(values, kinematics.LIMITS, strict=True):
                if not low <= angle <= high:
                    raise OutOfReach(f"a joint at {angle:.1f}° is beyond {low:.0f} to {high:.0f}°")
            return a, b, c, d, e, f
        step = kinematics.frame(values)
        if name == "MoveLinRelTRF":
            goal = self.tool.then(step)
        elif name == "MoveLinRelWRF":
            x, y, z = (a + b for a, b in zip(self.tool.position, step.position, strict=True))
            goal = Frame((x, y, z), Frame(HERE.position, step.rotation).then(self.tool).rotation)
        else:
            goal = step
        return kinematics.joints_for(self._world.then(goal).then(self._tool.inverse()), self._joints)

    def _move(self, command: Queued, at: float) -> None:
        target = self._target(command)
        of = self.settings
        if command.name in ("MoveJoints", "MovePose"):
            time = kinematics.joint_time(self._joints, target, of["SetJointVel"], of["SetJointAcc"])
        else:
            start, end = kinematics.flange(self._joints), kinematics.flange(target)
            linear = kinematics.linear_time(start, end, of["SetCartLinVel"], of["SetCartAngVel"], of["SetCartAcc"])
            # Joints bound a straight way too: the robot slows down rather than go faster than they can.
            time = max(linear, kinematics.joint_time(self._joints, target, 100.0, 150.0))
        time *= float(self.faults.get("slow") or 1.0)
        job = Job(command, at, at + time, self._joints, target)
        self._start(job)
        self._may_go_wrong(job)

    def _may_go_wrong(self, job: Job) -> None:
        moves = int(self.memory.get("moves", 0)) + 1
        self.memory["moves"] = moves
        middle = (job.start + job.end) / 2

        def during(act: Callable[[float], None]) -> None:
            self._agenda.put(middle, lambda at: act(at) if self._job is job else None)

        if moves in (self.faults.get("error_on") or ()):
            during(lambda at: self.fail(3005, "Error of motion.", at))
        elif moves in (self.faults.get("estop_on") or ()):
            during(lambda _: self.estop_pressed())
        elif self.hand.drops() or (self.fingers.holding and self.fingers.force < WEAKEST_GRIP):
            during(self._lose_part)

    def _start(self, job: Job) -> None:
        self._job = job
        self._agenda.put(job.end, lambda at: self._finish(job, at))
        self._changed()

    def _finish(self, job: Job, at: float) -> None:
        if self._job is not job:
            return  # it was halted before
        self._job = None
        self._rest_at(job.target)
        hit = self.hand.hits(self.tool, self._stamp(at))
        if hit is not None:
            self.fail(3005, f"Error of motion: collision at {hit}.", at)
            return
        self._changed()
        self._go_on(at)

    def _halt(self, at: float, *, keep: bool) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        share = job.share(at)
        self._rest_at(kinematics.between(job.origin, job.target, share))
        if keep and job.command.name == "Delay":
            self._queue.appendleft(Queued("Delay", (job.command.values[0] * (1 - share),)))
        elif keep and "Rel" in job.command.name:
            self._queue.appendleft(Queued("MoveJoints", tuple(job.target)))
        elif keep:
            self._queue.appendleft(job.command)

    def _rest_at(self, joints: Joints) -> None:
        self._joints = joints
        self.memory["joints"] = list(joints)

    def _drop_motion(self, at: float) -> None:
        self._halt(at, keep=False)
        self._queue.clear()
        self._block = False

    # ── the fingers ──────────────────────────────────────────────────────────────────────────────────────────────
    def _move_fingers(self, target: float, at: float) -> None:
        fingers = self.fingers
        if fingers.holding:
            if target <= self._part:
                return  # they hold already
            fingers.holding = False
            self.hand.give(self.tool)
        wide = fingers.width(at) >= self._part
        arrive = fingers.move(target, at)
        self._fingers_turn += 1
        turn = self._fingers_turn
        if wide and target < self._part:
            self._agenda.put(fingers.passes(self._part), lambda t: self._touch(turn, t))
        self._agenda.put(arrive, lambda _: self._arrive(turn))
        self._changed()

    def _touch(self, turn: int, at: float) -> None:
        if turn != self._fingers_turn or not self.hand.take(self.tool):
            return
        self._fingers_turn += 1
        self.fingers.rest(self._part)
        self.fingers.holding = True
        self.memory["opening"] = self.fingers.width(at)
        self._changed()

    def _arrive(self, turn: int) -> None:
        if turn == self._fingers_turn:
            self.fingers.arrive()
            self.memory["opening"] = self.fingers.opening
            self._changed()

    def _lose_part(self, at: float) -> None:
        if self.fingers.holding:
            self.fingers.holding = False
            self.hand.lose()
            self._move_fingers(0.0, at)

    def _tell(self, code: int, text: str) -> None:
        self._say(code, text)
        self._changed()
