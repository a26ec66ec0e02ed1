"""What each verb of a command does: one function a verb, which takes it, and gives what waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from labd.files import InputErrors
from labd.lab.bus import Happening, RunState
from labd.lab.interlocks import GuardError
from labd.run.engine import Engine, EngineError, UnknownRunError
from labd.run.lifecycle import Command, CommandRefusedError, State
from labd.run.queue import Submission, UnknownJobError, rows_of
from labd.run.urgent import order_all
from labd.telemetry import payloads

REFUSALS = (UnknownRunError, UnknownJobError, CommandRefusedError, EngineError, GuardError, InputErrors)
"""What a command is refused with; the text says why."""


class FailedError(Exception):
    """A command that was taken and came to nothing, or not to all; `result` is what it came to."""

    def __init__(self, message: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result


Result = Mapping[str, Any] | None
Taken = Callable[[], Awaitable[Result]]
"""Waits for the end of what was taken, and gives its result. Raises FailedError."""


async def _order(engine: Engine, group: asyncio.TaskGroup, user: str, verb: str, arguments: payloads.RunOrder) -> Taken:
    """hold, stop, abort: done once the run is held, or has ended; of all: once each has its order."""
    command, run = Command(verb), arguments.run
    if run is None:
        ordering = group.create_task(order_all(engine, command, by=user, cause=arguments.cause))

        async def all_told() -> Result:
            ordered = await ordering
            result = {"runs": list(ordered.runs), "safe": dict(ordered.safe)}
            unsafe = "; ".join(f"{device}: {problem}" for device, problem in ordered.safe.items() if problem)
            if unsafe:
                raise FailedError(f"not safe: {unsafe}", result)
            return result

        return all_told
    await engine.command(run, command, by=user, cause=arguments.cause)
    return lambda: _held_or_ended(engine, run, command)


async def _held_or_ended(engine: Engine, run: str, command: Command) -> Result:
    changed = asyncio.Event()

    def listen(happening: Happening) -> None:
        if isinstance(happening, RunState) and happening.run == run:
            changed.set()

    forget = engine.lab.bus.subscribe(listen)
    try:
        while run in engine.working:
            if command is Command.HOLD and (await engine.state(run)).state == State.HELD:
                break
            await changed.wait()
            changed.clear()
    finally:
        forget()
    state = await engine.state(run)
    result = {"run": run, "state": state.state, "outcome": state.outcome}
    if command is Command.HOLD and state.ended is not None:
        raise FailedError(f"{run} ended before it was held ({state.outcome})", result)
    return result


async def _unhold(engine: Engine, _: asyncio.TaskGroup, user: str, verb: str, arguments: payloads.UnholdOrder) -> Taken:
    state = await engine.command(arguments.run, Command(verb), by=user, cause=arguments.cause, at=arguments.at)
    return _at_once({"run": arguments.run, "state": state.state})


async def _clear(engine: Engine, _: asyncio.TaskGroup, user: str, verb: str, arguments: payloads.ClearOrder) -> Taken:
    if arguments.run is None:
        assert arguments.interlock is not None
        await engine.guards.interlocks.clear(arguments.interlock, user)
        return _at_once({"interlock": arguments.interlock})
    state = await engine.command(arguments.run, Command(verb), by=user, cause=arguments.cause)
    return _at_once({"run": arguments.run, "state": state.state})


async def _acknowledge(
    engine: Engine, _: asyncio.TaskGroup, user: str, __: str, arguments: payloads.AcknowledgeOrder
) -> Taken:
    await engine.guards.acknowledge(arguments.alarm, user)
    return _at_once({"alarm": arguments.alarm})


async def _answer(engine: Engine, _: asyncio.TaskGroup, user: str, __: str, arguments: payloads.AnswerOrder) -> Taken:
    choice, value, which = arguments.choice, arguments.value, arguments.question
    state = await engine.answer(arguments.run, choice, value=value, by=user, which=which)
    return _at_once({"run": arguments.run, "state": state.state})


async def _start(engine: Engine, _: asyncio.TaskGroup, user: str, __: str, arguments: payloads.StartOrder) -> Taken:
    run = await engine.start(
        arguments.protocol,
        arguments.name,
        arguments.parameters,
        sample=arguments.sample,
        position=arguments.position,
        called=arguments.called,
        by=user,
    )
    return _at_once({"run": run.id})


async def _submit(engine: Engine, _: asyncio.TaskGroup, user: str, __: str, arguments: payloads.SubmitOrder) -> Taken:
    found = await engine.queue.submit(
        Submission(
            arguments.protocol,
            arguments.name,
            user,
            rows_of(arguments.rows, count=arguments.count),
            called=arguments.called,
            table="table" if arguments.rows is not None else "",
            parameters=arguments.parameters,
            priority=arguments.priority,
            again=arguments.again,
        )
    )
    return _at_once({"batch": found.batch, "jobs": [job.id for job in found.jobs]})


async def _cancel(engine: Engine, _: asyncio.TaskGroup, user: str, __: str, arguments: payloads.CancelOrder) -> Taken:
    what = arguments.job or arguments.batch
    assert what is not None
    cancelled = await engine.queue.cancel(what, by=user, why=arguments.why)
    return _at_once({"cancelled": [job.id for job in cancelled]})


def _at_once(result: Result) -> Taken:
    async def over() -> Result:
        return result

    return over


Begin = Callable[[Engine, asyncio.TaskGroup, str, str, Any], Awaitable[Taken]]

VERBS: Mapping[str, tuple[type[payloads.Payload], Begin]] = {
    "hold": (payloads.RunOrder, _order),
    "stop": (payloads.RunOrder, _order),
    "abort": (payloads.RunOrder, _order),
    "unhold": (payloads.UnholdOrder, _unhold),
    "clear": (payloads.ClearOrder, _clear),
    "answer": (payloads.AnswerOrder, _answer),
    "start": (payloads.StartOrder, _start),
    "submit": (payloads.SubmitOrder, _submit),
    "cancel": (payloads.CancelOrder, _cancel),
    "acknowledge": (payloads.AcknowledgeOrder, _acknowledge),
}
"""By verb: the model of its arguments, and what takes it."""
