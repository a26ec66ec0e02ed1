"""What follows from an error of a device: one table over error class and effect, here and nowhere else."""

from __future__ import annotations

import random
from enum import StrEnum

from labd.protocol.messages import FailureKind
from labd.sdk import DeviceError, Effect, Fault, OutcomeUnknown, Rejected, Unreachable


class Reaction(StrEnum):
    RETRY = "retry"  # with jittered back-off, within the step's time limit
    RECONCILE = "reconcile"  # ask the device what became of it; if it cannot tell, hold and ask a person
    FAIL = "fail"  # the step fails: the protocol may catch it, else the run is held
    MAKE_SAFE = "make_safe"  # safe state of the device, then as FAIL


_TABLE: dict[tuple[type[DeviceError], bool], Reaction] = {
    # (error class, is the action ONCE)
    (Unreachable, False): Reaction.RETRY,
    (Unreachable, True): Reaction.RETRY,
    (OutcomeUnknown, False): Reaction.RETRY,
    (OutcomeUnknown, True): Reaction.RECONCILE,
    (Rejected, False): Reaction.FAIL,
    (Rejected, True): Reaction.FAIL,
    (Fault, False): Reaction.MAKE_SAFE,
    (Fault, True): Reaction.MAKE_SAFE,
}


def reaction(error: DeviceError, effect: Effect, *, accepted: bool = False) -> Reaction:
    """The table's answer. A time limit that ran out fails the step; an error class of no row counts as a Fault.

    Args:
        error: what the driver raised.
        effect: of the action.
        accepted: the device has taken the order before: then "nothing was sent" cannot be, and the outcome is unknown.
    """
    if error.kind == "timeout":
        return Reaction.FAIL
    if accepted and effect is Effect.ONCE and isinstance(error, Unreachable):
        return Reaction.RECONCILE
    for kind in type(error).__mro__:
        found = _TABLE.get((kind, effect is Effect.ONCE))
        if found is not None:
            return found
    return Reaction.MAKE_SAFE


def failure_kind(error: DeviceError) -> FailureKind:
    """The kind that a protocol may catch. What may be repeated and never gave an outcome was late."""
    match error.kind:
        case "unreachable":
            return "unreachable"
        case "rejected":
            return "rejected"
        case "timeout" | "unknown":
            return "timeout"
        case _:
            return "fault"


def backoff(attempt: int, generator: random.Random) -> float:
    """Seconds before the next attempt: doubling from half a second to ten, jittered by a quarter."""
    return min(0.5 * 2.0**attempt, 10.0) * generator.uniform(0.75, 1.25)
