"""The signal store: samples by series, append-only, at a constant cost a point however long a series grows.

Rows are gathered in memory by column and written as float64 blobs, a batch of rows each, by size and by lab time; a
series' last batch is written again until it is full, so that slow series do not end as one batch a row.
Its own file with `synchronous=NORMAL`: samples come by the thousand and are no promise to anyone, so they do not wait
for the disk. A crash of the process loses the rows of the last `FLUSH_SECONDS`; a power cut also what the system had
not yet written out. Neither damages what is older. What a finished series holds is synced.
"""

from __future__ import annotations

import asyncio
import math
import typing
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import structlog
from pydantic.fields import FieldInfo

from labd import clock
from labd.journal.samples import BATCH_ROWS, Analysis, Batch, SampleFile, SeriesInfo, SignalError, little
from labd.sdk import Signals
from labd.sdk.quantities import unit_of

log = structlog.get_logger(__name__)

FLUSH_ROWS = 4096  # rows of one series that are waiting: more are written at once
FLUSH_SECONDS = 10.0  # lab time
MAX_WAITING = 1_000_000  # rows of one series kept in memory while the disk does not take them

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class _Buffer:
    """The rows of one series that are not yet in a full batch on the disk. Row numbers count from its creation."""

    def __init__(self, info: SeriesInfo) -> None:
        self.info = info
        self.columns = tuple(array("d") for _ in info.columns)
        self.base = 0  # number of the first row that is here
        self.durable = 0  # rows before this one are on the disk

    @property
    def rows(self) -> int:
        """Rows so far, those included that have left memory."""
        return self.base + len(self.columns[0])

    def batches(self) -> list[Batch]:
        """Every batch that is not wholly on the disk."""
        first = self.durable - (self.durable - self.base) % BATCH_ROWS
        found = []
        for start in range(first, self.rows, BATCH_ROWS):
            count = min(BATCH_ROWS, self.rows - start)
            here = slice(start - self.base, start - self.base + count)
            found.append(Batch(start, count, b"".join(little(column[here]).tobytes() for column in self.columns)))
        return found

    def settle(self, rows: int) -> None:
        """The rows before this one are on the disk: those in full batches need not be kept here."""
        self.durable = rows
        gone = (rows - self.base) // BATCH_ROWS * BATCH_ROWS
        if gone:
            for column in self.columns:
                del column[:gone]
            self.base += gone


