"""A wall clock that is set back and forth while a run waits, acts, is held and asks: does anything happen otherwise?

Each run is lived twice, once with a calm clock; what happens, and after how long, must be the same. The jumps are
injected where labd takes the time of day from (`Timeline.wall`), on real, scaled and virtual time: an hour for the
change to summer time and back, some seconds as NTP would, and days as after an empty battery. Afterwards the journal's
stamps do go back, and its order, its chain, its fold, an export and the interface must not mind.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from benchmarks._figures import Figures
from benchmarks.faults import quiet, sized
from benchmarks.faults.lab import FaultLab, fault_lab
from labd import clock
from labd.journal import Event
from labd.lab.bus import Happening, RunState
from labd.records import export
from labd.run.lifecycle import Command

JUMPS = (3600.0, -3600.0, 6 * 3600.0, -6 * 3600.0, 0.7, -0.7, 12.0, -12.0, 30 * 86400.0, -30 * 86400.0)  # s
TOLD = {"run.started", "protocol.entered", "action.done", "question.asked", "question.expired", "run.ended"}
PROTOCOL = """\
labd: 1
protocol: timed
version: 1.0.0
summary: A rest within a window, a technique, and a question that nobody answers.
roles: {{stat: potentiostat}}
windows:
  - {{from: off.end, to: measure.start, within: {window:g} s, otherwise: late}}
start: off
states:
  off:
    do: stat.cell_off
    within: {off:g} s
    next: rest
  rest:
    wait: {unit:g} s
    next: measure
  measure:
    do: stat.open_circuit
    with: {{duration: {unit:g} s, interval: {interval:g} s}}
    within: {within:g} s
    next: look
  look:
    ask: Is the cell sound?
    choices: {{"no": late}}
    within: {unit:g} s
    otherwise: done
  done: {{end: complete}}
  late: {{end: scrapped}}
