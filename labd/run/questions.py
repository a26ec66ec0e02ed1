"""What a person is asked in a run, and which answers are taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from labd import clock
from labd.lab.inventory import Shortage
from labd.lab.validity import VALIDITY
from labd.protocol.messages import Ask, Do, Input
from labd.run.answers import AnswerError, typed_answer
from labd.run.lifecycle import CommandRefusedError
from labd.run.outcomes import Order, Unsettled
from labd.sdk import Verdict, with_units

SETTLE = {"done": Verdict.DONE.value, "not done": Verdict.NOT_DONE.value, "scrap": "scrapped"}
"""The verdict that stands in the journal, by what a person chose about an action that nobody knows about."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked.

    `kind` is `protocol` (an `ask` step), `outcome` (an action nobody knows about) or `supply` (what an action needs
    is not there).
    """

    id: str
    kind: str
    text: str
    choices: tuple[str, ...]
    step: str
    token: str
    asked: str
    input: Input | None = None

    def told(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "text": self.text,
            "choices": list(self.choices),
            "input": asdict(self.input) if self.input is not None else None,
            "asked": self.asked,
        }

    def checked(self, choice: str, value: Any) -> Any:
        """The value of an answer in its type. Raises CommandRefusedError: it is none that the question takes."""
        if self.choices and not choice:
            raise CommandRefusedError(f"it asks for a choice: say one of: {', '.join(self.choices)}")
        if self.choices and choice not in self.choices:
            raise CommandRefusedError(f"{choice!r} is none of: {', '.join(self.choices)}")
        if self.input is None:
            return value
        try:
            return typed_answer(self.input, value)
        except AnswerError as error:
            raise CommandRefusedError(str(error)) from error


@dataclass(frozen=True, slots=True)
class OpenOutcome:
    """An action whose outcome a person has to say."""

    command: Do
    order: Order
    unsettled: Unsettled

    @property
    def text(self) -> str:
        name, sample, why = self.order.name, self.order.sample, self.unsettled.message
        return f"Nobody knows whether {name} happened to {sample}: {why}. Look at it: was it done?"


class Desk:
    """The questions that a run has open; a person sees one at a time, those about an action's outcome first.

    Args:
        run: the run's id.
        post: how it writes into the journal.
    """

    def __init__(self, run: str, post: Callable[..., None]) -> None:
        self._run = run
        self._post = post
        self._count = 0
        self._open: list[Question] = []
        self._outcomes: dict[str, OpenOutcome] = {}  # by the question about it

    @property
    def question(self) -> Question | None:
        """What a person is asked now."""
        outcomes = (question for question in self._open if question.id in self._outcomes)
        return next(outcomes, self._open[0] if self._open else None)

    @property
    def outcome(self) -> OpenOutcome | None:
        """The action that nobody knows about, whose outcome has to be said next."""
        return next(iter(self._outcomes.values()), None)

    def ask(self, ask: Ask) -> Question:
        """Puts the protocol's question."""
        return self._pose("protocol", ask.text, ask.choices, ask.step_id, ask.token, ask.input)

    def ask_outcome(self, asked: OpenOutcome) -> None:
        """Asks what became of an action."""
        known = asked.unsettled.result
        more = {
            "action_id": asked.unsettled.intent.id,
            "known": with_units(known) if known is not None else None,
        }
        command = asked.command
        question = self._pose("outcome", asked.text, tuple(SETTLE), command.step_id, command.token, more=more)
        self._outcomes[question.id] = asked

    def ask_supply(self, step: str, token: str, shortage: Shortage) -> None:
        """Asks for what is missing for a step, with how much is there then where a volume is meant."""
        typed = None if shortage.least is None else Input("quantity", "µL", min=round(shortage.least, 3))
        choices = () if typed is not None else ("go on",) if shortage.thing == VALIDITY else ("refilled",)
        more = {"thing": shortage.thing, "place": shortage.place}
        self._pose("supply", shortage.text, choices, step, token, typed, more)

    def supply(self, step: str) -> Question | None:
        """What is asked about a step that lacks something."""
        return next((one for one in self._open if one.kind == "supply" and one.step == step), None)

    def count_from(self, before: int) -> None:
        """So many questions were put before a restart: those that follow have other ids."""
        self._count = before

    def take_up(self, question: Question, asked: OpenOutcome | None = None) -> None:
        """A question that was put before a restart is open as it was."""
        self._open.append(question)
        if asked is not None:
            self._outcomes[question.id] = asked

    def _pose(
        self,
        kind: str,
        text: str,
        choices: tuple[str, ...],
        step: str,
        token: str,
        typed: Input | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Question:
        self._count += 1
        question = Question(f"{self._run}-q{self._count}", kind, text, choices, step, token, clock.stamp(), typed)
        self._open.append(question)
        told = {"question_id": question.id, "step": question.step, **question.told(), **(more or {})}
        self._post("question.asked", told)
        return question

    def answer(self, choice: str, value: Any, by: str, which: str | None = None) -> tuple[Question, Any]:
        """Takes an answer; gives the question that it is for, and its value in its type.

        Args:
            choice: what was chosen.
            value: what was entered.
            by: who answers.
            which: the id of the question that is meant; None: the one that is asked now.

        Raises:
            CommandRefusedError: nothing is asked, something else is, or the question does not take the answer.
        """
        question = self.question
        if question is None:
            raise CommandRefusedError(f"{self._run} asks nothing")
        if which not in (None, question.id):
            raise CommandRefusedError(f"{which} is not asked now; {question.id} is: {question.text}")
        value = question.checked(choice, value)
        self._open.remove(question)
        self._post("question.answered", question_id=question.id, choice=choice, value=value, by=by)
        return question, value

    def settled(self, question: Question) -> OpenOutcome | None:
        """The action that a question was about, which is settled now; None when the run was ended meanwhile."""
        return self._outcomes.pop(question.id, None)

    def expire(self, question: Question) -> bool:
        """Nobody has answered in time. False when somebody has."""
        if question not in self._open:
            return False
        self._post("question.expired", question_id=question.id)
        self._open.remove(question)
        return True

    def tell_outcome(self, action_id: str, why: str) -> OpenOutcome | None:
        """The device has told what became of an action: nobody need be asked. None when nobody is asked about it."""
        for question in self._open:
            asked = self._outcomes.get(question.id)
            if asked is not None and asked.unsettled.intent.id == action_id:
                self._post("question.withdrawn", question_id=question.id, why=why)
                self._open.remove(question)
                return self._outcomes.pop(question.id)
        return None

    @property
    def outcomes(self) -> tuple[OpenOutcome, ...]:
        """The actions that people are asked about."""
        return tuple(self._outcomes.values())

    def withdraw_step(self, step: str, why: str, kind: str = "protocol") -> bool:
        """Takes back the question of one step, the protocol's or another; gives whether it was open."""
        for question in self._open:
            if question.step == step and question.kind == kind:
                self._post("question.withdrawn", question_id=question.id, why=why)
                self._open.remove(question)
                return True
        return False

    def withdraw(self, why: str) -> list[OpenOutcome]:
        """Takes back all that is asked, for the run ends; gives the actions that nobody will ask about any more."""
        for question in self._open:
            self._post("question.withdrawn", question_id=question.id, why=why)
        self._open.clear()
        unknown = list(self._outcomes.values())
        self._outcomes.clear()
        return unknown
