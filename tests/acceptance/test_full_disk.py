"""A disk that fills up under a whole lab at work: it is held in order, and goes on when there is room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.faults.disk import CELLS, DISK, LOW, Disk, Filled, eaten, fill
from benchmarks.faults.lab import fault_lab
from benchmarks.faults.mounts import MountRefusedError, tmpfs
from labd.journal import Ballast, Journal, JournalError, NewEvent
from labd.journal.verify import check
from labd.run.lifecycle import Command
from tests.journal.test_ballast import Quota


@pytest.fixture
def mounted(tmp_path: Path) -> None:
    try:
        with tmpfs(tmp_path / "tried", 1_000_000):
            pass
    except MountRefusedError as error:
        pytest.skip(f"a small disk cannot be mounted: {error}")


@pytest.mark.parametrize(("left", "ballast"), [(LOW, 0), (0, 1)])
async def test_a_full_disk_holds_the_lab_and_loses_nothing(
    tmp_path: Path, mounted: None, left: int, ballast: int
) -> None:
    found = Filled()
    await fill(tmp_path, 1, left, found)
    assert (found.rounds, found.ballast, found.complete) == (1, ballast, CELLS)
    assert found.held > 0  # the first cell may be ready before the disk is full
    assert (found.not_held, found.broken, found.let_through, found.lost, found.differ) == (0,) * 5


async def test_a_journal_whose_last_space_is_eaten_has_all_that_it_acknowledged(tmp_path: Path, mounted: None) -> None:
    with tmpfs(tmp_path / "store", DISK):
        assert await eaten(tmp_path / "store") == 0


async def test_a_lab_starts_on_a_full_disk_with_the_space_of_its_ballast(tmp_path: Path, mounted: None) -> None:
    store = tmp_path / "store"
    with tmpfs(store, DISK):
        journal = await Journal.open(store / "journal.sqlite", Ballast(store / "journal.ballast"))
        await journal.append(NewEvent("before", {}))
        await journal.close()
        Disk(store).leave(0)
        journal = await Journal.open(store / "journal.sqlite", Ballast(store / "journal.ballast"))
        await journal.append(NewEvent("daemon.started", {}))
        assert journal.short.is_set()
        assert [event.kind for event in await journal.events()] == ["before", "daemon.started"]
        await journal.close()


async def test_a_full_disk_without_ballast_is_told_in_words(tmp_path: Path, mounted: None) -> None:
    store = tmp_path / "store"
    with tmpfs(store, DISK):
        await (await Journal.open(store / "journal.sqlite")).close()
        Disk(store).leave(0)
        with pytest.raises(JournalError, match="the journal cannot be opened"):
            await Journal.open(store / "journal.sqlite")


async def test_a_journal_that_gives_its_ballast_up_holds_the_lab_with_what_is_left(tmp_path: Path) -> None:
    """The same without root: SQLite's own bound on the file is the disk."""
    async with fault_lab(tmp_path, 1) as lab:
        daemon = lab.daemon
        quota = Quota(tmp_path / "store" / "journal.ballast", held=True, journal=daemon.journal)
        daemon.journal._file.ballast = quota
        daemon.disk._free = lambda folder: 0 if not quota.held else 10**9
        run = await lab.start(0)
        await asyncio.sleep(30)
        quota.pages(0)
        await asyncio.sleep(600)
        assert run.lifecycle.state == "Held"
        assert daemon.lab.alarms.active[0].severity == "critical"
        quota.pages(2**20)
        daemon.disk._free = lambda folder: 10**9
        await asyncio.sleep(10)
        assert not daemon.disk.full
        await daemon.engine.command(run.id, Command.UNHOLD, by="mk")
        assert (await daemon.engine.wait(run.id)).outcome == "complete"
        assert check(daemon.journal.path).flaw is None
