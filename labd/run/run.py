"""One run: one execution of one protocol for one sample.

The protocol's machine and the PackML life cycle decide, synchronously; this class does what they say, in tasks of its
own group, and feeds what happens back to them, one happening at a time, the most urgent first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from labd import clock
from labd.expr import Missing
from labd.journal import NewEvent
from labd.lab.bus import RunState
from labd.protocol import machine as m
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.run.actions import Did, Failed, Order, Performer, Settled, Unsettled
from labd.run.answers import AnswerError, typed_answer
from labd.run.lifecycle import ENDED, ENDING, PAUSED, Command, CommandRefusedError, Lifecycle, State
from labd.run.orders import OrderRefusedError, make_order
from labd.run.reservations import Bound, Reservations
from labd.sdk import Effect, Verdict

SETTLE = {"done": Verdict.DONE, "not done": Verdict.NOT_DONE, "scrap": "scrapped"}


class Urgency(IntEnum):
    """What goes first when several things have happened at once."""

    ABORT = 0
    STOP = 1
    HOLD = 3
    OTHER_COMMAND = 4
    RESULT = 8


@dataclass(order=True, slots=True)
class Happening:
    urgency: Urgency
    number: int
    act: Callable[[], None] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked. `kind` is `protocol` (an `ask` step) or `outcome` (an action nobody knows about)."""

    id: str
    kind: str
    text: str
    choices: tuple[str, ...]
    step: str
    token: str
    asked: str
    input: m.Input | None = None

    def told(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "text": self.text,
            "choices": list(self.choices),
            "input": asdict(self.input) if self.input is not None else None,
            "asked": self.asked,
        }


