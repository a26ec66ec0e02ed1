"""What a run asks people: the protocol's questions, and what became of an action that nobody knows about."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from labd.lab.limit import Limit
from labd.protocol import messages as m
from labd.protocol.machine import Machine
from labd.run.agenda import Urgency
from labd.run.life import Life
from labd.run.lifecycle import State
from labd.run.performer import Performer
from labd.run.questions import SETTLE, Desk, OpenOutcome, Question
from labd.run.times import Times
from labd.run.waits import Waits
from labd.sdk import Result


class Asking(Life):
    """The questions of one run, and how their answers lead on."""

    machine: Machine

    def __init__(self, id: str, sample: str, performer: Performer) -> None:  # noqa: A002 - the word of the field
        super().__init__(id, sample, performer)
        self._desk = Desk(id, self._post)
        self._waits = Waits(self._agenda)
        self._times = Times()

    @property
    def question(self) -> Question | None:
        """What it asks a person now."""
        return self._desk.question

    @abstractmethod
    def _feed(self, event: m.Event) -> None:
        """Tells the machine what has happened."""

    @abstractmethod
    def _dispatch(self, commands: Sequence[m.Command]) -> None:
        """Does what the machine says."""

    async def _expires(self, limit: Limit) -> bool:
        """Waits so long; the time stands still while the run is held."""
        forget = self._performer.keep(limit)
        try:
            async with limit:
                await asyncio.Event().wait()
        except TimeoutError:
            return True
        finally:
            forget()
        return False

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _ask(self, command: m.Ask) -> None:
        question = self._desk.ask(command)
        if command.within is not None:
            self._let_expire(command, question, command.within)

    def _let_expire(self, command: m.Ask, question: Question, within: float) -> None:
        work = self._expire(command, question, self._times.limit(command.step_id, within))
        self._waits.begin(command.step_id, work, f"question in {command.step_id}")

    async def _expire(self, command: m.Ask, question: Question, limit: Limit) -> None:
        if await self._expires(limit):
            self._agenda.put(Urgency.RESULT, lambda: self._expired(command, question))

    def _expired(self, command: m.Ask, question: Question) -> None:
        self._times.over(command.step_id)
        if self._desk.expire(question):
            self._feed(m.Expired(command.step_id, token=command.token))

    def _ask_outcome(self, asked: OpenOutcome) -> None:
        self._desk.ask_outcome(asked)
        if self.lifecycle.at is State.EXECUTE:
            self._hold(f"the outcome of {asked.order.name} is unknown: {asked.unsettled.message}")

    def answer(self, choice: str, value: Any, by: str, which: str | None = None) -> None:
        """Answers the open question; `which` is the id of the one that is meant.

        Raises:
            CommandRefusedError: there is none, or the answer is not among its choices.
        """
        question, value = self._desk.answer(choice, value, by, which)
        if question.kind == "outcome":
            self._agenda.put(Urgency.RESULT, lambda: self._settle(question, choice, by))
        elif question.kind == "supply":
            self._agenda.put(Urgency.RESULT, lambda: self._supplied(question, value, by))
        else:
            self._waits.call_off(question.step)
            answered = m.Answered(question.step, choice, value, by, token=question.token)
            self._agenda.put(Urgency.RESULT, lambda: self._answered(answered))

    @abstractmethod
    def _supplied(self, question: Question, value: Any, by: str) -> None:
        """A person says that what was missing is there."""

    def _answered(self, answered: m.Answered) -> None:
        self._times.over(answered.step_id)
        self._feed(answered)

    def _settle(self, question: Question, choice: str, by: str) -> None:
        """What a person said about an action: it corrects the sample, and the run goes on from there when unheld."""
        asked = self._desk.settled(question)
        if asked is None:
            return  # the run was ended meanwhile
        before = self.cause
        self._apply(asked, choice, asked.unsettled.result, {"by": by})
        if self.lifecycle.at in (State.HOLDING, State.HELD) and self._desk.outcome is None and self.cause == before:
            self.cause = f"settled; `labd unhold {self.id}` goes on"

    def _apply(self, asked: OpenOutcome, choice: str, known: Result | None, told: Mapping[str, Any]) -> None:
        """An action that nobody knew about is settled.

        Args:
            asked: the action.
            choice: `done`, `not done` or `scrap`.
            known: its result, where there is one.
            told: who says so, for the journal.
        """
        command, order = asked.command, asked.order
        recorder, intent, conflict = self._performer.recorder, asked.unsettled.intent, None
        if choice == "done" and known is not None:
            conflict = recorder.done(order, intent, known, verdict=SETTLE[choice], **told)
        else:
            recorder.settle(order, intent, SETTLE[choice], **told)
        if choice == "not done":
            self._feed(m.Unsent(command.step_id))  # a window to it is open as before, and may lead elsewhere
        match choice:
            case "done":
                if known is None:
                    conflict = recorder.moved(order, None)
                self.cause = conflict or self.cause
                result = known or order.action.result.by_word()
                self._feed(m.Done(command.step_id, result.model_dump(), token=command.token))
            case "not done" if not self.machine.awaited(command.step_id):
                self._feed(m.Failed(command.step_id, "cancelled", "it was not done", token=command.token))
            case "not done":
                self._dispatch([command])
            case _:
                self._final = "scrapped"
                self._stop(str(told["by"]), "scrapped by the operator")
