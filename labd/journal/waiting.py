"""What a reader that follows the journal has still before it: the events as they are written, and how many, by stretch.

Each function is a query for `Journal.ask`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

STRETCH = 250  # seqs
OVERHEAD = 200  # bytes of an event beside its data: time, run, kind, hash, two indexes


class Rows(Protocol):
    """Runs a query, and gives its rows."""

    def __call__(self, query: str, values: Sequence[Any] = ()) -> Iterable[Any]: ...


class Written(NamedTuple):
    """An event whose `data` is the JSON text that the journal holds."""

    seq: int
    at: str
    run: str | None
    kind: str
    data: str
    hash: str

    @property
    def size(self) -> int:
        """Bytes that it takes in the journal, roughly."""
        return len(self.data) + OVERHEAD


@dataclass(slots=True)
class Stretch:
    """Events that follow each other: from which to which seq, their bytes, and when the last of them was."""

    first: int
    last: int
    size: int
    at: str

    def add(self, event: Written) -> None:
        self.last, self.at = event.seq, event.at
        self.size += event.size


def written(rows: Rows, after: int, most: int, most_bytes: int) -> list[Written]:
    """The events after a seq, oldest first: so many at most, and no more than so many bytes, but at least one."""
    found: list[Written] = []
    size = 0
    query = "SELECT seq, at, run, kind, data, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    for row in rows(query, [after, most]):
        event = Written(*row)
        size += event.size
        if found and size > most_bytes:
            break
        found.append(event)
    return found


def stretches(rows: Rows, after: int, most: int) -> list[Stretch]:
    """The events after a seq by stretches, of which there are so many at most."""
    query = (
        f"SELECT min(seq), max(seq), sum(length(CAST(data AS BLOB))) + {OVERHEAD} * count(*), max(at) "  # noqa: S608
        f"FROM events WHERE seq > ? AND seq <= ? GROUP BY (seq - 1) / {STRETCH} ORDER BY seq"
    )
    return [Stretch(*row) for row in rows(query, [after, after + most * STRETCH])]


def number(rows: Rows, run: str, seq: int) -> int:
    """The number of an event of a run among the run's events, from 1."""
    return next(int(count) for (count,) in rows("SELECT count(*) FROM events WHERE run = ? AND seq <= ?", [run, seq]))


def firsts(rows: Rows, after: int, last: int) -> dict[str, tuple[int, int]]:
    """By run: the seq of its first event after one seq and up to another, and how many there are."""
    query = (
        "SELECT run, min(seq), count(*) FROM events WHERE run IS NOT NULL AND seq > ? AND seq <= ? "
        "GROUP BY run ORDER BY min(seq)"
    )
    return {run: (first, count) for run, first, count in rows(query, [after, last])}
