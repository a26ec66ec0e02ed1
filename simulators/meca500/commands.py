"""The arm's text commands: which there are, what they take, what is answered at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulators.meca500.arm import Arm

_COMMAND = re.compile(r"\s*(\w+)\s*(?:\(\s*(.*?)\s*\))?\s*")


@dataclass(frozen=True)
class Signature:
    """How many numbers a command takes, and between which bounds each is."""

    count: int = 0
    low: float = float("-inf")
    high: float = float("inf")


QUEUED: dict[str, Signature] = {
    "MoveJoints": Signature(6),
    "MovePose": Signature(6),
    "MoveLin": Signature(6),
    "MoveLinRelTRF": Signature(6),
    "MoveLinRelWRF": Signature(6),
    "GripperOpen": Signature(),
    "GripperClose": Signature(),
    "MoveGripper": Signature(1, 0),
    "Delay": Signature(1, 0),
    "SetCheckpoint": Signature(1, 1, 8191),  # people's end at 8000; those above are the maker's own client's
    "SetTRF": Signature(6),
    "SetWRF": Signature(6),
    "SetJointVel": Signature(1, 0.001, 100),
    "SetJointAcc": Signature(1, 0.001, 150),
    "SetCartLinVel": Signature(1, 0.001, 1000),
    "SetCartAngVel": Signature(1, 0.001, 300),
    "SetCartAcc": Signature(1, 0.001, 600),
    "SetBlending": Signature(1, 0, 100),
    "SetGripperForce": Signature(1, 5, 100),
    "SetGripperVel": Signature(1, 5, 100),
}
_QUEUED = {name.lower(): name for name in QUEUED}


class Refused(Exception):
    """A command that is not carried out: the code and text that go back."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def parse(message: str) -> tuple[str, tuple[float, ...]]:
    """Name (lower case: the robot does not mind) and numbers. Raises Refused."""
    match = _COMMAND.fullmatch(message)
    if match is None:
        raise Refused(1002, f'Syntax error, symbol missing. - Command: "{message}"')
    name, arguments = match.groups()
    if not arguments:
        return name.lower(), ()
    try:
        return name.lower(), tuple(float(part) for part in arguments.split(","))
    except ValueError:
        raise Refused(1003, f'Argument error. - Command: "{message}"') from None


def carry_out(arm: Arm, message: str, immediate: Mapping[str, Callable[[tuple[float, ...]], None]]) -> None:
    """Does or queues what a message says. `immediate` are the commands that do not queue. Raises Refused."""
    name, values = parse(message)
    if name in immediate:
        immediate[name](values)
        return
    if name not in _QUEUED:
        raise Refused(1001, f'Command not recognized. - Command: "{message}"')
    moveable(arm, homed=True)
    known = _QUEUED[name]
    signature = QUEUED[known]
    if len(values) != signature.count or any(not signature.low <= value <= signature.high for value in values):
        raise Refused(1003, f'Argument error. - Command: "{message}"')
    arm.enqueue(known, values)


def moveable(arm: Arm, *, homed: bool) -> None:
    """Raises Refused when the arm may not move at all."""
    if arm.error:
        raise Refused(1011, "The robot is in error.")
    if not arm.activated:
        raise Refused(1005, "The robot is not activated.")
    if homed and not arm.homed:
        raise Refused(1006, "The robot is not homed.")
