"""The journal: the durable, append-only record of what was intended, sent and done.

This is the loop's side of it; another thread writes. What nobody waits for is handed to that a moment later: an outcome
and the intent of what follows from it then share one sync, where the second would wait for that of the first. Virtual
time stands still from when work is queued until its result is back in the loop. All methods are for the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from labd import clock
from labd.journal.ballast import Ballast
from labd.journal.events import Event, JournalError, NewEvent, encode
from labd.journal.opening import JournalFile, open_journal
from labd.journal.reader import Only, Reader
from labd.journal.waiting import Rows
from labd.journal.writer import Work, Writer

Listener = Callable[[Sequence[Event]], None]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

LINGER = 16  # turns of the loop that an event which nobody waits for may wait for one that is waited for
LINGER_LIMIT = 0.002  # s; the longest that it does
MARK_LIMIT = 1.0  # s of the machine; the longest that a mark waits for a commit that is made for others


class Journal:
    """The journal of one lab; `Journal.open` makes one."""

    def __init__(self, path: Path, file: JournalFile) -> None:
        self.path = path
        self._file = file
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        self._loop = asyncio.get_running_loop()
        self._acquire, self._release = clock.holder()
        self._pending = 0  # works queued whose results are not back in the loop
        self._together: list[Work] | None = None  # what is gathered by `together`
        self._lingering: list[Work] = []  # what nobody waits for, not handed to the writer yet
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
        self._writer = Writer(path, file, self._committed, self.short.set)
        self._reader = Reader(path, file.reader, lambda: self._writer.seq)

    @classmethod
    async def open(cls, path: Path, ballast: Ballast | None = None) -> Journal:
        """Opens the journal, and creates it where there is none.

        Args:
            path: its file.
            ballast: what is given up when the disk is full, so that the lab can be held in order; None: nothing.

        Raises:
            JournalError: another daemon has it, a newer labd wrote it, it is no journal, or the disk fails.
        """
        journal = cls(path, await asyncio.to_thread(open_journal, path, ballast))
        journal._writer.start()
        return journal

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
        self._submit(Work([_told(event) for event in events], keep=kept, done=done, then=then))
        return await done

    def post(self, event: NewEvent, then: Callable[[], None] | None = None) -> None:
        """Queues an event; it is durable with the next commit. Events keep the order in which they were handed in.

        Args:
            event: what happened.
            then: called in the loop once it is durable, before anybody else is told; never where it is not written.

        Raises:
            JournalError: the journal is broken or closed.
        """
        self._submit(Work([_told(event)], then=then))

    def keep(self, name: str, value: Mapping[str, Any] | None) -> None:
        """Keeps a value under a name in place of the one before (None: keeps none any more).

        It becomes durable in the order of `post`: what was posted before it is durable when it is. Unlike events it is
        replaced, so it is for what can be told again from them at a price: the position of a run.

        Raises:
            JournalError: a value that JSON has no word for; the journal is broken or closed.
        """
        self._submit(Work(keep={name: None if value is None else encode(name, value)}))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All that is posted and kept within becomes durable together, or not at all. Nothing may be awaited within."""
        if self._together is not None:
            yield
            return
        works: list[Work] = []
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
        self._submit(Work(mark=(name, value), done=done))
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
        self._submit(Work(refill=True, done=done))
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

    def _submit(self, work: Work) -> None:
        self._refuse_if_it_ended()
        if self._together is not None:
            self._together.append(work)
        else:
            self._put([work])

    def _put(self, works: Sequence[Work]) -> None:
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
        self._writer.put(works)

    def _take_marks(self) -> list[Work]:
        """The marks that were posted."""
        if self._marks_due is not None:
            self._marks_due.cancel()
            self._marks_due = None
        marks, self._marks = self._marks, {}
        return [Work(mark=mark) for mark in marks.items()]

    def _write_marks(self) -> None:
        """Nobody else commits anything."""
        if self._broken is None:
            self._put(self._take_marks())
            self._hand_over()

    # ── what was committed ───────────────────────────────────────────────────────────────────────────────────────
    def _committed(
        self, drained: Sequence[Work], results: Sequence[list[Event]], broken: JournalError | None, ends: bool
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
        kinds: Only = None,
        seqs: Only = None,
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
        return await self._read(self._reader.select, run, after, kinds, limit, seqs, skip)

    async def ask(self, query: Callable[[Rows], _T]) -> _T:
        """What a query of another module finds among what is durable; it runs in the reader's thread."""
        return await self._read(query, self._reader.rows)

    async def runs(self, *, with_: str, without: str) -> list[str]:
        """The runs that have an event of one kind and none of another, in the order of their names."""
        return await self._read(self._reader.runs, with_, without)

    async def mark(self, name: str) -> int:
        """A reader's position as it was told last; 0 when it was never set."""
        if name in self._marks and not self._closed:
            self._write_marks()
        return await self._read(self._reader.mark, name)

    async def kept(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What is kept under names that begin so."""
        return await self._read(self._reader.kept, prefix)

    async def verify(self) -> int | None:
        """The seq of the first event that does not fit to the ones before it, or None when the chain is whole."""
        return await self._read(self._reader.first_flaw)

    async def _read(self, query: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """Runs a query in the reader's thread, once all that was posted so far is written.

        A broken journal can still be read.
        """
        if self._pending and self._broken is None and not self._closed:
            reached: asyncio.Future[list[Event]] = self._loop.create_future()
            self._submit(Work(done=reached))
            await asyncio.wait([reached])
            reached.exception()
        if self._closed:
            raise JournalError(f"{self.path}: the journal is closed")
        return await self._loop.run_in_executor(self._reading, query, *args)

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
                self._writer.end()
                await self._ended.wait()
        finally:
            self._hand_over()
            self._writer.end()  # for a close that was cancelled; else nobody reads it
            self._reading.shutdown()
            self._writer.join()
            os.close(self._file.lock)


def _told(event: NewEvent) -> tuple[str, str | None, str, str]:
    return event.at or clock.stamp(), event.run, event.kind, encode(event.kind, event.data)
