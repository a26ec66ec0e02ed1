"""How far a run is, and when it ends when all goes well: by what is expected of its states, or was learnt of them.

Worked out when it is asked for, from one clock reading: nothing runs for it, and nothing is journaled for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from labd import clock
from labd.protocol.proofs.outlook import Outlook

Learnt: TypeAlias = Callable[[str], float | None]
"""Seconds that one visit of a state took before; None where nothing is known of it."""

LEAST = 1.0  # s; so much a state counts at least, so that one that only asks is a part of the way too
NEARLY = 0.99  # a run that has not ended is never told to be further


def nothing_learnt(_: str) -> float | None:
    """Only what the checker expects is known."""
    return None


class Forecast:
    """Of one run.

    Args:
        outlook: what lies ahead in its protocol.
        elapsed: lab seconds that stand still while the run is held.
    """

    def __init__(self, outlook: Outlook, elapsed: Callable[[], float]) -> None:
        self._learnt: Learnt = nothing_learnt
        self._outlook = outlook
        self._elapsed = elapsed
        self._state = ""
        self._visit = 0
        self._began: float | None = None  # on the watch; None before the state's devices are there
        self._done = 0.0  # weight of the states that were left
        self._shown = 0.0
        self._expect(outlook.start)

    def learn(self, learnt: Learnt) -> None:
        """From now on this goes before what the checker expects; it is asked once a state."""
        self._learnt = learnt
        self._expect(self._state or self._outlook.start)

    def enter(self, state: str, visit: int) -> None:
        """It goes to a state, and waits for its devices."""
        if (state, visit) == (self._state, self._visit):
            return  # taken up after a restart
        if self._state:
            self._done += max(LEAST, self._own)
        self._state, self._visit, self._began = state, visit, None
        self._expect(state)

    def begin(self) -> None:
        """The state's devices are there."""
        self._began = self._elapsed()

    def _expect(self, state: str) -> None:
        """Adds up what lies ahead from a state; once a state, not each time that it is asked."""
        after = self._outlook.after(state)
        ahead = after or ()
        told = {name: self._learnt(name) for name in (state, *ahead)}
        vague = any(seconds is None and name in self._outlook.vague for name, seconds in told.items())
        self._sure = after is not None and not vague
        seconds = {name: self._outlook.seconds.get(name, 0.0) if one is None else one for name, one in told.items()}
        self._own = seconds[state]
        self._ahead = sum(seconds[name] for name in ahead)
        self._weight_ahead = sum(max(LEAST, seconds[name]) for name in ahead)

    @property
    def _spent(self) -> float:
        return 0.0 if self._began is None else self._elapsed() - self._began

    @property
    def seconds_left(self) -> float | None:
        """Until the end when all goes well; None where nobody knows how long something on the way takes."""
        return self._ahead + max(0.0, self._own - self._spent) if self._sure else None

    @property
    def expected_end(self) -> str | None:
        """When it ends if it goes on from now as expected, RFC 3339; None where nobody knows."""
        left = self.seconds_left
        try:
            return None if left is None else clock.stamp(clock.now() + timedelta(seconds=left))
        except OverflowError:  # no calendar goes so far
            return None

    @property
    def progress(self) -> float:
        """From 0 to 1, by what is expected of the states passed and of those ahead; it never falls."""
        weight = max(LEAST, self._own)
        within = weight * min(1.0, self._spent / self._own) if self._own > 0 else 0.0
        done = self._done + within
        self._shown = max(self._shown, min(NEARLY, done / (self._done + weight + self._weight_ahead)))
        return self._shown

    # ── across a restart ─────────────────────────────────────────────────────────────────────────────────────────
    def as_json(self) -> dict[str, Any]:
        return {
            "state": self._state,
            "visit": self._visit,
            "done": round(self._done, 3),
            "shown": round(self.progress, 4),
            "spent": None if self._began is None else round(self._spent, 3),
            "at": clock.stamp(),
        }

    def take_up(self, told: Mapping[str, Any], *, paused: bool) -> None:
        """As it was when it was written down; what acts without labd went on since, unless the run was held."""
        self._state, self._visit, self._done, self._shown = told["state"], told["visit"], told["done"], told["shown"]
        if self._state:
            self._expect(self._state)
        if told["spent"] is not None:
            since = 0.0 if paused else (clock.now() - datetime.fromisoformat(told["at"])).total_seconds()
            self._began = self._elapsed() - told["spent"] - max(0.0, since)
