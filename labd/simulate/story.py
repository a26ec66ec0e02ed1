"""What one dry run was, read from its journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.journal import Event


@dataclass(frozen=True, slots=True)
class Story:
    """One dry run.

    Args:
        seed: which one it was: the same seed tells the same story.
        outcome: complete, scrapped, stopped, aborted; `held` for one that could not go on.
        cause: why it ended so, where that is known.
        seconds: of lab time, from start to end.
        states: how often each state was entered.
        questions: the first words of what a person was asked.
        actions: how often each action was done, `press.crimp`, by the protocol's roles.
        volumes: µL that were taken, by material or place.
        tips: how many were used.
    """

    seed: int
    outcome: str
    cause: str | None
    seconds: float
    states: Mapping[str, int] = field(default_factory=dict)
    questions: Mapping[str, int] = field(default_factory=dict)
    actions: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, float] = field(default_factory=dict)
    tips: int = 0


def read_story(
    events: Iterable[Event], seed: int, outcome: str, cause: str | None, seconds: float, materials: Mapping[str, str]
) -> Story:
    """Reads a run's story from its events, oldest first; `materials` are by the place where they stand."""
    states: Counter[str] = Counter()
    questions: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    volumes: dict[str, float] = {}
    tips: set[str] = set()
    names: dict[str, str] = {}
    for event in events:
        data: dict[str, Any] = event.data
        match event.kind:
            case "protocol.entered" | "protocol.ended":
                states[data["state"]] += 1
            case "question.asked":
                questions[_short(data["text"])] += 1
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
    return Story(seed, outcome, cause, seconds, dict(states), dict(questions), dict(actions), dict(volumes), len(tips))


def _short(text: str) -> str:
    first = text.split("?", maxsplit=1)[0].split(".", maxsplit=1)[0]
    return first if len(first) <= 60 else f"{first[:59]}…"
