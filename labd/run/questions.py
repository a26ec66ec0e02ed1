"""What a person is asked in a run, and which answers are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labd import clock
from labd.protocol.messages import Ask, Do, Input
from labd.run.answers import AnswerError, typed_answer
from labd.run.lifecycle import CommandRefusedError
from labd.run.outcomes import Order, Unsettled
from labd.sdk import Verdict

SETTLE = {"done": Verdict.DONE.value, "not done": Verdict.NOT_DONE.value, "scrap": "scrapped"}
"""The verdict that stands in the journal, by what a person chose about an action that nobody knows about."""


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
    """The one question that a run may have open, and the action whose outcome it is about, if it is.

    Args:
        run: the run's id.
        post: how it writes into the journal.
    """

    def __init__(self, run: str, post: Callable[..., None]) -> None:
        self._run = run
        self._post = post
        self._count = 0
        self.question: Question | None = None
        self.outcome: OpenOutcome | None = None

    def ask(self, ask: Ask) -> Question:
        """Puts the protocol's question."""
        return self._pose("protocol", ask.text, ask.choices, ask.step_id, ask.token, ask.input)

    def ask_outcome(self, asked: OpenOutcome) -> None:
        """Asks what became of an action; it stays open until `settled` takes it."""
        self.outcome = asked
        self._pose("outcome", asked.text, tuple(SETTLE), asked.command.step_id, asked.command.token)

    def _pose(
        self, kind: str, text: str, choices: tuple[str, ...], step: str, token: str, typed: Input | None = None
    ) -> Question:
        self._count += 1
        question = Question(f"{self._run}-q{self._count}", kind, text, choices, step, token, clock.stamp(), typed)
        self.question = question
        self._post("question.asked", {"question_id": question.id, **question.told()})
        return question

    def answer(self, choice: str, value: Any, by: str) -> tuple[Question, Any]:
        """Takes an answer; gives the question that it is for, and its value in its type.

        Raises:
            CommandRefusedError: nothing is asked, or the question does not take the answer.
        """
        question = self.question
        if question is None:
            raise CommandRefusedError(f"{self._run} asks nothing")
        value = question.checked(choice, value)
        self.question = None
        self._post("question.answered", question_id=question.id, choice=choice, value=value, by=by)
        return question, value

    def settled(self) -> OpenOutcome | None:
        """The action that was asked about, which is settled now; None when the run was ended meanwhile."""
        asked, self.outcome = self.outcome, None
        return asked

    def expire(self, question: Question) -> bool:
        """Nobody has answered in time. False when somebody has."""
        if self.question is not question:
            return False
        self._post("question.expired", question_id=question.id)
        self.question = None
        return True

    def withdraw(self, why: str) -> OpenOutcome | None:
        """Takes back what is asked, for the run ends; gives the action that nobody will ask about any more."""
        if self.question is not None:
            self._post("question.withdrawn", question_id=self.question.id, why=why)
            self.question = None
        return self.settled()
