"""What no plan can be shorter than, and how much work each kind of device has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from labd.run.planning.model import Bench, Work, stays_of


def lower_bound(works: Sequence[Work], bench: Bench, now: float = 0.0) -> float:
    """Seconds from now that no plan of these works undercuts.

    The greatest of: the longest work alone; and of each role its work shared over its units, with the least that comes
    before the first and after the last of it. It need not be reached: who waits for whom is not looked at.
    """
    found = max((sum(_left(work, now)) + _wait(work, now) for work in works), default=0.0)
    for role, units in bench.units.items():
        if units:
            found = max(found, _busiest(works, role, len(units), now))
    return found


def load(works: Sequence[Work], role: str, now: float = 0.0) -> float:
    """Seconds that the units of a role are needed in all, waits in them left away."""
    return sum(seconds for work in works for seconds, _, _ in _needs(work, role, now))


def _busiest(works: Sequence[Work], role: str, units: int, now: float) -> float:
    needs = [need for work in works for need in _needs(work, role, now)]
    if not needs:
        return 0.0
    head = min(before for _, before, _ in needs)
    tail = min(after for _, _, after in needs)
    return head + sum(seconds for seconds, _, _ in needs) / units + tail


def _needs(work: Work, role: str, now: float) -> list[tuple[float, float, float]]:
    """For each stay in a unit of the role: unit-seconds, and the least seconds of the work before and after it."""
    left = _left(work, now)
    found: list[tuple[float, float, float]] = []
    for stay in stays_of(work):
        first = stay.tasks[0]
        seconds = sum(left[first : stay.last + 1])
        if stay.role == role and (seconds > 0 or stay.last >= len(work.begun)):
            before = sum(left[:first]) + (_wait(work, now) if first >= len(work.begun) else 0.0)
            found.append((seconds * stay.count, before, sum(left[stay.last + 1 :])))
    return found


def _left(work: Work, now: float) -> list[float]:
    """Seconds that are left of each task."""
    left = [max(0.0, task.duration) for task in work.tasks]
    for index, begun in enumerate(work.begun):
        left[index] = 0.0 if begun.end is not None else max(0.0, begun.start + left[index] - now)
    return left


def _wait(work: Work, now: float) -> float:
    """Seconds until a work that has not begun is ready."""
    return max(0.0, work.ready - now) if not work.begun and math.isfinite(work.ready) else 0.0
