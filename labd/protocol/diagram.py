"""A protocol as a picture: states, ways and conditions, as Mermaid text."""

from __future__ import annotations

from collections.abc import Iterator

from labd.protocol.checker import compiled
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.program import AskOp, Goto, StateProgram, Way, way_states

_LONGEST = 60


def mermaid(protocol: Protocol, facts: LabFacts | None = None) -> str:
    """A Mermaid state diagram, with each state's roles. Raises InputErrors for a protocol that fails its check."""
    program = compiled(protocol, facts)
    lines = ["stateDiagram-v2", f"    [*] --> {program.start}"]
    for name, state in program.states.items():
        lines.append(f"    {name} : {_label(name, state)}")
        if state.end is not None:
            lines.append(f"    {name} --> [*]")
        lines += dict.fromkeys(_arrows(state))
    return "\n".join(lines) + "\n"


def _label(name: str, state: StateProgram) -> str:
    if state.end is not None:
        return f"{name} ({state.end})"
    return f"{name} ({', '.join(sorted(state.roles))})" if state.roles else name


def _arrows(state: StateProgram) -> Iterator[str]:
    for condition, way in state.ways:
        told = condition.text if condition is not None else ("else" if len(state.ways) > 1 else "")
        yield from _arrow(state.name, way, told)
    for op in state.ops:
        if isinstance(op, AskOp):
            for choice, way in op.choices.items():
                yield from _arrow(state.name, way, choice)
            if op.within is not None:
                yield from _arrow(state.name, op.otherwise, "no answer")
    for kind, way in state.catch.items():
        yield from _arrow(state.name, way, kind)
    if state.limit is not None:
        yield from _arrow(state.name, state.limit[1], f"after {state.limit[0]} visits")


def _arrow(name: str, way: Way, told: str) -> Iterator[str]:
    """A hold is no state: its arrow leads to where a person may go on."""
    text = told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"
    clean = text.replace(":", " ").replace(";", " ").replace("\n", " ")
    note = clean if isinstance(way, Goto) else f"hold, {clean}"
    for target in way_states(way):
        yield f"    {name} --> {target}" + (f" : {note}" if note else "")
