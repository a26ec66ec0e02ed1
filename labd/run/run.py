"""One run: one execution of one protocol for one sample.

The protocol's machine and the PackML life cycle decide, synchronously; this class does what they say, in tasks of its
own group, and feeds what happens back to them, one happening at a time, the most urgent first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from labd.expr import Missing
from labd.lab.bus import RunState
from labd.lab.limit import Limit
from labd.protocol import machine as m
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.run.agenda import Urgency
from labd.run.life import Life
from labd.run.lifecycle import PAUSED, CommandRefusedError, State
from labd.run.orders import OrderRefusedError, make_order
from labd.run.outcomes import Did, Failed, Order, Settled, Unsettled
from labd.run.performer import Performer
from labd.run.questions import SETTLE, Desk, OpenOutcome, Question
from labd.run.reservations import Reservations


class Run(Life):
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
        super().__init__(id, sample, performer)
        self.order = order
        self.protocol = protocol
        self.home = home
        self.machine = m.Machine(protocol, parameters, facts)
        self._reservations = reservations
        self._desk = Desk(id, self._post)
        self._deferred: list[m.Command] = []  # what the machine said while the run was held
        self._machine_holds = False  # and the run is held for it

    @property
    def question(self) -> Question | None:
        """What it asks a person now."""
        return self._desk.question

    def _begin(self) -> None:
        if not self.over:
            self._refresh()
            self._dispatch(self.machine.start())

    def _release(self) -> None:
        self._reservations.release(self.id, self._bounds)
        self._bounds = {}

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
            unread = Missing(f"{bound.device.id} tells no value of it now")
            live = bound.device.live(bound.unit).items()
            names[name] = {signal: unread if value is None else value for signal, value in live}
            names[name] |= {"place": bound.place or "", "device": bound.device.id}
        self.machine.update(names)

    def _feed(self, event: m.Event) -> None:
        if self.over or self._broken is not None:
            return
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
            elif not self.over:
                self._obey(command)

    def _obey(self, command: m.Command) -> None:
        match command:
            case m.Enter():
                self._release()
                self._agenda.wait(self._enter(command), f"enters {command.state}")
            case m.Do():
                self._do(command)
            case m.Ask():
                self._ask(command)
            case m.Sleep():
                self._agenda.wait(self._sleep(command), f"waits in {command.step_id}")
            case m.HoldRun():
                self._machine_holds = True
                self._hold(command.reason)
            case m.End():
                self._end(command)

    async def _enter(self, command: m.Enter) -> None:
        roles = {name: self.protocol.roles[name].role for name in sorted(command.roles)}
        bounds = await self._reservations.acquire(self.id, self.order, self.sample, roles)
        # From here no await: a cancellation must not lose what was just reserved.
        self._bounds = bounds
        self._agenda.put(Urgency.RESULT, lambda: self._entered(command))

    def _entered(self, command: m.Enter) -> None:
        if self.over:
            return
        bindings = {name: str(bound) for name, bound in self._bounds.items()}
        told = {"state": command.state, "visits": command.visit, "because": command.because, "bindings": bindings}
        self._post("protocol.entered", told)
        self._feed(m.Entered(command.state, token=command.token))

    async def _sleep(self, command: m.Sleep) -> None:
        await asyncio.sleep(command.seconds)
        self._agenda.put(Urgency.RESULT, lambda: self._feed(m.Elapsed(command.step_id, token=command.token)))

    def _do(self, command: m.Do) -> None:
        bound = self._bounds[command.role]
        try:
            order = make_order(self._performer.lab, self.id, self.sample, self.machine.state, bound, command)
        except OrderRefusedError as error:
            self._post("action.refused", step=command.step_id, action=command.action, message=str(error))
            failed = Failed("rejected", str(error))
            self._agenda.put(Urgency.RESULT, lambda: self._settled(command, None, failed))
            return
        self._agenda.spawn(self._perform(command, order), f"does {command.step_id}")

    async def _perform(self, command: m.Do, order: Order) -> None:
        settled = await self._performer.perform(order)
        self._agenda.put(Urgency.RESULT, lambda: self._settled(command, order, settled))

    def _settled(self, command: m.Do, order: Order | None, settled: Settled) -> None:
        if self.over:
            if isinstance(settled, Unsettled) and order is not None:
                self._unknown.append(order.name)
            self._check_quiet()
            return
        match settled:
            case Did(result, conflict):
                if conflict is not None:
                    self._hold(conflict)
                self._feed(m.Done(command.step_id, result.model_dump(), token=command.token))
            case Failed(kind, message):
                self._feed(m.Failed(command.step_id, kind, message, token=command.token))
            case Unsettled() as unsettled if order is not None:
                if unsettled.kind == "fault" and self._catches("fault"):
                    self._feed(m.Failed(command.step_id, "fault", unsettled.message, token=command.token))
                else:
                    self._ask_outcome(OpenOutcome(command, order, unsettled))
        self._check_quiet()

    def _catches(self, kind: str) -> bool:
        catch = getattr(self.protocol.states[self.machine.state], "catch", None)
        return getattr(catch, kind, None) is not None

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _ask(self, command: m.Ask) -> None:
        question = self._desk.ask(command)
        if command.within is not None:
            self._agenda.wait(self._expire(command, question, command.within), f"question in {command.step_id}")

    async def _expire(self, command: m.Ask, question: Question, within: float) -> None:
        limit = Limit(within)
        forget = self._performer.keep(limit)  # stands still while the run is held
        try:
            async with limit:
                await asyncio.Event().wait()
        except TimeoutError:
            self._agenda.put(Urgency.RESULT, lambda: self._expired(command, question))
        finally:
            forget()

    def _expired(self, command: m.Ask, question: Question) -> None:
        if self._desk.expire(question):
            self._feed(m.Expired(command.step_id, token=command.token))

    def _ask_outcome(self, asked: OpenOutcome) -> None:
        self._desk.ask_outcome(asked)
        if self.lifecycle.at is State.EXECUTE:
            self._hold(f"the outcome of {asked.order.name} is unknown: {asked.unsettled.message}")

    def answer(self, choice: str, value: Any, by: str) -> None:
        """Answers the open question.

        Raises:
            CommandRefusedError: there is none, or the answer is not among its choices.
        """
        question, value = self._desk.answer(choice, value, by)
        if question.kind == "outcome":
            self._agenda.put(Urgency.RESULT, lambda: self._settle(choice, by))
        else:
            answered = m.Answered(question.step, choice, value, by, token=question.token)
            self._agenda.put(Urgency.RESULT, lambda: self._feed(answered))

    def _settle(self, choice: str, by: str) -> None:
        """What a person said about an action: it corrects the sample, and the run goes on from there when unheld."""
        asked = self._desk.settled()
        if asked is None:
            return  # the run was ended meanwhile
        command, order, known = asked.command, asked.order, asked.unsettled.result
        recorder, intent, conflict = self._performer.recorder, asked.unsettled.intent, None
        if choice == "done" and known is not None:
            conflict = recorder.done(order, intent, known, verdict=SETTLE[choice], by=by)
        else:
            recorder.post(order, "action.reconciled", intent, verdict=SETTLE[choice], by=by)
        match choice:
            case "done":
                if known is None:
                    conflict = recorder.moved(order, None)
                self.cause = conflict or self.cause
                values = known.model_dump() if known else dict.fromkeys(order.action.result.model_fields)
                self._feed(m.Done(command.step_id, values, token=command.token))
            case "not done":
                self._dispatch([command])
            case _:
                self._final = "scrapped"
                self._stop(by, "scrapped by the operator")

    # ── hold, stop, abort, end ───────────────────────────────────────────────────────────────────────────────────
    def _check_unhold(self, at: str | None) -> None:
        if self._desk.outcome is not None:
            choices = " | ".join(SETTLE)
            raise CommandRefusedError(f"answer first: labd answer {self.id} '{choices}'")
        holds = self.machine.pending
        if at is None:
            done = self.machine.repeats
            if done is not None and self._machine_holds and isinstance(holds, m.HoldRun):
                ways = ", ".join(holds.continue_at or self.protocol.states)
                raise CommandRefusedError(
                    f"{done} was done, and would be done again: say where to go on, "
                    f"labd unhold {self.id} --at STATE (one of: {ways})"
                )
            return
        if at not in self.protocol.states:
            raise CommandRefusedError(f"the protocol has no state {at!r}")
        if not isinstance(holds, m.HoldRun):
            raise CommandRefusedError(f"{self.id} was held by a person: it goes on where it is, not at {at}")
        if holds.continue_at and at not in holds.continue_at:
            raise CommandRefusedError(f"the protocol lets it go on at {', '.join(holds.continue_at)}, not at {at}")

    def _go_on(self, by: str, at: str | None) -> None:
        deferred, self._deferred = self._deferred, []
        if self.machine.held and (self._machine_holds or at is not None):
            self._machine_holds = False
            deferred = []  # at most the machine's own hold, which this answers
            self._feed(m.Resume(at, by))
        self._dispatch(deferred)

    def _leave(self, why: str) -> None:
        unknown = self._desk.withdraw(why)
        if unknown is not None:
            self._unknown.append(unknown.order.name)
        self._deferred.clear()
        self._agenda.forget_waiting()

    def _end(self, command: m.End) -> None:
        self._final = command.outcome
        self._post("protocol.ended", state=command.state, outcome=command.outcome)
        self._agenda.forget_waiting()
        if command.outcome == "aborted":
            self._abort("protocol", f"the protocol ended in {command.state}")
        elif command.outcome == "stopped":
            self._stop("protocol", f"the protocol ended in {command.state}")
        else:
            self._complete()

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────
    @property
    def waits_for(self) -> str | None:
        """Why it waits, in words, or None."""
        return self._reservations.waiting(self.id)

    def told(self) -> RunState:
        ended = self.ended
        return RunState(
            run=self.id,
            protocol=self.protocol.name,
            version=str(self.protocol.version),
            sample=self.sample,
            state=self.lifecycle.state,
            protocol_state=self.machine.state or None,
            since=self.since,
            progress=1.0 if ended else self.machine.progress,
            expected_end=None,
            outcome=self.outcome if ended else None,
            cause=self.cause if self.cause is not None else self.waits_for,
            question=self.question.told() if self.question else None,
            started=self.started,
            ended=self.ended_at,
        )
