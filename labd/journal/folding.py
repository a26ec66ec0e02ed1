"""When the write-ahead log goes into the journal's file.

SQLite by itself copies it within a commit, once it has a thousand pages: one commit in a hundred takes several times as
long as the others, and so does the answer that waits for it. Here it is done while nobody waits for anything.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
from typing import TypeVar

_T = TypeVar("_T")

PAGES = 1000  # about; so long a log is copied as soon as there is nothing to write
AT_ONCE = 4000  # pages; so long a one within the commit that makes it so
OF_A_COMMIT = 8  # pages, about, of the indexes and so on; and one an event and a value that is kept
QUIET = 0.02  # s of the machine; who has had nothing to write for so long has nothing to write


class Folding:
    """Of one connection; all is for the writer's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {AT_ONCE}")
        self._pages = 0

    def wrote(self, rows: int) -> None:
        """A commit has so many rows."""
        self._pages += OF_A_COMMIT + rows

    def next_of(self, works: queue.SimpleQueue[_T]) -> _T:
        """What comes next; meanwhile the log is copied, where it is time for that."""
        if self._pages >= PAGES:
            try:
                return works.get(timeout=QUIET)
            except queue.Empty:
                self._pages = 0
            # What the disk does not take now stays in the log; the next commit tells of the disk.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return works.get()
