"""A protocol compiled: every state as a short list of operations, with expressions as closures.

Steps in `if`, `repeat` and `parallel` are laid out flat with jumps, so that a place in a state is one number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from labd.expr import Expression, Template, Type
from labd.files.source import Path
from labd.protocol.messages import Ending, Input
from labd.protocol.values import Slot
from labd.sdk import Action, Effect, units

if TYPE_CHECKING:
    from labd.protocol.parameters import Declared


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


@dataclass(frozen=True, slots=True)
class Again:
    """When and how often an action is done again after a known outcome; `delay` in seconds."""

    times: int
    delay: Slot | None
    condition: Expression | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step. `label` says which in its state: `2`, `3.then.1`; `path` where it stands in the file."""

    label: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DoOp(Operation):
    role: str
    action: Action
    parameters: Mapping[str, Slot]
    within: Slot | None
    as_: str | None
    retry: Again | None = None

    @property
    def once(self) -> bool:
        return self.action.effect is Effect.ONCE

    @property
    def name(self) -> str:
        """As the protocol writes it: `press.crimp`."""
        return f"{self.role}.{self.action.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOp(Operation):
    seconds: Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilOp(Operation):
    """Waits for a condition; fails with `timeout` after `within`."""

    condition: Expression
    within: Slot | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOp(Operation):
    """Begins branches, each at its own place; goes on at `to` when all have come to their JoinOp."""

    branches: Mapping[str, int]
    to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOp(Operation):
    """The end of a branch; `fork` is where its branches begin, `to` where the line goes on."""

    branch: str
    fork: int
    to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatOp(Operation):
    """Begins a loop: works out how many turns, or over which items.

    Args:
        times, over: the one that was given; neither of a loop `until`, which has at most `at_most` turns.
        as_: the name of the item.
        some: whether there is at least one turn for sure.
    """

    times: Slot | None
    over: Slot | None
    as_: str | None
    at_most: int | None
    some: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOp(Operation):
    """The begin of each turn: on, or to `to` when all turns were made; `as_` names the item."""

    to: int
    some: bool
    as_: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainOp(Operation):
    """The end of each turn: back to the TurnOp at `top`, or on to `to` when the loop's condition holds.

    `otherwise` is where the last turn leads when the condition never held.
    """

    top: int
    to: int
    until: Expression | None
    otherwise: Way | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOp(Operation):
    """Does another protocol as one step.

    Args:
        call: as written, `mix@1`.
        parameters: the callee's, in its default units.
        roles: the caller's name by the callee's.
        program: the callee's.
    """

    call: str
    parameters: Mapping[str, Slot]
    roles: Mapping[str, str]
    as_: str | None
    program: Program


Op: TypeAlias = (
    DoOp | WaitOp | UntilOp | AskOp | SetOp | UnlessOp | JumpOp | ForkOp | JoinOp | RepeatOp | TurnOp | AgainOp | CallOp
)


@dataclass(frozen=True, slots=True)
class WatchRule:
    """A condition that leaves the state when it has held for so many seconds."""

    condition: Expression
    seconds: Slot
    way: Way
    path: Path


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
    watches: tuple[WatchRule, ...] = ()
    limit: tuple[int, Way] | None = None
    end: Ending | None = None
    roles: frozenset[str] = frozenset()

    def targets(self) -> Iterator[Way]:
        """Every way out of it, also those that few runs take; less those of windows."""
        for _, way in self.ways:
            yield way
        yield from self.catch.values()
        for watch in self.watches:
            yield watch.way
        for op in self.ops:
            yield from op_ways(op)

    def following(self, at: int) -> tuple[int, ...]:
        """The operations that may come after one; a ForkOp leads to its branches, and they to what follows it."""
        found: tuple[int, ...] = (at + 1,)
        match self.ops[at]:
            case JumpOp(to=to) | JoinOp(to=to):
                found = (to,)
            case UnlessOp(to=to) | TurnOp(to=to, some=False):
                found = (at + 1, to)
            case ForkOp(branches=branches):
                found = tuple(branches.values())
            case AgainOp(top=top, to=to):
                found = (top, to)
            case AskOp(choices=choices) if choices:
                found = ()
        return found


Edge: TypeAlias = tuple[str, Literal["start", "end"]]


