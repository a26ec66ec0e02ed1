"""Following a plan: who goes before whom at a unit, and from when on a time window can be kept.

The plan is followed in its order, not by its clock: what does not touch anybody else's turn may begin early. Only what
opens a time window waits for its time. A run whose turn has come and who does not take it keeps others waiting for
GRACE and no longer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from labd import clock
from labd.protocol.program import Program
from labd.run.planning.model import Broken, Plan, Row, Work
from labd.run.scheduling.policy import Rank
from labd.run.scheduling.visits import Visits

GRACE = 30.0  # s; so long after its turn a run still goes before others
EARLY = 1.0  # s; so long before its turn what opens a window may begin
SURPRISE = 5.0  # s; what is so much earlier or later than planned is a surprise, and the rest is planned anew,
SHARE = 0.05  # or by this share of its time, if that is longer
PLANNING = "waits for its turn: the plan is being made"


@dataclass(frozen=True, slots=True)
class Aims:
    """What decisions need to know of runs.

    Args:
        name: a run's name in plans.
        program: what a run executes.
        begun: how many tasks have begun by now, of the works that have.
    """

    name: Callable[[str], str]
    program: Callable[[str], Program | None]
    begun: Callable[[], Mapping[str, int]]


class Following:
    """The policy of reservations that follows a plan. Synchronous; whoever makes plans is told of surprises.

    Args:
        aims: of the runs.
        visits: what runs have done.
        surprise: called when something comes otherwise than planned.
        look: called when somebody who waits should be looked at again.
    """

    def __init__(self, aims: Aims, visits: Visits, surprise: Callable[[], None], look: Callable[[], None]) -> None:
        self.plan: Plan | None = None
        self._free = False  # planning failed
        self._came: dict[tuple[str, int], float] = {}  # since when it is the turn of a row, over all plans
        self._aims = aims
        self._visits = visits
        self._surprise = surprise
        self._look = look
        self._due: dict[str, list[Row]] = {}  # by work, what has not begun, the next first
        self._at_unit: dict[str, list[Row]] = {}  # the same by unit, the first first
        self._opens: set[tuple[str, int]] = set()  # tasks with which a time window begins
        self._lasting: dict[str, Row] = {}  # by work, the row that it is in
        self._timers: dict[float, asyncio.TimerHandle] = {}
        self._overdue: dict[str, asyncio.TimerHandle] = {}  # by work

    def follow(self, plan: Plan | None, works: Sequence[Work] = ()) -> None:
        """Follows this plan from now on."""
        self.plan = plan
        self._free = False
        due, at_unit = defaultdict[str, list[Row]](list), defaultdict[str, list[Row]](list)
        self._lasting = {}
        begun = self._aims.begun()
        for row in plan.rows if plan is not None else ():
            if row.task < begun.get(row.work, 0):  # some of it while the plan was made
                self._lasting[row.work] = row
                continue
            due[row.work].append(row)
            for unit in _units(row):
                at_unit[unit].append(row)
        self._due = dict(due)
        self._at_unit = {unit: sorted(rows, key=lambda row: row.start) for unit, rows in at_unit.items()}
        self._opens = {
            (work.id, window.begin[0]) for work in works for window in work.windows if window.within is not None
        }
        self._came = {
            key: since
            for key, since in self._came.items()
            if key in {(row.work, row.task) for rows in self._due.values() for row in rows}
        }
        self.close()
        for row in self._lasting.values():
            self._expect(row)

    def close(self) -> None:
        """Forgets its timers."""
        for timer in (*self._timers.values(), *self._overdue.values()):
            timer.cancel()
        self._timers, self._overdue = {}, {}

    def do_without(self) -> None:
        """There is no plan: everybody goes where it likes."""
        self.follow(None)
        self._free = True

    @property
    def is_free(self) -> bool:
        """Whether everybody goes where it likes, for there is no plan."""
        return self._free

    def hopeless_windows(self, name: str) -> str:
        """That the plan cannot keep windows of a work that are not open yet, in words; empty when it can."""
        told = (one for one in (self.plan.broken if self.plan is not None else ()) if one.work == name)
        which = "; ".join(str(one).partition(": ")[2] for one in told if not self._is_open(one))
        return f"its time window cannot be kept: {which}" if which else ""

    def _is_open(self, broken: Broken) -> bool:
        return broken.window.begin[0] < self._aims.begun().get(broken.work, 0)

    def due(self, name: str) -> Row | None:
        """The next row of a work."""
        rows = self._due.get(name)
        return rows[0] if rows else None

    # ── what reservations ask ────────────────────────────────────────────────────────────────────────────────────
    def rank(self, run: str, order: int) -> Rank:
        row = self.due(self._aims.name(run))
        return (0.0, row.start, order) if row is not None else (1.0, order)

    def preferred(self, run: str, kind: str) -> Sequence[str]:
        row = self.due(self._aims.name(run))
        return row.units.get(kind, ()) if row is not None else ()

    def objection(self, run: str, state: str, units: Collection[str]) -> str | None:
        if self._free:
            return None
        row = self.due(self._aims.name(run))
        if row is None or row.state != state:
            return PLANNING if self._opens_window(run, state) and not self._hopeless(run) else None
        now = clock.monotonic()
        if (row.work, row.task) in self._opens and (broken := self.hopeless_windows(row.work)):
            return broken
        if (row.work, row.task) in self._opens and now < row.start - EARLY:
            self.look_at(row.start)
            return f"begins at {at_time(row.start)}, for its time window can be kept from then on"
        return self._turn_of(row, units, now)

    def _turn_of(self, row: Row, units: Collection[str], now: float) -> str | None:
        """Who goes first at one of these units, in words, or None."""
        for unit in units:
            for other in self._at_unit.get(unit, ()):
                if other.start >= row.start:
                    break
                if other.work == row.work:
                    continue
                lapses = self._came.get((other.work, other.task), other.start) + GRACE
                if other.start <= now:
                    self._came.setdefault((other.work, other.task), other.start)
                if now < lapses:
                    self.look_at(lapses)
                    return f"waits for its turn: {unit} goes to {other.work} first"
        return None

    def _hopeless(self, run: str) -> bool:
        """Whether the plan has no place for a run: a device that it needs is not there, and that will be told."""
        return self.plan is not None and self._aims.name(run) in self.plan.unplanned

    def _opens_window(self, run: str, state: str) -> bool:
        program = self._aims.program(run)
        return program is not None and any(
            rule.begin[0] == state and rule.within is not None for rule in program.windows
        )

    # ── what reservations tell ───────────────────────────────────────────────────────────────────────────────────
    def left(self, run: str) -> None:
        past = self._visits.left(run)
        row = self._lasting.pop(self._aims.name(run), None)
        if row is not None and past is not None and past.end is not None and _far(past.end - row.end, row):
            self._surprise()

    def asked(self, run: str, state: str) -> None:
        self.left(run)  # it may have had nothing to give back
        due = self.due(self._aims.name(run))
        if due is None or due.state != state:
            self._surprise()

    def granted(self, run: str, state: str, units: Mapping[str, tuple[str, ...]]) -> None:
        self._visits.entered(run, state, units)
        name = self._aims.name(run)
        row = self.due(name)
        if row is None or row.state != state:
            self._surprise()
            return
        self._due[name].pop(0)
        for unit in _units(row):
            self._at_unit[unit].remove(row)
        self._lasting[name] = row
        self._expect(row)
        has = {unit for names in units.values() for unit in names}
        if _far(clock.monotonic() - row.start, row) or {*_units(row)} != has:
            self._surprise()

    def ended(self, run: str) -> None:
        self._visits.forget(run)
        self._surprise()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _expect(self, row: Row) -> None:
        """What lasts much longer than planned is a surprise too, and not only once it has ended."""
        before = self._overdue.pop(row.work, None)
        if before is not None:
            before.cancel()
        late = max(row.end, clock.monotonic()) + _leeway(row)
        self._overdue[row.work] = asyncio.get_running_loop().call_at(late, self._is_late, row)

    def _is_late(self, row: Row) -> None:
        if self._lasting.get(row.work) is row:
            self._surprise()

    def look_at(self, when: float) -> None:
        """Has those who wait looked at again then; once for each moment."""
        if when not in self._timers:
            self._timers[when] = asyncio.get_running_loop().call_at(when, self._ring, when)

    def _ring(self, when: float) -> None:
        self._timers.pop(when, None)
        self._look()


def _units(row: Row) -> tuple[str, ...]:
    return tuple(unit for units in row.units.values() for unit in units)


def _leeway(row: Row) -> float:
    """By how many seconds a row may come otherwise than planned before that is a surprise."""
    return max(SURPRISE, SHARE * (row.end - row.start))


def _far(seconds: float, row: Row) -> bool:
    return abs(seconds) > _leeway(row)


def at_time(when: float) -> str:
    """A moment of the lab's monotonic clock, as a person reads it."""
    moment = clock.now() + timedelta(seconds=when - clock.monotonic())
    return moment.astimezone().strftime("%H:%M:%S")
