"""When what a run waits for is over: by the lab's wall clock across a restart, monotonic within a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from labd import clock
from labd.lab.limit import Limit
from labd.protocol import messages as m
from labd.protocol.machine.snapshot import to_json


@dataclass(slots=True)
class Times:
    """The sleeps and time limits of one run, by the ids of their steps."""

    _sleeps: dict[str, tuple[m.Sleep, str]] = field(default_factory=dict)  # with when it is over
    _limits: dict[str, Limit] = field(default_factory=dict)

    def sleep(self, command: m.Sleep, seconds: float) -> None:
        """A sleep begins, of so many seconds from now."""
        self._sleeps[command.step_id] = command, _after(seconds)

    def limit(self, step: str, within: float) -> Limit:
        """The limit of a step that begins to wait; it may be paused."""
        self._limits[step] = limit = Limit(within)
        return limit

    def over(self, step: str) -> None:
        """What waits under this id does so no more."""
        self._sleeps.pop(step, None)
        self._limits.pop(step, None)

    def forget(self) -> None:
        """Nothing is waited for any more."""
        self._sleeps.clear()
        self._limits.clear()

    def as_json(self) -> dict[str, Any]:
        return {
            "sleeps": {
                step: {"command": to_json(command), "due": due} for step, (command, due) in self._sleeps.items()
            },
            "limits": {
                step: {"left": limit.left} if limit.paused else {"due": _after(limit.left)}
                for step, limit in self._limits.items()
            },
        }


def limits_as_json(left: Mapping[str, float], *, paused: bool) -> dict[str, Any]:
    """Limits with so many s left, by step, as `seconds_left` reads them."""
    return {step: {"left": seconds} if paused else {"due": _after(seconds)} for step, seconds in left.items()}


def seconds_left(told: Mapping[str, Any] | None, whole: float) -> float:
    """Seconds that are left of what `Times.as_json` told of a sleep or limit; the whole where it told nothing.

    Never more than the whole: a wall clock that was set back meanwhile makes nothing longer.
    """
    if told is None:
        return whole
    if "left" in told:
        return min(whole, float(told["left"]))
    due = datetime.fromisoformat(told["due"])
    return max(0.0, min(whole, (due - clock.now()).total_seconds()))


def _after(seconds: float) -> str:
    return clock.stamp(clock.now() + timedelta(seconds=min(seconds, _LONGEST)))


_LONGEST = 100 * 365.25 * 86400.0  # s; what a calendar can still say
