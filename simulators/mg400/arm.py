"""The arm: modes, command queue and alarms, told from the time.

Nothing runs by itself: what is due is kept with its time and done when somebody looks (`advance`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from simulators._kit.agenda import Agenda
from simulators._kit.arm_hand import ArmHand
from simulators.mg400 import kinematics
from simulators.mg400.feedback import packed
from simulators.mg400.kinematics import Joints, OutOfReach, Pose

ENABLING = 1.5  # s
FIRST_JOINTS: Joints = (0.0, 30.0, 30.0, 0.0)
COLLISION, ESTOP = 112, 85  # alarms
DISABLED, ENABLED, RUNNING, ERROR, PAUSE = 4, 5, 7, 9, 10


@dataclass
class Queued:
    """One command of the queue: a way to joints or to a pose, an output, or whoever waits for the queue's end."""

    kind: str  # joints, line, output, sync
    target: Pose = (0.0, 0.0, 0.0, 0.0)
    output: tuple[int, bool] = (0, False)
    done: Callable[[], None] = field(default=lambda: None)


@dataclass
class _Job:
    """The way that the arm is on."""

    start: float
    end: float
    origin: Pose
    target: Pose
    straight: bool

    def share(self, at: float) -> float:
        return 1.0 if self.end <= self.start else max(0.0, min(1.0, (at - self.start) / (self.end - self.start)))


