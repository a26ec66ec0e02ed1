"""The record of a run: what its journal says, as one JSON object for whoever has only the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from labd.journal import Event

_OUTCOMES = {"action.done": "done", "action.failed": "failed", "action.unknown": "unknown"}


def run_record(events: Iterable[Event]) -> dict[str, Any]:
    """Folds the events of one run, oldest first.

    Gives what was run on which sample with which parameters, its PackML states, its actions with times, parameters and
    results, the decisions, questions and moves that led there, and where in the journal all that stands.
    """
    record: dict[str, Any] = {
        "run": None,
        "sample": None,
        "protocol": None,
        "version": None,
        "parameters": {},
        "by": None,
        "started": None,
        "ended": None,
        "outcome": None,
        "cause": None,
        "states": [],
        "protocol_states": [],
        "decisions": [],
        "actions": [],
        "questions": [],
        "moves": [],
        "other": [],
        "source": None,
        "journal": {"first": None, "last": None, "hash": None},
    }
    for event in events:
        record["run"] = event.run
        record["journal"] |= {"first": record["journal"]["first"] or event.seq, "last": event.seq, "hash": event.hash}
        _FOLDS.get(event.kind, _other)(record, event)
    return record


def _started(record: dict[str, Any], event: Event) -> None:
    known = {name: event.data.get(name) for name in ("sample", "protocol", "version", "parameters", "by", "source")}
    record.update(known, started=event.at)


def _ended(record: dict[str, Any], event: Event) -> None:
    record.update(ended=event.at, outcome=event.data["outcome"], cause=event.data.get("cause"))


def _listed(name: str) -> Callable[[dict[str, Any], Event], None]:
    return lambda record, event: record[name].append({"at": event.at, **event.data})


def _intended(record: dict[str, Any], event: Event) -> None:
    record["actions"].append({**event.data, "intended": event.at, "sent": None, "ended": None, "outcome": None})


def _acted(record: dict[str, Any], event: Event) -> None:
    """What became of an action that was intended before."""
    data = dict(event.data)
    action_id = data.pop("action_id", None)
    action = next((action for action in reversed(record["actions"]) if action["action_id"] == action_id), None)
    if action is None:
        _other(record, event)
    elif event.kind == "action.sent":
        action["sent"] = event.at
    elif event.kind == "action.accepted":
        action.update(data, accepted=event.at)
    elif event.kind == "action.reconciled":
        action.update(data, reconciled=event.at, outcome=data.get("verdict"))
    else:
        action.update(data, ended=event.at, outcome=_OUTCOMES[event.kind])


def _asked(record: dict[str, Any], event: Event) -> None:
    record["questions"].append({"asked": event.at, "answered": None, **event.data})


def _answered(record: dict[str, Any], event: Event) -> None:
    asked = (q for q in reversed(record["questions"]) if q.get("question_id") == event.data.get("question_id"))
    question = next(asked, None)
    if question is None:
        _other(record, event)
    else:
        question.update(event.data, **{event.kind.partition(".")[2]: event.at})


def _other(record: dict[str, Any], event: Event) -> None:
    record["other"].append({"at": event.at, "kind": event.kind, **event.data})


_FOLDS: dict[str, Callable[[dict[str, Any], Event], None]] = {
    "run.started": _started,
    "run.ended": _ended,
    "run.state": _listed("states"),
    "protocol.entered": _listed("protocol_states"),
    "protocol.decided": _listed("decisions"),
    "sample.moved": _listed("moves"),
    "action.intended": _intended,
    "action.sent": _acted,
    "action.accepted": _acted,
    "action.done": _acted,
    "action.failed": _acted,
    "action.unknown": _acted,
    "action.reconciled": _acted,
    "question.asked": _asked,
    "question.answered": _answered,
    "question.expired": _answered,
    "question.withdrawn": _answered,
}
