"""What the journal says of a run that was cut: what became of each step's action, and what people were asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from labd.journal import Event
from labd.lab.device import Device
from labd.lab.lab import Lab
from labd.protocol.messages import Input
from labd.run.outcomes import Did, Order
from labd.run.questions import Question
from labd.run.reservations import Bound
from labd.sdk import Action, Intent, Parameters, Result, Verdict, without_units

READ = frozenset(
    {
        "action.intended",
        "action.accepted",
        "action.done",
        "action.failed",
        "action.unknown",
        "action.reconciled",
        "sample.conflict",
        "question.asked",
        "question.answered",
        "question.expired",
        "question.withdrawn",
        "run.failed",
    }
)
"""The kinds of events that a `Past` is made of."""


class LostActionError(Exception):
    """What a run had ordered is not there any more; the text says what, and how to mend it."""


@dataclass(slots=True)
class Tried:
    """The last order of a step: its intent, and what the journal says last of it.

    Args:
        intended: the event of its intent.
        last: the last event about it.
        conflict: where it says that the sample cannot be where it was put.
        asked: the question about its outcome.
        answer: what a person said about it.
    """

    intended: Event
    last: Event
    conflict: str | None = None
    asked: Event | None = None
    answer: Event | None = None

    @property
    def id(self) -> str:
        return str(self.intended.data["action_id"])

    @property
    def open(self) -> bool:
        """Whether the journal does not say what became of it."""
        return self.last.kind in ("action.intended", "action.accepted", "action.unknown")

    @property
    def done(self) -> bool:
        verdict = self.last.data.get("verdict")
        settled = self.last.kind == "action.reconciled" and verdict in (Verdict.DONE, Verdict.PARTIAL)
        return settled or self.last.kind == "action.done"

    def result(self, order: Order, told: Mapping[str, Any] | None = None) -> Result | None:
        """Its result as it stands in the journal, or None where nobody knew it."""
        told = self.last.data.get("result") if told is None else told
        model = order.action.result
        return None if told is None else model.model_construct(**without_units(model, told))

    def did(self, order: Order) -> Did:
        """What was done, where it was done; fields of a result that nobody knows are None."""
        return Did(self.result(order) or order.action.result.by_word(), self.conflict)

    def order(self, lab: Lab, sample: str, bounds: Mapping[str, Bound], within: float | None) -> Order:
        """The order as it was given; `stale` where its driver does not take its parameters any more.

        Raises:
            LostActionError: the lab has no such device any more, or its driver no such action.
        """
        data = self.intended.data
        device, action = self.acts(lab)
        unit = data["unit"]
        bound = bounds.get(data["role"])
        if bound is None or (bound.device.id, bound.unit) != (device.id, unit):
            bound = Bound(data["role"], device, unit, lab.place_of(device, unit))
        parameters, stale = _parameters(action, data["parameters"])
        run = str(self.intended.run)
        return Order(run, sample, data["state"], data["step"], bound, action, parameters, within, stale)

    def acts(self, lab: Lab) -> tuple[Device, Action]:
        """Its device and action, as they are now. Raises LostActionError as `order` does."""
        device = lab.devices.get(self.intended.data["device"])
        if device is None:
            raise LostActionError(
                f"this lab has no {self.intended.data['device']} any more; enter it in lab.yaml again"
            )
        action = device.driver.actions.get(self.intended.data["action"])
        if action is None:
            gone = f"the driver of {device.id} has no action {self.intended.data['action']!r} any more"
            raise LostActionError(f"{gone}; install the version of labd or of the driver that has it")
        return device, action

    def intent(self, order: Order) -> Intent:
        """The intent as it was written down."""
        at = datetime.fromisoformat(self.intended.at)
        baseline = self.intended.data["baseline"]
        return Intent(self.id, order.action.name, order.bound.unit, order.parameters, baseline, at)


def _parameters(action: Action, told: Mapping[str, Any]) -> tuple[Parameters, str | None]:
    """Parameters as the journal has them, and why the driver does not take them any more, or None."""
    model = action.parameters
    try:
        return model.model_validate(told), None
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    try:
        known = without_units(model, {name: value for name, value in told.items() if name in model.model_fields})
    except ValueError:  # a unit of another dimension
        known = {}
    return model.model_construct(**known), f"its driver takes other parameters now ({words})"


@dataclass(slots=True)
class Past:
    """The past of one run, as far as it matters for going on."""

    actions: int = 0  # how many were intended
    questions: int = 0  # how many were put
    tried: dict[str, Tried] = field(default_factory=dict)  # by step
    asked: dict[str, Event] = field(default_factory=dict)  # the protocol's last question of each step
    closed: dict[str, Event] = field(default_factory=dict)  # how questions ended, by their ids
    broken: str | None = None  # an error of labd's own
    _by_id: dict[str, Tried] = field(default_factory=dict)
    _about: dict[str, Tried] = field(default_factory=dict)  # the questions about outcomes

    def question(self, step: str) -> tuple[Event | None, Event | None]:
        """The protocol's last question of a step, and how it ended, as far as they are."""
        asked = self.asked.get(step)
        return asked, self.closed.get(asked.data["question_id"]) if asked is not None else None

    def supplies(self) -> dict[str, Question]:
        """What is asked, and not answered, about steps that lack something."""
        found = {step: event for step, event in self.asked.items() if event.data["kind"] == "supply"}
        open_ = {step: event for step, event in found.items() if event.data["question_id"] not in self.closed}
        return {step: question_of(event, event.data.get("token", "")) for step, event in open_.items()}

    def _action(self, event: Event) -> None:
        action_id = event.data["action_id"]
        if event.kind == "action.intended":
            self.actions += 1
            self._by_id[action_id] = self.tried[event.data["step"]] = Tried(event, event)
            return
        tried = self._by_id.get(action_id)
        if tried is not None:
            tried.last = event

    def _question(self, event: Event) -> None:
        data = event.data
        if event.kind == "question.asked":
            self.questions += 1
            about = self._by_id.get(data.get("action_id", ""))
            if about is not None:
                about.asked, about.answer = event, None
                self._about[data["question_id"]] = about
            else:
                self.asked[data["step"]] = event
            return
        self.closed[data["question_id"]] = event
        about = self._about.get(data["question_id"])
        if about is not None and event.kind == "question.answered":
            about.answer = event
        elif about is not None:
            about.asked = None


def past_of(events: Iterable[Event]) -> Past:
    """Folds the events of one run, oldest first."""
    past = Past()
    before: Event | None = None
    for event in events:
        if event.kind.startswith("action.") and "action_id" in event.data:
            past._action(event)  # noqa: SLF001 - its own fold
        elif event.kind.startswith("question."):
            past._question(event)  # noqa: SLF001
        elif event.kind == "run.failed":
            past.broken = str(event.data.get("error"))
        elif event.kind == "sample.conflict" and before is not None and "action_id" in before.data:
            there, place = event.data["there"], event.data["to"]
            past._by_id[before.data["action_id"]].conflict = f"{there} is entered at {place}; look"  # noqa: SLF001
        before = event
    return past


def question_of(event: Event, token: str) -> Question:
    """A question as it was put."""
    data: dict[str, Any] = event.data
    typed = {**data["input"], "choices": tuple(data["input"]["choices"])} if data["input"] is not None else None
    return Question(
        data["question_id"],
        data["kind"],
        data["text"],
        tuple(data["choices"]),
        data["step"],
        token,
        data["asked"],
        Input(**typed) if typed is not None else None,
    )
