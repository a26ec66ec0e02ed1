"""Every way that a run may take, step by step, for values of its parameters: which steps it may come to, and how.

Conditions that the values decide lead one way only; all others lead both. Variables are followed as far as steps set
them to what is known. What a failed action leaves behind is carried along until somebody has looked at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from labd.expr import Env, Expression, ExpressionError, Interval, decide
from labd.protocol.program import (
    AgainOp,
    AskOp,
    CallOp,
    DoOp,
    ForkOp,
    Goto,
    Hold,
    JoinOp,
    Op,
    Program,
    RepeatOp,
    SetOp,
    StateProgram,
    TurnOp,
    UnlessOp,
    UntilOp,
    Way,
    op_assigns,
)
from labd.protocol.proofs.ranges import Ranges, point

MOST = 20_000
"""Places that are looked at; a protocol with more is not walked to its end, and nothing is said of it."""

Known: TypeAlias = frozenset[tuple[str, "float | bool | str"]]


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that is done once, whose failure a state has caught, and that nobody has looked at yet."""

    action: str
    name: str
    state: str
    kind: str


@dataclass(frozen=True, slots=True)
class Node:
    """One place of a run, with the variables that are known there."""

    state: str
    at: int = 0
    known: Known = frozenset()
    failed: Failure | None = None


@dataclass(slots=True)
class Walk:
    """A program's ways for the values in `ranges`; `matters` says of which actions a failure is carried along."""

    program: Program
    ranges: Ranges
    matters: Callable[[DoOp], bool] = lambda _: False
    before: dict[Node, Node | None] = field(default_factory=dict)
    whole: bool = True  # False where there were too many places
    _followed: frozenset[str] = frozenset()
    _decided: dict[tuple[str, Known], bool | None] = field(default_factory=dict)

    def run(self) -> Walk:
        """Walks all ways."""
        self._followed = _followed(self.program)
        start = Node(self.program.start)
        self.before[start] = None
        waiting = [start]
        for node in waiting:
            for following in self.after(node):
                if following in self.before:
                    continue
                if len(self.before) >= MOST:
                    self.whole = False
                    return self
                self.before[following] = node
                waiting.append(following)
        return self

    def places(self) -> frozenset[tuple[str, int]]:
        """All places that were come to."""
        return frozenset((node.state, node.at) for node in self.before)

    def route(self, node: Node) -> list[Node]:
        """How one came there."""
        found: list[Node] = []
        current: Node | None = node
        while current is not None:
            found.append(current)
            current = self.before[current]
        return found[::-1]

    # ── on ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def after(self, node: Node) -> Iterator[Node]:
        """The places that may come next."""
        state = self.program.states[node.state]
        if node.at == 0:
            yield from self._leave(self._alarms(state), node)
        if node.at >= len(state.ops):
            yield from self._ways(state, node)
            return
        op = state.ops[node.at]
        yield from self._failing(state, op, node)
        if isinstance(op, AskOp):
            if op.within is not None:
                yield from self._leave([op.otherwise], node)
            if op.choices:
                yield from self._leave(op.choices.values(), replace(node, failed=None))
        if isinstance(op, AgainOp) and op.otherwise is not None:
            yield from self._leave([op.otherwise], node)
        done = replace(self._done(op, node), known=self._set(op, node.known))
        for index in self._following(state, op, node):
            yield replace(done, at=index)

    def _following(self, state: StateProgram, op: Op, node: Node) -> tuple[int, ...]:
        if isinstance(op, UnlessOp):
            holds = self.holds(op.condition, node)
            return tuple(index for index, so in ((node.at + 1, True), (op.to, False)) if holds in (None, so))
        if isinstance(op, TurnOp):
            loop = state.ops[node.at - 1]
            turns = self.ranges.turns(loop, self._env(node)) if isinstance(loop, RepeatOp) else None
            if turns is not None and turns.high < 1:
                return (op.to,)
            return (node.at + 1,) if turns is not None and turns.low >= 1 else (node.at + 1, op.to)
        if isinstance(op, AgainOp):
            return (op.to, *(index for index in state.following(op.top) if index != op.to))
        if isinstance(op, (ForkOp, JoinOp)):
            return _one_by_one(state, node.at)
        return state.following(node.at)

    def _alarms(self, state: StateProgram) -> Iterator[Way]:
        for watch in state.watches:
            yield watch.way
        for rule, inside in zip(self.program.windows, self.program.inside, strict=True):
            if state.name in inside and rule.within is not None:
                yield rule.otherwise

    def _ways(self, state: StateProgram, node: Node) -> Iterator[Node]:
        for condition, way in state.ways:
            holds = True if condition is None else self.holds(condition, node)
            if holds is not False:
                yield from self._leave([way], node)
            if holds:
                return

    def _failing(self, state: StateProgram, op: Op, node: Node) -> Iterator[Node]:
        if not isinstance(op, (DoOp, UntilOp)):
            return
        for kind, way in state.catch.items():
            failed = node.failed
            if isinstance(op, DoOp) and kind != "timeout" and self.matters(op):
                failed = Failure(op.action.name, op.name, state.name, kind)
            if isinstance(op, DoOp) or kind == "timeout":
                yield from self._leave([way], replace(node, failed=failed))

    def _done(self, op: Op, node: Node) -> Node:
        """After a step: a person was asked, or what had failed was done after all."""
        if node.failed is None:
            return node
        looked_at = isinstance(op, AskOp) or (isinstance(op, DoOp) and op.action.name == node.failed.action)
        if isinstance(op, CallOp):
            looked_at = _mends(op.program, node.failed.action)
        return replace(node, failed=None) if looked_at else node

    def _leave(self, ways: Iterable[Way], node: Node) -> Iterator[Node]:
        """Where ways lead; full states lead further. After a hold a person has decided."""
        waiting = [(way, node.failed) for way in ways]
        seen: set[str] = set()
        while waiting:
            way, failed = waiting.pop()
            if isinstance(way, Hold):
                waiting += [(Goto(name), None) for name in way.continue_at]
                continue
            yield Node(way.state, 0, node.known, failed)
            limit = self.program.states[way.state].limit
            if limit is not None and way.state not in seen:
                seen.add(way.state)
                waiting.append((limit[1], failed))

    # ── what is known ────────────────────────────────────────────────────────────────────────────────────────────
    def holds(self, condition: Expression, node: Node) -> bool | None:
        """Whether a condition holds there; None when it may or may not."""
        names = {name[0] for name in condition.names}
        key = (condition.text, frozenset(item for item in node.known if item[0] in names))
        if key not in self._decided:
            self._decided[key] = decide(condition, self._env(node))
        return self._decided[key]

    def _env(self, node: Node) -> Env:
        known = {name: found for name, value in node.known if (found := point(value)) is not None}
        return {**self.ranges.base, **known} if known else self.ranges.base

    def _set(self, op: Op, known: Known) -> Known:
        lost = op_assigns(op) & self._followed
        if not lost or not isinstance(op, SetOp):
            return known
        new: dict[str, Any] = dict(known)
        values = {**_points(self.ranges.base), **new}
        for name in lost:
            slot = op.values[name]
            try:
                new[name] = slot(values)
            except ExpressionError:
                new.pop(name, None)
        return frozenset(new.items())