class Run:
    """A run from Idle to its end. `main()` is its task; commands and answers come from any other.

    Args:
        id: its name.
        order: its place in the line for devices; the least goes first.
        protocol, parameters: what it executes.
        sample, home: what it works on, and where that was at the start.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the word of the field
        order: int,
        protocol: Protocol,
        parameters: Mapping[str, Any],
        sample: str,
        home: str,
        performer: Performer,
        reservations: Reservations,
        facts: LabFacts | None = None,
    ) -> None:
        self.id = id
        self.order = order
        self.protocol = protocol
        self.sample = sample
        self.home = home
        self.lifecycle = Lifecycle()
        self.machine = m.Machine(protocol, parameters, facts)
        self.question: Question | None = None
        self.cause: str | None = None
        self.outcome: str | None = None
        self.started: str | None = None
        self.ended_at: str | None = None
        self.since = clock.stamp()
        self._performer = performer
        self._journal = performer.journal
        self._reservations = reservations
        self._bounds: dict[str, Bound] = {}
        self._inbox: asyncio.PriorityQueue[Happening] = asyncio.PriorityQueue()
        self._number = 0
        self._questions = 0
        self._acting: dict[str, asyncio.Task[None]] = {}  # step -> the task of its action
        self._waiting: set[asyncio.Task[None]] = set()  # reservations, sleeps, expiries of questions
        self._deferred: list[m.Command] = []
        self._unsettled: tuple[m.Do, Order, Unsettled] | None = None
        self._machine_holds = False
        self._final = ""
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def ended(self) -> bool:
        return self.lifecycle.at in ENDED

    # ── the task ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def main(self) -> None:
        """Runs to the end. Cancelled: leaves at once, as a crash would; what was in flight is found in the journal."""
        self.started = clock.stamp()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._transit(Command.START)
                self._transit(Command.DONE)
                self._dispatch(self._start())
                while not self.ended:
                    (await self._inbox.get()).act()
                self._cancel_waiting()
        finally:
            self._tasks = None
            self._reservations.release(self.id, self._bounds)
            self._bounds = {}

    def _start(self) -> list[m.Command]:
        self._refresh()
        return self.machine.start()

    def _post(self, event: str, data: Mapping[str, Any] | None = None, **more: Any) -> None:
        self._journal.post(NewEvent(event, {**(data or {}), **more}, self.id))

    def _happen(self, urgency: Urgency, act: Callable[[], None]) -> None:
        self._number += 1
        self._inbox.put_nowait(Happening(urgency, self._number, act))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work, name=f"{self.id} {name}")

    def _transit(self, command: Command, by: str = "labd", cause: str | None = None) -> None:
        before, after = self.lifecycle.command(command)
        self.since = clock.stamp()
        if cause is not None or after is State.EXECUTE:
            self.cause = cause
        told = {"from": before.value, "to": after.value, "command": command.value, "by": by, "cause": cause}
        self._post("run.state", told)

    # ── what the machine says ────────────────────────────────────────────────────────────────────────────────────
    def _refresh(self) -> None:
        """Tells the machine what stands where and what the devices' signals are now."""
        names: dict[str, dict[str, Any]] = {
            "sample": {
                "id": self.sample,
                "position": self._performer.lab.places.place_of(self.sample) or "",
                "home": self.home,
            },
            "run": {"id": self.id},
        }
        for name, bound in self._bounds.items():
            live = bound.device.live(bound.unit)
            unread = Missing(f"{bound.device.id} tells no value of it now")
            names[name] = {
                **{signal: unread if value is None else value for signal, value in live.items()},
                "place": bound.place or "",
                "device": bound.device.id,
            }
        self.machine.update(names)

    def _feed(self, event: m.Event) -> None:
        self._refresh()
        self._dispatch(self.machine.feed(event))

    def _dispatch(self, commands: list[m.Command]) -> None:
        for command in commands:
            if isinstance(command, m.Decided):
                told = {"what": command.what, "value": command.value, "step": command.step_id}
                told |= {"expression": command.expression, "because": command.because}
                self._post("protocol.decided", told)
            elif self.lifecycle.at in PAUSED:
                self._deferred.append(command)
            elif self.lifecycle.at not in ENDING and not self.ended:
                self._obey(command)

    def _obey(self, command: m.Command) -> None:
        match command:
            case m.Enter():
                self._reservations.release(self.id, self._bounds)
                self._bounds = {}
                self._wait(self._enter(command), f"enters {command.state}")
            case m.Do():
                self._do(command)
            case m.Ask():
                self._ask(command)
            case m.Sleep():
                self._wait(self._sleep(command), f"waits in {command.step_id}")
            case m.HoldRun():
                self._machine_holds = True
                self._hold(command.reason)
            case m.End():
                self._end(command)

    def _wait(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._spawn(work, name)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _enter(self, command: m.Enter) -> None:
        roles = {name: self.protocol.roles[name].role for name in sorted(command.roles)}
        bounds = await self._reservations.acquire(self.id, self.order, self.sample, roles)
        # From here no await: a cancellation must not lose what was just reserved.
        self._bounds = bounds
        self._happen(Urgency.RESULT, lambda: self._entered(command))

    def _entered(self, command: m.Enter) -> None:
        if self.lifecycle.at in ENDING or self.ended:
            return
        bindings = {name: str(bound) for name, bound in self._bounds.items()}
        told = {"state": command.state, "visits": command.visit, "because": command.because, "bindings": bindings}
        self._post("protocol.entered", told)
        self._feed(m.Entered(command.state, token=command.token))

    async def _sleep(self, command: m.Sleep) -> None:
        await asyncio.sleep(command.seconds)
        self._happen(Urgency.RESULT, lambda: self._feed(m.Elapsed(command.step_id, token=command.token)))

    def _do(self, command: m.Do) -> None:
        bound = self._bounds[command.role]
        try:
            order = make_order(self._performer.lab, self.id, self.sample, self.machine.state, bound, command)
        except OrderRefusedError as error:
            self._post("action.refused", step=command.step_id, action=command.action, message=str(error))
            failed = Failed("rejected", str(error))
            self._happen(Urgency.RESULT, lambda: self._settled(command, None, failed))
            return
        self._acting[command.step_id] = self._spawn(self._perform(command, order), f"does {command.step_id}")

    async def _perform(self, command: m.Do, order: Order) -> None:
        try:
            settled = await self._performer.perform(order)
        finally:
            self._acting.pop(command.step_id, None)
        self._happen(Urgency.RESULT, lambda: self._settled(command, order, settled))

    def _settled(self, command: m.Do, order: Order | None, settled: Settled) -> None:
        if self.lifecycle.at in ENDING or self.ended:
            self._check_quiet()
            return
        match settled:
            case Did(result):
                self._feed(m.Done(command.step_id, result.model_dump(), token=command.token))
            case Failed(kind, message):
                self._feed(m.Failed(command.step_id, kind, message, token=command.token))
            case Unsettled() as unsettled if order is not None:
                if unsettled.kind == "fault" and self._catches("fault"):
                    self._feed(m.Failed(command.step_id, "fault", unsettled.message, token=command.token))
                else:
                    self._ask_outcome(command, order, unsettled)
        self._check_quiet()

    def _catches(self, kind: str) -> bool:
        catch = getattr(self.protocol.states[self.machine.state], "catch", None)
        return getattr(catch, kind, None) is not None

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _pose(
        self, kind: str, text: str, choices: tuple[str, ...], step: str, token: str, typed: m.Input | None = None
    ) -> None:
        self._questions += 1
        question_id = f"{self.id}-q{self._questions}"
        self.question = Question(question_id, kind, text, choices, step, token, clock.stamp(), typed)
        self._post("question.asked", {"question_id": question_id, **self.question.told()})

    def _ask(self, command: m.Ask) -> None:
        self._pose("protocol", command.text, command.choices, command.step_id, command.token, command.input)
        if command.within is not None:
            assert self.question is not None
            self._wait(self._expire(command, self.question.id), f"question in {command.step_id}")

    async def _expire(self, command: m.Ask, question_id: str) -> None:
        assert command.within is not None
        await asyncio.sleep(command.within)

        def expired() -> None:
            if self.question is not None and self.question.id == question_id:
                self._post("question.expired", question_id=question_id)
                self.question = None
                self._feed(m.Expired(command.step_id, token=command.token))

        self._happen(Urgency.RESULT, expired)

    def _ask_outcome(self, command: m.Do, order: Order, unsettled: Unsettled) -> None:
        self._unsettled = (command, order, unsettled)
        name = f"{order.bound}.{order.action.name}"
        text = f"Nobody knows whether {name} happened to {self.sample}: {unsettled.message}. Look at it: was it done?"
        self._pose("outcome", text, tuple(SETTLE), command.step_id, command.token)
        if self.lifecycle.at is State.EXECUTE:
            self._hold(f"the outcome of {name} is unknown: {unsettled.message}")

    def answer(self, choice: str, value: Any, by: str) -> None:
        """Answers the open question.

        Raises:
            CommandRefusedError: there is none, or the answer is not among its choices.
        """
        question = self.question
        if question is None:
            raise CommandRefusedError(f"{self.id} asks nothing")
        if question.choices and choice not in question.choices:
            raise CommandRefusedError(f"{choice!r} is none of: {', '.join(question.choices)}")
        if question.input is not None:
            try:
                value = typed_answer(question.input, value)
            except AnswerError as error:
                raise CommandRefusedError(str(error)) from error
        self.question = None
        self._post("question.answered", question_id=question.id, choice=choice, value=value, by=by)
        if question.kind == "outcome":
            self._happen(Urgency.RESULT, lambda: self._settle(choice, by))
        else:
            answered = m.Answered(question.step, choice, value, by, token=question.token)
            self._happen(Urgency.RESULT, lambda: self._feed(answered))

    def _settle(self, choice: str, by: str) -> None:
        """What a person said about an action: it corrects the sample, and the run goes on from there when unheld."""
        assert self._unsettled is not None
        command, order, unsettled = self._unsettled
        self._unsettled = None
        verdict = str(SETTLE[choice])
        told = {"action_id": unsettled.intent.id, "verdict": verdict, "by": by}
        if choice == "done" and unsettled.result is not None:
            self._performer.done(order, unsettled.intent, unsettled.result, verdict=verdict, by=by)
        else:
            self._post("action.reconciled", told)
        if choice == "done":
            if unsettled.result is None:
                self._performer.moved(order, None)
            nothing_known = dict.fromkeys(order.action.result.model_fields)
            values = unsettled.result.model_dump() if unsettled.result is not None else nothing_known
            self._feed(m.Done(command.step_id, values, token=command.token))
        elif choice == "not done":
            self._dispatch([command])
        else:
            self._final = "scrapped"
            self._stop(by, "scrapped by the operator")

    # ── hold, stop, abort, end ───────────────────────────────────────────────────────────────────────────────────
    def command(self, command: Command, by: str, cause: str | None = None, at: str | None = None) -> None:
        """Takes an operator's command.

        Raises:
            CommandRefusedError: the run's state does not allow it.
        """
        if command not in self.lifecycle.allowed():
            can = ", ".join(name.value for name in self.lifecycle.allowed() if name is not Command.DONE) or "none"
            state = self.lifecycle.at.value
            raise CommandRefusedError(f"{command.value} is not possible while {self.id} is {state}; possible: {can}")
        if command is Command.UNHOLD and self._unsettled is not None:
            choices = " | ".join(SETTLE)
            raise CommandRefusedError(f"answer first: labd answer {self.id} '{choices}'")
        if at is not None and at not in self.protocol.states:
            raise CommandRefusedError(f"the protocol has no state {at!r}")
        match command:
            case Command.ABORT:
                self._happen(Urgency.ABORT, lambda: self._abort(by, cause))
            case Command.STOP:
                self._happen(Urgency.STOP, lambda: self._stop(by, cause))
            case Command.HOLD:
                self._happen(Urgency.HOLD, lambda: self._hold(cause or f"held by {by}", by))
            case Command.UNHOLD:
                self._happen(Urgency.OTHER_COMMAND, lambda: self._unhold(by, at))
            case _:
                raise CommandRefusedError(f"{command.value} cannot be given to a run that works")

    def _hold(self, cause: str, by: str = "labd") -> None:
        if Command.HOLD not in self.lifecycle.allowed():
            return  # something more urgent came first
        self._transit(Command.HOLD, by, cause)
        self._performer.pause_limits()
        self._check_quiet()

    def _unhold(self, by: str, at: str | None) -> None:
        if self.lifecycle.at is not State.HELD:
            return
        self._transit(Command.UNHOLD, by)
        self._performer.resume_limits()
        self._transit(Command.DONE)
        deferred, self._deferred = self._deferred, []
        if self._machine_holds:
            self._machine_holds = False
            self._feed(m.Resume(at, by))
        self._dispatch(deferred)

    def _stop(self, by: str, cause: str | None) -> None:
        if Command.STOP not in self.lifecycle.allowed():
            return
        self._transit(Command.STOP, by, cause)
        self._final = self._final or "stopped"
        self.question = None
        self._deferred.clear()
        self._cancel_waiting()
        self._spawn(self._end_actions(), "stops")
        self._check_quiet()

    async def _end_actions(self) -> None:
        """Cuts what may be repeated, ends in order what can be ended, and leaves the rest to its outcome."""
        for action_id, order in list(self._performer.in_flight.items()):
            if order.action.effect is not Effect.ONCE:
                task = self._acting.get(order.step)
                if task is not None:
                    task.cancel()
                    self._post("action.failed", action_id=action_id, error="cancelled", message="the run was stopped")
            elif order.action.cancellable:
                self._post("action.cancelled", action_id=action_id)
                await order.bound.device.cancel(action_id)
        for step, task in list(self._acting.items()):
            if not any(order.step == step for order in self._performer.in_flight.values()):
                task.cancel()  # it waits to be tried again: nothing of it is on the wire
        await asyncio.gather(*self._acting.values(), return_exceptions=True)
        self._happen(Urgency.RESULT, self._check_quiet)

    def _abort(self, by: str, cause: str | None) -> None:
        if Command.ABORT not in self.lifecycle.allowed():
            return
        self._transit(Command.ABORT, by, cause)
        self._final = "aborted"
        self.question = None
        self._deferred.clear()
        self._cancel_waiting()
        self._spawn(self._make_safe_at_once(), "aborts")

    async def _make_safe_at_once(self) -> None:
        in_flight = list(self._performer.in_flight.items())
        for task in list(self._acting.values()):
            task.cancel()
        await asyncio.gather(*self._acting.values(), return_exceptions=True)
        for action_id, _ in in_flight:
            self._post("action.unknown", action_id=action_id, message="the run was aborted")
        await self._make_safe()
        self._happen(Urgency.RESULT, self._finish)

    async def _make_safe(self) -> None:
        bounds = list(self._bounds.values())
        await asyncio.gather(*(self._performer.make_safe(bound, self.id) for bound in bounds))

    def _end(self, command: m.End) -> None:
        self._final = command.outcome
        self._post("protocol.ended", state=command.state, outcome=command.outcome)
        self._cancel_waiting()
        if command.outcome == "aborted":
            self._abort("protocol", f"the protocol ended in {command.state}")
        elif command.outcome == "stopped":
            self._stop("protocol", f"the protocol ended in {command.state}")
        else:
            self._transit(Command.COMPLETE)
            self._finish()

    def _check_quiet(self) -> None:
        """Ends Holding and Stopping once nothing of this run is acting any more."""
        if self._acting:
            return
        if self.lifecycle.at is State.HOLDING:
            self._transit(Command.DONE)
        elif self.lifecycle.at is State.STOPPING and not self.outcome:
            self.outcome = self._final
            self._spawn(self._stop_safely(), "makes safe")

    async def _stop_safely(self) -> None:
        await self._make_safe()
        self._happen(Urgency.RESULT, self._finish)

    def _finish(self) -> None:
        if self.ended:
            return
        self.outcome = self._final
        self.ended_at = clock.stamp()
        cause = self.cause
        self._transit(Command.DONE)
        self._post("run.ended", outcome=self.outcome, sample=self.sample, cause=cause)
        self.cause = cause

    def _cancel_waiting(self) -> None:
        for task in list(self._waiting):
            task.cancel()

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────
    @property
    def waits_for(self) -> str | None:
        """Why it waits, in words, or None."""
        return self._reservations.waiting(self.id)

    def told(self) -> RunState:
        ended = self.ended
        return RunState(
            self.id,
            self.protocol.name,
            str(self.protocol.version),
            self.sample,
            self.lifecycle.state,
            self.machine.state or None,
            self.since,
            1.0 if ended else self.machine.progress,
            None,
            self.outcome if ended else None,
            self.cause if self.cause is not None else self.waits_for,
            self.question.told() if self.question else None,
            self.started,
            self.ended_at,
        )
