"""How far a run is: by the longest way that is left, cycles counted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labd.protocol.program import Program


@dataclass(frozen=True, slots=True)
class Remaining:
    """Steps left from the beginning of each state, its own included, on the longest way to an end."""

    steps: Mapping[str, int]
    start: str
    own: Mapping[str, int]

    @classmethod
    def of(cls, program: Program) -> Remaining:
        """Counts backwards from the ends, and leaves out what leads back."""
        order = _finishing_order(program)
        place = {name: index for index, name in enumerate(order)}
        own = {name: max(1, len(state.ops)) for name, state in program.states.items()}
        steps: dict[str, int] = {}
        for name in order:
            after = [steps[target] for target in program.successors(name) if place[target] < place[name]]
            steps[name] = own[name] + max(after, default=0)
        return cls(steps, program.start, own)

    def progress(self, state: str, at: int) -> float:
        """From 0 to 1, `at` steps into a state."""
        whole = self.steps[self.start]
        left = self.steps[state] - min(at, self.own[state])
        return max(0.0, min(1.0, 1.0 - left / whole))


def _finishing_order(program: Program) -> list[str]:
    """States so that each comes after all that it leads to, except where that leads back."""
    order: list[str] = []
    seen: set[str] = set()
    for root in (program.start, *program.states):
        stack: list[tuple[str, bool]] = [(root, False)]
        while stack:
            name, left = stack.pop()
            if left:
                order.append(name)
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((target, False) for target in program.successors(name) if target not in seen)
    return order
