"""Replies that are lost after their effect: is anything done twice, and who settles what nobody knows?"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._figures import Figures
from benchmarks.faults import sized
from benchmarks.faults.lab import ACTS, WELLS, FaultLab, fault_lab
from benchmarks.faults.operator import Operator
from labd import clock
from labd.journal import Event
from labd.run.lifecycle import Command
from simulators.plc_crimper import CrimperSimulator
from simulators.plc_crimper.plc import Plc

LOOK = 0.01  # s of lab time between two looks into a simulated machine
LABS = ("press", "relay", "ot2", "arm")  # the device that loses replies; `relay` is a press that counts nothing
LONGEST = 12 * 3600.0  # s of lab time that a round of eight cells may take


@dataclass(frozen=True, slots=True)
class Plan:
    """One fault: strikes when a run orders an action for the n-th time, `after` s later, in one of its kinds."""

    device: str
    action: str
    time: int
    kind: str
    count: int = 1
    after: float = 0.0
    lasts: float = 0.0


def draw(name: str, rng: random.Random) -> Plan:
    """A fault by chance; `name` is one of LABS."""
    device = "press" if name == "relay" else name
    _, action, time = rng.choice([act for act in ACTS if act[0] == device])
    kinds = {
        "press": ("start", "start and silent", "writes", "silent"),
        "ot2": ("dispense", "aspirate", "requests", "hang"),
        "arm": ("messages", "silent"),
        "relay": ("writes", "silent"),
    }[name]
    kind = rng.choice(kinds)
    first = kind == "writes" and name == "relay"  # its first write is the button
    longest = {"press": 12.0, "ot2": 25.0, "arm": 10.0}[device]
    after = rng.uniform(0.0, longest) if kind in ("writes", "requests", "messages", "silent") and not first else 0.0
    return Plan(device, action, time, kind, rng.randint(1, 4), after, rng.uniform(1.0, 150.0))


@dataclass(slots=True)
class Striker:
    """Carries plans out, one a run, when the run comes to its action."""

    lab: FaultLab
    plans: dict[str, Plan]  # by run
    _due: asyncio.Queue[tuple[str, Plan]] = field(default_factory=asyncio.Queue)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    async def work(self) -> None:
        """Until it is cancelled."""
        forget = self.lab.daemon.journal.on_commit(self._hear)
        try:
            async with asyncio.TaskGroup() as strikes:
                while True:
                    _, plan = await self._due.get()
                    strikes.create_task(self._strike(plan))
        finally:
            forget()

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind != "action.intended" or event.run is None:
                continue
            key = event.run, event.data["action"]
            self._counts[key] = self._counts.get(key, 0) + 1
            plan = self.plans.get(event.run)
            if plan is not None and (plan.action, plan.time) == (key[1], self._counts[key]):
                self._due.put_nowait((event.run, plan))

    async def _strike(self, plan: Plan) -> None:
        faults = self.lab.simulators[plan.device].faults
        await asyncio.sleep(plan.after)
        match plan.kind:
            case "start" | "start and silent":
                await self._until_start()
                faults["reply_lost"] = plan.count
                if plan.kind == "start and silent":
                    await self._until_stroke()
                    await self._silence(faults, plan.lasts)
            case "writes" | "requests":
                faults["reply_lost"] = plan.count
            case "messages":
                faults["lost_replies"] = plan.count
            case "dispense" | "aspirate":
                faults["reply_lost"] = {"commandType": plan.kind, "count": plan.count}
            case "hang":
                faults["hang"] = {"commandType": "dispense", "count": 1}
            case "silent":
                await self._silence(faults, plan.lasts)

    async def _silence(self, faults: dict[str, Any], seconds: float) -> None:
        faults["silent"] = True
        await asyncio.sleep(seconds)
        faults["silent"] = False

    async def _until_start(self) -> None:
        """Until the recipe is taken: the next write of the press's client is the start."""
        for asked in (True, False):
            while self._plc.commanded("recipe_request") is not asked:  # noqa: ASYNC110 - a machine of its own
                await asyncio.sleep(LOOK)

    async def _until_stroke(self) -> None:
        while self._plc.stroke is None:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(LOOK)

    @property
    def _plc(self) -> Plc:
        press = self.lab.simulators["press"]
        assert isinstance(press, CrimperSimulator)
        assert press.plc is not None
        return press.plc


