"""The journal on a full disk: its ballast gives way once, and what stops a lab in order fits into its space."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labd.journal import Ballast, Journal, JournalError, NewEvent, SeriesInfo, SignalError, SignalStore
from labd.journal.verify import check

LARGE = NewEvent("large", {"text": "x" * 100_000})


@dataclass(slots=True)
class Quota(Ballast):
    """A disk without root: SQLite's own bound on the file, which is wider without the ballast."""

    journal: Journal | None = None

    def pages(self, more: int) -> None:
        assert self.journal is not None
        (pages,) = self.journal._writer.connection.execute("PRAGMA page_count").fetchone()
        self.journal._writer.connection.execute(f"PRAGMA max_page_count = {pages + more}")

    def give(self) -> bool:
        held = Ballast.give(self)
        if held:
            self.pages(100)
        return held


@pytest.fixture
def quota(tmp_path: Path) -> Quota:
    return Quota(tmp_path / "journal.ballast", size=1_000_000)


@pytest.fixture
async def journal(tmp_path: Path, quota: Quota) -> AsyncIterator[Journal]:
    quota.journal = journal = await Journal.open(tmp_path / "journal.sqlite", quota)
    yield journal
    await journal.close()


def test_ballast_is_really_allocated_and_kept_over_a_restart(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", size=1_000_000)
    assert ballast.take()
    assert ballast.path.stat().st_blocks * 512 >= 1_000_000
    again = Ballast(tmp_path / "ballast", size=1_000_000)
    assert again.take()
    assert again.give()
    assert not ballast.path.exists()
    assert not again.give()


def test_where_there_is_no_space_for_it_nothing_is_left_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    ballast = Ballast(tmp_path / "ballast")
    assert not ballast.take()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_takes_no_ballast_is_told(tmp_path: Path) -> None:
    (tmp_path / "ballast").mkdir()
    with pytest.raises(JournalError, match="ballast: this file cannot be made: Is a directory"):
        await Journal.open(tmp_path / "journal.sqlite", Ballast(tmp_path / "ballast"))


async def test_a_commit_that_meets_a_full_disk_is_written_into_the_space_of_the_ballast(
    journal: Journal, quota: Quota
) -> None:
    quota.pages(0)
    assert not journal.short.is_set()
    waiters = [asyncio.ensure_future(journal.append(LARGE)) for _ in range(3)]
    written = [events[0].seq for events in await asyncio.gather(*waiters)]
    assert written == [1, 2, 3]
    assert journal.short.is_set()
    assert not quota.path.exists()
    await journal.append(NewEvent("held", {}))
    assert journal.broken is None
    assert await journal.verify() is None


async def test_the_ballast_is_taken_again_when_there_is_space(journal: Journal, quota: Quota) -> None:
    quota.pages(0)
    await journal.append(LARGE)
    assert await journal.refill()
    assert not journal.short.is_set()
    assert quota.path.exists()
    quota.pages(0)
    await journal.append(LARGE, LARGE)  # and gives way once more
    assert journal.short.is_set()


async def test_without_space_it_is_not_taken_again(
    journal: Journal, quota: Quota, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota.pages(0)
    await journal.append(LARGE)
    monkeypatch.setattr(Quota, "take", lambda self: False)
    assert not await journal.refill()
    assert journal.short.is_set()


async def test_when_its_space_is_used_up_too_the_journal_breaks_and_what_was_acknowledged_is_there(
    journal: Journal, quota: Quota, tmp_path: Path
) -> None:
    quota.pages(0)
    found = await asyncio.gather(*(journal.append(LARGE) for _ in range(3)))
    acknowledged = len(found)
    with pytest.raises(JournalError, match="full"):
        await journal.append(*[LARGE] * 10)
    with pytest.raises(JournalError, match="full"):
        journal.post(NewEvent("after", {}))
    await journal.close()
    found = check(tmp_path / "journal.sqlite")
    assert (found.flaw, found.events) == (None, acknowledged)


async def test_an_error_that_is_no_full_disk_leaves_the_ballast(journal: Journal, quota: Quota) -> None:
    journal._writer.connection.execute("DROP TABLE marks")
    with pytest.raises(JournalError, match="no such table"):
        await journal.set_mark("mqtt", 1)
    assert quota.path.exists()
    assert not journal.short.is_set()


async def test_a_journal_that_is_opened_without_space_for_its_ballast_says_that_it_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ballast, "take", lambda self: False)
    journal = await Journal.open(tmp_path / "journal.sqlite", Ballast(tmp_path / "ballast"))
    assert journal.short.is_set()
    await journal.append(NewEvent("held", {}))
    await journal.close()


async def test_the_signal_store_leaves_the_last_space_to_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples wait in memory, and are written when there is space."""
    free = 10_000
    monkeypatch.setattr("labd.journal.samples.free_space", lambda path: free)
    signals = await SignalStore.open(tmp_path / "signals.sqlite", spare=10_001)
    signals.create(SeriesInfo("a-1", "stat1", "", None, None, "2026-01-01T08:00:00Z", (("voltage", "V"),)))
    signals.append("a-1", (3.5,))
    with pytest.raises(SignalError, match="are left on this disk, and the journal needs them"):
        await signals.flush()
    free = 10_001
    assert list((await signals.read("a-1"))["voltage"]) == [3.5]
    await signals.close()
