"""A protocol compiled: every state as a short list of operations, with expressions as closures.

Steps in `if` are laid out flat with jumps, so that a place in a state is one number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from labd.expr import Expression, Template, Type
from labd.files.source import Path
from labd.protocol.messages import Ending, Input
from labd.protocol.values import Slot


@dataclass(frozen=True, slots=True)
class Goto:
    """On to a state."""

    state: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold the run."""

    reason: Template
    continue_at: tuple[str, ...] = ()


Way: TypeAlias = Goto | Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step. `label` says which in its state: `2`, `3.then.1`; `path` where it stands in the file."""

    label: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DoOp(Operation):
    role: str
    action: str
    parameters: Mapping[str, Slot]
    within: Slot | None
    as_: str | None
    once: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOp(Operation):
    seconds: Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOp(Operation):
    text: Template
    choices: Mapping[str, Way]
    input: Input | None
    within: Slot | None
    otherwise: Way
    as_: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOp(Operation):
    values: Mapping[str, Slot]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlessOp(Operation):
    """Jumps when its condition does not hold."""

    condition: Expression
    to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpOp(Operation):
    to: int


Op: TypeAlias = DoOp | WaitOp | AskOp | SetOp | UnlessOp | JumpOp


@dataclass(frozen=True, slots=True)
class StateProgram:
    """One state. `ways` are tried in order; `end` is set on the last states only.

    Args:
        roles: all that it uses, reserved at once on entering it.
        limit: how often it may be entered, and where a further visit leads.
    """

    name: str
    ops: tuple[Op, ...] = ()
    ways: tuple[tuple[Expression | None, Way], ...] = ()
    catch: Mapping[str, Way] = field(default_factory=dict)
    limit: tuple[int, Way] | None = None
    end: Ending | None = None
    roles: frozenset[str] = frozenset()

    def targets(self) -> Iterator[Way]:
        """Every way out of it, also those that few runs take."""
        for _, way in self.ways:
            yield way
        yield from self.catch.values()
        for op in self.ops:
            if isinstance(op, AskOp):
                yield from op.choices.values()
                if op.within is not None:
                    yield op.otherwise


@dataclass(frozen=True, slots=True)
class Program:
    """A whole protocol. `types` are those of all its names."""

    start: str
    states: Mapping[str, StateProgram]
    types: Mapping[str, Type]
    assigned: frozenset[str] = frozenset()

    def successors(self, state: str, *, held: bool = True) -> dict[str, None]:
        """The states that may follow a state, in the order of the file; a full state leads where its limit says.

        Args:
            state: the state that they follow.
            held: whether those count at which a person may go on after a hold.
        """
        found: dict[str, None] = {}
        for way in self.states[state].targets():
            for target in way_states(way) if held or isinstance(way, Goto) else ():
                found[target] = None
        for target in tuple(found):
            limit = self.states[target].limit
            if limit is not None:
                for other in way_states(limit[1]) if held or isinstance(limit[1], Goto) else ():
                    found[other] = None
        return found


def way_states(way: Way) -> tuple[str, ...]:
    """The states that a way may lead to; after a hold, those that it names."""
    return (way.state,) if isinstance(way, Goto) else way.continue_at


def op_slots(op: Op) -> Iterator[Slot]:
    """All values of an operation."""
    match op:
        case DoOp():
            yield from op.parameters.values()
            if op.within is not None:
                yield op.within
        case WaitOp():
            yield op.seconds
        case AskOp() if op.within is not None:
            yield op.within
        case SetOp():
            yield from op.values.values()
        case _:
            pass


def op_names(op: Op) -> frozenset[tuple[str, ...]]:
    """All names that an operation's expressions use."""
    found: set[tuple[str, ...]] = set()
    for slot in op_slots(op):
        if slot.expression is not None:
            found |= slot.expression.names
    if isinstance(op, AskOp):
        found |= op.text.names
        for way in (*op.choices.values(), op.otherwise):
            found |= way_names(way)
    if isinstance(op, UnlessOp):
        found |= op.condition.names
    return frozenset(found)


def way_names(way: Way) -> frozenset[tuple[str, ...]]:
    """The names in the reason of a hold."""
    return way.reason.names if isinstance(way, Hold) else frozenset()
