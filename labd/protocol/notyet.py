"""What the language has and this version of labd does not run yet: told once each, and taken out of the tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labd.files.problems import Problem
from labd.files.source import Path, Source
from labd.protocol.model import NOT_YET, STATE_KINDS, STEP_KINDS, Working

_PLACEHOLDER = {"wait": "1 s"}


def take_out(tree: dict[str, Any], source: Source) -> list[Problem]:
    """One problem for each such part; without it, the rest is checked as if it were not there."""
    taker = _Taker(source)
    taker.keys(tree, (), "file")
    states = tree.get("states")
    for name, state in states.items() if isinstance(states, dict) else ():
        if isinstance(state, dict):
            taker.state(state, ("states", name))
    return taker.problems


@dataclass(slots=True)
class _Taker:
    source: Source
    problems: list[Problem] = field(default_factory=list)

    def tell(self, path: Path) -> None:
        message = f"this version of labd does not run `{path[-1]}` yet"
        mend = "write the protocol without it for now"
        self.problems.append(self.source.problem("P110", message, path, mend, key=True))

    def keys(self, part: dict[str, Any], path: Path, where: str) -> bool:
        """Takes out the keys that stand in a part itself; says whether there were any."""
        found = sorted(NOT_YET[where] & part.keys())
        for key in found:
            self.tell((*path, key))
            del part[key]
        return bool(found)

    def state(self, state: dict[str, Any], path: Path) -> None:
        self.keys(state, path, "state")
        if self.keys(state, path, "step") and not STATE_KINDS.keys() & state.keys():
            kept = {key: value for key, value in state.items() if key in Working.model_fields}
            state.clear()
            state.update({**_PLACEHOLDER, **kept})
        self.inside(state, path)

    def inside(self, part: dict[str, Any], path: Path) -> None:
        """What stands deeper in a state or step; the reader has bounded how deep."""
        wait = part.get("wait")
        if isinstance(wait, dict) and self.keys(wait, (*path, "wait"), "wait"):
            part["wait"] = _PLACEHOLDER["wait"]
        for key in ("steps", "then", "else"):
            steps = part.get(key)
            for index, step in enumerate(steps) if isinstance(steps, list) else ():
                if isinstance(step, dict):
                    if self.keys(step, (*path, key, index), "step") and not STEP_KINDS.keys() & step.keys():
                        step.clear()
                        step.update(_PLACEHOLDER)
                    self.inside(step, (*path, key, index))