"""


class _Wall:
    """Sets the time of day, and nothing else."""

    offset = 0.0

    def wall(self) -> datetime:
        told: datetime = super().wall()  # type: ignore[misc]
        return told + timedelta(seconds=self.offset)


class JumpingTimeline(_Wall, clock.Timeline):
    """Real or scaled time with a wall clock that can be set."""


class JumpingVirtual(_Wall, clock.VirtualTimeline):
    """Virtual time with a wall clock that can be set."""


Jumping = JumpingTimeline | JumpingVirtual


@dataclass(slots=True)
class Lived:
    """One run: what happened when, s since its start, and whether its journal was sound afterwards."""

    happened: list[tuple[str, float]]
    outcome: str | None = None
    jumps: int = 0
    went_back: int = 0
    unsound: int = 0

    def off(self, calm: Lived) -> float:
        """s by which the worst of its events was early or late; infinite when something else happened."""
        mine, other = self.since_start(), calm.since_start()
        if [what for what, _ in mine] != [what for what, _ in other]:
            return float("inf")
        return max(abs(at - then) for (_, at), (_, then) in zip(mine, other, strict=True))

    def since_start(self) -> list[tuple[str, float]]:
        start = self.happened[0][1]
        return [(what, at - start) for what, at in self.happened]


@dataclass(frozen=True, slots=True)
class Phase:
    """How long things take: lab s of one phase of the run, and by how much a busy machine may be late.

    What a limit has beyond a phase is less than the clock is set by: who took a limit by the time of day, would tell.
    """

    unit: float
    leeway: float

    def protocol(self) -> str:
        unit, more = self.unit, self.leeway
        limits = {"off": unit + more, "window": 1.9 * unit + more, "within": 1.8 * unit + more}
        return PROTOCOL.format(unit=unit, interval=unit / 10, **limits)

    @property
    def longest(self) -> float:
        """After so long it is no longer waited for."""
        return 20 * (self.unit + self.leeway)


async def live(directory: Path, timeline: Jumping, phase: Phase, rng: random.Random | None) -> Lived:
    """A run whose phases take so many lab seconds each; the clock jumps about three times a phase, if it may."""
    unit = phase.unit
    stat = {
        "driver": "methodscript",
        "settings": {"port": "stat", "model": "emstat4_hr"},
        "poll": {"idle": f"{unit / 3:g} s", "busy": f"{unit / 6:g} s"},
        "simulator": {},
    }
    lived = Lived([])
    async with fault_lab(directory, 1, more={"stat": stat}) as lab:
        began = clock.monotonic()

        def note(events: Sequence[Event]) -> None:
            lived.happened.extend((_name(event), clock.monotonic() - began) for event in events if event.kind in TOLD)

        forget = lab.daemon.journal.on_commit(note)
        jumping = asyncio.create_task(_jump(timeline, unit, rng, lived))
        holding = asyncio.create_task(_hold(lab, unit))
        run = await lab.daemon.engine.start(phase.protocol(), "timed.yaml", {}, by="faults")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(phase.longest):
                lived.outcome = (await lab.daemon.engine.wait(run.id)).outcome
        for task in (jumping, holding):
            task.cancel()
        forget()
        await _look_over(lab, run.id, directory, lived)
    return lived


def _name(event: Event) -> str:
    return " ".join([event.kind, *(str(event.data[key]) for key in ("state", "outcome") if key in event.data)])


async def _jump(timeline: Jumping, unit: float, rng: random.Random | None, lived: Lived) -> None:
    while rng is not None:
        await asyncio.sleep(rng.uniform(0.1, 0.5) * unit)
        timeline.offset += rng.choice(JUMPS)
        lived.jumps += 1


async def _hold(lab: FaultLab, unit: float) -> None:
    """Holds the run in its rest for a time, and again in its technique."""
    states: asyncio.Queue[RunState] = asyncio.Queue()

    def hear(happening: Happening) -> None:
        if isinstance(happening, RunState):
            states.put_nowait(happening)

    forget = lab.daemon.lab.bus.subscribe(hear)
    try:
        for name in ("rest", "measure"):
            while (state := await states.get()).protocol_state != name:
                pass
            await asyncio.sleep(0.3 * unit)
            await lab.daemon.engine.command(state.run, Command.HOLD, by="faults")
            while (await states.get()).state != "Held":  # a technique that runs is waited for
                pass
            await asyncio.sleep(0.3 * unit)
            await lab.daemon.engine.command(state.run, Command.UNHOLD, by="faults")
    finally:
        forget()


async def _look_over(lab: FaultLab, run: str, directory: Path, lived: Lived) -> None:
    """What a journal whose stamps go back is still good for."""
    journal, daemon = lab.daemon.journal, lab.daemon
    events = await journal.events(run=run)
    lived.went_back = sum(later.at < earlier.at for earlier, later in pairwise(events))
    ordered = [event.seq for event in events] == sorted({event.seq for event in events})
    lived.unsound += not ordered
    lived.unsound += await journal.verify() is not None
    files = await export(run, "csv", directory / "export", daemon.signals, journal)
    lived.unsound += not all(file.stat().st_size for file in files)
    series = await daemon.signals.series(run=run)
    rows: list[Any] = [len(next(iter((await daemon.signals.read(one.id)).values()))) for one in series]
    lived.unsound += rows != [10]
    transport = httpx.AsyncHTTPTransport(uds=str(daemon.config.socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://labd/api/v1", timeout=None) as client:
        told = (await client.get(f"/runs/{run}/events", params={"after": 0, "limit": 1000})).json()["events"]
    lived.unsound += [event["seq"] for event in told] != [event.seq for event in events]


def lived(timeline: Callable[[], Jumping], phase: Phase, seed: int | None) -> Lived:
    """A run in a process of its own; without a seed its clock is calm."""
    with tempfile.TemporaryDirectory() as directory:
        on = timeline()
        return clock.run(live(Path(directory), on, phase, None if seed is None else random.Random(f"clock/{seed}")), on)


def two_lives() -> Executor:
    """Processes for `both`."""
    return ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), quiet)


def both(lives: Executor, timeline: Callable[[], Jumping], phase: Phase, seed: int) -> tuple[Lived, Lived]:
    """The same run on a calm clock, and on one that is set; at the same time, for some of it is waiting."""
    calm, jumped = lives.map(lived, (timeline, timeline), (phase, phase), (None, seed))
    return calm, jumped


def run(smoke: bool, figures: Figures, *, long: bool = False) -> None:
    kinds: dict[str, tuple[Callable[[], Jumping], Phase, int, float]] = {  # timeline, phase, rounds, s of events off
        "virtual": (JumpingVirtual, Phase(600.0, 0.0), sized(smoke, long, (2, 10, 100)), 1e-3),
        "scaled": (partial(JumpingTimeline, factor=60.0), Phase(60.0, 1800.0), sized(smoke, long, (1, 2, 10)), 1800.0),
        "real": (JumpingTimeline, Phase(1.0, 30.0), sized(smoke, long, (1, 2, 10)), 30.0),  # busy machines are late
    }
    with two_lives() as lives:
        for kind, (timeline, phase, rounds, tolerance) in kinds.items():
            _tell(figures, kind, [both(lives, timeline, phase, seed) for seed in range(rounds)], tolerance)


def _tell(figures: Figures, kind: str, pairs: Sequence[tuple[Lived, Lived]], tolerance: float) -> None:
    jumped = [lived for _, lived in pairs]
    figures.add(f"clock.{kind}.jumps", sum(lived.jumps for lived in jumped), "jumps")
    figures.add(f"clock.{kind}.stamps_went_back", sum(lived.went_back for lived in jumped), "events", goal=1)
    figures.add(f"clock.{kind}.not_complete", sum(one.outcome != "complete" for one in jumped), "runs", 0, "lower")
    off = max(lived.off(calm) for calm, lived in pairs)
    figures.add(f"clock.{kind}.events_off", off, "s", goal=tolerance, better="lower")
    figures.add(f"clock.{kind}.unsound", sum(lived.unsound for lived in jumped), "findings", 0, "lower")