@dataclass(slots=True)
class Tally:
    """What came of rounds."""

    rounds: int = 0
    done_twice: int = 0
    unknown: int = 0
    by_device: int = 0
    by_operator: int = 0
    asked: int = 0
    left_open: int = 0
    complete: int = 0
    differ: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, figures: Figures, name: str) -> None:
        """Its figures, and in words what fell short."""
        figures.add(f"{name}.rounds", self.rounds, "runs")
        figures.add(f"{name}.done_twice", self.done_twice, "effects", goal=0, better="lower")
        figures.add(f"{name}.left_open", self.left_open, "actions", goal=0, better="lower")
        figures.add(f"{name}.world_differs", self.differ, "cells", goal=0, better="lower")
        figures.add(f"{name}.complete", 100 * self.complete / self.rounds, "%", goal=100)
        figures.add(f"{name}.asked_a_person", self.asked, "questions")
        figures.add(f"{name}.unknown", self.unknown, "actions")
        figures.add(f"{name}.settled_by_device", self.by_device, "actions")
        figures.add(f"{name}.settled_by_operator", self.by_operator, "actions")
        for line in self.told:
            print(f"# {name}: {line}", file=sys.stderr)

    async def add(self, lab: FaultLab) -> None:
        """Counts a lab whose runs have ended."""
        self.done_twice += lab.done_twice()
        for run in lab.runs:
            self.rounds += 1
            self.complete += run.outcome == "complete"
            if run.outcome != "complete":
                self.told.append(f"{run.id} is {run.outcome}: {run.cause}")
            difference = lab.differs(run)
            if difference is not None:
                self.differ += 1
                self.told.append(difference)
            self._settled(await lab.events(run=run.id))

    def _settled(self, events: Sequence[Event]) -> None:
        """Every action that was intended has an outcome; every unknown one was reconciled by somebody."""
        over = {e.data["action_id"] for e in events if e.kind in ("action.done", "action.failed", "action.reconciled")}
        self.left_open += sum(e.kind == "action.intended" and e.data["action_id"] not in over for e in events)
        unknown = {e.data["action_id"] for e in events if e.kind == "action.unknown"}
        self.unknown += len(unknown)
        settled = {e.data["action_id"]: e.data["by"] for e in events if e.kind == "action.reconciled"}
        self.by_device += sum(settled.get(one) == "device" for one in unknown)
        asked = sum(e.kind == "question.asked" and e.data["kind"] == "outcome" for e in events)
        self.asked += asked
        by_others = [one for one in unknown if settled.get(one) not in (None, "device")]
        self.by_operator += len(by_others)
        self.left_open += sum(one not in settled for one in unknown) + max(0, len(by_others) - asked)


async def play(lab: FaultLab, plans: Sequence[Plan | None]) -> Operator:
    """Runs as many cells as there are plans, all at once, to their ends; gives the operator that looked after them."""
    operator = Operator(lab)
    striker = Striker(lab, {})
    async with asyncio.TaskGroup() as group:
        at_work = [group.create_task(operator.work()), group.create_task(striker.work())]
        for number, plan in enumerate(plans):
            run = await lab.start(number)
            if plan is not None:
                striker.plans[run.id] = plan
        waiting = [group.create_task(lab.daemon.engine.wait(run.id)) for run in lab.runs]
        await asyncio.wait(waiting, timeout=LONGEST)
        await _give_up(lab)
        for task in at_work:
            task.cancel()
    return operator


async def _give_up(lab: FaultLab) -> None:
    """Aborts runs that nobody can bring to their end any more, and keeps what they wait for as their cause."""
    for run in lab.runs:
        state = await lab.daemon.engine.state(run.id)
        if state.ended is None:
            words = f"stuck, {state.state} in {state.protocol_state}: {state.question or state.cause}"
            await lab.daemon.engine.command(run.id, Command.ABORT, by="faults", cause=words)


async def rounds(directory: Path, seed: int, name: str, plans: Sequence[Plan | None], tally: Tally) -> None:
    """One lab, and a round for each plan."""
    async with fault_lab(directory, seed, profile="relay" if name == "relay" else "handshake") as lab:
        await play(lab, plans)
        await tally.add(lab)


def run(smoke: bool, figures: Figures, *, long: bool = False) -> None:
    for name in LABS:
        rng = random.Random(f"lost/{name}")
        tally = Tally()
        for number in range(sized(smoke, long, (1, 2, 20))):
            plans = [draw(name, rng) for _ in WELLS]
            with tempfile.TemporaryDirectory() as directory:
                clock.run(rounds(Path(directory), number, name, plans, tally), clock.timeline_of("virtual"))
        tally.tell(figures, f"{name}_reply_lost")
