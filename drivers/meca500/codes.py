"""Messages of the arm, `[code][text]`, and what their codes mean.

Source: Meca500 text protocol; codes as in the vendor's client mecademicpy 3.0.3 (mx_robot_def.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

ACTIVATED = frozenset({2000, 2001})  # 2001: was active already (firmware before 9)
HOMED = frozenset({2002, 2003})  # 2003: was homed already (firmware before 9)
ERROR_RESET = frozenset({2005, 2006})  # 2006: there was no error
STATUS = 2007
POSE = 2027
PAUSED = 2042
RESUMED = 2043
CLEARED = 2044
GRIPPER = 2079
GRIPPER_OPENING = 2322  # GetRtGripperPos: time stamp, mm
CONNECTED = 3000
OTHER_CLIENT = 3001
CHECKPOINT = 3030
CHECKPOINT_DISCARDED = 3040

NOT_READY = frozenset({1005, 1006})  # not activated, not homed: nothing moves
ALREADY_IN_ERROR = 1011
NO_GRIPPER = 1038
BAD_COMMAND = frozenset({1001, 1002, 1003})
REFUSALS = frozenset(range(1000, 2000))
STOPS = frozenset({3005, 3006, 3009, 3025, 3027, 3029, 3032, 3041, 3049, 3050, 3069, 3070, *range(3080, 3088)})
"""Events on which the arm has stopped itself; the payload `0` says that the cause has gone again."""

_MEANINGS = {
    1000: "its queue of commands is full",
    1001: "unknown command",
    1002: "a parenthesis or comma is missing",
    1003: "a wrong argument",
    1005: "it is not activated; run `home`",
    1006: "it is not homed; run `home`",
    1007: "a joint would go over its limit; teach the position again",
    1010: "a joint would turn more than 180°",
    1011: "it is in error; look at it, then run `home`",
    1012: "the path goes through a singularity; teach the position again",
    1013: "activation failed",
    1014: "homing failed",
    1016: "the position is out of reach; teach it again",
    1025: "this error cannot be reset; switch the arm off and on",
    1038: "no gripper is connected",
    3005: "motion error: a collision or too much load",
    3006: "its drives do not answer; switch the arm off and on",
    3009: "it failed to start; switch the arm off and on",
    3025: "the gripper reports an error",
    3027: "internal error",
    3029: "too much torque: a collision or too much load",
    3032: "protective stop (P-Stop 2)",
    3041: "a collision was foreseen",
    3049: "the edge of its work zone",
    3050: "its supply has lost power",
    3069: "protective stop (P-Stop 1)",
    3070: "E-stop",
}
_MESSAGE = re.compile(r"\[(\d{4})\]\[(.*)\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the arm."""

    code: int
    text: str

    @classmethod
    def read(cls, raw: bytes) -> Self | None:
        """Reads what stood before a NUL; None when it is no message."""
        match = _MESSAGE.fullmatch(raw.decode("ascii", "backslashreplace").strip())
        return cls(int(match[1]), match[2]) if match else None

    @property
    def is_error(self) -> bool:
        """Whether it refuses a command, or says that the arm has stopped itself."""
        return self.code in REFUSALS or (self.code in STOPS and self.text.strip() != "0")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The payload `1,0,1` as numbers; empty when it is none."""
        parts = self.text.split(",")
        return tuple(int(part) for part in parts) if all(part.strip().lstrip("-").isdigit() for part in parts) else ()

    @property
    def values(self) -> tuple[float, ...]:
        """The payload `12.5,-3` as numbers with fractions; empty when it is none."""
        try:
            return tuple(float(part) for part in self.text.split(","))
        except ValueError:
            return ()

    def __str__(self) -> str:
        meaning = _MEANINGS.get(self.code)
        return f"[{self.code}] {self.text}" + (f" ({meaning})" if meaning else "")


@dataclass(frozen=True, slots=True)
class RobotStatus:
    """`[2007][as,hs,sm,es,pm,eob,eom]`."""

    activated: bool
    homed: bool
    simulated: bool
    error: bool
    paused: bool
    block_ended: bool  # nothing is queued, and nothing moves
    movement_ended: bool

    @classmethod
    def read(cls, message: Message) -> Self | None:
        """None when the payload is not seven numbers."""
        numbers = message.numbers
        return cls(*map(bool, numbers[:7])) if len(numbers) >= 7 else None


@dataclass(frozen=True, slots=True)
class GripperStatus:
    """`[2079][ge,hs,ph,lr,es,fo]`."""

    present: bool
    homed: bool
    holds_part: bool
    limit_reached: bool
    error: bool
    overload: bool

    @classmethod
    def read(cls, message: Message) -> Self | None:
        """None when the payload is not six numbers."""
        numbers = message.numbers
        return cls(*map(bool, numbers[:6])) if len(numbers) >= 6 else None