def _one_by_one(state: StateProgram, at: int) -> tuple[int, ...]:
    """Branches as if they were done one after the other: each of their steps is come to, and all that they set."""
    op = state.ops[at]
    fork = state.ops[op.fork] if isinstance(op, JoinOp) else op
    assert isinstance(fork, ForkOp)
    starts = list(fork.branches.items())
    index = 0
    if isinstance(op, JoinOp):
        index = next(place for place, (name, _) in enumerate(starts) if name == op.branch) + 1
    return (starts[index][1],) if index < len(starts) else (fork.to,)


def _points(env: Env) -> Mapping[str, Any]:
    """The names that have one value only."""
    found: dict[str, Any] = {}
    for name, known in env.items():
        if isinstance(known, Interval):
            if known.low == known.high:
                found[name] = known.low
        elif len(known.values) == 1:
            (found[name],) = known.values
    return found


def _followed(program: Program) -> frozenset[str]:
    """The variables that are only ever set to fixed values, or to what parameters say."""
    good: dict[str, bool] = {}
    for state in program.states.values():
        for op in state.ops:
            for name in op_assigns(op) | ({op.as_} if isinstance(op, RepeatOp) and op.as_ is not None else set()):
                plain = isinstance(op, SetOp) and _plain(op, name, program)
                good[name] = good.get(name, True) and plain
    return frozenset(name for name, plain in good.items() if plain)


def _plain(op: SetOp, name: str, program: Program) -> bool:
    slot = op.values[name]
    if slot.expression is not None:
        return all(len(parts) == 1 and parts[0] in program.parameters for parts in slot.expression.names)
    return isinstance(slot.fixed, (bool, int, float, str))


def _mends(program: Program, action: str) -> bool:
    """Whether a called protocol does an action again, or asks a person."""
    return any(
        isinstance(op, AskOp)
        or (isinstance(op, DoOp) and op.action.name == action)
        or (isinstance(op, CallOp) and _mends(op.program, action))
        for state in program.states.values()
        for op in state.ops
    )
