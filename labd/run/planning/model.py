"""What a plan is made of: works (runs and jobs), their tasks, the units of the bench, and the plan itself.

Nothing here knows devices or runs: the planner is told what there is, and tells who should have which unit when.
All times are in seconds on one clock of the caller's choice, on which `now` is given too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Edge: TypeAlias = Literal["start", "end"]
Units: TypeAlias = Mapping[str, tuple[str, ...]]
"""The units of each role (`crimper`), by name: `press`, or `cycler.3` for one of several of a device."""


@dataclass(frozen=True, slots=True)
class Task:
    """One state of a run on its usual way.

    Args:
        state: its name in the protocol.
        duration: s, as expected.
        roles: how many units it needs of each kind of device, all at once, as long as it lasts.
        keeps: the roles whose unit still holds the sample afterwards; it is blocked until a later task with this role
            takes the sample out, which has to be given the same unit.
        frees: the roles whose unit it empties without needing it: the arm picks the sample there.
    """

    state: str
    duration: float
    roles: Mapping[str, int] = field(default_factory=dict)
    keeps: frozenset[str] = frozenset()
    frees: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Window:
    """At most `within` and at least `at_least` seconds from one edge to another; tasks are counted from 0."""

    begin: tuple[int, Edge]
    finish: tuple[int, Edge]
    within: float | None = None
    at_least: float | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """A task that has begun: its units cannot change any more. `end` is None while it lasts."""

    start: float
    units: Units = field(default_factory=dict)
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A run, or a job that waits: its tasks in order.

    Args:
        id: of the run or the job.
        priority: the higher goes first.
        tasks: on the usual way, the first first.
        windows: between them.
        ready: no task begins before this time; the one that is under way (a held run's) does not end before.
        begun: of the first so many tasks; only the last of them may still last.
        at: where its sample is now, the unit by role, if that is the place of one; what `begun` tasks keep need not
            be told again.
    """

    id: str
    tasks: tuple[Task, ...]
    priority: int = 0
    windows: tuple[Window, ...] = ()
    ready: float = -math.inf
    begun: tuple[Begun, ...] = ()
    at: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """The units by role, the preferred first; `closed` says until when one may not be used (infinity: not known)."""

    units: Units
    closed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One task in a plan. `units` are those that it works with; see `Task.keeps` for what is blocked beyond."""

    work: str
    task: int
    state: str
    units: Units
    start: float
    end: float
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A window that a plan does not keep, and by how many seconds."""

    work: str
    window: Window
    seconds: float

    def __str__(self) -> str:
        name = self.window.name or f"window to task {self.window.finish[0]}"
        return f"{self.work}: {name} by {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Plan:
    """Who has which unit when.

    Args:
        rows: by work in the order in which these begin, and by task.
        now: when it was made.
        makespan: from now to the last end, s.
        bound: what no plan can be shorter than, s.
        solver: who found it: `greedy`, `cyclic`, `cp-sat`.
        broken: the windows that it does not keep: none if that can be helped.
        unplanned: why a work could not be planned, by its id.
    """

    rows: tuple[Row, ...]
    now: float
    makespan: float
    bound: float
    solver: str
    broken: tuple[Broken, ...] = ()
    unplanned: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The makespan over its bound; 1 is the best there is."""
        return self.makespan / self.bound if self.bound > 0 else 1.0

    def of(self, work: str) -> tuple[Row, ...]:
        """The rows of one work."""
        return tuple(row for row in self.rows if row.work == work)

    def order(self) -> tuple[str, ...]:
        """The works in the order in which their first task that has not begun yet begins."""
        first: dict[str, float] = {}
        for row in self.rows:
            if not row.begun:
                first.setdefault(row.work, row.start)
        return tuple(sorted(first, key=lambda work: first[work]))

    def due(self, work: str) -> Row | None:
        """The next task of a work that has not begun."""
        return next((row for row in self.rows if row.work == work and not row.begun), None)

    def ends(self) -> dict[str, float]:
        """When each work ends."""
        return {row.work: row.end for row in self.rows}

    def as_json(self) -> dict[str, Any]:
        """For programs: times in seconds from now."""
        return {
            "makespan": round(self.makespan, 3),
            "bound": round(self.bound, 3),
            "ratio": round(self.ratio, 4),
            "solver": self.solver,
            "broken": [str(one) for one in self.broken],
            "unplanned": dict(self.unplanned),
            "rows": [self._row(row) for row in self.rows],
        }

    def _row(self, row: Row) -> dict[str, Any]:
        return {
            "work": row.work,
            "state": row.state,
            "units": {role: list(units) for role, units in row.units.items()},
            "start": round(row.start - self.now, 3),
            "end": round(row.end - self.now, 3),
            "begun": row.begun,
        }


@dataclass(frozen=True, slots=True)
class Stay:
    """Tasks of one work that need the same units of a role without a break, because the sample stays in there.

    Args:
        role: the kind of device.
        count: how many units.
        tasks: those that work with them, in order.
        last: the task at whose end they are free again; from the start of the first until then nobody else has them.
    """

    role: str
    count: int
    tasks: tuple[int, ...]
    last: int


def stays_of(work: Work) -> Iterator[Stay]:
    """What a work occupies, role by role: stretches of tasks between which its sample stays where it is.

    What is kept and never taken up again is free when the work has ended: somebody takes the sample out.
    """
    for role in dict.fromkeys(role for task in work.tasks for role in task.roles):
        found: list[int] = []
        for index, task in enumerate(work.tasks):
            if role in task.frees and role not in task.roles and found:
                yield Stay(role, max(work.tasks[one].roles[role] for one in found), tuple(found), index)
                found = []
            if role not in task.roles:
                continue
            found.append(index)
            if role not in task.keeps:
                yield Stay(role, max(work.tasks[one].roles[role] for one in found), tuple(found), index)
                found = []
        if found:
            last = len(work.tasks) - 1
            yield Stay(role, max(work.tasks[one].roles[role] for one in found), tuple(found), last)
