"""The table of errors and effects."""

from __future__ import annotations

import random

import pytest

from labd.lab.device import TimeLimit
from labd.run.policy import Reaction, backoff, reaction
from labd.sdk import DeviceError, Effect, Fault, OutcomeUnknown, Rejected, Unreachable

TABLE = [
    (Unreachable, Reaction.RETRY, Reaction.RETRY),
    (OutcomeUnknown, Reaction.RETRY, Reaction.RECONCILE),
    (Rejected, Reaction.FAIL, Reaction.FAIL),
    (Fault, Reaction.MAKE_SAFE, Reaction.MAKE_SAFE),
    (DeviceError, Reaction.MAKE_SAFE, Reaction.MAKE_SAFE),
]


@pytest.mark.parametrize(("error", "repeatable", "once"), TABLE)
def test_the_table(error: type[DeviceError], repeatable: Reaction, once: Reaction) -> None:
    assert reaction(error("x"), Effect.READ) is repeatable
    assert reaction(error("x"), Effect.STATE) is repeatable
    assert reaction(error("x"), Effect.ONCE) is once


def test_a_once_action_is_never_simply_retried_after_it_may_have_happened() -> None:
    retried = [error for error, _, _ in TABLE if reaction(error("x"), Effect.ONCE) is Reaction.RETRY]
    assert retried == [Unreachable]  # nothing was sent


def test_a_time_limit_fails_the_step() -> None:
    assert reaction(TimeLimit("late"), Effect.STATE) is Reaction.FAIL


def test_waits_grow_to_a_bound_and_are_jittered() -> None:
    waits = [backoff(attempt, random.Random(1)) for attempt in range(12)]
    assert waits[0] < 1
    assert max(waits) <= 12.5
    assert backoff(5, random.Random(1)) != backoff(5, random.Random(2))
