"""The arm's geometry and how long its motions take.

A parallelogram keeps the flange level: x, y, z and one angle. Lengths and joint ranges: MG400 user guide and URDF
(shoulder 43 mm out, two links of 175 mm, wrist 66 mm out and 57 mm down; the base frame lies at the shoulder's height).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Joints = tuple[float, float, float, float]
Pose = tuple[float, float, float, float]

SHOULDER, UPPER, FORE, WRIST, DOWN = 43.0, 175.0, 175.0, 66.0, 57.0  # mm
LIMITS = ((-160.0, 160.0), (-25.0, 85.0), (-25.0, 105.0), (-360.0, 360.0))  # °; the second and third against upright
TOP_SPEEDS: Joints = (300.0, 300.0, 300.0, 300.0)  # °/s
ACCELERATION = 1500.0  # °/s²
LINEAR_SPEED = 500.0  # mm/s
LINEAR_ACCELERATION = 5000.0  # mm/s²


class OutOfReach(Exception):
    """No joint angles within their ranges bring the flange there; `alarm` is the controller's number for it."""

    def __init__(self, alarm: int) -> None:
        super().__init__(str(alarm))
        self.alarm = alarm


def pose(joints: Joints) -> Pose:
    """Where the flange is, in mm and °: the second joint leans forward, the third hangs down from level."""
    one, two, three, four = (math.radians(angle) for angle in joints)
    out = SHOULDER + UPPER * math.sin(two) + FORE * math.cos(three) + WRIST
    up = UPPER * math.cos(two) - FORE * math.sin(three) - DOWN
    return out * math.cos(one), out * math.sin(one), up, math.degrees(one + four)


def joints_for(where: Pose) -> Joints:
    """The joint angles that bring the flange there.

    Raises:
        OutOfReach: alarm 17 (too far or too near) or 18 (a joint's limit).
    """
    x, y, z, r = where
    heading = math.degrees(math.atan2(y, x))
    out, up = math.hypot(x, y) - SHOULDER - WRIST, z + DOWN
    reach = math.hypot(out, up)
    if not 1e-9 < reach <= UPPER + FORE:
        raise OutOfReach(17)
    lift = math.atan2(up, out)
    bend = math.acos(max(-1.0, min(1.0, reach / (2 * UPPER))))  # the links are of one length
    two = 90.0 - math.degrees(lift + bend)
    three = math.degrees(bend - lift)
    joints = (heading, two, three, r - heading)
    if any(not low <= angle <= high for angle, (low, high) in zip(joints, LIMITS, strict=True)):
        raise OutOfReach(18)
    return joints


def joint_time(start: Joints, end: Joints, speed: float) -> float:
    """Time of a joint motion, s; speed as a share of the greatest."""
    return max(
        ramp_time(abs(b - a), top * speed, ACCELERATION * speed)
        for a, b, top in zip(start, end, TOP_SPEEDS, strict=True)
    )


def linear_time(start: Pose, end: Pose, speed: float) -> float:
    """Time of a straight motion, s; speed as a share of the greatest."""
    return max(
        ramp_time(math.dist(start[:3], end[:3]), LINEAR_SPEED * speed, LINEAR_ACCELERATION * speed),
        ramp_time(abs(end[3] - start[3]), TOP_SPEEDS[3] * speed, ACCELERATION * speed),
    )


def ramp_time(way: float, speed: float, acceleration: float) -> float:
    """Time for a way from rest to rest with a trapezoid of speed, s."""
    if way <= 0:
        return 0.0
    if way * acceleration < speed**2:
        return 2 * math.sqrt(way / acceleration)
    return way / speed + speed / acceleration


def between(start: Pose, end: Pose, share: float) -> Pose:
    """Four numbers a share (0 to 1) of the way on."""
    a, b, c, d = (p + (q - p) * share for p, q in zip(start, end, strict=True))
    return a, b, c, d


def taught(six: Sequence[float]) -> Pose:
    """A taught position, x, y, z, 0, 0, r, as a pose of this arm."""
    x, y, z, _, _, r = six
    return x, y, z, r


def apart(one: Pose, other: Pose) -> tuple[float, float]:
    """How far two poses are from each other: mm, and °."""
    return math.dist(one[:3], other[:3]), abs((one[3] - other[3] + 180) % 360 - 180)
