"""The files of the journal and the signal store: how one is opened, told apart, and kept from a second daemon."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.journal.events import JournalError


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of SQLite file of ours.

    Args:
        name: what people call it.
        version: of its tables.
        application_id: tells it from any other SQLite file.
        synchronous: SQLite's own setting.
        tables: what a new one is made with.
        error: what is raised when it cannot be opened.
        steps: by an older version, the SQL that makes the next one of it.
    """

    name: str
    version: int
    application_id: int
    synchronous: str
    tables: str
    error: type[Exception]
    steps: Mapping[int, str] = field(default_factory=dict)

    def connect(self, path: Path) -> sqlite3.Connection:
        """Opens a file of this kind for writing, and creates it where there is none.

        Raises:
            Exception: this format's error: another kind of file, a newer version, a disk that does not take it.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as opened:
                connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                opened.callback(connection.close)
                self._prepare(connection, path)
                opened.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise self.error(f"{path}: the {self.name} cannot be opened: {error}") from error
        return connection

    def read(self, path: Path) -> sqlite3.Connection:
        """Opens a file of this kind for reading only, also while a daemon writes to it.

        Raises:
            Exception: this format's error: no such file, another kind of file, a newer version.
        """
        if not path.is_file():
            raise self.error(f"{path}: {'this is no file' if path.exists() else f'there is no {self.name} here'}")
        try:
            with contextlib.ExitStack() as opened:
                connection = opened.enter_context(contextlib.closing(_opened_to_read(path)))
                _, tables = self._recognise(connection, path)
                if not tables:
                    raise self.error(f"{path}: this SQLite file is no {self.name} of labd: it is empty")
                opened.pop_all()
        except sqlite3.Error as error:
            raise self.error(f"{path}: the {self.name} cannot be read: {error}") from error
        return connection

    def look(self, path: Path, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in a file, also while a daemon writes to it. Raises this format's error."""
        try:
            with contextlib.closing(self.read(path)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.Error as error:
            raise self.error(f"{path}: the {self.name} cannot be read: {error}") from error

    def _recognise(self, connection: sqlite3.Connection, path: Path) -> tuple[int, int]:
        """The file's version and how many tables it has. Raises this format's error where it is none that we read."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != self.application_id:
            raise self.error(f"{path}: this SQLite file is no {self.name} of labd; is another `store` meant?")
        if version > self.version:
            raise self.error(
                f"{path}: this {self.name} is of version {version}, written by a newer labd; this one reads up to "
                f"{self.version}. Install the newer labd again"
            )
        return int(version), int(tables)

    def _prepare(self, connection: sqlite3.Connection, path: Path) -> None:
        version, tables = self._recognise(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise self.error(f"{path}: this file system does not take SQLite's WAL; put `store` on a local disk")
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        if not tables:
            marks = f"PRAGMA application_id = {self.application_id}; PRAGMA user_version = {self.version};"
            connection.executescript(f"BEGIN; {self.tables} {marks} COMMIT;")
            sync_directory(path.parent)
            return
        # Each step and the version that it makes are one transaction: a crash in its middle leaves what was before.
        for older in range(version, self.version):
            connection.executescript(f"BEGIN; {self.steps[older]} PRAGMA user_version = {older + 1}; COMMIT;")


_KEPT = "CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"

# With the run in it, what a start asks first (which runs have not ended) is told by the index alone.
_BY_KIND = "CREATE INDEX IF NOT EXISTS events_by_kind ON events (kind, seq, run);"

JOURNAL = Format(
    name="journal",
    version=3,
    application_id=0x6C616264,  # "labd"
    # A commit is on the disk when it returns. Group commit makes it cheap, so there is no reason for less.
    synchronous="FULL",
    tables=f"""
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY,
    at   TEXT NOT NULL,
    run  TEXT,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX events_by_run ON events (run, seq) WHERE run IS NOT NULL;
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
{_BY_KIND}
{_KEPT}
""",
    error=JournalError,
    steps={1: _KEPT, 2: _BY_KIND},
)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction: committed at the end of the block, undone by an error in it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _opened_to_read(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        # A folder that this user may not write to, and nobody has the file open: it holds all there is.
        connection = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
    except BaseException:
        connection.close()
        raise
    return connection


def sync_directory(directory: Path) -> None:
    """Makes the names of files in a folder themselves outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path: Path) -> int:
    """Takes the journal for this process, until the descriptor it returns is closed.

    Raises:
        JournalError: another daemon has it; the text names its process.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise JournalError(f"{beside}: the lock file cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise JournalError(
            f"{path}: another labd (process {holder or 'unknown'}) has this store open; stop it first"
        ) from None
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, only the pid is not told
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
