"""The kill matrix: SIGKILL of the daemon at every boundary of its journal and at any instant, and cells that come out.

Daemon and simulators are processes of their own on one scaled clock, so that what was ordered goes on without labd.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks._figures import Figures
from benchmarks.faults.lab import WELLS
from benchmarks.faults.person import GONE, LOOKS_EVERY, Person
from benchmarks.faults.scripts import Script, autobass, effects_of, rehearsed, short_cell
from benchmarks.faults.theatre import SCALE, Theatre, theatre
from labd import clock
from labd.journal import Event, Journal
from labd.run.history import fold
from simulators._kit.world import World

ENDS = 60.0  # s of which a life without kills is over, with all cells made
AT_RANDOM = 0.25  # chance that a life is also cut at any instant
SOON = 1.2  # s; that instant is within
LANES = 2  # labs at a time


@dataclass(frozen=True, slots=True)
class Plan:
    """One lab: which cells, and how often its daemon is killed.

    Args:
        script: what is made.
        cells: how many.
        kills: at most so many; then the daemon may live.
        share: of the journal's boundaries that are hit, 0 to 1.
        seed: of all that is by chance.
    """

    script: Script
    cells: int
    kills: int
    share: float
    seed: int


@dataclass(slots=True)
class Killed:
    """What was found out over all labs."""

    kills: int = 0
    sides: Counter[str] = field(default_factory=Counter)
    boundaries: set[str] = field(default_factory=set)
    cells: int = 0
    complete: int = 0
    acknowledged: int = 0
    lost: int = 0
    broken_chains: int = 0
    not_up: int = 0
    twice: int = 0
    differ: int = 0
    misplaced: int = 0
    in_flight: int = 0
    by_device: int = 0
    unknown: int = 0
    held: int = 0
    left_open: int = 0
    asked: Counter[str] = field(default_factory=Counter)  # by device and action
    reasons: Counter[str] = field(default_factory=Counter)  # of what people were asked, in words
    told: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)  # s from the process to its first answer

    def tell(self, figures: Figures, wanted: int) -> None:
        """Its figures, and in words what fell short."""
        figures.add("kill.kills", self.kills, "kills", goal=wanted)
        for side in ("before", "after", "instant"):
            figures.add(f"kill.{side}", self.sides[side], "kills")
        figures.add("kill.boundaries", len(self.boundaries), "boundaries")
        figures.add("kill.acknowledged", self.acknowledged, "answers")
        figures.add("kill.acknowledged_lost", self.lost, "answers", goal=0, better="lower")
        figures.add("kill.broken_journals", self.broken_chains, "journals", goal=0, better="lower")
        figures.add("kill.starts_failed", self.not_up, "starts", goal=0, better="lower")
        figures.add("kill.cells", self.cells, "cells")
        figures.add("kill.complete", 100 * self.complete / max(1, self.cells), "%", goal=100)
        figures.add("kill.done_twice", self.twice, "effects", goal=0, better="lower")
        figures.add("kill.world_differs", self.differ, "cells", goal=0, better="lower")
        figures.add("kill.samples_misplaced", self.misplaced, "samples", goal=0, better="lower")
        figures.add("kill.actions_unsettled", self.in_flight, "actions")
        figures.add("kill.settled_by_device", self.by_device, "actions")
        figures.add("kill.asked_a_person", self.unknown, "actions")
        figures.add("kill.unknown_held", 100 * self.held / self.unknown if self.unknown else 100.0, "%", goal=100)
        figures.add("kill.left_open", self.left_open, "actions", goal=0, better="lower")
        for name, count in sorted(self.asked.items()):
            figures.add(f"kill.asked.{name}", count, "questions")
        if self.starts:
            figures.add("kill.start_median", sorted(self.starts)[len(self.starts) // 2], "s")
        for reason, count in self.reasons.most_common():
            print(f"# kill: asked {count} times: {reason}", file=sys.stderr)
        for line in self.told:
            print(f"# kill: {line}", file=sys.stderr)


def play(directory: Path, plan: Plan, found: Killed) -> None:
    """One lab whose daemon is killed again and again, until all its cells have ended."""
    rng = random.Random(f"kill/{plan.seed}")
    wells = WELLS[: plan.cells]
    with theatre(directory, plan.script, plan.seed) as lab:
        person = Person(lab.api, plan.script, wells, lab.look, lab.bare, rng, SCALE)
        kills, over = 0, False
        while not over:
            last = kills >= plan.kills
            lab.live(plan.seed, 0.0 if last else plan.share)
            began = time.monotonic()
            cut = threading.Timer(rng.uniform(0.0, SOON), lab.kill)
            if not last and rng.random() < AT_RANDOM:
                cut.start()
            over = _through(lab, person, began, found)
            cut.cancel()
            if over:
                lab.end()
            elif time.monotonic() > began + ENDS:
                lab.kill()
            lab.join()
            if not over and lab.ended != -9:
                found.not_up += 1
                found.told.append(f"a daemon ended with status {lab.ended}: {lab.directory}")
                break
            if not over:
                kills += 1
                if last:
                    found.told.append(f"the cells were not made within {ENDS:g} s: {person.refused[-1:]}")
                    break
        found.kills += kills
        _judge(lab, plan, person, found)


def _through(lab: Theatre, person: Person, began: float, found: Killed) -> bool:
    """A person at work for as long as a daemon lives; whether the cells have ended."""
    up = False
    while lab.ended is None and time.monotonic() < began + ENDS:
        with contextlib.suppress(*GONE):
            over = person.work()
            if not up:
                found.starts.append(time.monotonic() - began)
                up = True
            if over:
                return True
        time.sleep(LOOKS_EVERY)
    return False


# ── what became of it ────────────────────────────────────────────────────────────────────────────────────────────
def read(path: Path) -> tuple[list[Event], int | None]:
    """A journal that nobody has open: its events, and the first that breaks the chain."""

    async def reading() -> tuple[list[Event], int | None]:
        journal = await Journal.open(path)
        try:
            return await journal.events(), await journal.verify()
        finally:
            await journal.close()

    return clock.run(reading())


def _judge(lab: Theatre, plan: Plan, person: Person, found: Killed) -> None:
    world = lab.look()
    events, broken = read(lab.journal)
    found.broken_chains += broken is not None
    found.acknowledged += len(person.yes)
    found.lost += person.yes.lost(events)
    for line in lab.hits.read_text().splitlines() if lab.hits.exists() else ():
        hit = json.loads(line)
        found.sides[hit["side"]] += 1
        found.boundaries |= set(hit["places"])
    found.sides["instant"] = found.kills - found.sides["before"] - found.sides["after"]
    history = fold(events)
    for well in WELLS[: plan.cells]:
        _judge_cell(well, plan, world, history, found)
    for run in history.runs:
        settled([event for event in events if event.run == run], found)
    found.reasons += person.asked


def _judge_cell(well: str, plan: Plan, world: World, history: Any, found: Killed) -> None:
    name = f"{plan.script.name} {plan.seed}, {well}"
    found.cells += 1
    sample = f"cell-{well.lower()}"
    state = next((state for state in history.runs.values() if state.sample == sample), None)
    complete = state is not None and state.outcome == "complete"
    found.complete += complete
    if not complete:
        found.told.append(f"{name}: {state}")
    really, wanted = effects_of(world, well), plan.script.effects[well]
    twice = sum((really - wanted).values())
    found.twice += twice
    if twice or (complete and really != wanted):
        found.differ += 1
        found.told.append(f"{name}: too much {dict(really - wanted)}, too little {dict(wanted - really)}")
    place = history.places.get(sample)
    there = world.item(place) if place else None
    if complete and (there is None or not there.id.endswith(f"/{well}")):
        found.misplaced += 1
        found.told.append(f"{name}: the journal says {place}, and there is {there and there.id}")


def settled(events: list[Event], found: Killed) -> None:
    """How the actions of one run that were unknown were settled, and whether the run was held where nobody knew."""
    intents = {e.data["action_id"]: e.data for e in events if e.kind == "action.intended"}
    over = {e.data["action_id"] for e in events if e.kind in ("action.done", "action.failed", "action.reconciled")}
    found.left_open += len(intents.keys() - over)
    unknown = {e.data["action_id"] for e in events if e.kind == "action.unknown"}
    found.in_flight += len(unknown)
    questions = [e.data for e in events if e.kind == "question.asked" and "action_id" in e.data]
    asked = {data["action_id"]: data["question_id"] for data in questions}
    by = {e.data["action_id"]: e.data["by"] for e in events if e.kind == "action.reconciled"}
    found.by_device += sum(by.get(one) == "device" and one not in asked for one in unknown)
    found.asked.update(f"{intents[one]['device']}.{intents[one]['action']}" for one in asked)
    nobody = {one for one in unknown | asked.keys() if by.get(one) != "device" or one in asked}
    found.unknown += len(nobody)
    found.held += len(nobody & _held_with_question(events, asked))


def _held_with_question(events: list[Event], asked: dict[str, str]) -> set[str]:
    """The actions whose question was open while the run was held, and that nothing went on from before it ended."""
    held, state = set(), ""
    questions = {question: action for action, question in asked.items()}
    for event in events:
        if event.kind == "run.state":
            state = event.data["to"]
        elif event.kind.startswith("question.") and event.kind != "question.asked" and state in ("Holding", "Held"):
            held |= {questions[one] for one in (event.data["question_id"],) if one in questions}
    return held


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────
def plans(size: str) -> list[Plan]:
    """What is played: `smoke` shows only that it works, `normal` is a night's in a minute, `long` is the night's."""
    with tempfile.TemporaryDirectory() as directory:
        cells = {"smoke": 1, "normal": 2, "long": 4}[size]
        short = rehearsed(short_cell(), Path(directory) / "short", cells)
        built = rehearsed(autobass(), Path(directory) / "built", 1)
    if size == "smoke":
        return [Plan(short, 1, 4, 0.03, 1)]
    if size == "normal":
        return [Plan(short, cells, 34, 0.12, 1), Plan(built, 1, 26, 0.06, 2)]
    long = [Plan(short, cells, 200, 0.3, 10 + number) for number in range(3)]
    return [*long, *(Plan(built, 1, 200, 0.5, 20 + number) for number in range(3))]


WANTED = {"smoke": 4, "normal": 60, "long": 1000}
"""Kills; labs whose cells are made before their share of them are followed by others."""

MOST_LABS = 20  # beyond the first ones


def run(smoke: bool, figures: Figures, *, long: bool = False) -> None:
    size = "smoke" if smoke else "long" if long else "normal"
    found = Killed()

    def lane(plan: Plan) -> None:
        with tempfile.TemporaryDirectory() as directory:
            play(Path(directory), plan, found)

    first = plans(size)
    with ThreadPoolExecutor(LANES) as lanes:
        for _ in lanes.map(lane, first):
            pass
    for number in range(MOST_LABS):
        missing = WANTED[size] - found.kills
        if missing <= 0:
            break
        lane(replace(first[0], kills=missing, seed=100 + number))
    found.tell(figures, WANTED[size])
