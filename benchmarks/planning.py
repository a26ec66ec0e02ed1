"""Plans of a shift: how near they come to the least that any plan can take, and how long planning takes.

Durations are those that the checker expects; planning is in seconds of this machine. `runs` are of 15 states each, over
an arm, a robot, a press and 16 channels; `mixed` has other times in each of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from benchmarks._figures import Figures
from labd.protocol import load
from labd.protocol.checker import compiled
from labd.run.planning import Begun, Bench, Plan, Task, Window, Work, available, greedy, problems_of, solve, warm_up
from labd.run.planning.tasks import Recipes
from labd.run.shipped import find_protocol, library

CHANNELS = 16
LAB = Bench(
    {
        "arm": ("arm",),
        "crimper": ("press",),
        "pipetting_robot": ("robot",),
        "thermostat": ("bath",),
        "potentiostat": tuple(f"cycler.{number}" for number in range(1, CHANNELS + 1)),
    }
)


def shift(name: str, cells: int) -> list[Work]:
    protocol = load(find_protocol(name), name, library())
    program = compiled(protocol)
    recipes = Recipes()
    return [recipes.work(f"cell-{number:04d}", protocol, program) for number in range(1, cells + 1)]


def task(state: str, seconds: float, *roles: str, keeps: str = "") -> Task:
    return Task(state, seconds, dict.fromkeys(roles, 1), frozenset({keeps} - {""}))


LONG = (
    task("dose", 40, "pipetting_robot"),
    task("close", 70, "arm", "pipetting_robot"),
    task("to_press", 73, "arm", "crimper", keeps="crimper"),
    task("crimp", 12, "crimper", keeps="crimper"),
    task("to_cycler", 50, "arm", "crimper", "potentiostat", keeps="potentiostat"),
    task("rest", 600, "potentiostat", keeps="potentiostat"),
    task("form", 3600, "potentiostat", keeps="potentiostat"),
    task("store", 50, "arm", "potentiostat"),
    *(task(f"after_{number}", 20 + number, "pipetting_robot" if number % 2 else "arm") for number in range(7)),
)


def long_runs(count: int, spread: float, seed: int) -> list[Work]:
    dice = random.Random(seed)
    window = Window((0, "start"), (3, "start"), within=400, name="dose to crimp")
    return [
        Work(
            f"run-{number:04d}",
            tuple(Task(t.state, t.duration * dice.uniform(1 - spread, 1 + spread), t.roles, t.keeps) for t in LONG),
            windows=(window,),
        )
        for number in range(1, count + 1)
    ]


def surprised(plan: Plan, works: Sequence[Work], now: float, late: float) -> list[Work]:
    """The works some time later; what is under way takes longer than it should."""
    found: list[Work] = []
    for work in works:
        rows = plan.of(work.id)
        if rows[-1].end <= now:
            continue
        begun = tuple(
            Begun(row.start, row.units, row.end if row.end <= now else None) for row in rows if row.start <= now
        )
        tasks = list(work.tasks)
        if begun and begun[-1].end is None:
            at = len(begun) - 1
            old = tasks[at]
            tasks[at] = Task(old.state, old.duration + late, old.roles, old.keeps, old.frees)
        found.append(Work(work.id, tuple(tasks), work.priority, work.windows, work.ready, begun))
    return found


def timed(make: Callable[[], Plan]) -> tuple[Plan, float]:
    began = time.perf_counter()
    plan = make()
    return plan, time.perf_counter() - began


def planned(name: str, works: Sequence[Work], now: float, figures: Figures, goal: float | None) -> Plan:
    quick, took = timed(lambda: greedy(works, LAB, now))
    assert problems_of(quick, works, LAB) == []
    figures.add(f"{name}_greedy_over_bound", quick.ratio, "ratio", goal=goal, better="lower")
    figures.add(f"{name}_greedy", took, "s")
    best, took = timed(lambda: solve(works, LAB, now))
    assert problems_of(best, works, LAB) == []
    figures.add(f"{name}_solved_over_bound", best.ratio, "ratio", goal=goal, better="lower")
    figures.add(f"{name}_solved", took, "s", goal=2.0, better="lower")
    goal = None if name.endswith("anew") else 0  # what is late already may break windows that none can keep
    figures.add(f"{name}_broken", max(len(quick.broken), len(best.broken)), "windows", goal=goal, better="lower")
    return best


def run(smoke: bool, figures: Figures) -> None:
    figures.add("solver", float(available()), "there")
    warm_up()
    for protocol in ("autobass_cr2032", "aurora_cr2032"):
        for cells in (6,) if smoke else (36, 64):
            planned(f"{protocol}_{cells}", shift(protocol, cells), 0.0, figures, goal=1.10)
    count = 8 if smoke else 64
    for name, spread in (("runs", 0.0), ("runs_mixed", 0.5)):
        works = long_runs(count, spread, seed=3)
        plan = planned(f"{count}_{name}", works, 0.0, figures, goal=None)
        later = surprised(plan, works, plan.makespan / 3, late=120.0)
        planned(f"{count}_{name}_anew", later, plan.makespan / 3, figures, goal=None)
