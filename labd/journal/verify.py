"""Whether a journal is whole: its chain of hashes walked from the first event to the last, beside a daemon or not."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labd.journal.events import GENESIS, chain
from labd.journal.schema import JOURNAL

PAGE = 5_000
"""Events read at a time: one long reading would keep the daemon's WAL from being emptied."""

Row = tuple[Any, Any, Any, Any, Any, Any]
"""seq, at, run, kind, data, hash, as they stand in the file."""

_QUERY = "SELECT seq, at, run, kind, data, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
_HEAD = re.compile(r"(?:([1-9]\d{0,17}):)?([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a journal as it was noted down earlier; `seq` is None where only the hash was."""

    seq: int | None
    hash: str

    @classmethod
    def read(cls, text: str) -> Head:
        """From `HASH` or `SEQ:HASH`. Raises ValueError."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is no hash of an event: 64 of 0-9 and a-f, with `SEQ:` before them or without")
        seq, hash_ = found.groups()
        return cls(int(seq) if seq else None, hash_.lower())


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first thing that does not fit.

    Args:
        seq: of the first event that does not fit; None where the flaw is of no one event.
        what: `missing`, its number does not follow; `data`, its hash is not that of what stands in it after the event
            before; `hash`, only its own hash was changed; `head`, a hash that was noted earlier is not there; `file`,
            SQLite's own check.
        text: in words.
    """

    seq: int | None
    what: Literal["missing", "data", "hash", "head", "file"]
    text: str


@dataclass(slots=True)
class Verdict:
    """What a walk along the chain found. `flaw` is None when it is whole; the last event is that of the file."""

    events: int = 0
    first_at: str | None = None
    last_at: str | None = None
    seq: int = 0
    hash: str = GENESIS
    flaw: Flaw | None = None


def walk(rows: Iterable[Row]) -> Verdict:
    """Checks that each event has the number after the one before it, and the hash that its content makes with it."""
    verdict = Verdict()
    before, suspect = GENESIS, None  # an event whose hash does not fit, and the hash that would
    for row in rows:
        seq, at, _, _, _, hash_ = row
        if suspect is not None:
            verdict.flaw = _hash_or_data(*suspect, row)
            suspect = None
        if verdict.flaw is None:
            if seq != verdict.seq + 1:
                verdict.flaw = _missing(verdict.seq + 1, seq)
            elif (made := _made(before, row)) != hash_:
                suspect = (row, made)
        verdict.events += 1
        verdict.first_at = at if verdict.first_at is None else verdict.first_at
        verdict.last_at, verdict.seq, verdict.hash = at, seq, hash_
        before = hash_
    if suspect is not None:
        verdict.flaw = _hash_or_data(*suspect, None)
    return verdict


def _made(before: str, row: Row) -> str | None:
    """The hash that an event makes with the hash before it; None where it is no event."""
    seq, at, run, kind, data, _ = row
    if not (isinstance(at, str) and isinstance(kind, str) and isinstance(data, str) and isinstance(run, str | None)):
        return None
    return chain(before, seq, at, run, kind, data)


def _missing(expected: int, seq: int) -> Flaw:
    if seq < expected:
        return Flaw(seq, "missing", f"event {seq} does not fit: the first event of a journal has the number {expected}")
    gone = f"event {expected} is" if seq == expected + 1 else f"events {expected} to {seq - 1} are"
    return Flaw(seq, "missing", f"event {seq} does not fit: {gone} missing before it")


def _hash_or_data(row: Row, made: str | None, after: Row | None) -> Flaw:
    """Of an event whose hash does not fit: the event after it knows the hash that it had."""
    seq, at, _, kind, _, hash_ = row
    event = f"event {seq} ({kind}, {at}) does not fit"
    if made is not None and after is not None and _made(made, after) == after[5]:
        text = f"{event}: the hash {hash_} stands in it, and {made} is what it and the events beside it make"
        return Flaw(seq, "hash", text)
    text = f"{event}: it makes the hash {made or 'of no event'} after the event before it, and {hash_} stands in it"
    return Flaw(seq, "data", f"{text}; its content, or the one before it, was changed after it was written")


def check(path: Path, expected: Sequence[Head] = ()) -> Verdict:
    """Walks a journal's chain, looks for heads that were noted earlier, and runs SQLite's own check of the file.

    It only reads, and may run beside a daemon. An end that was cut off is found by what was noted elsewhere alone.

    Raises:
        JournalError: there is no such file, it is no journal, or a newer labd wrote it.
    """
    with contextlib.closing(JOURNAL.read(path)) as connection:
        try:
            verdict = walk(_pages(connection))
            verdict.flaw = verdict.flaw or _missing_head(connection, verdict, expected) or _damage(connection)
        except sqlite3.DatabaseError as error:
            return Verdict(flaw=Flaw(None, "file", f"the file cannot be read to its end: {error}"))
        return verdict


def _pages(connection: sqlite3.Connection) -> Iterator[Row]:
    after = -(2**63)
    while page := connection.execute(_QUERY, [after, PAGE]).fetchall():
        yield from page
        after = page[-1][0]


def _missing_head(connection: sqlite3.Connection, verdict: Verdict, expected: Sequence[Head]) -> Flaw | None:
    for head in expected:
        if head.seq is None:
            if not connection.execute("SELECT 1 FROM events WHERE hash = ?", [head.hash]).fetchone():
                text = f"no event has the hash {head.hash}: the journal was cut at its end, or written anew, since"
                return Flaw(None, "head", text)
            continue
        found = connection.execute("SELECT hash FROM events WHERE seq = ?", [head.seq]).fetchone()
        if found is None:
            text = f"there is no event {head.seq}, the last is {verdict.seq}: the journal was cut at its end"
            return Flaw(None, "head", text)
        if found[0] != head.hash:
            text = f"event {head.seq} has the hash {found[0]}, not {head.hash}: the journal was written anew since"
            return Flaw(head.seq, "head", text)
    return None


def _damage(connection: sqlite3.Connection) -> Flaw | None:
    (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return None if told == "ok" else Flaw(None, "file", f"SQLite finds the file damaged: {told}")
