"""Opening the journal: its lock, its two connections, its ballast, and where its chain ends."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from labd.journal import schema
from labd.journal.ballast import Ballast, is_full
from labd.journal.events import GENESIS, JournalError


@dataclass(slots=True)
class JournalFile:
    """What was opened: the lock's descriptor, both connections, seq and hash of the last event, and the ballast."""

    lock: int
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    last: tuple[int, str]
    ballast: Ballast | None


def open_journal(path: Path, ballast: Ballast | None) -> JournalFile:
    """Opens the file for this process alone, and creates it where there is none. Raises JournalError."""
    with contextlib.ExitStack() as opened:
        lock = schema.lock(path)
        opened.callback(os.close, lock)
        _take(ballast)
        writer = opened.enter_context(contextlib.closing(_connected(path, ballast)))
        try:
            reader = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
            opened.callback(reader.close)
            last = writer.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"{path}: the journal cannot be read: {error}") from error
        opened.pop_all()
        return JournalFile(lock, writer, reader, last or (0, GENESIS), ballast)


def _connected(path: Path, ballast: Ballast | None) -> sqlite3.Connection:
    """The writer's connection; a lab that starts on a full disk begins with the space of its ballast."""
    try:
        return schema.JOURNAL.connect(path)
    except JournalError as error:
        full = isinstance(error.__cause__, sqlite3.Error) and is_full(error.__cause__)
        if not full or ballast is None or not ballast.give():
            raise
    return schema.JOURNAL.connect(path)


def _take(ballast: Ballast | None) -> None:
    if ballast is None:
        return
    try:
        ballast.take()
    except OSError as error:
        raise JournalError(f"{ballast.path}: this file cannot be made: {error.strerror}") from error
