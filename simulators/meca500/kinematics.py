"""The arm's geometry and how long its motions take.

Dimensions, joint ranges and top speeds: Meca500 R3 user manual (d1 135, a2 135, a3 38, d4 120, d6 70 mm; zero position
`190,0,308,0,90,0`). Angles are in degrees; Euler angles as the robot has them, mobile XYZ: R = Rx(α)·Ry(β)·Rz(γ).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Joints = tuple[float, float, float, float, float, float]
Pose = tuple[float, float, float, float, float, float]
Matrix = tuple[tuple[float, float, float], ...]
Vector = tuple[float, float, float]

D1, A2, A3, D4, D6 = 135.0, 135.0, 38.0, 120.0, 70.0
LIMITS = ((-175.0, 175.0), (-70.0, 90.0), (-135.0, 70.0), (-170.0, 170.0), (-115.0, 115.0), (-36000.0, 36000.0))
TOP_SPEEDS: Joints = (150.0, 150.0, 180.0, 300.0, 300.0, 500.0)  # °/s

JOINT_ACCELERATION = 500.0  # °/s² at 100 %
CART_ACCELERATION = 1000.0  # mm/s² at 100 %
CART_ANGULAR_ACCELERATION = 500.0  # °/s² at 100 %

_FOREARM = math.hypot(A3, D4)
_FOREARM_TILT = math.atan2(D4, A3)


class OutOfReach(Exception):
    """No joint angles within their ranges bring the flange there."""


@dataclass(frozen=True)
class Frame:
    """A position (mm) and an orientation."""

    position: Vector
    rotation: Matrix

    def then(self, other: Frame) -> Frame:
        """`other`, given in this frame, in the frame that this one is given in."""
        moved = _times(self.rotation, other.position)
        return Frame(_plus(self.position, moved), _product(self.rotation, other.rotation))

    def inverse(self) -> Frame:
        """The frame this one is given in, seen from this one."""
        turned = _transposed(self.rotation)
        back = _times(turned, self.position)
        return Frame((-back[0], -back[1], -back[2]), turned)


def frame(pose: Sequence[float]) -> Frame:
    """x, y, z, α, β, γ as a frame."""
    x, y, z, alpha, beta, gamma = pose
    return Frame((x, y, z), _product(_product(_rx(alpha), _ry(beta)), _rz(gamma)))


def pose_of(where: Frame) -> Pose:
    """The reverse of `frame`; with β = ±90° (gimbal lock) α is taken as 0."""
    r = where.rotation
    beta = math.asin(max(-1.0, min(1.0, r[0][2])))
    if abs(r[0][2]) > 1 - 1e-9:
        alpha, gamma = 0.0, math.atan2(r[1][0], r[1][1])
    else:
        alpha, gamma = math.atan2(-r[1][2], r[2][2]), math.atan2(-r[0][1], r[0][0])
    angles = (math.degrees(alpha), math.degrees(beta), math.degrees(gamma))
    return (*where.position, *angles)


def flange(joints: Joints) -> Frame:
    """Where the flange is, in the arm's base."""
    q = [math.radians(angle) for angle in joints]
    reach = q[1] + q[2]
    out = A2 * math.sin(q[1]) + A3 * math.sin(reach) + D4 * math.cos(reach)
    up = D1 + A2 * math.cos(q[1]) + A3 * math.cos(reach) - D4 * math.sin(reach)
    base = _product(_rz(joints[0]), _ry(joints[1] + joints[2]))
    wrist = _product(_product(_rx(joints[3]), _ry(joints[4])), _product(_rx(joints[5]), _ry(90.0)))
    rotation = _product(base, wrist)
    centre = (out * math.cos(q[0]), out * math.sin(q[0]), up)
    return Frame(_plus(centre, _times(rotation, (0.0, 0.0, D6))), rotation)


def joints_for(where: Frame, near: Joints) -> Joints:
    """The joint angles that bring the flange there with the least motion from `near`. Raises OutOfReach."""
    found = [
        joints
        for arm in _arms(where)
        for joints in _wrists(where, arm, near)
        if all(low <= angle <= high for angle, (low, high) in zip(joints, LIMITS, strict=True))
    ]
    if not found:
        x, y, z = where.position
        raise OutOfReach(f"({x:.1f}, {y:.1f}, {z:.1f}) mm cannot be reached with the flange turned so")
    return min(found, key=lambda joints: max(abs(a - b) for a, b in zip(joints, near, strict=True)))


