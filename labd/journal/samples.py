"""The signal store's file: series and their batches of samples, as SQLite holds them. For one thread at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd.journal.ballast import free_space
from labd.journal.schema import Format, transaction

BATCH_ROWS = 512
"""Rows of a full batch."""


class SignalError(Exception):
    """Samples cannot be kept or read; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What a series is.

    Args:
        id: its name; of an action's data the action's id.
        device, unit: where it was measured; `unit` is the channel, nest or mount.
        run, action: for what; None for what is polled.
        started, ended: RFC 3339 in UTC; `ended` is None while it still grows.
        columns: name and unit of each; the unit is empty for a plain number.
    """

    id: str
    device: str
    unit: str
    run: str | None
    action: str | None
    started: str
    columns: tuple[tuple[str, str], ...]
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was computed from a series: by which version of the methods, from which rows (their hash), and when."""

    version: str
    input: str
    at: str
    result: dict[str, Any]


_ANALYSES = """
CREATE TABLE analyses (
    series  INTEGER PRIMARY KEY REFERENCES series (number),
    version TEXT NOT NULL,
    input   TEXT NOT NULL,
    at      TEXT NOT NULL,
    result  TEXT NOT NULL
);
"""

SIGNALS = Format(
    name="signal store",
    version=2,
    application_id=0x6C616273,  # "labs"
    # Samples come by the thousand and are no promise to anyone, so they do not wait for the disk (see signals.py).
    synchronous="NORMAL",
    tables=f"""
CREATE TABLE series (
    number  INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    device  TEXT NOT NULL,
    unit    TEXT NOT NULL,
    run     TEXT,
    action  TEXT,
    started TEXT NOT NULL,
    ended   TEXT,
    columns TEXT NOT NULL
);
CREATE INDEX series_by_run ON series (run) WHERE run IS NOT NULL;
CREATE TABLE batches (
    series INTEGER NOT NULL REFERENCES series (number),
    start  INTEGER NOT NULL,
    rows   INTEGER NOT NULL,
    data   BLOB NOT NULL,
    PRIMARY KEY (series, start)
);
{_ANALYSES}
""",
    error=SignalError,
    steps={1: _ANALYSES},
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one series: the number of the first, the float64 values column after column.

    Rows count from where the series was created in this process.
    """

    start: int
    rows: int
    data: bytes


class SampleFile:
    """The open file."""

    def __init__(self, path: Path, spare: int = 0) -> None:
        """Opens it, and creates it where there is none. Raises SignalError.

        Args:
            path: the file.
            spare: bytes of the disk that are left free, for the journal.
        """
        self._path = path
        self._spare = spare
        self._connection = SIGNALS.connect(path)
        self._places: dict[str, tuple[int, int]] = {}  # series -> its number, and the rows it had before

    def write(self, jobs: Sequence[tuple[SeriesInfo, Sequence[Batch]]]) -> None:
        """Writes batches, all or none. One that was written before, with fewer rows, is replaced.

        Raises:
            SignalError: the disk does not take them.
        """
        self._leave_spare()
        places = dict(self._places)
        with self._transaction() as connection:
            for info, batches in jobs:
                if info.id not in places:
                    places[info.id] = self._enter(info)
                number, before = places[info.id]
                rows = [(number, before + batch.start, batch.rows, batch.data) for batch in batches]
                connection.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)", rows)
        self._places = places

    def before(self, info: SeriesInfo) -> int:
        """The rows of a series from before it was created in this process. Raises SignalError."""
        if info.id in self._places:
            return self._places[info.id][1]
        columns = json.dumps(info.columns, ensure_ascii=False)
        have = self._select("SELECT number, started, columns FROM series WHERE id = ?", [info.id])
        return self._rows(int(have[0][0])) if have and tuple(have[0][1:]) == (info.started, columns) else 0

    def _leave_spare(self) -> None:
        """What is left of a full disk is the journal's."""
        with contextlib.suppress(OSError):
            free = free_space(self._path)
            if free < self._spare:
                raise SignalError(
                    f"{self._path}: {free / 1e6:.0f} MB are left on this disk, and the journal needs them; make room"
                )

    def _enter(self, info: SeriesInfo) -> tuple[int, int]:
        """The number of a series, entered where it is new, and how many rows it had before.

        One of the same name that began at another time is another one, left over from a journal that was replaced: it
        keeps its samples under a name with its time.
        """
        execute = self._connection.execute
        columns = json.dumps(info.columns, ensure_ascii=False)
        have = execute("SELECT number, started, columns FROM series WHERE id = ?", [info.id]).fetchone()
        if have is not None and have[1:] == (info.started, columns):
            number = int(have[0])
            execute("UPDATE series SET ended = NULL WHERE number = ?", [number])
            return number, self._rows(number)
        if have is not None:
            execute("UPDATE series SET id = id || '@' || started || '#' || number WHERE number = ?", [have[0]])
        values = (info.id, info.device, info.unit, info.run, info.action, info.started, columns)
        entered = execute(
            "INSERT INTO series (id, device, unit, run, action, started, columns) VALUES (?, ?, ?, ?, ?, ?, ?)", values
        )
        return int(entered.lastrowid or 0), 0

    def end(self, series: str, at: str) -> None:
        """Notes that a series has ended, and syncs, which `NORMAL` leaves out on commit."""
        with self._transaction() as connection:
            connection.execute("UPDATE series SET ended = ? WHERE id = ?", [at, series])
        with self._told():
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._places.pop(series, None)

    def series(self, run: str | None, device: str | None) -> list[SeriesInfo]:
        """All series, of one run or one device, in the order of their beginning."""
        query = (
            "SELECT id, device, unit, run, action, started, columns, ended FROM series"
            " WHERE (? IS NULL OR run = ?) AND (? IS NULL OR device = ?) ORDER BY number"
        )
        return [_info(row) for row in self._select(query, [run, run, device, device])]

    def read(self, series: str, start: int, stop: int | None) -> dict[str, array[float]]:
        """Rows by column. Raises SignalError: no such series, or a damaged one."""
        number, names = self._find(series)
        last = sys.maxsize if stop is None else stop
        found = [array("d") for _ in names]
        # The batch that holds row `start` begins less than a batch before it.
        rows = self._select(
            "SELECT start, rows, data FROM batches WHERE series = ? AND start > ? AND start < ? ORDER BY start",
            [number, start - BATCH_ROWS, last],
        )
        for first, count, data in rows:
            columns = _columns(series, first, count, data, len(names))
            for have, column in zip(found, columns, strict=True):
                have.extend(column[max(0, start - first) : last - first])
        return dict(zip(names, found, strict=True))

    def tail(self, series: str, count: int) -> dict[str, array[float]]:
        """The last rows by column. Raises SignalError as `read` does."""
        number, _ = self._find(series)
        return self.read(series, max(0, self._rows(number) - count), None)

    def digest(self, series: str) -> str:
        """The SHA-256 over a series' columns and rows, in hexadecimal. Raises SignalError as `read` does."""
        (number, columns), *_ = self._select("SELECT number, columns FROM series WHERE id = ?", [series]) or [(0, None)]
        if columns is None:
            raise SignalError(f"there is no series {series!r}")
        digest = hashlib.sha256(columns.encode())
        query = "SELECT start, data FROM batches WHERE series = ? ORDER BY start"
        for start, data in self._select(query, [number]):
            digest.update(b"%d %d " % (start, len(data)) + data)
        return digest.hexdigest()

    def analysis(self, series: str) -> Analysis | None:
        """What was kept of a series last, or None. Raises SignalError: no such series."""
        number, _ = self._find(series)
        rows = self._select("SELECT version, input, at, result FROM analyses WHERE series = ?", [number])
        return next((Analysis(version, of, at, json.loads(result)) for version, of, at, result in rows), None)

    def keep_analysis(self, series: str, kept: Analysis) -> None:
        """Keeps what was computed of a series in place of what was kept before. Raises SignalError."""
        self._leave_spare()
        number, _ = self._find(series)
        result = json.dumps(kept.result, ensure_ascii=False, separators=(",", ":"))
        with self._transaction() as connection:
            values = (number, kept.version, kept.input, kept.at, result)
            connection.execute("INSERT OR REPLACE INTO analyses VALUES (?, ?, ?, ?, ?)", values)

    def close(self) -> None:
        self._connection.close()

    def _find(self, series: str) -> tuple[int, list[str]]:
        rows = self._select("SELECT number, columns FROM series WHERE id = ?", [series])
        if not rows:
            raise SignalError(f"there is no series {series!r}")
        number, columns = rows[0]
        return number, [name for name, _ in json.loads(columns)]

    def _rows(self, number: int) -> int:
        query = "SELECT start + rows FROM batches WHERE series = ? ORDER BY start DESC LIMIT 1"
        return next((int(rows) for (rows,) in self._select(query, [number])), 0)

    def _select(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._told():
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._told(), transaction(self._connection) as connection:
            yield connection

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tells SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise SignalError(f"{self._path}: samples cannot be written or read: {error}; mend the disk") from error


def _info(row: tuple[Any, ...]) -> SeriesInfo:
    id_, device, unit, run, action, started, columns, ended = row
    named = tuple((name, unit) for name, unit in json.loads(columns))
    return SeriesInfo(id_, device, unit, run, action, started, named, ended)


def _columns(series: str, start: int, rows: int, data: bytes, count: int) -> list[array[float]]:
    """The columns of a batch, from the bytes of one after another."""
    if len(data) != 8 * rows * count:
        raise SignalError(f"series {series}: the batch at row {start} is damaged; restore the file from a copy")
    found = []
    for column in range(count):
        values = array("d")
        values.frombytes(data[8 * rows * column : 8 * rows * (column + 1)])
        found.append(little(values))
    return found


def little(values: array[float]) -> array[float]:
    """The values in the byte order of the file, which is little-endian; the same the other way round."""
    if sys.byteorder == "big":
        values.byteswap()
    return values
