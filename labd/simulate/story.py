"""What one dry run was, read from its journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.journal import Event


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of one step: its text when it was put first, how often it was put, and the answers by choice."""

    text: str
    times: int
    answers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Story:
    """One dry run.

    Args:
        seed: which one it was: the same seed tells the same story.
        outcome: complete, scrapped, stopped, aborted; `held` for one that could not go on.
        cause: why it ended so, where that is known.
        seconds: of lab time, from start to end.
        states: how often each state was entered.
        questions: what a person was asked and what was answered, by the step that asked.
        actions: how often each action was done, `press.crimp`, by the protocol's roles.
        volumes: µL that were taken, by material or place.
        tips: how many were used.
        faults: how often each fault happened, `press.busy_stuck`.
    """

    seed: int
    outcome: str
    cause: str | None
    seconds: float
    states: Mapping[str, int] = field(default_factory=dict)
    questions: Mapping[str, Asked] = field(default_factory=dict)
    actions: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, float] = field(default_factory=dict)
    tips: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)


def read_story(
    events: Iterable[Event], seed: int, outcome: str, cause: str | None, seconds: float, materials: Mapping[str, str]
) -> Story:
    """Reads a run's story from its events, oldest first; `materials` are by the place where they stand."""
    states: Counter[str] = Counter()
    asked: dict[str, tuple[str, Counter[str]]] = {}
    steps: dict[str, str] = {}  # by question
    because = ended = (
        ""  # the latest reason: a state on the way to an end may be there for the reason of the one before
    )
    actions: Counter[str] = Counter()
    volumes: dict[str, float] = {}
    tips: set[str] = set()
    names: dict[str, str] = {}
    for event in events:
        data: dict[str, Any] = event.data
        match event.kind:
            case "protocol.entered":
                states[data["state"]] += 1
                because = _without_values(data["because"]) or because
            case "protocol.ended":
                states[data["state"]] += 1
                because = _without_values(data["because"]) or because
                ended = f"in {data['state']}: {because}"
            case "question.asked":
                steps[data["question_id"]] = data["step"]
                asked.setdefault(data["step"], (data["text"], Counter()))[1][_ASKED] += 1
            case "question.answered" if data["question_id"] in steps:
                asked[steps[data["question_id"]]][1][data["choice"] or str(data["value"])] += 1
            case "action.intended":
                names[data["action_id"]] = f"{data['role']}.{data['action']}"
            case "action.done" | "action.reconciled":
                actions[names.get(data["action_id"], data["action_id"])] += 1
                result = data.get("result") or {}
                if "source" in result and isinstance(result.get("volume"), Mapping):
                    source = str(result["source"])
                    material = materials.get(source, source)
                    volumes[material] = volumes.get(material, 0.0) + float(result["volume"]["v"])
                    tips |= {tip for tip in str(result.get("tip") or "").split(",") if tip}
    questions = {
        step: Asked(text, counts[_ASKED], {choice: count for choice, count in counts.items() if choice != _ASKED})
        for step, (text, counts) in asked.items()
    }
    why = cause or (ended if outcome != "complete" else None)
    return Story(seed, outcome, why, seconds, dict(states), questions, dict(actions), dict(volumes), len(tips))


_ASKED = ""  # counts how often a question was put, beside its answers


def _without_values(because: str) -> str:
    """`pressed.peak_force < 0.95 * force`, without `(pressed.peak_force 7.1 kN, …)`: those are each run's own."""
    return because.partition(" (")[0] if because.endswith(")") else because