@dataclass(frozen=True, slots=True)
class WindowRule:
    """A time window between edges of two states, in seconds."""

    begin: Edge
    finish: Edge
    within: Slot | None
    at_least: Slot | None
    otherwise: Way
    path: Path

    @property
    def name(self) -> str:
        return f"{'.'.join(self.begin)} to {'.'.join(self.finish)}"

    @property
    def limit(self) -> str:
        """Its `within` in words."""
        if self.within is None:
            return ""
        expression = self.within.expression
        return expression.text if expression is not None else units.plain(float(self.within.fixed), "s")


@dataclass(frozen=True, slots=True)
class Program:
    """A whole protocol.

    Args:
        types: of all its names; `parameters`, `assigned` and `variables` say which are which.
        inside: for each window, the states in which it may expire.
        cleanup: what is done on stop, abort and scrap, as a state without ways.
        results: what it returns when it is called.
        declared: its parameters' types, bounds and defaults.
    """

    start: str
    states: Mapping[str, StateProgram]
    types: Mapping[str, Type]
    parameters: frozenset[str] = frozenset()
    assigned: frozenset[str] = frozenset()
    windows: tuple[WindowRule, ...] = ()
    inside: tuple[frozenset[str], ...] = ()
    cleanup: StateProgram | None = None
    results: Mapping[str, Slot] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)

    def targets(self, state: str) -> Iterator[Way]:
        """Every way out of a state, those of windows that expire in it included."""
        yield from self.states[state].targets()
        for window, inside in zip(self.windows, self.inside, strict=True):
            if state in inside and window.within is not None:
                yield window.otherwise

    def successors(self, state: str, *, held: bool = True) -> dict[str, None]:
        """The states that may follow a state, in the order of the file; a full state leads where its limit says.

        Args:
            state: the state that they follow.
            held: whether those count at which a person may go on after a hold.
        """
        found: dict[str, None] = {}
        for way in self.targets(state):
            for target in way_states(way) if held or isinstance(way, Goto) else ():
                found[target] = None
        for target in tuple(found):
            limit = self.states[target].limit
            if limit is not None:
                for other in way_states(limit[1]) if held or isinstance(limit[1], Goto) else ():
                    found[other] = None
        return found

    @property
    def roles(self) -> frozenset[str]:
        """All roles that any of its states uses."""
        return frozenset(role for state in self.states.values() for role in state.roles)


def way_states(way: Way) -> tuple[str, ...]:
    """The states that a way may lead to; after a hold, those that it names."""
    return (way.state,) if isinstance(way, Goto) else way.continue_at


def op_ways(op: Op) -> Iterator[Way]:
    """The ways by which one step leaves its state."""
    if isinstance(op, AskOp):
        yield from op.choices.values()
        if op.within is not None:
            yield op.otherwise
    elif isinstance(op, AgainOp) and op.otherwise is not None:
        yield op.otherwise


def op_slots(op: Op) -> Iterator[Slot]:
    """All values of an operation."""
    found: list[Slot | None] = []
    match op:
        case DoOp():
            found = [*op.parameters.values(), op.within, op.retry.delay if op.retry is not None else None]
        case WaitOp():
            found = [op.seconds]
        case UntilOp() | AskOp():
            found = [op.within]
        case SetOp():
            found = [*op.values.values()]
        case RepeatOp():
            found = [op.times, op.over]
        case CallOp():
            found = [*op.parameters.values()]
        case _:
            pass
    yield from (slot for slot in found if slot is not None)


def op_conditions(op: Op) -> Iterator[Expression]:
    """All conditions of an operation; a retry's is over its own result, and is none of them."""
    match op:
        case UnlessOp(condition=condition) | UntilOp(condition=condition):
            yield condition
        case AgainOp(until=until) if until is not None:
            yield until
        case _:
            pass


def op_names(op: Op) -> frozenset[tuple[str, ...]]:
    """All names that an operation's expressions use before it is done."""
    found: set[tuple[str, ...]] = set()
    for slot in op_slots(op):
        if slot.expression is not None:
            found |= slot.expression.names
    for condition in op_conditions(op):
        found |= condition.names
    if isinstance(op, AskOp):
        found |= op.text.names
    for way in op_ways(op):
        found |= way_names(way)
    return frozenset(found)


def op_assigns(op: Op) -> frozenset[str]:
    """The names that an operation gives a value."""
    match op:
        case SetOp():
            return frozenset(op.values)
        case DoOp() | AskOp() | CallOp() if op.as_ is not None:
            return frozenset({op.as_})
        case _:
            return frozenset()


def way_names(way: Way) -> frozenset[tuple[str, ...]]:
    """The names in the reason of a hold."""
    return way.reason.names if isinstance(way, Hold) else frozenset()
