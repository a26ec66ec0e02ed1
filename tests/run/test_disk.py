"""The watch over the disk: a full one holds all runs before the journal breaks, says so, and lets nobody go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.lab.background import background
from labd.lab.bus import Alarm, Happening
from labd.run.disk import PERIOD, DiskWatch
from labd.run.engine import CommandRefusedError, EngineError
from labd.run.lifecycle import Command
from tests.run.conftest import Bench, BenchMaker

HOLD_BELOW = 200_000_000


class Disk:
    """The watched lab, and how much is free on its disk."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.free = 10 * HOLD_BELOW
        self.watch = DiskWatch(bench.engine, HOLD_BELOW, lambda _: self.free)
        self.told: list[Alarm] = []
        bench.lab.bus.subscribe(self._hear)

    def _hear(self, happening: Happening) -> None:
        if isinstance(happening, Alarm):
            self.told.append(happening)

    async def becomes(self, free: int) -> None:
        self.free = free
        await asyncio.sleep(PERIOD + 1)

    async def state(self, run: str) -> str:
        return (await self.bench.engine.state(run)).state

    @property
    def alarms(self) -> list[tuple[str, bool]]:
        return [(alarm.severity, alarm.ended) for alarm in self.told]


@pytest.fixture
async def disk(bench: BenchMaker) -> AsyncIterator[Disk]:
    async with bench() as made:
        disk = Disk(made)
        async with background(disk.watch.run(), "disk"):
            yield disk


async def test_a_full_disk_holds_all_runs_and_says_why(disk: Disk) -> None:
    runs = [await disk.bench.start(position=f"tray/cells/{well}") for well in ("A1", "A2")]
    await asyncio.sleep(1)
    await disk.becomes(HOLD_BELOW - 1)
    await asyncio.sleep(120)
    for run in runs:
        state = await disk.bench.engine.state(run)
        assert state.state == "Held"
        assert state.cause is not None
        assert "is full (less than 200 MB are free); make room until 220 MB are free, then unhold" in state.cause
        (held,) = [event for event in await disk.bench.events(run, "run.state") if event.data["command"] == "hold"]
        assert held.data["by"] == "labd"
    assert disk.alarms == [("critical", False)]
    assert disk.watch.full


async def test_on_a_full_disk_no_run_is_started_or_unheld(disk: Disk) -> None:
    run = await disk.bench.start()
    await disk.becomes(HOLD_BELOW - 1)
    await asyncio.sleep(120)
    with pytest.raises(EngineError, match=r"no run is started now: the disk of .* is full"):
        await disk.bench.start(position="tray/cells/A2")
    with pytest.raises(CommandRefusedError, match=r"cannot go on: the disk of .* is full"):
        await disk.bench.engine.command(run, Command.UNHOLD, by="mk")
    await disk.bench.engine.command(run, Command.STOP, by="mk")  # its end in order is never refused
    assert (await disk.bench.engine.wait(run)).state == "Stopped"


async def test_with_space_again_the_alarm_ends_and_a_person_lets_the_runs_go_on(disk: Disk) -> None:
    run = await disk.bench.start()
    await disk.becomes(HOLD_BELOW - 1)
    await asyncio.sleep(120)
    await disk.becomes(int(HOLD_BELOW * 1.05))  # too little to go on: it would soon be full again
    assert disk.watch.full
    await disk.becomes(3 * HOLD_BELOW)
    assert disk.alarms == [("critical", False), ("critical", True)]
    assert await disk.state(run) == "Held"
    await disk.bench.engine.command(run, Command.UNHOLD, by="mk")
    assert (await disk.bench.engine.wait(run)).outcome == "complete"


async def test_a_warning_comes_before(disk: Disk) -> None:
    run = await disk.bench.start()
    await disk.becomes(HOLD_BELOW * 2 - 1)
    assert disk.alarms == [("warning", False)]
    assert "below 200 MB free all runs are held" in disk.told[0].text
    await disk.becomes(HOLD_BELOW)
    assert disk.alarms == [("warning", False)]
    assert await disk.state(run) == "Execute"
    await disk.becomes(HOLD_BELOW * 2)
    assert disk.alarms == [("warning", False), ("warning", True)]


async def test_a_journal_that_gave_its_ballast_up_holds_all_runs_at_once_and_gets_it_again(disk: Disk) -> None:
    run = await disk.bench.start()
    await asyncio.sleep(1)
    disk.free = 1000
    disk.bench.journal.short.set()
    await asyncio.sleep(0.1)  # not at the next look
    assert disk.watch.full
    assert await disk.state(run) in ("Holding", "Held")
    assert "nothing was left" in disk.told[0].text
    await asyncio.sleep(120)
    assert await disk.state(run) == "Held"
    assert disk.bench.journal.short.is_set()
    await disk.becomes(10 * HOLD_BELOW)
    assert not disk.bench.journal.short.is_set()
    assert not disk.watch.full
    assert disk.alarms == [("critical", False), ("critical", True)]


async def test_a_lab_that_starts_on_a_full_disk_lets_nothing_begin(bench: BenchMaker, tmp_path: Path) -> None:
    async with bench() as made:
        watch = DiskWatch(made.engine, HOLD_BELOW, lambda folder: 0 if folder == tmp_path else HOLD_BELOW * 9)
        watch.look()
        with pytest.raises(EngineError, match="is full"):
            await made.start()
