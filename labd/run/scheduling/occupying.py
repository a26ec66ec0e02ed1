"""What a state of a protocol leaves in devices: a part in a gripper, a cell in a press or a channel.

Read off the program before anything moves: `pick` fills the arm's gripper and empties the place where it picks, `place`
the other way round. Where ways part, what one of them may leave counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

from labd.expr.nodes import Name
from labd.protocol.program import CallOp, DoOp, Goto, Op, Program, way_states
from labd.protocol.proofs.blocks import Block, Either, Leaf, Loop, Together, blocks
from labd.protocol.values import Slot


class Spot(NamedTuple):
    """Where something may lie: in the unit of a role, at a place, where a parameter says, or where the sample is."""

    kind: str  # role | place | parameter | sample
    name: str = ""


WHEREVER = Spot("sample")


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of spots: those that may be filled afterwards, and those that are empty unless they are refilled."""

    fills: frozenset[Spot] = frozenset()
    empties: frozenset[Spot] = frozenset()

    def then(self, other: Change) -> Change:
        """One after the other."""
        return Change(other.fills | (self.fills - other.empties), self.empties | other.empties)

    def either(self, other: Change) -> Change:
        """One of both."""
        return Change(self.fills | other.fills, self.empties & other.empties)

    def after(self, filled: Iterable[Spot]) -> frozenset[Spot]:
        """What may be filled afterwards, by what was before."""
        return self.fills | (frozenset(filled) - self.empties)


NOTHING = Change()


def change_of(program: Program, arms: Iterable[str], state: str, values: Mapping[str, object]) -> Change:
    """What a state does to grippers, nests and channels when it ends as it should.

    Args:
        program: compiled.
        arms: its names for the roles that are arms.
        state: which one.
        values: of its parameters, for the places that they name.
    """
    change = _of_block(blocks(program.states[state].ops), frozenset(arms))
    return Change(_known(change.fills, values), _known(change.empties, values))


def _known(spots: Iterable[Spot], values: Mapping[str, object]) -> frozenset[Spot]:
    return frozenset(
        Spot("place", str(values[spot.name])) if spot.kind == "parameter" else spot
        for spot in spots
        if spot.kind != "parameter" or spot.name in values
    )


def _of_block(block: Block, arms: frozenset[str]) -> Change:
    return reduce(Change.then, (_of_part(part, arms) for part in block), NOTHING)


def _of_part(part: Leaf | Either | Loop | Together, arms: frozenset[str]) -> Change:
    match part:
        case Leaf(op=op):
            return _of_op(op, arms)
        case Either(then=then, otherwise=otherwise):
            return _of_block(then, arms).either(_of_block(otherwise, arms))
        case Loop(op=op, body=body):
            turn = _of_block(body, arms)
            return turn if op.some else turn.either(NOTHING)
        case Together(branches=branches):
            all_of = [_of_block(branch, arms) for branch in branches.values()]
            fills = frozenset().union(*(change.fills for change in all_of))
            return Change(fills, frozenset().union(*(change.empties for change in all_of)) - fills)


def _of_op(op: Op, arms: frozenset[str]) -> Change:
    if isinstance(op, CallOp):
        return _of_call(op, arms)
    if not isinstance(op, DoOp) or op.role not in arms or op.action.name not in ("pick", "place"):
        return NOTHING
    gripper, there = Spot("role", op.role), _spot(op.parameters.get("place"))
    at = frozenset() if there is None else frozenset({there})
    if op.action.name == "pick":
        return Change(frozenset({gripper}), at)
    return Change(at - {WHEREVER}, frozenset({gripper}))


def _of_call(op: CallOp, arms: frozenset[str]) -> Change:
    """What the callee does, in the caller's words."""
    own = frozenset(its for its, ours in op.roles.items() if ours in arms)
    change = _of_program(op.program, own)
    return Change(_translated(change.fills, op), _translated(change.empties, op))


def _translated(spots: Iterable[Spot], op: CallOp) -> frozenset[Spot]:
    found: set[Spot | None] = set()
    for spot in spots:
        if spot.kind == "role":
            found.add(Spot("role", op.roles.get(spot.name, spot.name)))
        elif spot.kind == "parameter":
            found.add(_spot(op.parameters.get(spot.name)))
        else:
            found.add(spot)
    return frozenset(spot for spot in found if spot is not None)


def _of_program(program: Program, arms: frozenset[str]) -> Change:
    """From its start to its complete ends; what ends otherwise is for a person or the caller's `catch`."""
    changes = {name: _of_block(blocks(state.ops), arms) for name, state in program.states.items()}
    known = frozenset().union(*(change.fills | change.empties for change in changes.values()))
    empty, full = _at_the_end(program, changes, frozenset()), _at_the_end(program, changes, known)
    return Change(empty, known - full)


def _at_the_end(program: Program, changes: Mapping[str, Change], filled: frozenset[Spot]) -> frozenset[Spot]:
    """What may be filled at a complete end, when so much was filled at the start."""
    before: dict[str, frozenset[Spot]] = {program.start: filled}
    todo = [program.start]
    while todo:
        name = todo.pop()
        after = changes[name].after(before[name])
        for target in (state for way in program.targets(name) if isinstance(way, Goto) for state in way_states(way)):
            seen = before.get(target)
            if seen is None or not after <= seen:
                before[target] = after | (seen or frozenset())
                todo.append(target)
    ends = [before[name] for name, state in program.states.items() if state.end == "complete" and name in before]
    return frozenset().union(*ends)


def _spot(slot: Slot | None) -> Spot | None:
    """Where a place is, as far as the program says."""
    if slot is None:
        return None
    if slot.expression is None:
        return Spot("place", str(slot.fixed))
    match slot.expression.node:
        case Name(parts=(name,)):
            return Spot("parameter", name)
        case Name(parts=("sample", _)):
            return WHEREVER
        case Name(parts=(role, "place")):
            return Spot("role", role)
        case _:
            return None
