"""E-stops in mid-stroke: is the run held with a question, and was the press made safe?"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._figures import Figures
from benchmarks.faults.lab import WELLS, FaultLab, fault_lab
from labd import clock
from labd.lab.bus import RunState
from labd.run.lifecycle import Command

LOOKS = 300.0  # s of lab time until somebody is there
LIMIT = 3600.0  # s of lab time that a cell takes at most


@dataclass(slots=True)
class Stopped:
    """What was found out about E-stops."""

    rounds: int = 0
    held: int = 0
    safe: int = 0
    scrapped: int = 0
    moved_again: int = 0

    def tell(self, figures: Figures) -> None:
        figures.add("estop.rounds", self.rounds, "runs")
        figures.add("estop.held_with_question", 100 * self.held / self.rounds, "%", goal=100)
        figures.add("estop.made_safe", 100 * self.safe / self.rounds, "%", goal=100)
        figures.add("estop.moved_again", self.moved_again, "strokes", goal=0, better="lower")
        figures.add("estop.ended_as_answered", 100 * self.scrapped / self.rounds, "%", goal=100)


async def stop_in_stroke(lab: FaultLab, number: int, after: float, found: Stopped) -> None:
    """One cell; the E-stop is pressed so many s after its stroke began, and somebody comes and scraps it."""
    faults, memory = lab.simulators["press"].faults, lab.world.memory("press")
    faults["estop_in_stroke"] = {"after": after}
    run = await lab.start(number)
    await _asked(lab, run.id)
    before = memory.get("cycles", 0)
    await asyncio.sleep(LOOKS)
    found.rounds += 1
    found.moved_again += memory.get("cycles", 0) - before
    state = await lab.daemon.engine.state(run.id)
    question = state.question or {}
    found.held += state.state == "Held" and question.get("kind") == "outcome"
    events = await lab.events("action.failed", "device.safe_state", run=run.id)
    failed = next((event.seq for event in events if event.data.get("error") == "fault"), None)
    found.safe += any(
        event.kind == "device.safe_state"
        and event.data["device"] == "press"
        and event.data["problem"] is None
        and failed is not None
        and event.seq > failed
        for event in events
    )
    faults["estop"], faults["estop_in_stroke"] = False, None
    await lab.daemon.engine.guards.interlocks.clear("press-estop", "operator")
    await lab.daemon.engine.answer(run.id, "scrap", by="operator")
    ended = await lab.daemon.engine.wait(run.id)
    found.scrapped += ended.outcome == "scrapped"
    lab.world.take("press/nest")  # the operator takes the spoilt cell out, and says so
    await lab.daemon.engine.command(run.id, Command.CLEAR, by="operator")


async def _asked(lab: FaultLab, run_id: str) -> None:
    """Waits until a run is held and asks something."""
    heard = asyncio.Event()

    def hear(happening: object) -> None:
        if isinstance(happening, RunState) and happening.run == run_id and happening.state == "Held":
            heard.set()

    forget = lab.daemon.lab.bus.subscribe(hear)
    try:
        async with asyncio.timeout(LIMIT):
            await heard.wait()
    finally:
        forget()


async def series(directory: Path, seed: int, cells: int, found: Stopped) -> None:
    """One cell after the other: after each E-stop the lab must be able to go on."""
    async with fault_lab(directory, seed) as lab:
        for number in range(cells):
            await stop_in_stroke(lab, number, 1.0 + 0.6 * number, found)  # a stroke takes six seconds


def run(smoke: bool, figures: Figures) -> None:
    found = Stopped()
    for seed in range(1 if smoke else 3):
        with tempfile.TemporaryDirectory() as directory:
            cells = 3 if smoke else len(WELLS)
            clock.run(series(Path(directory), seed, cells, found), clock.timeline_of("virtual"))
    found.tell(figures)
