"""What the arm's alarm numbers mean. Numbers as in Dobot's alarm_controller.json for four-axis robots."""

from __future__ import annotations

from collections.abc import Sequence

_JOINT_LIMIT = "a joint is at the end of its range; teach the position again"

_CONTROLLER = {
    -3: "the safe skin was touched",
    -2: "a collision was detected",
    1: "the I/O board is lost",
    **{number: f"axis {number - 1} is lost" for number in range(2, 6)},
    16: "the position is a singularity; teach it again",
    17: "the position is out of reach; teach it again",
    18: "the position is beyond a joint's limit; teach it again",
    23: "the straight way leaves the working area; teach the position again",
    30: "the position is out of reach; teach it again",
    32: "the way goes through a singularity; teach the position again",
    33: "the way leaves the arm's reach; teach the position again",
    34: "the way leaves the working area; teach the position again",
    **{number: f"joint {number - 47} is too fast" for number in range(48, 52)},
    **{number: f"joint {number - 51} does not follow" for number in range(52, 56)},
    **dict.fromkeys(range(64, 76), _JOINT_LIMIT),
    **{number: f"joint {number - 79} has lost steps; switch the arm off and on" for number in range(80, 84)},
    85: "E-stop",
    86: "E-stop, by its user button",
    **{number: f"the drive of joint {(number - 94) // 2} has an alarm" for number in range(96, 104)},
    104: "homing failed",
    105: "its servos do not switch on",
    110: "an encoder's position is wrong; calibrate the arm",
    112: "a collision was detected",
    12288: "E-stop",
    12289: "E-stop, at its external input",
    12290: "its power board is too hot",
    12292: "protective stop",
    12293: "a servo is offline",
    12294: "a collision was detected",
}


def told(alarms: Sequence[Sequence[int]]) -> str:
    """All alarms in words: of the controller (first list) and of the axes' servos; empty when there are none."""
    words = [f"{number} ({_CONTROLLER.get(number, 'see alarm_controller.json of Dobot')})" for number in alarms[0]]
    words += [
        f"{number} (servo of axis {axis}, see alarm_servo.json of Dobot)"
        for axis, servo in enumerate(alarms[1:], 1)
        for number in servo
    ]
    return ", ".join(words)
