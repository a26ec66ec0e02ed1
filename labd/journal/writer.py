"""The journal's writer: a thread that writes what is handed to it, and tells the loop what came of it.

It takes all that waits, writes it in one transaction and syncs once (group commit); what is handed over meanwhile
shares the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labd.journal import schema
from labd.journal.ballast import is_full
from labd.journal.events import Event, JournalError, chain
from labd.journal.folding import Folding
from labd.journal.opening import JournalFile


@dataclass(slots=True)
class Work:
    """What the writer is to do: events, a mark, values to keep, the ballast to take again; or only to answer."""

    events: Sequence[tuple[str, str | None, str, str]] = ()
    mark: tuple[str, int] | None = None
    keep: Mapping[str, str | None] = field(default_factory=dict)
    refill: bool = False
    done: asyncio.Future[list[Event]] | None = None
    then: Callable[[], None] | None = None


Committed = Callable[[Sequence[Work], Sequence[list[Event]], JournalError | None, bool], None]
"""Hears what was written, the events of each work, why nothing can be written any more, and whether it was the end."""


class Writer:
    """Writes one journal from `start` to `end`; made in the loop, which hears of all that it does.

    Args:
        path: what messages call the journal.
        file: what was opened; its writer's connection is for this thread alone from `start` on.
        committed: called in the loop after each commit.
        short: called in the loop when the ballast was given up.
    """

    def __init__(self, path: Path, file: JournalFile, committed: Committed, short: Callable[[], None]) -> None:
        self.path = path
        self.connection = file.writer
        self.seq, self._hash = file.last
        self._file = file
        self._folding = Folding(file.writer)
        self._loop = asyncio.get_running_loop()
        self._committed = committed
        self._short = short
        self._queue: queue.SimpleQueue[Sequence[Work] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="journal-writer", daemon=True)

    # ── for the loop ─────────────────────────────────────────────────────────────────────────────────────────────
    def start(self) -> None:
        self._thread.start()

    def put(self, works: Sequence[Work]) -> None:
        """Hands works over, which are written in one transaction."""
        self._queue.put(works)

    def end(self) -> None:
        """Asks for the end, after all that was handed over; harmless when it has ended."""
        self._queue.put(None)

    def join(self) -> None:
        """Waits for the end."""
        self._thread.join()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────
    def _write(self) -> None:
        broken: JournalError | None = None
        while True:
            drained, ends = self._drain()
            results: list[list[Event]] = []
            if broken is None:
                try:
                    results = self._commit_with_ballast(drained)
                except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                    broken = JournalError(
                        f"{self.path}: the journal cannot be written: {error}. Mend the disk and start labd again"
                    )
                    broken.__cause__ = error
            if ends:
                self.connection.close()
            try:
                self._loop.call_soon_threadsafe(self._committed, drained, results, broken, ends)
            except RuntimeError:  # the loop was closed without the journal's close: nobody is left to be told
                self.connection.close()
                return
            if ends:
                return

    def _drain(self) -> tuple[list[Work], bool]:
        """All that waits, at least one; and whether the end was asked for."""
        drained: list[Work] = []
        works = self._folding.next_of(self._queue)
        while works is not None:
            drained += works
            try:
                works = self._queue.get_nowait()
            except queue.Empty:
                return drained, False
        return drained, True

    def _commit_with_ballast(self, drained: Sequence[Work]) -> list[list[Event]]:
        """Writes what was drained; where the disk is full, once more into the space of the ballast."""
        ballast = self._file.ballast
        if ballast is not None and any(work.refill for work in drained):
            ballast.take()
        try:
            return self.commit(drained)
        except sqlite3.Error as error:
            if ballast is None or not is_full(error) or not ballast.give():
                raise
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._short)
        return self.commit(drained)

    def commit(self, drained: Sequence[Work]) -> list[list[Event]]:
        """Writes what was drained in one transaction."""
        results: list[list[Event]] = []
        rows: list[tuple[int, str, str | None, str, str, str]] = []
        marks: list[tuple[str, int]] = []
        kept: dict[str, str | None] = {}
        seq, last = self.seq, self._hash
        for work in drained:
            written: list[Event] = []
            for at, run, kind, data in work.events:
                seq += 1
                last = chain(last, seq, at, run, kind, data)
                rows.append((seq, at, run, kind, data, last))
                written.append(Event(seq, at, run, kind, json.loads(data), last))
            if work.mark is not None:
                marks.append(work.mark)
            kept |= work.keep
            results.append(written)
        if rows or marks or kept:
            with schema.transaction(self.connection) as connection:
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
                connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", marks)
                now = [(name, value) for name, value in kept.items() if value is not None]
                connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", now)
                gone = [(name,) for name, value in kept.items() if value is None]
                connection.executemany("DELETE FROM kept WHERE name = ?", gone)
            self._folding.wrote(len(rows) + len(kept))
        self.seq, self._hash = seq, last
        return results
