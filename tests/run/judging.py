"""What must be true of any journal, and of the world beside it, whatever has happened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labd.journal import Event
from labd.run.lifecycle import Command, Lifecycle, State
from tests.run.rough import Rough

OUTCOMES = ("action.done", "action.failed", "action.reconciled")
AFTER_THE_END = {"run.state", "sample.moved", "part.moved", "command.accepted"}
"""What is written of a run that has ended: what a person cleared, and that it was told so."""


@dataclass(slots=True)
class Judge:
    """Judges a journal again and again: a run of which nothing new stands in it was judged before."""

    world: Rough
    _read: int = 0
    _runs: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    _intended: set[str] = field(default_factory=set)

    def judge(self, events: Sequence[Event], *, whole: bool = False) -> None:
        """Raises AssertionError with what is not as it must be.

        Args:
            events: the whole journal; what was there before is there still.
            whole: judge all runs.
        """
        changed: set[str] = set()
        for event in events[self._read :]:
            if event.kind == "action.intended":
                assert event.data["action_id"] not in self._intended, f"intended a second time: {event}"
                self._intended.add(event.data["action_id"])
            if event.run is not None:
                self._runs[event.run].append(event)
                changed.add(event.run)
        self._read = len(events)
        assert not self.world.twice, f"sent twice: {self.world.twice}"
        never = set(self.world.orders) - self._intended
        assert not never, f"never intended, and happened: {never}"
        for run in self._runs if whole else changed:
            _judge_life(run, self._runs[run])
            _judge_questions(run, self._runs[run])
            _judge_actions(run, self._runs[run], self.world)


# ── the life of a run ────────────────────────────────────────────────────────────────────────────────────────────
def _judge_life(run: str, events: Iterable[Event]) -> None:
    cycle, ended, cleaning = Lifecycle(), False, False
    for event in events:
        data: dict[str, Any] = event.data
        where = f"{run}, event {event.seq} {event.kind} {data}"
        assert event.kind != "run.failed", where
        assert not ended or event.kind in AFTER_THE_END, f"after its end: {where}"
        match event.kind:
            case "run.state":
                assert data["from"] == cycle.state, f"it was {cycle.state}: {where}"
                cycle.command(Command(data["command"]))
                assert data["to"] == cycle.state, where
            case "cleanup.started":
                cleaning = True
            case "cleanup.ended":
                cleaning = False
            case "run.ended":
                ended = True
            case "action.intended":
                assert cycle.at is not State.HELD, f"while it was held: {where}"
                over = cycle.at in (State.STOPPING, State.ABORTING, State.COMPLETING)
                assert not over or cleaning or "cleanup:" in data["step"], f"while it was {cycle.state}: {where}"


def _judge_questions(run: str, events: Iterable[Event]) -> None:
    asked: set[str] = set()
    closed: dict[str, str] = {}
    for event in events:
        if event.kind == "question.asked":
            assert event.data["question_id"] not in asked, f"{run} asks twice: {event}"
            asked.add(event.data["question_id"])
        elif event.kind in ("question.answered", "question.expired", "question.withdrawn"):
            question = event.data["question_id"]
            assert question in asked, f"{run}: {event}"
            assert question not in closed, f"{run}: {closed[question]} before: {event}"
            closed[question] = event.kind
        elif event.kind == "run.ended":
            assert asked == set(closed), f"{run} has ended with open questions: {asked - set(closed)}"


# ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _judge_actions(run: str, events: Sequence[Event], world: Rough) -> None:
    intents = {event.data["action_id"]: event.data for event in events if event.kind == "action.intended"}
    told: dict[str, list[Event]] = {action_id: [] for action_id in intents}
    for event in events:
        if event.kind.startswith("action.") and "action_id" in event.data and event.kind != "action.intended":
            told[event.data["action_id"]].append(event)
    of_step: dict[str, list[str]] = defaultdict(list)
    for action_id, data in intents.items():
        _judge_action(f"{run} {data['action']} {action_id}", told[action_id])
        if data["effect"] == "once":
            of_step[data["step"]].append(action_id)
            _judge_truth(action_id, told[action_id], world)
    for event in events:
        if event.kind == "run.ended":
            open_ = [name for tries in of_step.values() for name in tries if _is_open(told[name], event)]
            assert not open_ or "nobody knows whether" in str(event.data["cause"]), f"{run}: {open_} are open: {event}"
    for step, tries in of_step.items():
        for before in tries[:-1]:
            kinds = [(event.kind, dict(event.data)) for event in told[before]]
            assert _not_done(told[before]), f"{run}: {step} was intended again after {before}: {kinds}"
        happened = [action_id for action_id in tries if action_id in world.orders]
        assert len(happened) <= 1, f"{run}: {step} happened {len(happened)} times: {happened}"


def _judge_action(name: str, told: Sequence[Event]) -> None:
    """One outcome; a fault may be followed by a person's word."""
    kinds = [event.kind for event in told if event.kind in OUTCOMES]
    fault = kinds[:1] == ["action.failed"] and _faulty(next(event for event in told if event.kind == "action.failed"))
    assert len(kinds) <= 1 or (fault and kinds[1:] == ["action.reconciled"]), f"{name}: {kinds}"


def _faulty(failed: Event) -> bool:
    return failed.data["error"] not in ("rejected", "unreachable", "timeout", "cancelled", "cut")


def _not_done(told: Sequence[Event]) -> bool:
    """Whether the journal says for certain that it did not happen."""
    last = next((event for event in reversed(told) if event.kind in (*OUTCOMES, "action.unknown")), None)
    if last is None:
        return False
    if last.kind == "action.failed":
        return not _faulty(last)
    return last.kind == "action.reconciled" and last.data["verdict"] == "not_done"


def _is_open(told: Sequence[Event], ended: Event) -> bool:
    return not any(event.kind in OUTCOMES for event in told if event.seq < ended.seq)


def _judge_truth(action_id: str, told: Sequence[Event], world: Rough) -> None:
    """What the journal says of an action that must not be repeated is so."""
    happened = action_id in world.orders
    for event in told:
        if event.kind == "action.done":
            assert happened, f"said to be done, and was not: {event}"
        elif event.kind == "action.failed" and not _faulty(event):
            assert not happened, f"said not to be done, and was: {event}"
        elif event.kind == "action.reconciled" and event.data["verdict"] in ("done", "partial", "not_done"):
            assert happened == (event.data["verdict"] != "not_done"), f"it happened: {happened}: {event}"


# ── what was acknowledged ────────────────────────────────────────────────────────────────────────────────────────
def judge_promises(events: Iterable[Event], promises: Iterable[Mapping[str, str]]) -> None:
    """All that anybody was told to be so stands in the journal.

    Args:
        events: the journal.
        promises: kinds of events with their run and what `by` says in them.
    """
    found = {(event.kind, event.run, event.data.get("by")) for event in events}
    lost = [told for told in promises if (told["kind"], told["run"], told["by"]) not in found]
    assert not lost, f"acknowledged, and lost: {lost}"
