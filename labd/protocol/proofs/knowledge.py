"""What is surely so before each step, whichever way the run came: names that have a value, and conditions that hold.

A fixed point over all ways. Conditions are kept only where all their names are parameters: those never change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from labd.expr import Expression
from labd.files.problems import Problem
from labd.files.source import Path, Source
from labd.protocol.program import (
    AgainOp,
    AskOp,
    DoOp,
    ForkOp,
    JoinOp,
    Op,
    Program,
    TurnOp,
    UnlessOp,
    UntilOp,
    Way,
    op_assigns,
    op_names,
    way_names,
    way_states,
)

Place: TypeAlias = tuple[str, int]
Guard: TypeAlias = tuple[Expression, bool]
"""A condition over parameters, and whether it held."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is so at one place."""

    names: frozenset[str] = frozenset()
    guards: frozenset[Guard] = frozenset()

    def __and__(self, other: Known) -> Known:
        return Known(self.names & other.names, self.guards & other.guards)

    def __or__(self, other: Known) -> Known:
        return Known(self.names | other.names, self.guards | other.guards)


NOTHING = Known()


def knowledge(program: Program) -> dict[Place, Known]:
    """What is known before each operation that can be reached; at `len(ops)`, before the ways are chosen."""
    return _Flow(program).run()


@dataclass(slots=True)
class _Flow:
    program: Program
    known: dict[Place, Known] = field(default_factory=dict)
    waiting: OrderedDict[Place, None] = field(default_factory=OrderedDict)  # those that changed first come first

    def run(self) -> dict[Place, Known]:
        self._reach((self.program.start, 0), NOTHING)
        while self.waiting:
            place, _ = self.waiting.popitem(last=False)
            for following, have in self._after(place, self.known[place]):
                self._reach(following, have)
        return self.known

    def _reach(self, place: Place, have: Known) -> None:
        before = self.known.get(place)
        after = have if before is None else before & have
        if after != before:
            self.known[place] = after
            self.waiting[place] = None

    def _after(self, place: Place, have: Known) -> Iterator[tuple[Place, Known]]:
        name, at = place
        state = self.program.states[name]
        if at == 0:
            outside = [watch.way for watch in state.watches]
            windows = zip(self.program.windows, self.program.inside, strict=True)
            outside += [rule.otherwise for rule, inside in windows if name in inside and rule.within is not None]
            yield from self._leave(outside, have)
        if at >= len(state.ops):
            for condition, way in state.ways:
                yield from self._leave([way], have | self._guard(condition, holds=True))
                have = have | self._guard(condition, holds=False)
            return
        op = state.ops[at]
        if isinstance(op, (DoOp, UntilOp)):
            yield from self._leave(state.catch.values(), have)
        if isinstance(op, JoinOp):
            yield from self._joined(name, op)
            return
        after = have | Known(op_assigns(op))
        if isinstance(op, AskOp):
            yield from self._leave(op.choices.values(), after)
            yield from self._leave([op.otherwise] if op.within is not None else [], have)
        if isinstance(op, AgainOp) and op.otherwise is not None:
            yield from self._leave([op.otherwise], after)
        for index in state.following(at):
            yield (name, index), self._edge(op, at, index, after)

    def _edge(self, op: Op, at: int, to: int, have: Known) -> Known:
        if isinstance(op, UnlessOp):
            return have | self._guard(op.condition, holds=to == at + 1)
        if isinstance(op, TurnOp) and to == at + 1 and op.as_ is not None:
            return have | Known(frozenset({op.as_}))
        return have

    def _guard(self, condition: Expression | None, *, holds: bool) -> Known:
        if condition is None or not condition.names:
            return NOTHING
        if any(len(name) != 1 or name[0] not in self.program.parameters for name in condition.names):
            return NOTHING
        return Known(guards=frozenset({(condition, holds)}))

    def _joined(self, name: str, op: JoinOp) -> Iterator[tuple[Place, Known]]:
        """After all branches, what any of them has made so."""
        state = self.program.states[name]
        ends = [
            self.known.get((name, index))
            for index, other in enumerate(state.ops)
            if isinstance(other, JoinOp) and other.fork == op.fork
        ]
        fork = state.ops[op.fork]
        assert isinstance(fork, ForkOp)
        together = NOTHING
        for end in ends:
            if end is None:
                return  # a branch that was not looked at yet, or never ends
            together = together | end
        yield (name, fork.to), together

    def _leave(self, ways: Iterable[Way], have: Known) -> Iterator[tuple[Place, Known]]:
        for way in ways:
            for target in way_states(way):
                yield (target, 0), have
                limit = self.program.states[target].limit
                for other in way_states(limit[1]) if limit is not None else ():
                    yield (other, 0), have


# ── names before they are set ────────────────────────────────────────────────────────────────────────────────────
def unset(program: Program, source: Source, reached: Iterable[str]) -> Iterator[Problem]:
    """Names that are used on some way before they have a value."""
    known = knowledge(program)
    for name in reached:
        state = program.states[name]
        for used, place, path in _uses(program, name):
            have = known.get((name, place))
            if have is not None:
                yield from _missing(program, source, used, have.names, path)
        have = known.get((name, 0))
        if state.end == "complete" and have is not None:
            for result, slot in program.results.items():
                if slot.expression is not None:
                    yield from _missing(program, source, slot.expression.names, have.names, ("results", result))


def _uses(program: Program, name: str) -> Iterator[tuple[frozenset[tuple[str, ...]], int, Path]]:
    """What a state's steps, ways and watches use, and before which operation."""
    state = program.states[name]
    for at, op in enumerate(state.ops):
        yield op_names(op), at, op.path
        if isinstance(op, DoOp) and op.retry is not None and op.retry.condition is not None:
            own = {op.as_, "rejected"}
            used = frozenset(parts for parts in op.retry.condition.names if parts[0] not in own)
            yield used, at, (*op.path, "retry", "if")
    for index, (condition, way) in enumerate(state.ways):
        used = way_names(way) | (condition.names if condition is not None else frozenset())
        yield used, len(state.ops), ("states", name, "next", index, "if")
    for watch in state.watches:
        yield watch.condition.names | way_names(watch.way), 0, (*watch.path, "if")


def _missing(
    program: Program, source: Source, used: frozenset[tuple[str, ...]], have: frozenset[str], path: Path
) -> Iterator[Problem]:
    for name in sorted({parts[0] for parts in used} & (program.assigned - have)):
        mend = "let every way here pass the step that sets it"
        yield source.problem("P307", f"`{name}` has no value yet on some way here", path, mend)
