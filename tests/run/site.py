"""A lab whose daemon is started and killed at will, between steps of a test that owns the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import structlog

from labd.clock import LabLoop, VirtualTimeline
from labd.journal import Journal
from labd.journal.opening import open_journal
from labd.lab.background import background
from labd.lab.device import Poll
from labd.lab.lab import Lab
from labd.protocol import checker, load, ready
from labd.run.engine import Engine
from labd.run.safe_mode import SafeMode
from labd.sdk import Action, Driver
from tests.run.conftest import Bench
from tests.toys import toy_lab

_T = TypeVar("_T")

LATENCY = 0.002  # s of lab time; what the disk takes for a commit
START = 1_767_258_000.0  # when each history begins: every run of it is the same
DECK = [{"place": "tray/cells", "labware": "cell_tray_36"}]


class DeadError(Exception):
    """The daemon was killed before what was asked of it had ended."""


class PromptJournal(Journal):
    """The real journal without its thread: it commits after the disk's time, and can be cut off at any commit."""

    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(path, file)
        self._writer.connection.execute("PRAGMA synchronous = OFF")
        self._acquire = self._release = lambda: None
        self._waiting: list[Any] = []
        self._timer: asyncio.TimerHandle | None = None
        self.fuse = 0
        """The daemon is killed at the so many-eth commit from now, before anybody hears of it; 0: it is not."""
        self.cut_off = asyncio.Event()

    def _put(self, works: Sequence[Any]) -> None:
        if works and not self.cut_off.is_set():
            self._pending += len(works)
            self._waiting += works
            if self._timer is None:
                self._timer = self._loop.call_later(LATENCY, self._commit_now)

    def _commit_now(self) -> None:
        drained, self._waiting, self._timer = self._waiting, [], None
        results = self._writer.commit(drained)
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                self.cut()
                return
        self._committed(drained, results, None, ends=False)

    async def _read(self, query: Callable[..., _T], *args: Any) -> _T:
        if self._waiting:
            await asyncio.sleep(LATENCY * 2)
        return query(*args)

    def cut(self) -> None:
        """Nothing is written from now on, and nobody hears of anything: the daemon is dead."""
        self.cut_off.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()

    def let_go(self) -> None:
        """Closes the file, as the end of a process does."""
        self._closed = True
        self._file.reader.close()
        self._writer.connection.close()
        self._reading.shutdown()
        os.close(self._file.lock)


class NoSignals:
    """A signal store that keeps nothing."""

    def create(self, info: object) -> None: ...

    def append(self, series: str, row: object) -> None: ...

    async def finish(self, series: str) -> None:
        await asyncio.sleep(LATENCY)


