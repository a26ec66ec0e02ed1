"""What happens to a run: at once where nothing else does, else in the order of urgency; errors are the run's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from labd.journal import JournalError
from labd.run.agenda import Agenda, Urgency


class Run:
    """A run that notes what happens; `over` ends it. `stern`: it takes no error."""

    def __init__(self, *, stern: bool = False) -> None:
        self.seen: list[str] = []
        self.errors: list[str] = []
        self.over = False
        self.stern = stern
        self.agenda = Agenda("run", self.broken)

    def broken(self, error: Exception) -> None:
        self.errors.append(str(error))
        if self.stern:
            raise error

    def does(self, what: str) -> Callable[[], None]:
        return lambda: self.seen.append(what)

    def end(self) -> None:
        self.over = True

    async def idle(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self.agenda.work(lambda: self.over))
        await asyncio.sleep(0)
        return task


async def test_an_idle_run_obeys_at_once() -> None:
    run = Run()
    task = await run.idle()
    assert run.agenda.order(Urgency.HOLD, run.does("hold")).done()
    assert run.seen == ["hold"]
    assert run.agenda.order(Urgency.OTHER_COMMAND, run.end).done()
    await task


async def test_what_ends_it_lets_first_what_is_ready_in_the_loop() -> None:
    run = Run()
    task = await run.idle()
    asyncio.get_running_loop().call_soon(run.does("a device has answered"))
    ordered = run.agenda.order(Urgency.ABORT, run.does("abort"))
    assert not ordered.done()
    await ordered
    assert run.seen == ["a device has answered", "abort"]
    run.agenda.order(Urgency.STOP, run.end)
    await task


async def test_what_waits_goes_by_its_urgency() -> None:
    run = Run()
    task = await run.idle()
    run.agenda.put(Urgency.RESULT, run.does("result"))
    ordered = run.agenda.order(Urgency.ABORT, run.does("abort"))
    assert (ordered.done(), run.seen) == (False, [])
    await ordered
    assert run.seen == ["abort", "result"]
    run.agenda.order(Urgency.STOP, run.end)
    await task


async def test_an_order_within_what_happens_waits_for_its_end() -> None:
    run = Run()
    task = await run.idle()

    def act() -> None:
        run.agenda.order(Urgency.OTHER_COMMAND, run.does("unhold"))
        run.seen.append("hold")

    run.agenda.order(Urgency.HOLD, act)
    assert run.seen == ["hold"]
    await asyncio.sleep(0)
    assert run.seen == ["hold", "unhold"]
    run.agenda.order(Urgency.STOP, run.end)
    await task


async def test_before_it_works_and_once_it_is_over_nothing_happens_at_once() -> None:
    run = Run()
    assert not run.agenda.order(Urgency.HOLD, run.does("early")).done()
    task = await run.idle()
    assert run.seen == ["early"]
    run.agenda.order(Urgency.STOP, run.end)
    await task
    assert not run.agenda.order(Urgency.HOLD, run.does("late")).done()
    assert run.seen == ["early"]


def refuse(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


async def test_an_error_is_the_runs_and_not_of_whoever_gave_the_order() -> None:
    run = Run()
    task = await run.idle()
    assert run.agenda.order(Urgency.HOLD, refuse(ValueError("no"))).done()
    assert run.errors == ["no"]
    run.agenda.order(Urgency.STOP, run.end)
    await task


async def test_an_error_that_the_run_does_not_take_is_told_once_and_ends_it() -> None:
    run = Run(stern=True)
    task = await run.idle()
    assert run.agenda.order(Urgency.HOLD, refuse(ValueError("no"))).done()
    with pytest.raises(BaseExceptionGroup) as failed:
        await task
    assert failed.group_contains(ValueError, match="no")
    assert run.errors == ["no"]


async def test_what_cannot_be_recorded_is_told_also_where_the_run_is_over_by_it() -> None:
    run = Run()
    task = await run.idle()

    def act() -> None:
        run.over = True
        raise JournalError("the disk is gone")

    run.agenda.order(Urgency.HOLD, act)
    with pytest.raises(BaseExceptionGroup) as failed:
        await task
    assert failed.group_contains(JournalError, match="the disk is gone")


async def test_what_cannot_be_recorded_ends_the_run_and_not_whoever_gave_the_order() -> None:
    run = Run()
    task = await run.idle()
    assert run.agenda.order(Urgency.HOLD, refuse(JournalError("the disk is gone"))).done()
    with pytest.raises(BaseExceptionGroup) as failed:
        await task
    assert failed.group_contains(JournalError, match="the disk is gone")
