"""False time-outs on virtual time: many runs of a short protocol over all four wires, and nothing goes wrong."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._figures import Figures
from benchmarks.faults import sized
from benchmarks.faults.lab import FaultLab, fault_lab
from labd import clock
from labd.lab.bus import DeviceState, Happening

LANES = 4  # runs at a time
PROTOCOL = """\
labd: 1
protocol: all_wires
version: 1.0.0
summary: One action on each wire, HTTP, TCP, Modbus and serial.
roles: {robot: pipetting_robot, arm: arm, press: crimper, stat: potentiostat}
start: move
states:
  move:
    steps:
      - {do: robot.home}
      - {do: arm.home}
    next: press
  press:
    do: press.crimp
    with: {force: 7 kN, dwell: 1 s}
    next: rest
  rest:
    do: stat.open_circuit
    with: {duration: 10 min, interval: 30 s}
    next: done
  done: {end: complete}
"""


@dataclass(slots=True)
class Quiet:
    """What was found in runs in which nothing should go wrong."""

    runs: int = 0
    complete: int = 0
    false: int = 0
    lab_seconds: float = 0.0
    seconds: float = 0.0

    def tell(self, figures: Figures) -> None:
        figures.add("virtual_time.runs", self.runs, "runs")
        figures.add("virtual_time.false_timeouts", self.false, "events", goal=0, better="lower")
        figures.add("virtual_time.complete", 100 * self.complete / self.runs, "%", goal=100)
        figures.add("virtual_time.runs_a_second", self.runs / self.seconds, "1/s")
        figures.add("virtual_time.lab_time", self.lab_seconds / 3600, "h")


def stats() -> dict[str, Any]:
    return {
        f"stat{number}": {
            "driver": "methodscript",
            "settings": {"port": f"stat{number}", "model": "emstat4_hr"},
            "poll": {"idle": "60 s", "busy": "60 s"},
            "simulator": {},
        }
        for number in range(1, LANES + 1)
    }


async def many(directory: Path, runs: int, found: Quiet) -> None:
    """So many runs, a few at a time; counts actions that failed or were tried again, and devices that were not well."""
    async with fault_lab(directory, seed=1, more=stats()) as lab:

        def hear(happening: Happening) -> None:
            found.false += isinstance(happening, DeviceState) and happening.health != "ok"

        forget = lab.daemon.lab.bus.subscribe(hear)
        began, real = clock.monotonic(), time.perf_counter()
        left = iter(range(runs))
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(_lane(lab, left, found))
        found.seconds += time.perf_counter() - real
        found.lab_seconds += clock.monotonic() - began
        forget()
        found.false += len(await lab.events("action.failed", "action.unknown", "question.asked"))
        intents = await lab.events("action.intended")
        found.false += sum(event.data["attempt"] > 1 for event in intents)


async def _lane(lab: FaultLab, left: Any, found: Quiet) -> None:
    for _ in left:
        run = await lab.daemon.engine.start(PROTOCOL, "all_wires.yaml", {}, by="faults")
        async with asyncio.timeout(24 * 3600):
            state = await lab.daemon.engine.wait(run.id)
        found.runs += 1
        found.complete += state.outcome == "complete"


def run(smoke: bool, figures: Figures, *, long: bool = False) -> None:
    found = Quiet()
    with tempfile.TemporaryDirectory() as directory:
        clock.run(many(Path(directory), sized(smoke, long, (60, 200, 5000)), found), clock.timeline_of("virtual"))
    found.tell(figures)