class SignalStore:
    """The samples of one lab; `SignalStore.open` makes one. All methods are for the loop's thread."""

    def __init__(self, path: Path, file: SampleFile, executor: ThreadPoolExecutor) -> None:
        self.path = path
        self._file = file
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._buffers: dict[str, _Buffer] = {}
        self._dirty: dict[str, None] = {}  # series with rows that wait, in the order of their waiting
        self._writing = asyncio.Lock()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._listeners: list[Callable[[str], None]] = []
        self._flusher = self._loop.create_task(self._keep_flushing(), name="signal-flusher")
        self._flusher.add_done_callback(self._flusher_ended)

    @classmethod
    async def open(cls, path: Path, spare: int = 0) -> SignalStore:
        """Opens the store, and creates it where there is none.

        Args:
            path: its file.
            spare: bytes of the disk that it leaves free: below, samples wait in memory.

        Raises:
            SignalError: a newer labd wrote it, it is something else, or the disk fails.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="signals")
        try:
            file = await asyncio.get_running_loop().run_in_executor(executor, SampleFile, path, spare)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(path, file, executor)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────
    def create(self, series: SeriesInfo) -> None:
        """Begins a series, or goes on with one of the same columns.

        Raises:
            SignalError: no columns, two of one name, or other columns than it began with.
        """
        names = [name for name, _ in series.columns]
        if not names or len(set(names)) != len(names):
            raise SignalError(f"series {series.id}: it needs columns with names of their own, not {names}")
        have = self._buffers.get(series.id)
        if have is None:
            self._buffers[series.id] = _Buffer(series)
            self._touch(series.id)
        elif have.info.columns != series.columns:
            raise SignalError(f"series {series.id}: it has the columns {have.info.columns}, not {series.columns}")

    def create_polls(self, series: str, device: str, unit: str, signals: type[Signals]) -> tuple[str, ...]:
        """Begins a series of what a device's polls read: `time` (s since the epoch), then its numbers and booleans.

        Gives the names of the columns after `time`, in their order.
        """
        kept = [(name, unit_of(field) or "") for name, field in signals.model_fields.items() if _is_number(field)]
        columns = (("time", "s"), *kept)
        self.create(SeriesInfo(series, device, unit, None, None, clock.stamp(), columns))
        return tuple(name for name, _ in kept)

    def append(self, series: str, row: tuple[float | None, ...]) -> None:
        """Adds a row, in the order of the columns; None is a value that nobody could tell. Does no I/O.

        Raises:
            SignalError: no such series, another number of values, or the disk has not taken samples for long.
        """
        buffer = self._buffers.get(series)
        if buffer is None:
            raise SignalError(f"series {series!r} is not open: create it first")
        columns = buffer.columns
        if len(row) != len(columns):
            raise SignalError(f"series {series}: {len(row)} values for {len(columns)} columns")
        waiting = len(columns[0]) - (buffer.durable - buffer.base)
        if waiting >= MAX_WAITING:
            raise SignalError(f"series {series}: {waiting} samples wait for the disk, more are not taken; see the log")
        for column, value in zip(columns, row, strict=True):
            column.append(math.nan if value is None else value)
        self._touch(series)
        if waiting >= FLUSH_ROWS:
            self._due.set()

    def _touch(self, series: str) -> None:
        self._dirty[series] = None
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._due.set)

    async def flush(self, series: str | None = None) -> None:
        """Writes what waits, of one series or of all.

        Raises:
            SignalError: the disk did not take it. The samples are kept in memory, and tried again later.
        """
        async with self._writing:
            buffers = [self._buffers[waiting] for waiting in self._dirty if series in (None, waiting)]
            if not buffers:
                return
            jobs = [(buffer.info, buffer.batches()) for buffer in buffers]
            rows = [buffer.rows for buffer in buffers]
            await self._call(self._file.write, jobs)
            for buffer, written in zip(buffers, rows, strict=True):
                buffer.settle(written)
                if buffer.rows == written:
                    self._dirty.pop(buffer.info.id, None)

    async def count(self, series: str) -> int:
        """The rows of an open series, those included that it had before this process.

        Raises:
            SignalError: no such series is open, or the disk cannot be read.
        """
        buffer = self._buffers.get(series)
        if buffer is None:
            raise SignalError(f"series {series!r} is not open")
        async with self._writing:
            return await self._call(self._file.before, buffer.info) + buffer.rows

    async def finish(self, series: str) -> None:
        """Ends a series: all its rows are on the disk, and outlive a power cut, when this returns.

        Raises:
            SignalError: no such series is open, or the disk did not take it; it then stays open.
        """
        if series not in self._buffers:
            raise SignalError(f"series {series!r} is not open")
        while series in self._dirty:
            await self.flush(series)
        await self._call(self._file.end, series, clock.stamp())
        self._buffers.pop(series, None)
        for listener in tuple(self._listeners):
            listener(series)

    def on_finish(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Has a listener called with the id of each series that has ended; call what is given to end that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _keep_flushing(self) -> None:
        failing = False  # told once
        while True:
            await self._due.wait()
            self._due.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                await self.flush()
            except SignalError as error:
                if not failing:
                    log.error("samples wait in memory", error=str(error))  # noqa: TRY400 - the text says it all
                failing = True
            else:
                failing = False
            if self._dirty and self._timer is None:
                self._timer = self._loop.call_later(FLUSH_SECONDS, self._due.set)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def series(self, run: str | None = None, device: str | None = None) -> list[SeriesInfo]:
        """All series, of one run or one device, in the order of their beginning."""
        await self.flush()
        return await self._call(self._file.series, run, device)

    async def read(self, series: str, start: int = 0, stop: int | None = None) -> dict[str, array[float]]:
        """The rows from `start` to before `stop` by column, those just appended included; NaN for None.

        Raises:
            SignalError: no such series, or the disk fails.
        """
        await self.flush(series)
        return await self._call(self._file.read, series, start, stop)

    async def tail(self, series: str, count: int) -> dict[str, array[float]]:
        """The last rows, at most `count`. Raises as `read` does."""
        await self.flush(series)
        return await self._call(self._file.tail, series, count)

    # ── what was computed from them ──────────────────────────────────────────────────────────────────────────────
    async def digest(self, series: str) -> str:
        """The SHA-256 over a series' columns and rows, in hexadecimal. Raises as `read` does."""
        await self.flush(series)
        return await self._call(self._file.digest, series)

    async def analysis(self, series: str) -> Analysis | None:
        """What was kept of a series last, or None. Raises as `read` does."""
        return await self._call(self._file.analysis, series)

    async def keep_analysis(self, series: str, kept: Analysis) -> None:
        """Keeps what was computed of a series, in place of what was kept before.

        Raises:
            SignalError: no such series, or the disk does not take it.
        """
        await self._call(self._file.keep_analysis, series, kept)

    async def _call(self, work: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        if self._closed:
            raise SignalError(f"{self.path}: the signal store is closed")
        return await self._loop.run_in_executor(self._executor, work, *args)

    # ── end ──────────────────────────────────────────────────────────────────────────────────────────────────────
    async def close(self) -> None:
        """Writes what waits, and closes. Harmless when closed.

        Raises:
            SignalError: the disk did not take what waited; the store is closed all the same.
        """
        if self._closed:
            return
        try:
            self._flusher.cancel()
            await asyncio.wait([self._flusher])
            await self.flush()
        finally:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._executor.submit(self._file.close)
            self._executor.shutdown()

    def _flusher_ended(self, flusher: asyncio.Task[None]) -> None:
        if not flusher.cancelled() and (error := flusher.exception()) is not None:
            self._loop.call_exception_handler({"message": "the signal store stopped writing", "exception": error})


def _is_number(field: FieldInfo) -> bool:
    """Whether a field is a number or a boolean, or None."""
    leaves: set[object] = set()
    parts: list[object] = [field.annotation]
    while parts:
        part = parts.pop()
        if typing.get_origin(part) is typing.Annotated:
            parts.append(typing.get_args(part)[0])
        elif inner := typing.get_args(part):
            parts += inner
        else:
            leaves.add(part)
    return bool(leaves - {type(None)}) and leaves <= {int, float, bool, type(None)}
