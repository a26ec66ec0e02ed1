"""A disk that fills up, slowly or at once, while cells are made: all runs are held, and the journal does not break."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._figures import Figures
from benchmarks.faults import sized
from benchmarks.faults.lab import FaultLab, fault_lab
from benchmarks.faults.mounts import needed, tmpfs
from labd import clock
from labd.journal import Ballast, Event, Journal, JournalError, NewEvent
from labd.journal.ballast import free_space
from labd.journal.schema import JOURNAL
from labd.journal.verify import Head, check
from labd.run.disk import PERIOD
from labd.run.engine import CommandRefusedError, EngineError
from labd.run.lifecycle import Command

DISK = 260_000_000  # bytes
LOW = 150_000_000  # bytes left: below what runs are held for (200 MB, as in any lab.yaml that says nothing)
CELLS = 3
SPAN = 90.0  # s of lab time, in which the disk fills up
HOLDS = 600.0  # s of lab time that a run may take to be held: a device ends what it does


@dataclass(slots=True)
class Filled:
    """What was found out over all rounds."""

    rounds: int = 0
    held: int = 0
    not_held: int = 0
    broken: int = 0
    let_through: int = 0
    ballast: int = 0
    complete: int = 0
    lost: int = 0
    differ: int = 0

    def tell(self, figures: Figures, name: str) -> None:
        figures.add(f"{name}.rounds", self.rounds, "rounds")
        figures.add(f"{name}.runs_held", self.held, "runs")
        figures.add(f"{name}.runs_not_held", self.not_held, "runs", goal=0, better="lower")
        figures.add(f"{name}.journals_broken", self.broken, "journals", goal=0, better="lower")
        figures.add(f"{name}.started_or_unheld", self.let_through, "runs", goal=0, better="lower")
        figures.add(f"{name}.ballast_given_up", self.ballast, "times")
        figures.add(f"{name}.complete_afterwards", self.complete, "runs", goal=self.rounds * CELLS)
        figures.add(f"{name}.events_lost", self.lost, "events", goal=0, better="lower")
        figures.add(f"{name}.journal_differs", self.differ, "cells", goal=0, better="lower")


class Disk:
    """The small disk of a lab's store, that something else fills up with a file."""

    def __init__(self, store: Path) -> None:
        self._filler = store / "filler"

    def leave(self, free: int) -> None:
        """Fills it until so many bytes are free."""
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free_space(self._filler.parent) - free)

    def clear(self) -> None:
        """Makes room again."""
        self._filler.unlink()


# ── a round ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def fill(directory: Path, seed: int, left: int, found: Filled) -> None:
    """Cells at work while the disk fills up until so many bytes are left; room is made, and a person unholds.

    Raises:
        MountRefusedError: this machine or user cannot mount a disk.
    """
    rng = random.Random(f"disk/{seed}/{left}")
    told: list[Event] = []
    disk = Disk(directory / "store")
    with tmpfs(directory / "store", DISK):
        async with fault_lab(directory, seed) as lab:
            lab.daemon.journal.on_commit(told.extend)
            for number in range(CELLS):
                await lab.start(number)
            await asyncio.sleep(rng.uniform(5.0, SPAN))
            disk.leave(left)
            await _while_full(lab, found)
            disk.clear()
            await _go_on(lab, found)
            verdict = check(lab.daemon.journal.path, [Head(event.seq, event.hash) for event in told])
            found.lost += verdict.flaw is not None


async def _while_full(lab: FaultLab, found: Filled) -> None:
    await asyncio.sleep(HOLDS)
    states = [run.lifecycle.state for run in lab.runs]
    found.rounds += 1
    found.ballast += lab.daemon.journal.short.is_set()
    found.held += states.count("Held")
    found.not_held += sum(state not in ("Held", "Complete") for state in states)
    found.let_through += await _let_through(lab)


async def _go_on(lab: FaultLab, found: Filled) -> None:
    await asyncio.sleep(2 * PERIOD)
    found.broken += lab.daemon.journal.broken is not None or lab.daemon.journal.short.is_set()
    for run in lab.runs:
        if not run.ended:
            await lab.daemon.engine.command(run.id, Command.UNHOLD, by="faults")
    for run in lab.runs:
        found.complete += (await lab.daemon.engine.wait(run.id)).outcome == "complete"
        found.differ += lab.differs(run) is not None


async def _let_through(lab: FaultLab) -> int:
    """How much goes on that must not, while the disk is full."""
    through = 0
    try:
        await lab.start(CELLS)
        through += 1
    except EngineError:
        pass
    for run in lab.runs[:CELLS]:
        with contextlib.suppress(CommandRefusedError):
            await lab.daemon.engine.command(run.id, Command.UNHOLD, by="faults")
            through += 1
    return through


async def eaten(store: Path) -> int:
    """A disk on which something else eats even the ballast: how many acknowledged events the journal then lacks."""
    journal = await Journal.open(store / "journal.sqlite", Ballast(store / "journal.ballast"))
    acknowledged: list[Event] = []
    disk, more = Disk(store), store / "more"
    disk.leave(500_000)
    try:
        while True:
            acknowledged += await journal.append(NewEvent("filler", {"text": "x" * 20_000}))
            if journal.short.is_set() and not more.exists():
                with more.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, max(1, free_space(store) - 200_000))
    except JournalError:
        await journal.close()
    disk.clear()
    with contextlib.closing(JOURNAL.read(journal.path)) as connection:
        kept = dict(connection.execute("SELECT seq, hash FROM events").fetchall())
    return sum(kept.get(event.seq) != event.hash for event in acknowledged) + (check(journal.path).flaw is not None)


def run(smoke: bool, figures: Figures, *, long: bool = False, may_skip: bool = False) -> None:
    with needed(figures, "disk", may_skip=may_skip):
        with tempfile.TemporaryDirectory() as directory, tmpfs(Path(directory) / "store", DISK):
            lost = clock.run(eaten(Path(directory) / "store"), clock.timeline_of("virtual"))
        figures.add("disk_eaten.events_lost", lost, "events", goal=0, better="lower")
        for name, left in (("disk_fills", LOW), ("disk_full", 0)):
            found = Filled()
            for seed in range(sized(smoke, long, (1, 4, 100))):
                with tempfile.TemporaryDirectory() as directory:
                    clock.run(fill(Path(directory), seed, left, found), clock.timeline_of("virtual"))
            found.tell(figures, name)
