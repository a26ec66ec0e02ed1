"""Real, scaled and virtual time, behind the event loop's own clock.

`asyncio.sleep`, `asyncio.timeout` and `loop.call_later` all read `loop.time()`; so one event loop whose `time()` is
the lab's time makes every library in the process live on it. Three kinds:

- real: `loop.time()` is the machine's monotonic clock;
- scaled: one factor for all processes of a lab, so that daemon, simulators and outside peers agree;
- virtual: whenever nothing is ready, no thread's work is out and no `hold()` is open, time jumps to the next timer
  (under `pace()` it walks there).

Wall-clock times come from `now()`, durations from `monotonic()`; nothing in labd, drivers or simulators calls
`time.time()` or `datetime.now()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_HELD_WAIT = 0.05  # s; upper bound of one real wait while the virtual clock is held
_IDLE_WAIT = 3600.0  # s; real wait when no timer is pending at all


class Timeline:
    """How the lab's seconds relate to the machine's: `wall0` at `real0`, `factor` lab seconds a machine second."""

    def __init__(self, *, factor: float = 1.0, wall0: float | None = None, real0: float | None = None) -> None:
        self.factor = factor
        self.real0 = time.time() if real0 is None else real0
        self.wall0 = self.real0 if wall0 is None else wall0
        # The wall anchor is tied to the monotonic clock once: a wall clock set back later moves no duration.
        self._mono0 = time.monotonic() - (time.time() - self.real0)

    def monotonic(self) -> float:
        """Lab seconds; never goes back."""
        return (time.monotonic() - self._mono0) * self.factor

    def wall(self) -> datetime:
        if self.factor == 1.0:
            return datetime.now(UTC)
        return datetime.fromtimestamp(self.wall0 + self.monotonic(), UTC)

    def wait(self, seconds: float) -> float:
        """Machine seconds to wait for so many lab seconds."""
        return seconds / self.factor


class VirtualTimeline(Timeline):
    """Time that moves only when it is told to. Starts at `wall0` (seconds since the epoch; default: now)."""

    def __init__(self, *, wall0: float | None = None) -> None:
        super().__init__(wall0=wall0)
        self._elapsed = 0.0
        self._holds = 0
        self._paces = 0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self._elapsed

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.wall0, UTC) + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        """Moves time on; the loop's own doing, or a test's that steps a model by hand."""
        self._elapsed += seconds

    def acquire(self) -> None:
        with self._lock:
            self._holds += 1

    def release(self) -> None:
        with self._lock:
            self._holds -= 1

    @property
    def held(self) -> bool:
        return self._holds > 0

    def pace(self, by: int) -> None:
        """One more (1) or one less (-1) who needs time to go no faster than the machine's."""
        with self._lock:
            self._paces += by

    @property
    def paced(self) -> bool:
        return self._paces > 0


class _ScaledSelector(selectors.DefaultSelector):
    """Waits machine seconds where asyncio asks for lab seconds."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None or timeout <= 0 else self._timeline.wait(timeout))


class _VirtualSelector(selectors.PollSelector):
    """Polls without waiting; jumps to the next timer only when nothing at all is left to happen.

    `poll(2)`, not epoll: it flushes a tty's work queue, so a byte written to a pty is seen by the very next poll.
    """

    def __init__(self, timeline: VirtualTimeline) -> None:
        super().__init__()
        self._timeline = timeline

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._timeline.held:
            # A thread wakes the loop through its self-pipe; the bound only guards against a lost wake-up.
            return super().select(_HELD_WAIT)
        if timeout is None:
            return super().select(_IDLE_WAIT)
        if self._timeline.paced:
            began = time.monotonic()
            ready = super().select(timeout)
            self._timeline.advance(min(timeout, time.monotonic() - began))
            return ready
        ready = super().select(0)
        if not ready:
            self._timeline.advance(timeout)
        return ready


class LabLoop(asyncio.SelectorEventLoop):
    """The event loop on a timeline. Work handed to threads holds virtual time until its result is back."""

    def __init__(self, timeline: Timeline | None = None) -> None:
        self.timeline = timeline or Timeline()
        selector: selectors.BaseSelector
        if isinstance(self.timeline, VirtualTimeline):
            selector = _VirtualSelector(self.timeline)
        elif self.timeline.factor != 1.0:
            selector = _ScaledSelector(self.timeline)
        else:
            selector = selectors.DefaultSelector()
        super().__init__(selector)

    def time(self) -> float:
        """Lab seconds."""
        return self.timeline.monotonic()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        future = super().run_in_executor(executor, func, *args)
        timeline = self.timeline
        if isinstance(timeline, VirtualTimeline):
            timeline.acquire()
            future.add_done_callback(lambda _: timeline.release())
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's own
        """Joins the threads. From Python 3.12 on asyncio gives them 300 s, which virtual time must not jump over."""
        with hold():
            if sys.version_info >= (3, 12):
                await super().shutdown_default_executor(timeout)
            else:
                await super().shutdown_default_executor()


def _timeline() -> Timeline:
    loop = asyncio.get_running_loop()
    return loop.timeline if isinstance(loop, LabLoop) else _REAL


_REAL = Timeline()


def monotonic() -> float:
    """Lab seconds from an arbitrary start; for durations and deadlines. Needs a running loop."""
    return asyncio.get_running_loop().time()


def now() -> datetime:
    """The lab's wall-clock time, UTC. Outside a loop: the machine's."""
    try:
        return _timeline().wall()
    except RuntimeError:
        return datetime.now(UTC)


def stamp(at: datetime | None = None) -> str:
    """RFC 3339 in UTC with microseconds, as it stands in journal and payloads: `2026-01-01T08:00:00.000000Z`."""
    # strftime takes twice as long, and every poll has its stamp
    return f"{(at or now()).isoformat(timespec='microseconds')[:26]}Z"


def is_virtual() -> bool:
    """Whether the running loop lives on virtual time."""
    return isinstance(_timeline(), VirtualTimeline)


def factor() -> float:
    """Lab seconds a machine second; 1 on real time, infinite on virtual time."""
    return float("inf") if is_virtual() else _timeline().factor


def of_machine(seconds: float) -> float:
    """Lab seconds in which so many of the machine's pass. On virtual time, where none do, the same number."""
    return seconds * (1.0 if is_virtual() else _timeline().factor)


