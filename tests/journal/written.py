"""Journals and stores as a daemon leaves them, for tests that look at them from outside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from labd import clock
from labd.journal import Event, Journal, NewEvent, SeriesInfo, SignalStore

FORCES = (7.6, 7.7, 7.8, 7.9, 8.0)


def crimped(number: int = 0) -> NewEvent:
    return NewEvent("action.done", {"force": FORCES[number % len(FORCES)]}, "run-0001", f"2026-01-01T08:00:0{number}Z")


def write(path: Path, count: int = 5) -> list[Event]:
    """A closed journal with so many events."""

    async def written() -> list[Event]:
        journal = await Journal.open(path)
        try:
            return await journal.append(*(crimped(number) for number in range(count)))
        finally:
            await journal.close()

    return clock.run(written())


def write_signals(path: Path, rows: int = 3) -> None:
    """A closed signal store with one series."""

    async def written() -> None:
        signals = await SignalStore.open(path)
        info = SeriesInfo("a-1", "stat1", "", "run-0001", "cycle", "2026-01-01T08:00:00Z", (("voltage", "V"),))
        signals.create(info)
        for number in range(rows):
            signals.append("a-1", (3.0 + number,))
        await signals.finish("a-1")
        await signals.close()

    clock.run(written())


@contextlib.contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who takes the triggers away that keep a journal append-only."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("DROP TRIGGER events_never_change; DROP TRIGGER events_never_go")
        yield connection
