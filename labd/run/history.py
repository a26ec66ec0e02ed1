"""What the journal says of runs and samples: pure folds over its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from labd.journal import Event
from labd.lab.bus import RunState

FOLDED = frozenset(
    {
        "run.started",
        "run.state",
        "run.ended",
        "protocol.entered",
        "question.asked",
        "question.answered",
        "question.expired",
        "question.withdrawn",
        "sample.moved",
        "part.moved",
    }
)
"""The kinds of events that the folds below read."""

ACTIONS = frozenset({"action.intended", "action.done", "action.failed", "action.unknown", "action.reconciled"})
"""What `open_actions` reads."""


QUESTIONS = frozenset({"question.asked", "question.answered", "question.expired", "question.withdrawn"})
"""What `open_questions` reads."""


@dataclass(frozen=True, slots=True)
class History:
    """The state of all runs, by id and in the order of their start, and where samples are."""

    runs: dict[str, RunState]
    places: dict[str, str]  # sample -> place
    parts: dict[str, str] = field(default_factory=dict)  # gripper -> the sample whose part it holds

    @property
    def unfinished(self) -> list[RunState]:
        return [state for state in self.runs.values() if state.ended is None]


def fold(events: Iterable[Event]) -> History:
    """Folds events, oldest first."""
    runs: dict[str, RunState] = {}
    places: dict[str, str] = {}
    parts: dict[str, str] = {}
    asked: dict[str, list[dict[str, Any]]] = defaultdict(list)  # what each run asks
    for event in events:
        data: dict[str, Any] = event.data
        if event.kind == "sample.moved":
            if data["to"] is None:
                places.pop(data["sample"], None)
            else:
                places[data["sample"]] = data["to"]
        elif event.kind == "part.moved":
            parts.pop(data["place"], None)
            if data["held"]:
                parts[data["place"]] = data["sample"]
        elif event.run is not None and event.kind == "run.started":
            runs[event.run] = _started(event)
        elif event.run in runs:
            assert event.run is not None
            runs[event.run] = _next(runs[event.run], event, asked[event.run])
    return History(runs, places, parts)


def open_actions(events: Iterable[Event]) -> tuple[dict[str, str], set[str]]:
    """Actions without an outcome, `press.crimp` by action id; and those of them that the journal says nothing of."""
    found: dict[str, str] = {}
    silent: set[str] = set()
    for event in events:
        data: dict[str, Any] = event.data
        action_id = data["action_id"]
        if event.kind == "action.intended":
            unit = f"{data['device']}.{data['unit']}" if data["unit"] else data["device"]
            found[action_id] = f"{unit}.{data['action']}"
            silent.add(action_id)
            continue
        silent.discard(action_id)
        if event.kind != "action.unknown":
            found.pop(action_id, None)
    return found, silent


def open_questions(events: Iterable[Event]) -> list[str]:
    """The ids of the questions that nobody has answered and nothing has closed, in their order."""
    found: dict[str, None] = {}
    for event in events:
        if event.kind == "question.asked":
            found[event.data["question_id"]] = None
        else:
            found.pop(event.data["question_id"], None)
    return list(found)


def going_on(events: Iterable[Event]) -> set[tuple[str, str]]:
    """The units that were left to go on without labd: whose last action says so, and is under way or was done.

    Args:
        events: of one unfinished run, of the kinds in ACTIONS.
    """
    last: dict[tuple[str, str], str] = {}
    continues: set[str] = set()
    failed: set[str] = set()
    for event in events:
        data: dict[str, Any] = event.data
        if event.kind == "action.intended":
            last[data["device"], data["unit"]] = data["action_id"]
            if data["on_loss"] == "continue":
                continues.add(data["action_id"])
        elif event.kind == "action.failed":
            failed.add(data["action_id"])
    return {unit for unit, action_id in last.items() if action_id in continues - failed}


def open_units(events: Iterable[Event], on_loss: str | None = None) -> set[tuple[str, str]]:
    """The units, as device and unit, whose action has no outcome yet.

    Args:
        events: of one run, of the kinds in ACTIONS.
        on_loss: `stop` or `continue`: only those whose action says so for the case that the daemon is lost.
    """
    told = list(events)
    unsettled, _ = open_actions(told)
    return {
        (event.data["device"], event.data["unit"])
        for event in told
        if event.kind == "action.intended"
        and event.data["action_id"] in unsettled
        and on_loss in (None, event.data["on_loss"])
    }


def _started(event: Event) -> RunState:
    data: dict[str, Any] = event.data
    return RunState(
        run=str(event.run),
        protocol=data["protocol"],
        version=data["version"],
        sample=data["sample"],
        state="Idle",
        protocol_state=None,
        since=event.at,
        progress=0.0,
        expected_end=None,
        outcome=None,
        cause=None,
        question=None,
        started=event.at,
        ended=None,
    )


def _next(state: RunState, event: Event, asked: list[dict[str, Any]]) -> RunState:
    data: dict[str, Any] = event.data
    match event.kind:
        case "run.state":
            cause = data["cause"] if data["cause"] is not None or data["to"] == "Execute" else state.cause
            return replace(state, state=data["to"], since=event.at, cause=cause)
        case "protocol.entered":
            return replace(state, protocol_state=data["state"])
        case "question.asked":
            question = {"id": data["question_id"], "kind": data["kind"], "text": data["text"]}
            question |= {"choices": data["choices"], "input": data["input"], "asked": event.at}
            asked.append(question)
            return replace(state, question=_first(asked))
        case "question.answered" | "question.expired" | "question.withdrawn":
            asked[:] = [question for question in asked if question["id"] != data["question_id"]]
            return replace(state, question=_first(asked))
        case "run.ended":
            return replace(state, outcome=data["outcome"], ended=event.at, progress=1.0, question=None)
    return state


def _first(asked: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The question that a person is asked first: those about an action's outcome go before the protocol's."""
    return next((question for question in asked if question["kind"] == "outcome"), asked[0] if asked else None)