class Arm:
    """An MG400 with its gripper. Times are lab seconds on one clock of the caller's.

    Args:
        hand: the gripper's side of the world.
        memory: what survives power: joints, counts.
        faults: the switches; see `simulators.mg400.Mg400Simulator`.
        stamp: turns the caller's clock into lab seconds since the epoch.
        wiring: `grip_output`, `held_input`, `held_when`, as the driver's settings have them.
        finger_time: s from the output to the grip.
    """

    def __init__(
        self,
        hand: ArmHand[Pose],
        memory: MutableMapping[str, Any],
        faults: MutableMapping[str, Any],
        stamp: Callable[[float], float],
        *,
        wiring: Mapping[str, Any],
        finger_time: float,
    ) -> None:
        self.hand = hand
        self.memory = memory
        self.faults = faults
        self.enabled = self.paused = self.estopped = False
        self.closed = False  # the queue, by an alarm
        self.alarms: list[int] = []
        self.speed = 0.5  # of the greatest
        self._stamp = stamp
        self._grip_output = int(wiring.get("grip_output", 1))
        self._held_input = wiring.get("held_input")
        self._held_when = bool(wiring.get("held_when", True))
        self._finger_time = finger_time
        self._outputs: dict[int, bool] = {self._grip_output: hand.item is not None}
        a, b, c, d = memory.get("joints", FIRST_JOINTS)
        self._joints: Joints = (a, b, c, d)
        self._queue: deque[Queued] = deque()
        self._job: _Job | None = None
        self._agenda = Agenda()
        self._turn = 0  # of the gripper

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
    def mode(self) -> int:
        if self.alarms:
            return ERROR
        if not self.enabled:
            return DISABLED
        if self.paused:
            return PAUSE
        return RUNNING if self.busy and not (self.closed and self._job is None) else ENABLED

    @property
    def busy(self) -> bool:
        return self._job is not None or bool(self._queue)

    @property
    def joints(self) -> Joints:
        """Now, °."""
        job = self._job
        if job is None:
            return self._joints
        now = kinematics.between(job.origin, job.target, job.share(self.now))
        return kinematics.joints_for(now) if job.straight else now

    @property
    def pose(self) -> Pose:
        """x, y, z (mm), r (°), now."""
        return kinematics.pose(self.joints)

    @property
    def outputs(self) -> int:
        return sum(1 << (number - 1) for number, on in self._outputs.items() if on)

    @property
    def inputs(self) -> int:
        if self._held_input is None:
            return 0
        held = self.hand.item is not None
        return int(held is self._held_when) << (int(self._held_input) - 1)

    def frame(self) -> bytes:
        """What the feedback says now."""
        return packed(
            inputs=self.inputs,
            outputs=self.outputs,
            mode=self.mode,
            milliseconds=int(self._stamp(self.now) * 1000),
            joints=self.joints,
            pose=self.pose,
            speed=self.speed * 100,
            queue_open=self.enabled and not self.closed,
        )

    # ── states ───────────────────────────────────────────────────────────────────────────────────────────────────
    def enable(self, done: Callable[[], None]) -> None:
        """The drives go on; `done` is called when they are."""

        def on(_at: float) -> None:
            self.enabled = not self.alarms
            done()

        self._agenda.put(self.now + (0.01 if self.enabled else ENABLING), on)

    def disable(self) -> None:
        """The drives go off; what was queued is lost."""
        self.reset()
        self.enabled = False

    def reset(self) -> None:
        """The arm stops and forgets its queue."""
        self._halt(self.now)
        self.paused = False

    def resume(self) -> None:
        """The queue goes on, after a pause or an alarm that was cleared."""
        if not self.alarms:
            self.paused = self.closed = False
            self._go_on(self.now)

    def clear(self) -> bool:
        """Forgets the alarms whose cause is gone; whether none is left."""
        self.alarms = [ESTOP] if self.estopped else []
        return not self.alarms

    def fail(self, alarm: int, at: float) -> None:
        """An alarm stops the arm where it is."""
        self._halt(at)
        self.closed = True
        if alarm not in self.alarms:
            self.alarms.append(alarm)

    def press_estop(self, at: float) -> None:
        """The drives lose their power; what is gripped stays gripped."""
        self.estopped = True
        self.fail(ESTOP, at)
        self.enabled = False

    # ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────
    def enqueue(self, command: Queued) -> None:
        """Takes a command; whether it can be done is found out when its turn comes."""
        self._queue.append(command)
        self._go_on(self.now)

    def _go_on(self, at: float) -> None:
        while self._queue and self._job is None and self.enabled and not (self.alarms or self.paused or self.closed):
            command = self._queue.popleft()
            if command.kind == "output":
                self.switch(*command.output)
            elif command.kind == "sync":
                command.done()
            else:
                try:
                    self._move(command, at)
                except OutOfReach as error:
                    self.fail(error.alarm, at)

    def _move(self, command: Queued, at: float) -> None:
        straight = command.kind == "line"
        if straight:
            origin = self.pose
            kinematics.joints_for(command.target)
            self._check_way(origin, command.target)
            time = kinematics.linear_time(origin, command.target, self.speed)
        else:
            origin = self._joints
            if any(not low <= one <= high for one, (low, high) in zip(command.target, kinematics.LIMITS, strict=True)):
                raise OutOfReach(18)
            time = kinematics.joint_time(origin, command.target, self.speed)
        time *= float(self.faults.get("slow") or 1.0)
        job = self._job = _Job(at, at + time, origin, command.target, straight)
        self._agenda.put(job.end, lambda end: self._finish(job, end))
        self._may_go_wrong(job)

    @staticmethod
    def _check_way(origin: Pose, target: Pose) -> None:
        """Raises OutOfReach (alarm 23) where a straight way leaves the working area between its ends."""
        for step in range(1, 20):
            try:
                kinematics.joints_for(kinematics.between(origin, target, step / 20))
            except OutOfReach as error:
                raise OutOfReach(23) from error

    def _may_go_wrong(self, job: _Job) -> None:
        moves = int(self.memory.get("moves", 0)) + 1
        self.memory["moves"] = moves
        middle = (job.start + job.end) / 2

        def during(act: Callable[[float], None]) -> None:
            self._agenda.put(middle, lambda at: act(at) if self._job is job else None)

        if moves in (self.faults.get("error_on") or ()):
            during(lambda at: self.fail(COLLISION, at))
        elif moves in (self.faults.get("estop_on") or ()):
            during(self.press_estop)
        elif self.hand.drops():
            during(lambda _: self.hand.lose())

    def _finish(self, job: _Job, at: float) -> None:
        if self._job is not job:
            return  # it was halted before
        self._rest_at(kinematics.joints_for(job.target) if job.straight else job.target)
        if self.hand.hits(self.pose, self._stamp(at)) is not None:
            self.fail(COLLISION, at)
            return
        self._go_on(at)

    def _halt(self, at: float) -> None:
        if self._job is not None:
            del at
            self._rest_at(self.joints)
        self._queue.clear()

    def _rest_at(self, joints: Joints) -> None:
        self._job = None
        self._joints = joints
        self.memory["joints"] = list(joints)

    # ── the gripper ──────────────────────────────────────────────────────────────────────────────────────────────
    def switch(self, number: int, on: bool) -> None:
        """Switches a digital output; the gripper follows its own after its time."""
        if number == self._grip_output and self.faults.get("stuck_output"):
            return
        changed = self._outputs.get(number, False) is not on
        self._outputs[number] = on
        if number != self._grip_output or not changed:
            return
        self._turn += 1
        turn = self._turn
        self._agenda.put(self.now + self._finger_time, lambda _: self._fingers(turn, on))

    def _fingers(self, turn: int, on: bool) -> None:
        if turn != self._turn:
            return
        if on:
            self.hand.take(self.pose)
        elif self.hand.item is not None:
            self.hand.give(self.pose)