class Site:
    """One lab's folder, its loop and its daemon."""

    def __init__(
        self,
        path: Path,
        devices: Mapping[str, str],
        drivers: Mapping[str, type[Driver]],
        deck: Sequence[Mapping[str, Any]] = DECK,
    ) -> None:
        self.path = path
        self._deck = deck
        self._devices = dict(devices)
        self._drivers = drivers
        self.loop = LabLoop(VirtualTimeline(wall0=START))
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.errors: list[dict[str, Any]] = []
        self._daemon: asyncio.Task[None] | None = None
        self._bench: Bench | None = None
        self.journal: PromptJournal | None = None
        self.safe_mode: SafeMode | None = None

    @property
    def bench(self) -> Bench:
        assert self._bench is not None
        return self._bench

    @property
    def lab(self) -> Lab:
        return self.bench.lab

    @property
    def engine(self) -> Engine:
        return self.bench.engine

    # ── its daemon ───────────────────────────────────────────────────────────────────────────────────────────────
    def up(self, *, waits_for: Sequence[str] = (), fuse: int = 0, safe_mode: bool = False) -> None:
        """Starts the daemon; runs are taken up once the devices named are there, in safe mode not at all."""
        ready_ = asyncio.Event()
        self._daemon = self.loop.create_task(self._serve(ready_, waits_for, fuse, safe_mode), name="daemon")
        self.drive(ready_.wait(), 200.0)

    async def _serve(self, started: asyncio.Event, waits_for: Sequence[str], fuse: int, safe_mode: bool) -> None:
        lab = toy_lab(self.path, self._devices, self._drivers, deck=self._deck)
        path = self.path / "journal.sqlite"
        self.journal = journal = PromptJournal(path, open_journal(path, None))
        journal.fuse = fuse
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(journal.let_go)
            for device in lab.devices.values():
                device.poll = Poll(900.0, 60.0)
                await stack.enter_async_context(background(device.run(), device.id))
            for name in waits_for:
                await lab.devices[name].wait_ready()
            engine = Engine(lab, journal, NoSignals(), resume=not safe_mode)  # type: ignore[arg-type]
            if safe_mode:
                self.safe_mode = SafeMode(lab, journal, ("one", "two", "three"))
                self.safe_mode.begin()
                await stack.enter_async_context(background(self.safe_mode.run(), "safe mode"))
            self._bench = Bench(lab, engine, journal)
            await stack.enter_async_context(background(engine.run(), "engine"))
            await engine.ready.wait()
            started.set()
            await asyncio.Event().wait()

    def kill(self) -> None:
        """The daemon is killed where it is: what was not committed is lost, and nothing more is sent."""
        if self._daemon is None:
            return
        daemon, self._daemon, self._bench = self._daemon, None, None
        self.safe_mode = None
        if self.journal is not None:
            self.journal.cut()
        daemon.cancel()
        done, _ = self.loop.run_until_complete(asyncio.wait({daemon}, timeout=30.0))
        assert done, "the daemon does not die"
        assert daemon.cancelled(), f"the daemon had failed: {daemon.exception()!r}"

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def drive(self, work: Coroutine[Any, Any, _T], limit: float) -> _T:
        """Lets lab time pass until that is done.

        Raises:
            DeadError: the daemon was killed at its fuse meanwhile.
            AssertionError: it is not done within so many seconds of lab time, or the daemon has failed.
        """
        return self.loop.run_until_complete(self._driven(work, limit))

    async def _driven(self, work: Coroutine[Any, Any, _T], limit: float) -> _T:
        task = asyncio.ensure_future(work)
        cut = asyncio.ensure_future(self._cut())
        others = {cut, self._daemon} if self._daemon is not None else {cut}
        try:
            await asyncio.wait({task, *others}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if cut.done():
                raise DeadError
            if self._daemon is not None and self._daemon.done():
                raise AssertionError("the daemon has failed") from self._daemon.exception()
            raise AssertionError(f"not done within {limit:g} s of lab time: {work}")
        finally:
            cut.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=5.0)

    async def _cut(self) -> None:
        while self.journal is None:
            await asyncio.sleep(0)
        await self.journal.cut_off.wait()

    async def resume(self) -> list[str]:
        """Ends safe mode."""
        safe_mode, self.safe_mode = self.safe_mode, None
        assert safe_mode is not None
        safe_mode.end()
        return await self.engine.resume()

    def let(self, seconds: float) -> None:
        """Lets so much lab time pass."""
        self.drive(asyncio.sleep(seconds), seconds + 1.0)

    def close(self) -> None:
        """Kills the daemon, and ends the loop. Harmless a second time."""
        if self.loop.is_closed():
            return
        self.kill()
        try:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.wait(left, timeout=30.0))
            assert not left, f"something goes on without the daemon: {left}"
        finally:
            self.loop.close()


_PROTOCOLS: dict[str, Any] = {}
_PROGRAMS: dict[str, Any] = {}
_BOUND: dict[str, Any] = {}


@contextlib.contextmanager
def in_haste() -> Iterator[None]:
    """No log, and each protocol is read and proven once: what histories are not about."""

    def quick_load(text: str, name: str, known: Any = None) -> Any:
        if text not in _PROTOCOLS:
            _PROTOCOLS[text] = load(text, name, known)
        return _PROTOCOLS[text]

    def quick_compile(protocol: Any, facts: Any = None) -> Any:
        if protocol.text not in _PROGRAMS:
            _PROGRAMS[protocol.text] = checker.compiled(protocol, facts)
        return _PROGRAMS[protocol.text]

    def quick_ready(protocol: Any, values: Any, facts: Any) -> Any:
        assert not values
        if protocol.text not in _BOUND:
            _BOUND[protocol.text] = ready(protocol, values, facts)
        return dict(_BOUND[protocol.text])

    async def at_once(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    quiet = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        with (
            mock.patch("labd.run.reading.load", quick_load),
            mock.patch("labd.run.taking_up.load", quick_load),
            mock.patch("labd.run.reading.ready", quick_ready),
            mock.patch("asyncio.to_thread", at_once),
            mock.patch("labd.protocol.machine.machine.compiled", quick_compile),
            mock.patch.object(Action, "schema", return_value={}),
            mock.patch("labd.lab.supervision.BACKOFF", (1.0, 600.0)),
        ):
            yield
    finally:
        structlog.configure(**quiet)