def outside() -> datetime:
    """What a clock outside the lab shows, UTC: the machine's. On virtual time nobody is outside: the lab's."""
    return now() if is_virtual() else datetime.now(UTC)


@contextlib.contextmanager
def hold() -> Iterator[None]:
    """Keeps virtual time from jumping while work outside the loop (a thread, a process) is under way."""
    timeline = _timeline()
    if not isinstance(timeline, VirtualTimeline):
        yield
        return
    timeline.acquire()
    try:
        yield
    finally:
        timeline.release()


@contextlib.contextmanager
def pace() -> Iterator[None]:
    """Lets virtual time go no faster than the machine's while another process works for us.

    Unlike under `hold()` time does pass: a deadline of the caller's can end the wait, and a simulator in this loop
    that the other process talks to can take its time before it answers.
    """
    timeline = _timeline()
    if not isinstance(timeline, VirtualTimeline):
        yield
        return
    timeline.pace(1)
    try:
        yield
    finally:
        timeline.pace(-1)


def machine_seconds(seconds: float) -> float:
    """Lab seconds in which so many seconds of the machine pass; on virtual time: under `pace()`."""
    return seconds if is_virtual() else seconds * _timeline().factor


def holder() -> tuple[Callable[[], None], Callable[[], None]]:
    """The pair (acquire, release) for code that holds across threads; both do nothing unless time is virtual."""
    timeline = _timeline()
    if isinstance(timeline, VirtualTimeline):
        return timeline.acquire, timeline.release
    return (lambda: None), (lambda: None)


def timeline_of(kind: str | Mapping[str, float], store: Path | None = None) -> Timeline:
    """The timeline that lab.yaml names: `real`, `virtual` or `{scaled: factor}`.

    The anchor of a scaled timeline is kept in `<store>/clock.json`: all processes of a lab, and the same process
    after a restart, agree on the wall-clock time.

    Raises:
        ValueError: an unknown kind, or a factor that is not positive.
    """
    if kind == "real":
        return Timeline()
    if kind == "virtual":
        return VirtualTimeline()
    if isinstance(kind, Mapping) and set(kind) == {"scaled"} and kind["scaled"] > 0:
        real0 = _anchor(store) if store else time.time()
        return Timeline(factor=float(kind["scaled"]), real0=real0)
    raise ValueError(f"clock: {kind!r} is none of: real, virtual, {{scaled: 60}}")


def _anchor(store: Path) -> float:
    store.mkdir(parents=True, exist_ok=True)
    path = store / "clock.json"
    with contextlib.suppress(FileExistsError):
        temporary = store / f".clock.{os.getpid()}"
        temporary.write_text(json.dumps({"real0": time.time()}))
        try:
            os.link(temporary, path)  # whole file or nothing: another process reads it at once
        finally:
            temporary.unlink()
    return float(json.loads(path.read_text())["real0"])


def run(main: Coroutine[Any, Any, _T], timeline: Timeline | None = None) -> _T:
    """Runs a coroutine to its end in a loop on the given timeline (default: real time)."""
    with asyncio.Runner(loop_factory=lambda: LabLoop(timeline)) as runner:
        return runner.run(main)


if sys.platform == "win32":
    raise ImportError("labd runs on Linux: it needs poll(2), ptys and Unix sockets")
