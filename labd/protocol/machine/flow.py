"""The graph of moves between states, as `transitions` keeps it: what a protocol does not have cannot be made."""

from __future__ import annotations

from typing import Any

import transitions

from labd.protocol.program import Program

OUTSIDE = "(not started)"
HELD = "hold"


class Flow:
    """The model that `transitions` keeps its state in."""

    state: str
    trigger: Any


def moves_of(program: Program, flow: Flow) -> transitions.Machine:
    """From each state to those that the protocol leads to and to `hold`; from `hold` to all."""
    sources: dict[str, list[str]] = {name: [HELD] for name in program.states}
    sources[program.start].append(OUTSIDE)
    for name in program.states:
        for target in program.successors(name):
            sources[target].append(name)
    moves: list[dict[str, Any]] = [
        {"trigger": to(target), "source": list(dict.fromkeys(before)), "dest": target}
        for target, before in sources.items()
    ]
    working = [name for name, state in program.states.items() if state.end is None]
    moves.append({"trigger": to(HELD), "source": [*working, OUTSIDE], "dest": HELD})
    return transitions.Machine(
        model=flow,
        states=[*program.states, HELD, OUTSIDE],
        transitions=moves,
        initial=OUTSIDE,
        auto_transitions=False,
        queued=False,
    )


def to(state: str) -> str:
    """The name of the move to a state."""
    return f"to {state}"
