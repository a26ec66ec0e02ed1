"""Works and benches for tests: small ones at random, and a shift of cells as AutoBASS makes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from labd.run.planning import Begun, Bench, Plan, Task, Window, Work

ROLES = ("arm", "press", "cycler")
BENCH = Bench({"arm": ("arm",), "press": ("press",), "robot": ("robot",), "bath": ("bath",)})


def task(state: str, seconds: float, *roles: str, keeps: Sequence[str] = (), frees: Sequence[str] = ()) -> Task:
    return Task(state, seconds, dict.fromkeys(roles, 1), frozenset(keeps), frozenset(frees))


CELL = (
    task("prepare", 33, "arm", "bath", "press", "robot"),
    task("lower_half", 150, "arm"),
    task("wet", 170, "arm", "robot"),
    task("upper_half", 200, "arm"),
    task("to_press", 100, "arm", "press", keeps=["press"]),
    task("crimp", 12, "press", keeps=["press"]),
    task("retrieve", 50, "arm", "press"),
)
WETTED = Window((2, "start"), (5, "start"), within=742, name="wet.start to crimp.start")


def cells(count: int, tasks: tuple[Task, ...] = CELL, window: Window = WETTED) -> list[Work]:
    return [Work(f"job-{number:04d}", tasks, windows=(window,)) for number in range(1, count + 1)]


# ── at random ────────────────────────────────────────────────────────────────────────────────────────────────────
@st.composite
def tasks(draw: st.DrawFn, most: int) -> tuple[Task, ...]:
    found: list[Task] = []
    inside: set[str] = set()
    for index in range(draw(st.integers(1, most))):
        roles = draw(st.sets(st.sampled_from(ROLES), min_size=1, max_size=2))
        kept = draw(st.sets(st.sampled_from(sorted(roles)), max_size=1))
        freed = draw(st.sets(st.sampled_from(sorted(inside - roles)), max_size=1)) if inside - roles else set()
        inside = (inside - roles - freed) | kept
        found.append(
            Task(
                f"s{index}", draw(st.integers(1, 9)), dict.fromkeys(sorted(roles), 1), frozenset(kept), frozenset(freed)
            )
        )
    return tuple(found)


@st.composite
def windows(draw: st.DrawFn, of: tuple[Task, ...]) -> tuple[Window, ...]:
    """One window or none, that can be kept by a work alone."""
    if len(of) < 2 or draw(st.booleans()):
        return ()
    begin = draw(st.integers(0, len(of) - 2))
    finish = draw(st.integers(begin + 1, len(of) - 1))
    apart = sum(one.duration for one in of[begin:finish])
    least = draw(st.one_of(st.none(), st.integers(1, int(apart) + 5)))
    within = draw(st.one_of(st.none(), st.integers(0, 6)))
    within = None if within is None else within + max(apart, least or 0)
    return (Window((begin, "start"), (finish, "start"), within, least),)


@st.composite
def works(draw: st.DrawFn, most: int = 6, longest: int = 5) -> list[Work]:
    found: list[Work] = []
    for number in range(draw(st.integers(1, most))):
        if found and draw(st.booleans()):
            like = found[-1]
            found.append(Work(f"w{number}", like.tasks, like.priority, like.windows))
            continue
        own = draw(tasks(longest))
        ready = draw(st.one_of(st.just(-math.inf), st.integers(0, 30)))
        found.append(Work(f"w{number}", own, draw(st.integers(0, 2)), draw(windows(own)), float(ready)))
    return found


@st.composite
def benches(draw: st.DrawFn) -> Bench:
    counts = {role: draw(st.integers(1, 3)) for role in ROLES}
    units = {role: tuple(f"{role}.{number}" for number in range(count)) for role, count in counts.items()}
    closed = {"cycler.0": float(draw(st.integers(0, 40)))} if draw(st.booleans()) else {}
    return Bench(units, closed)


def later(plan: Plan, works: Sequence[Work], now: float) -> list[Work]:
    """The same works some time later, when all has gone by the plan; those that have ended are left away."""
    found: list[Work] = []
    for work in works:
        rows = plan.of(work.id)
        begun = tuple(
            Begun(row.start, row.units, row.end if row.end <= now else None) for row in rows if row.start <= now
        )
        if rows and rows[-1].end > now:
            found.append(Work(work.id, work.tasks, work.priority, work.windows, work.ready, begun, work.at))
    return found