def _arms(where: Frame) -> list[tuple[float, float, float]]:
    """Angles of the first three joints: shoulder front or back, elbow up or down."""
    axis = _times(where.rotation, (0.0, 0.0, 1.0))
    wx, wy, wz = (p - D6 * a for p, a in zip(where.position, axis, strict=True))
    out, up = math.hypot(wx, wy), wz - D1
    heading = math.degrees(math.atan2(wy, wx))
    cosine = (out**2 + up**2 - A2**2 - _FOREARM**2) / (2 * A2 * _FOREARM)
    if abs(cosine) > 1:
        return []
    arms = []
    for side, turn in ((1.0, 0.0), (-1.0, -math.copysign(180.0, heading))):
        direct = math.atan2(side * out, up)
        for bend in (math.acos(cosine), -math.acos(cosine)):
            upper = direct - math.atan2(_FOREARM * math.sin(bend), A2 + _FOREARM * math.cos(bend))
            arms.append((heading + turn, math.degrees(upper), math.degrees(bend - _FOREARM_TILT)))
    return [(one, _wrapped(two), _wrapped(three)) for one, two, three in arms]


def _wrists(where: Frame, arm: tuple[float, float, float], near: Joints) -> list[Joints]:
    base = _product(_rz(arm[0]), _ry(arm[1] + arm[2]))
    turn = _product(_product(_transposed(base), where.rotation), _ry(-90.0))
    fifth = math.degrees(math.acos(max(-1.0, min(1.0, turn[0][0]))))
    if fifth < 1e-6:  # straight wrist: joints 4 and 6 turn about one axis; the fourth stays
        sixth = math.degrees(math.atan2(turn[2][1], turn[1][1])) - near[3]
        return [(*arm, near[3], 0.0, _nearest(sixth, near[5]))]
    fourth = math.degrees(math.atan2(turn[1][0], -turn[2][0]))
    sixth = math.degrees(math.atan2(turn[0][1], turn[0][2]))
    return [
        (*arm, _wrapped(fourth), fifth, _nearest(sixth, near[5])),
        (*arm, _wrapped(fourth + 180.0), -fifth, _nearest(sixth + 180.0, near[5])),
    ]


# ── how long motions take ────────────────────────────────────────────────────────────────────────────────────────────
def ramp_time(way: float, speed: float, acceleration: float) -> float:
    """Time for a way from rest to rest with a trapezoid of speed, s."""
    if way <= 0:
        return 0.0
    if way * acceleration < speed**2:
        return 2 * math.sqrt(way / acceleration)
    return way / speed + speed / acceleration


def joint_time(start: Joints, end: Joints, velocity: float, acceleration: float) -> float:
    """Time of a joint motion, s; velocity and acceleration in percent."""
    return max(
        ramp_time(abs(b - a), top * velocity / 100, JOINT_ACCELERATION * acceleration / 100)
        for a, b, top in zip(start, end, TOP_SPEEDS, strict=True)
    )


def linear_time(start: Frame, end: Frame, linear: float, angular: float, acceleration: float) -> float:
    """Time of a straight motion, s; linear in mm/s, angular in °/s, acceleration in percent."""
    share = acceleration / 100
    return max(
        ramp_time(math.dist(start.position, end.position), linear, CART_ACCELERATION * share),
        ramp_time(angle_between(start, end), angular, CART_ANGULAR_ACCELERATION * share),
    )


def angle_between(one: Frame, other: Frame) -> float:
    """By how much two orientations differ, °."""
    turn = _product(_transposed(one.rotation), other.rotation)
    cosine = (turn[0][0] + turn[1][1] + turn[2][2] - 1) / 2
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def apart(one: Frame, other: Frame) -> tuple[float, float]:
    """How far two frames are from each other: mm, and °."""
    return math.dist(one.position, other.position), angle_between(one, other)


def between(start: Joints, end: Joints, share: float) -> Joints:
    """The joint angles a share (0 to 1) of the way on."""
    a, b, c, d, e, f = (p + (q - p) * share for p, q in zip(start, end, strict=True))
    return a, b, c, d, e, f


# ── matrices ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _rx(angle: float) -> Matrix:
    s, c = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    return (1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)


def _ry(angle: float) -> Matrix:
    s, c = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    return (c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)


def _rz(angle: float) -> Matrix:
    s, c = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    return (c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)


def _product(a: Matrix, b: Matrix) -> Matrix:
    return tuple(
        (
            row[0] * b[0][0] + row[1] * b[1][0] + row[2] * b[2][0],
            row[0] * b[0][1] + row[1] * b[1][1] + row[2] * b[2][1],
            row[0] * b[0][2] + row[1] * b[1][2] + row[2] * b[2][2],
        )
        for row in a
    )


def _times(a: Matrix, v: Vector) -> Vector:
    x, y, z = (row[0] * v[0] + row[1] * v[1] + row[2] * v[2] for row in a)
    return x, y, z


def _transposed(a: Matrix) -> Matrix:
    return tuple(zip(*a, strict=True))


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _wrapped(angle: float) -> float:
    """Within ±180°."""
    return (angle + 180.0) % 360.0 - 180.0


def _nearest(angle: float, near: float) -> float:
    """The same direction, not more than half a turn from `near`."""
    return near + _wrapped(angle - near)
