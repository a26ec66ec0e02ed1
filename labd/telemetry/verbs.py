"""What each verb of a command does: one function a verb, which takes it, and gives what waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Over:
    """A command that was over at once, with what it came to."""

    result: Result


Taken = Callable[[], Awaitable[Result]]
"""Waits for the end of what was taken, and gives its result. Raises FailedError."""


@dataclass(frozen=True, slots=True)
class Given:
    """A command, and what it is carried out with.

    Args:
        accepted: puts the answer `accepted` in the journal. A verb that can calls it once nothing refuses the command
            any more, before what it writes itself: both are durable together then, and not one after the other.
    """

    engine: Engine
    group: asyncio.TaskGroup
    user: str
    verb: str
    accepted: Callable[[], None]


async def _order(given: Given, arguments: payloads.RunOrder) -> Taken:
    """hold, stop, abort: done once the run is held, or has ended; of all: once each has its order."""
    engine, command, run = given.engine, Command(given.verb), arguments.run
    if run is None:
        ordering = given.group.create_task(order_all(engine, command, by=given.user, cause=arguments.cause))

        async def all_told() -> Result:
            ordered = await ordering
            result = {"runs": list(ordered.runs), "safe": dict(ordered.safe)}
            unsafe = "; ".join(f"{device}: {problem}" for device, problem in ordered.safe.items() if problem)
            if unsafe:
                raise FailedError(f"not safe: {unsafe}", result)
            return result

        return all_told
    await engine.command(run, command, by=given.user, cause=arguments.cause, accepted=given.accepted)
    return lambda: held_or_ended(engine, run, command)


async def held_or_ended(engine: Engine, run: str, command: Command) -> Result:
    """Waits until a run is held (of hold), or has ended. Raises FailedError where it ended and was to be held."""
    changed = asyncio.Event()

    def listen(happening: Happening) -> None:
        if isinstance(happening, RunState) and happening.run == run:
            changed.set()

    forget = engine.lab.bus.subscribe(listen)
    try:
        while (state := await engine.state(run)).ended is None:
            if command is Command.HOLD and state.state == State.HELD:
                break
            await changed.wait()
            changed.clear()
    finally:
        forget()
    if state.ended is not None:
        state = await engine.wait(run)  # until it is told among those that have ended
    result = {"run": run, "state": state.state, "outcome": state.outcome}
    if command is Command.HOLD and state.ended is not None:
        raise FailedError(f"{run} ended before it was held ({state.outcome})", result)
    return result


async def _unhold(given: Given, arguments: payloads.UnholdOrder) -> Over:
    state = await given.engine.command(
        arguments.run,
        Command(given.verb),
        by=given.user,
        cause=arguments.cause,
        at=arguments.at,
        accepted=given.accepted,
    )
    return Over({"run": arguments.run, "state": state.state})


async def _clear(given: Given, arguments: payloads.ClearOrder) -> Over:
    if arguments.run is None:
        assert arguments.interlock is not None
        await given.engine.guards.interlocks.clear(arguments.interlock, given.user)
        return Over({"interlock": arguments.interlock})
    state = await given.engine.command(arguments.run, Command(given.verb), by=given.user, cause=arguments.cause)
    return Over({"run": arguments.run, "state": state.state})


async def _acknowledge(given: Given, arguments: payloads.AcknowledgeOrder) -> Over:
    await given.engine.guards.acknowledge(arguments.alarm, given.user)
    return Over({"alarm": arguments.alarm})


async def _answer(given: Given, arguments: payloads.AnswerOrder) -> Over:
    choice, value, which = arguments.choice, arguments.value, arguments.question
    state = await given.engine.answer(
        arguments.run, choice, value=value, by=given.user, which=which, accepted=given.accepted
    )
    return Over({"run": arguments.run, "state": state.state})


async def _start(given: Given, arguments: payloads.StartOrder) -> Over:
    run = await given.engine.start(
        arguments.protocol,
        arguments.name,
        arguments.parameters,
        sample=arguments.sample,
        position=arguments.position,
        called=arguments.called,
        by=given.user,
    )
    return Over({"run": run.id})


async def _submit(given: Given, arguments: payloads.SubmitOrder) -> Over:
    found = await given.engine.queue.submit(
        Submission(
            arguments.protocol,
            arguments.name,
            given.user,
            rows_of(arguments.rows, count=arguments.count),
            called=arguments.called,
            table="table" if arguments.rows is not None else "",
            parameters=arguments.parameters,
            priority=arguments.priority,
            again=arguments.again,
        )
    )
    return Over({"batch": found.batch, "jobs": [job.id for job in found.jobs]})


async def _cancel(given: Given, arguments: payloads.CancelOrder) -> Over:
    what = arguments.job or arguments.batch
    assert what is not None
    cancelled = await given.engine.queue.cancel(what, by=given.user, why=arguments.why)
    return Over({"cancelled": [job.id for job in cancelled]})


Begin = Callable[[Given, Any], Awaitable[Taken | Over]]

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
