"""What happens to a run, one happening at a time, the most urgent first; and the tasks that let it happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from labd.journal import JournalError

Work = Coroutine[Any, Any, None]


class Urgency(IntEnum):
    """What goes first when several things have happened at once."""

    ABORT = 0
    STOP = 1
    HOLD = 3
    OTHER_COMMAND = 4
    WINDOW = 5
    WATCH = 6
    RESULT = 8


@dataclass(order=True, slots=True)
class Happening:
    urgency: Urgency
    number: int
    act: Callable[[], None] = field(compare=False)


class Agenda:
    """A run's queue of happenings, and its tasks, in one group.

    An error in either is the run's own affair and harms no other run: `on_error` is told. It may raise it again, and
    a JournalError always goes on: nothing can be recorded any more, and the daemon ends. `carry_out` lets one thing
    happen.
    """

    def __init__(
        self,
        name: str,
        on_error: Callable[[Exception], None],
        carry_out: Callable[[Callable[[], None]], None] = lambda act: act(),
    ) -> None:
        self._name = name
        self._on_error = on_error
        self._carry_out = carry_out
        self._queue: asyncio.PriorityQueue[Happening] = asyncio.PriorityQueue()
        self._number = 0
        self._waiting: set[asyncio.Task[None]] = set()
        self._idle = False  # it waits for something to happen
        self._over: Callable[[], bool] = lambda: False
        self._failed: Exception | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def put(self, urgency: Urgency, act: Callable[[], None]) -> None:
        """Something has happened."""
        self._number += 1
        self._queue.put_nowait(Happening(urgency, self._number, act))

    def order(self, urgency: Urgency, act: Callable[[], None]) -> asyncio.Future[None]:
        """As `put`; the future is done once it was let happen.

        At once, where nothing happens and nothing waits; what ends a run lets first what is ready in the loop, such as
        a device's answer.
        """
        happened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def obey() -> None:
            try:
                act()
            finally:
                if not happened.done():
                    happened.set_result(None)

        if self._idle and self._queue.empty() and urgency > Urgency.STOP:
            self._act_at_once(obey)
        else:
            self.put(urgency, obey)
        return happened

    def _act_at_once(self, act: Callable[[], None]) -> None:
        """Without a turn of the loop; what `_act` raises, `work` raises, and not whoever gave the order."""
        self._idle = False
        try:
            self._act(act)
        except Exception as error:  # noqa: BLE001 - it is raised there
            self._failed = error
        self._idle = True
        if self._failed is not None or self._over():
            self.put(Urgency.ABORT, lambda: None)  # it looks

    async def work(self, over: Callable[[], bool]) -> None:
        """Lets things happen until it is over, and then its tasks end."""
        self._over = over
        try:
            async with asyncio.TaskGroup() as self._tasks:
                while not over():
                    self._idle = True
                    happening = await self._queue.get()
                    self._idle = False
                    if self._failed is not None:
                        raise self._failed
                    if not over():
                        self._act(happening.act)
                self.forget_waiting()
        finally:
            self._idle = False
            self._tasks = None

    def _act(self, act: Callable[[], None]) -> None:
        try:
            self._carry_out(act)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is told
            self._on_error(error)

    def spawn(self, work: Work, what: str) -> asyncio.Task[None]:
        """Begins a task."""
        assert self._tasks is not None
        task = self._tasks.create_task(self._guarded(work), name=f"{self._name} {what}")
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it was never awaited
        return task

    def wait(self, work: Work, what: str) -> asyncio.Task[None]:
        """Begins a task that only waits: for devices, for a time. It is given up when the run ends."""
        task = self.spawn(work, what)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return task

    def forget_waiting(self) -> None:
        for task in list(self._waiting):
            task.cancel()

    async def _guarded(self, work: Work) -> None:
        try:
            await work
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is told
            told = error
            self.put(Urgency.HOLD, lambda: self._on_error(told))
