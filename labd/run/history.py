"""What the journal says of runs and samples: pure folds over its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
        "sample.moved",
    }
)
"""The kinds of events that the folds below read."""


@dataclass(frozen=True, slots=True)
class History:
    """The state of all runs, by id and in the order of their start, and where samples are."""

    runs: dict[str, RunState]
    places: dict[str, str]  # sample -> place
    homes: frozenset[str]  # places where a sample began

    @property
    def unfinished(self) -> list[RunState]:
        return [state for state in self.runs.values() if state.ended is None]


def fold(events: Iterable[Event]) -> History:
    """Folds events, oldest first."""
    runs: dict[str, RunState] = {}
    places: dict[str, str] = {}
    homes: set[str] = set()
    for event in events:
        data: dict[str, Any] = event.data
        if event.kind == "sample.moved":
            if data["to"] is None:
                places.pop(data["sample"], None)
            else:
                places[data["sample"]] = data["to"]
            if data["from"] is None and data["to"] is not None:
                homes.add(data["to"])
        elif event.run is not None and event.kind == "run.started":
            runs[event.run] = _started(event)
        elif event.run in runs:
            assert event.run is not None
            runs[event.run] = _next(runs[event.run], event)
    return History(runs, places, frozenset(homes))


def _started(event: Event) -> RunState:
    data: dict[str, Any] = event.data
    return RunState(
        str(event.run),
        data["protocol"],
        data["version"],
        data["sample"],
        "Idle",
        None,
        event.at,
        0.0,
        None,
        None,
        None,
        None,
        event.at,
        None,
    )


def _next(state: RunState, event: Event) -> RunState:
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
            return replace(state, question=question)
        case "question.answered" | "question.expired":
            return replace(state, question=None)
        case "run.ended":
            return replace(state, outcome=data["outcome"], ended=event.at, progress=1.0, question=None)
    return state
