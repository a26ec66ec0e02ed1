"""Which actions a protocol asks of each of its roles: not every device of a role can do all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from labd.files.source import Path
from labd.protocol.facts import RoleFacts
from labd.protocol.program import CallOp, DoOp, Program, StateProgram


def asked_of_roles(program: Program) -> dict[str, dict[str, Path]]:
    """By the protocol's name for a role: its actions anywhere, called protocols too, each with its first place."""
    found: dict[str, dict[str, Path]] = {}
    states = [*program.states.values(), *([program.cleanup] if program.cleanup is not None else [])]
    for state in states:
        for role, action, path in _asked(state):
            found.setdefault(role, {}).setdefault(action, path)
    return found


def _asked(state: StateProgram) -> Iterator[tuple[str, str, Path]]:
    for op in state.ops:
        if isinstance(op, DoOp):
            yield op.role, op.action.name, (*op.path, "do")
        elif isinstance(op, CallOp):
            for role, actions in asked_of_roles(op.program).items():
                for action in actions:
                    yield op.roles.get(role, role), action, (*op.path, "call")


def able_units(known: RoleFacts, actions: AbstractSet[str]) -> int:
    """How many units of a role can do all of these actions."""
    return sum(one.units for one in known.servers if not actions & one.lacks.keys())


def who_lacks(known: RoleFacts, action: str) -> Mapping[str, str]:
    """The devices of a role that cannot do an action, each with why."""
    return {one.device: one.lacks[action] for one in known.servers if action in one.lacks}
