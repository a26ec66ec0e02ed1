"""What bounds commands: their size, how many are in hand, and how many lines a flood of them may cost."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labd import clock

LARGEST = 2_500_000  # bytes of a command: the longest protocol, and what belongs to it
LONGEST = 4_096  # bytes of a response topic, and of correlation data
IN_HAND = 256  # commands that have no answer yet
URGENT_IN_HAND = 1_024  # the same of the urgent ones, apart
IN_HAND_OF_ONE = 128  # the same, of one user
ENDS = 1_000  # commands whose end is waited for
ANSWERS = 1_000  # that wait to be sent, before repeated ones and refusals are dropped
MOST_ANSWERS = 5_000  # that wait to be sent, before no further command is taken

URGENT = frozenset({"hold", "stop", "abort"})
"""Counted by themselves, so that no flood of other commands is in their way."""

_ID = re.compile(rb'"command_id"\s*:\s*"([a-z0-9_-]{1,64})"')
_EITHER_END = 4_096  # bytes that are looked through for the id of a command that cannot be read


@dataclass(slots=True)
class Bucket:
    """So many at once, and so many a second in the long run.

    Args:
        most: at once.
        refill: 1/s.
    """

    most: float
    refill: float
    _left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._at = self.most, clock.monotonic()

    def take(self) -> bool:
        """Whether there is still one."""
        now = clock.monotonic()
        self._left = min(self.most, self._left + (now - self._at) * self.refill)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


@dataclass(slots=True)
class Hand:
    """Commands that were taken and are not answered yet, by user; the urgent ones apart from the others."""

    _of: Counter[tuple[str, bool]] = field(default_factory=Counter)
    _all: Counter[bool] = field(default_factory=Counter)

    def full(self, user: str, verb: str) -> str | None:
        """Why no further one is taken, or None."""
        urgent = verb in URGENT
        if self._of[user, urgent] >= IN_HAND_OF_ONE:
            return f"{IN_HAND_OF_ONE} commands of {user} have no answer yet; wait for those and give it again"
        most = URGENT_IN_HAND if urgent else IN_HAND
        if self._all[urgent] >= most:
            return f"{most} commands have no answer yet; wait a moment and give it again"
        return None

    def take(self, user: str, verb: str) -> None:
        urgent = verb in URGENT
        self._of[user, urgent] += 1
        self._all[urgent] += 1

    def give_back(self, user: str, verb: str) -> None:
        urgent = verb in URGENT
        self._all[urgent] -= 1
        self._of[user, urgent] -= 1
        if not self._of[user, urgent]:
            del self._of[user, urgent]  # names of users are the senders' own: none is kept


def id_in(payload: bytes) -> str | None:
    """The id of a command that cannot be read as a whole, if it can be seen: so that its sender gets an answer."""
    found = _ID.search(payload[:_EITHER_END]) or _ID.search(payload[-_EITHER_END:])
    return found[1].decode() if found else None


def no_number(value: Any) -> bool:
    """Whether there is a number in it that JSON has no word for: NaN, or one beyond a float, 1e999."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(no_number(one) for one in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(no_number(one) for one in value)
    return False
