"""Work with a deadline, also where it does not end when it is told to.

`asyncio.timeout` cancels what it waits for, and then waits for it: a driver that swallows its cancellation, or hangs
in what it tidies up, takes its caller with it. Here such work is left to itself, and its caller goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from labd import clock

_T = TypeVar("_T")

GRACE = 10.0  # s; what a driver may take to tidy up when it is told to end: two exchanges that are not answered
LAST_GRACE = 1.0  # s; after it was told once more


class Hangs(TimeoutError):
    """It did not end at its deadline, nor when it was told to."""


class GaveUp(RuntimeError):
    """It ended itself by a cancellation that nobody had asked for."""


async def bounded(
    work: Awaitable[_T], limit: float | None, on_left: Callable[[asyncio.Future[Any]], None] = lambda _: None
) -> _T:
    """Awaits work for so many s (None: until the caller is cancelled), and then at most GRACE for its end.

    Args:
        work: what is awaited, in a task of its own.
        limit: s.
        on_left: is told what was left to itself. Nothing waits for it any more, the loop's own end neither.

    Raises:
        TimeoutError: the deadline passed, and the work has ended.
        Hangs: the deadline passed, and the work goes on.
        GaveUp: see there.
    """
    task = asyncio.ensure_future(work)
    try:
        await _until_done(task, limit)
    except asyncio.CancelledError:
        await _end(task, on_left)
        raise
    if task.done():
        if task.cancelled():
            raise GaveUp("it was cancelled from inside")
        return task.result()
    if not await _end(task, on_left):
        raise Hangs(f"it has not ended {GRACE + LAST_GRACE:g} s after its deadline of {limit:g} s")
    if task.cancelled():
        raise TimeoutError
    return task.result()  # it came in the very moment, or has an error that says more


async def _until_done(task: asyncio.Future[Any], limit: float | None) -> None:
    """`asyncio.wait` of one, at a third of its price: every poll of every device waits here. Ends nothing."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(limit, wake) if limit is not None else None
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()


async def _end(task: asyncio.Future[Any], on_left: Callable[[asyncio.Future[Any]], None]) -> bool:
    """Tells it to end; False when it does not, and is left to itself."""
    stopped = False
    for grace in (GRACE, LAST_GRACE):
        task.cancel()
        until = clock.monotonic() + grace
        while not task.done() and clock.monotonic() < until:
            try:
                await asyncio.wait({task}, timeout=until - clock.monotonic())
            except asyncio.CancelledError:  # told once more to hurry: it is not the work's end that is waited for then
                stopped = True
    if not task.done():
        _leave(task)
        on_left(task)
    elif not task.cancelled():
        task.exception()  # it is told by the caller, or by nobody: the caller was cancelled
    if stopped:
        raise asyncio.CancelledError
    return task.done()


def _leave(task: asyncio.Future[Any]) -> None:
    """The end of the loop cancels all tasks and waits for them: this one it is not to know."""
    if isinstance(task, asyncio.Task):
        asyncio.tasks._unregister_task(task)  # noqa: SLF001 - documented, for those who extend asyncio
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - it is told of by its device
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
