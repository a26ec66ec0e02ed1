"""The journal: the durable, append-only record of what was intended, sent and done.

One thread writes. It takes all that waits, writes it in one transaction and syncs once (group commit); what is
appended meanwhile shares the next one. What nobody waits for is handed to it a moment later: an outcome and the intent
of what follows from it then share one sync, where the second would wait for that of the first. Virtual time stands
still from when work is queued until its result is back in the loop. All methods are for the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from labd import clock
from labd.journal import schema
from labd.journal.ballast import Ballast, is_full
from labd.journal.events import Event, JournalError, NewEvent, chain, encode
from labd.journal.folding import Folding
from labd.journal.opening import JournalFile, open_journal
from labd.journal.verify import walk
from labd.journal.waiting import Rows

Listener = Callable[[Sequence[Event]], None]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

LINGER = 16  # turns of the loop that an event which nobody waits for may wait for one that is waited for
LINGER_LIMIT = 0.002  # s; the longest that it does
MARK_LIMIT = 1.0  # s of the machine; the longest that a mark waits for a commit that is made for others

RARE = 10  # kinds of which fewer than one event in so many is are looked up, others found by walking through all
_Set = Collection[Any] | None
_COLUMNS = "seq, at, run, kind, data, hash"


@dataclass(slots=True)
class _Work:
    """What the writer is to do: events, a mark, values to keep, the ballast to take again; or only to answer."""

    events: Sequence[tuple[str, str | None, str, str]] = ()
    mark: tuple[str, int] | None = None
    keep: Mapping[str, str | None] = field(default_factory=dict)
    refill: bool = False
    done: asyncio.Future[list[Event]] | None = None
    then: Callable[[], None] | None = None


class Journal:
    """The journal of one lab; `Journal.open` makes one."""

    def __init__(self, path: Path, file: JournalFile) -> None:
        self.path = path
        self._file = file
        self._connection = file.writer
        self._folding = Folding(file.writer)
        self._seq, self._hash = file.last
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        self._loop = asyncio.get_running_loop()
        self._acquire, self._release = clock.holder()
        self._queue: queue.SimpleQueue[Sequence[_Work] | None] = queue.SimpleQueue()
        self._pending = 0  # works queued whose results are not back in the loop
        self._together: list[_Work] | None = None  # what is gathered by `together`
        self._lingering: list[_Work] = []  # what nobody waits for, not handed to the writer yet
        self._marks: dict[str, int] = {}  # posted, for the next commit
        self._marks_due: asyncio.TimerHandle | None = None
        self._turns = 0  # of the loop, until it is
        self._latest = 0.0  # and when it is at the latest, by the loop's clock
        self._listeners: list[Listener] = []
        self._broken: JournalError | None = None
        self._breaks = asyncio.Event()
        self.short = asyncio.Event()
        """Set while the ballast is given up: the disk is full, and what is written now is written into its space."""
        if file.ballast is not None and not file.ballast.held:
            self.short.set()
        self._closed = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._write, name="journal-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, ballast: Ballast | None = None) -> Journal:
        """Opens the journal, and creates it where there is none.

        Args:
            path: its file.
            ballast: what is given up when the disk is full, so that the lab can be held in order; None: nothing.

        Raises:
            JournalError: another daemon has it, a newer labd wrote it, it is no journal, or the disk fails.
        """
        return cls(path, await asyncio.to_thread(open_journal, path, ballast))

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def append(
        self, *events: NewEvent, forget: str | None = None, then: Callable[[], None] | None = None
    ) -> list[Event]:
        """Writes events, all or none, and returns when they are durable. A cancelled waiter's events are written.

        Args:
            events: what happened.
            forget: the name of what is not kept any more from then on.
            then: as of `post`.

        Raises:
            JournalError: they could not be written; nothing is taken from then on.
        """
        if not events:
            return []
        done: asyncio.Future[list[Event]] = self._loop.create_future()
        kept = {forget: None} if forget is not None else {}
        self._submit(_Work([_told(event) for event in events], keep=kept, done=done, then=then))
        return await done

    def post(self, event: NewEvent, then: Callable[[], None] | None = None) -> None:
        """Queues an event; it is durable with the next commit. Events keep the order in which they were handed in.

        Args:
            event: what happened.
            then: called in the loop once it is durable, before anybody else is told; never where it is not written.

        Raises:
            JournalError: the journal is broken or closed.
        """
        self._submit(_Work([_told(event)], then=then))

    def keep(self, name: str, value: Mapping[str, Any] | None) -> None:
        """Keeps a value under a name in place of the one before (None: keeps none any more).

        It becomes durable in the order of `post`: what was posted before it is durable when it is. Unlike events it is
        replaced, so it is for what can be told again from them at a price: the position of a run.

        Raises:
            JournalError: a value that JSON has no word for; the journal is broken or closed.
        """
        self._submit(_Work(keep={name: None if value is None else encode(name, value)}))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All that is posted and kept within becomes durable together, or not at all. Nothing may be awaited within."""
        if self._together is not None:
            yield
            return
        works: list[_Work] = []
        self._together = works
        try:
            yield
        finally:
            self._together = None
            self._put(works)

    async def set_mark(self, name: str, value: int) -> None:
        """Keeps a reader's position; durable when this returns. Raises JournalError as `append` does."""
        done: asyncio.Future[list[Event]] = self._loop.create_future()
        self._marks.pop(name, None)
        self._submit(_Work(mark=(name, value), done=done))
        await done

    def post_mark(self, name: str, value: int) -> None:
        """Keeps a reader's position without waiting, and without a commit of its own: it goes with the next one.

        Where none comes in a second of the machine, one is made for it; at `close` as well.

        Raises:
            JournalError: the journal is broken or closed.
        """
        self._refuse_if_it_ended()
        self._marks[name] = value
        if self._marks_due is None:
            self._marks_due = self._loop.call_later(clock.of_machine(MARK_LIMIT), self._write_marks)

    async def refill(self) -> bool:
        """Takes the ballast again, once there is space for it; gives whether there was. Raises as `append` does."""
        done: asyncio.Future[list[Event]] = self._loop.create_future()
        self._submit(_Work(refill=True, done=done))
        await done
        ballast = self._file.ballast
        if ballast is None or ballast.held:
            self.short.clear()
        return not self.short.is_set()

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` in the loop with the events of each commit, in order; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def broken(self) -> JournalError | None:
        """Why nothing can be written any more, or None."""
        return self._broken

    async def watch(self) -> None:
        """Waits for as long as the journal can be written. Raises its JournalError when it no longer can."""
        await self._breaks.wait()
        assert self._broken is not None
        raise self._broken

    def _refuse_if_it_ended(self) -> None:
        if self._broken is not None:
            raise JournalError(str(self._broken)) from self._broken
        if self._closed:
            raise JournalError(f"{self.path}: the journal is closed")

    def _submit(self, work: _Work) -> None:
        self._refuse_if_it_ended()
        if self._together is not None:
            self._together.append(work)
        else:
            self._put([work])

    def _put(self, works: Sequence[_Work]) -> None:
        """Hands works to the writer, who writes them in one transaction."""
        if not works:
            return
        if self._pending == 0:
            self._acquire()
        self._pending += len(works)
        self._lingering += works
        if any(work.done is not None for work in works):
            self._hand_over()
        elif self._turns == 0:
            self._turns, self._latest = LINGER, self._loop.time() + LINGER_LIMIT
            self._loop.call_soon(self._linger)

    def _linger(self) -> None:
        """Turn by turn, and not by a timer: on virtual time none comes due while something is to be written."""
        self._turns -= 1
        if self._turns > 0 and self._lingering and self._loop.time() < self._latest:
            self._loop.call_soon(self._linger)
        else:
            self._turns = 0
            self._hand_over()

    def _hand_over(self) -> None:
        works, self._lingering = self._lingering, []
        if not works:
            return
        if any(work.events or work.keep or work.mark for work in works):
            marks = self._take_marks()
            self._pending += len(marks)
            works += marks
        self._queue.put(works)

    def _take_marks(self) -> list[_Work]:
        """The marks that were posted."""
        if self._marks_due is not None:
            self._marks_due.cancel()
            self._marks_due = None
        marks, self._marks = self._marks, {}
        return [_Work(mark=mark) for mark in marks.items()]

    def _write_marks(self) -> None:
        """Nobody else commits anything."""
        if self._broken is None:
            self._put(self._take_marks())
            self._hand_over()

    # ── the writer's thread ──────────────────────────────────────────────────────────────────────────────────────
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
                self._connection.close()
            try:
                self._loop.call_soon_threadsafe(self._committed, drained, results, broken, ends)
            except RuntimeError:  # the loop was closed without the journal's close: nobody is left to be told
                self._connection.close()
                return
            if ends:
                return

    def _drain(self) -> tuple[list[_Work], bool]:
        """All that waits, at least one; and whether the end was asked for."""
        drained: list[_Work] = []
        works = self._folding.next_of(self._queue)
        while works is not None:
            drained += works
            try:
                works = self._queue.get_nowait()
            except queue.Empty:
                return drained, False
        return drained, True

    def _commit_with_ballast(self, drained: Sequence[_Work]) -> list[list[Event]]:
        """Writes what was drained; where the disk is full, once more into the space of the ballast."""
        ballast = self._file.ballast
        if ballast is not None and any(work.refill for work in drained):
            ballast.take()
        try:
            return self._commit(drained)
        except sqlite3.Error as error:
            if ballast is None or not is_full(error) or not ballast.give():
                raise
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.short.set)
        return self._commit(drained)

    def _commit(self, drained: Sequence[_Work]) -> list[list[Event]]:
        """Writes what was drained in one transaction."""
        results: list[list[Event]] = []
        rows: list[tuple[int, str, str | None, str, str, str]] = []
        marks: list[tuple[str, int]] = []
        kept: dict[str, str | None] = {}
        seq, last = self._seq, self._hash
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
            with schema.transaction(self._connection) as connection:
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
                connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", marks)
                now = [(name, value) for name, value in kept.items() if value is not None]
                connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", now)
                gone = [(name,) for name, value in kept.items() if value is None]
                connection.executemany("DELETE FROM kept WHERE name = ?", gone)
            self._folding.wrote(len(rows) + len(kept))
        self._seq, self._hash = seq, last
        return results

    def _committed(
        self, drained: Sequence[_Work], results: Sequence[list[Event]], broken: JournalError | None, ends: bool
    ) -> None:
        """Back in the loop: tells the waiters, then the listeners."""
        self._pending -= len(drained)
        if self._pending == 0 and drained:
            self._release()
        if broken is not None:
            self._broken = broken
            self._breaks.set()
            for work in drained:
                if work.done is not None and not work.done.done():
                    work.done.set_exception(JournalError(str(broken)))
        else:
            for work, written in zip(drained, results, strict=True):
                if work.then is not None:
                    self._call(work.then)
                if work.done is not None and not work.done.done():
                    work.done.set_result(written)
            self._tell([event for written in results for event in written])
        if ends:
            self._ended.set()

    def _tell(self, events: Sequence[Event]) -> None:
        if not events:
            return
        for listener in tuple(self._listeners):
            self._call(partial(listener, events))

    def _call(self, listener: Callable[[], None]) -> None:
        try:
            listener()
        except Exception as error:  # noqa: BLE001 - one listener's error must not keep the others from hearing
            told = {"message": f"a listener of the journal failed: {listener!r}", "exception": error}
            self._loop.call_exception_handler(told)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def events(
        self,
        *,
        run: str | None = None,
        after: int = 0,
        kinds: _Set = None,
        seqs: _Set = None,
        limit: int | None = None,
        skip: int = 0,
    ) -> list[Event]:
        """Durable events, oldest first; all that was posted before is among them.

        Args:
            run: only of this run.
            after: only those with a greater seq.
            kinds: only of these kinds.
            seqs: only those with these numbers.
            limit: at most so many.
            skip: so many of those that were found are left out, the oldest first.
        """
        return await self._read(self._select, run, after, kinds, limit, seqs, skip)

    async def ask(self, query: Callable[[Rows], _T]) -> _T:
        """What a query of another module finds among what is durable; it runs in the reader's thread."""
        return await self._read(query, self._rows)

    async def runs(self, *, with_: str, without: str) -> list[str]:
        """The runs that have an event of one kind and none of another, in the order of their names."""
        return await self._read(self._runs, with_, without)

    async def mark(self, name: str) -> int:
        """A reader's position as it was told last; 0 when it was never set."""
        if name in self._marks and not self._closed:
            self._write_marks()
        return await self._read(self._mark, name)

    async def kept(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What is kept under names that begin so."""
        return await self._read(self._kept, prefix)

    async def verify(self) -> int | None:
        """The seq of the first event that does not fit to the ones before it, or None when the chain is whole."""
        every = f"SELECT {_COLUMNS} FROM events ORDER BY seq"  # noqa: S608 - ours
        flaw = (await self._read(lambda: walk(self._rows(every)))).flaw
        return flaw.seq if flaw is not None else None

    async def _read(self, query: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """Runs a query in the reader's thread, once all that was posted so far is written.

        A broken journal can still be read.
        """
        if self._pending and self._broken is None and not self._closed:
            reached: asyncio.Future[list[Event]] = self._loop.create_future()
            self._submit(_Work(done=reached))
            await asyncio.wait([reached])
            reached.exception()
        if self._closed:
            raise JournalError(f"{self.path}: the journal is closed")
        return await self._loop.run_in_executor(self._reading, query, *args)

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        try:
            yield from self._file.reader.execute(query, values)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: the journal cannot be read: {error}") from error

    def _select(
        self, run: str | None, after: int, kinds: _Set, limit: int | None, seqs: _Set = None, skip: int = 0
    ) -> list[Event]:
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
        rows = self._rows(query, [*values, *filters, -1 if limit is None else limit, skip])
        return [self._event(*row) for row in rows]

    def _by_kinds(self, kinds: Collection[str]) -> str:
        """The condition for events of these kinds: by their index where they are few, else by walking through all."""
        (rows,) = self._rows(f"SELECT count(*) FROM events WHERE kind IN ({_marks(kinds)})", sorted(kinds))  # noqa: S608
        few = rows[0] * RARE < self._seq
        return f"{'' if few else '+'}kind IN ({_marks(kinds)})"

    def _event(self, seq: int, at: str, run: str | None, kind: str, data: str, hash_: str) -> Event:
        try:
            return Event(seq, at, run, kind, json.loads(data), hash_)
        except ValueError as error:
            raise JournalError(f"{self.path}: event {seq} is damaged: {error}; restore the file from a copy") from error

    def _runs(self, with_: str, without: str) -> list[str]:
        of_kind = "SELECT run FROM events WHERE kind = ? AND run IS NOT NULL"
        return sorted(run for (run,) in self._rows(f"{of_kind} EXCEPT {of_kind}", [with_, without]))

    def _mark(self, name: str) -> int:
        return next((int(value) for (value,) in self._rows("SELECT value FROM marks WHERE name = ?", [name])), 0)

    def _kept(self, prefix: str) -> dict[str, dict[str, Any]]:
        rows = self._rows("SELECT name, value FROM kept WHERE substr(name, 1, ?) = ?", [len(prefix), prefix])
        return {name: json.loads(value) for name, value in rows}

    # ── end ──────────────────────────────────────────────────────────────────────────────────────────────────────
    async def close(self) -> None:
        """Writes what is queued, and closes. Harmless when closed."""
        if self._closed:
            await self._ended.wait()
            return
        self._closed = True
        self._write_marks()
        try:
            # The reader first: the writer, as the last to close, then empties the WAL into the file.
            await self._loop.run_in_executor(self._reading, self._file.reader.close)
            with clock.hold():
                self._hand_over()
                self._queue.put(None)
                await self._ended.wait()
        finally:
            self._hand_over()
            self._queue.put(None)  # for a close that was cancelled; else nobody reads it
            self._reading.shutdown()
            self._thread.join()
            os.close(self._file.lock)


def _told(event: NewEvent) -> tuple[str, str | None, str, str]:
    return event.at or clock.stamp(), event.run, event.kind, encode(event.kind, event.data)


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))
