"""The journal's queries: what is durable, read by a connection of its own, while the writer writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from labd.journal.events import Event, JournalError
from labd.journal.verify import walk

RARE = 10  # kinds of which fewer than one event in so many is are looked up, others found by walking through all

Only = Collection[Any] | None
_COLUMNS = "seq, at, run, kind, data, hash"


class Reader:
    """Reads one journal; all is for the reader's thread. What cannot be read is a JournalError.

    Args:
        path: what messages call the journal.
        connection: its own.
        last: gives the seq of the last event.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, last: Callable[[], int]) -> None:
        self.path = path
        self._connection = connection
        self._last = last

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """As of `Rows`."""
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: the journal cannot be read: {error}") from error

    def select(
        self, run: str | None, after: int, kinds: Only, limit: int | None, seqs: Only = None, skip: int = 0
    ) -> list[Event]:
        """The events that fit, oldest first."""
        where, values = ["seq > ?"], [after]
        filters: list[Any] = []
        if run is not None:
            where.append("run = ?")
            filters.append(run)
        if kinds is not None:
            where.append(self._by_kinds(kinds) if run is None else f"kind IN ({_marks(kinds)})")
            filters += sorted(kinds)
        if seqs is not None:
            where.append(f"seq IN ({_marks(seqs)})")
            filters += seqs
        query = f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(where)} ORDER BY seq LIMIT ? OFFSET ?"  # noqa: S608
        rows = self.rows(query, [*values, *filters, -1 if limit is None else limit, skip])
        return [self._event(*row) for row in rows]

    def _by_kinds(self, kinds: Collection[str]) -> str:
        """The condition for events of these kinds: by their index where they are few, else by walking through all."""
        (rows,) = self.rows(f"SELECT count(*) FROM events WHERE kind IN ({_marks(kinds)})", sorted(kinds))  # noqa: S608
        few = rows[0] * RARE < self._last()
        return f"{'' if few else '+'}kind IN ({_marks(kinds)})"

    def _event(self, seq: int, at: str, run: str | None, kind: str, data: str, hash_: str) -> Event:
        try:
            return Event(seq, at, run, kind, json.loads(data), hash_)
        except ValueError as error:
            raise JournalError(f"{self.path}: event {seq} is damaged: {error}; restore the file from a copy") from error

    def runs(self, with_: str, without: str) -> list[str]:
        """Those that have an event of one kind and none of another, in the order of their names."""
        of_kind = "SELECT run FROM events WHERE kind = ? AND run IS NOT NULL"
        return sorted(run for (run,) in self.rows(f"{of_kind} EXCEPT {of_kind}", [with_, without]))

    def mark(self, name: str) -> int:
        """A reader's position; 0 when it was never set."""
        return next((int(value) for (value,) in self.rows("SELECT value FROM marks WHERE name = ?", [name])), 0)

    def kept(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What is kept under names that begin so."""
        rows = self.rows("SELECT name, value FROM kept WHERE substr(name, 1, ?) = ?", [len(prefix), prefix])
        return {name: json.loads(value) for name, value in rows}

    def first_flaw(self) -> int | None:
        """The seq of the first event that does not fit to the ones before it, or None when the chain is whole."""
        flaw = walk(self.rows(f"SELECT {_COLUMNS} FROM events ORDER BY seq")).flaw  # noqa: S608 - ours
        return flaw.seq if flaw is not None else None


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))
