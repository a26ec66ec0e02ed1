"""What the engine costs a step: from a device's done to the next action's first call, against one bare commit."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._figures import Figures
from labd import clock
from labd.journal import Journal, NewEvent, SignalStore
from labd.lab.background import background
from labd.lab.config import LabConfig
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.sdk import About, Call, Crimper, Setup, Signals
from labd.sdk.roles import CrimperSignals, CrimpResult


class Instant(Crimper):
    """A press that takes no time, and notes when it was called and when it was done."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.called: list[float] = []
        self.done: list[float] = []

    async def connect(self) -> About:
        return About()

    async def close(self) -> None: ...

    async def read_state(self) -> Signals:
        return CrimperSignals()

    async def safe_state(self, unit: str | None = None) -> None: ...

    async def open_ram(self, call: Call) -> None:  # noqa: ARG002 - a press that takes no time
        self.called.append(time.perf_counter())
        self.done.append(time.perf_counter())

    async def close_ram(self, call: Call) -> None:
        await self.open_ram(call)

    async def crimp(self, call: Call, **values: Any) -> CrimpResult:
        raise NotImplementedError


def protocol(steps: int) -> str:
    lines = "".join("      - {do: press.open, within: 10 s}\n" for _ in range(steps))
    return (
        "labd: 1\nprotocol: steps\nversion: 1.0.0\nsummary: Many steps.\nroles: {press: crimper}\nstart: a\n"
        f"states:\n  a:\n    summary: All of them.\n    steps:\n{lines}    next: done\n  done: {{end: complete}}\n"
    )


async def measure(directory: Path, steps: int) -> tuple[list[float], list[float]]:
    """Seconds between steps, and seconds of a bare commit of the same two events."""
    config = LabConfig.model_validate(
        {"labd": 1, "lab": "bench", "store": directory, "devices": {"press": {"driver": "instant"}}}
    )
    lab = Lab(config, find=lambda _: Instant)
    press = lab.devices["press"]
    assert isinstance(press.driver, Instant)
    journal = await Journal.open(directory / "journal.sqlite")
    signals = await SignalStore.open(directory / "signals.sqlite")
    engine = Engine(lab, journal, signals)
    async with background(press.run(), "press"), background(engine.run(), "engine"):
        await engine.ready.wait()
        await press.wait_ready()
        run = await engine.start(protocol(steps), "steps.yaml", {}, by="bench")
        await engine.wait(run.id)
        overhead = [b - a for a, b in zip(press.driver.done, press.driver.called[1:], strict=False)]
        bare = []
        for number in range(steps):
            start = time.perf_counter()
            sent = NewEvent("action.sent", {"action_id": str(number)}, "run-0")
            await journal.append(NewEvent("action.intended", {"action_id": str(number)}, "run-0"), sent)
            bare.append(time.perf_counter() - start)
    await signals.close()
    await journal.close()
    return overhead, bare


def run(smoke: bool, figures: Figures) -> None:
    with tempfile.TemporaryDirectory() as directory:
        overhead, bare = clock.run(measure(Path(directory), 50 if smoke else 500))
    step, commit = statistics.median(overhead), statistics.median(bare)
    figures.add("step_overhead_p50", step * 1e6, "µs")
    figures.add("step_overhead_p99", sorted(overhead)[int(len(overhead) * 0.99) - 1] * 1e6, "µs")
    figures.add("bare_commit_p50", commit * 1e6, "µs")
    figures.add("step_over_bare_commit", step / commit, "ratio", goal=3.0, better="lower")
