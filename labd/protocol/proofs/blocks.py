"""The steps of a state as they are nested: the flat operations of a program, read back as `if`, `repeat`, `parallel`.

What is added up over steps (times, volumes) is folded over this tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from labd.protocol.program import AgainOp, ForkOp, JoinOp, JumpOp, Op, RepeatOp, TurnOp, UnlessOp


@dataclass(frozen=True, slots=True)
class Leaf:
    """One operation, and its place in the state."""

    at: int
    op: Op


@dataclass(frozen=True, slots=True)
class Either:
    """An `if` with its two lists of steps."""

    at: int
    op: UnlessOp
    then: Block
    otherwise: Block


@dataclass(frozen=True, slots=True)
class Loop:
    """A `repeat` with its steps."""

    at: int
    op: RepeatOp
    again: AgainOp
    body: Block


@dataclass(frozen=True, slots=True)
class Together:
    """The branches of a `parallel`."""

    at: int
    branches: Mapping[str, Block]


Part: TypeAlias = Leaf | Either | Loop | Together
Block: TypeAlias = tuple[Part, ...]


def blocks(ops: tuple[Op, ...], begin: int = 0, end: int | None = None) -> Block:
    """The operations from `begin` up to `end`, nested."""
    found: list[Part] = []
    at = begin
    stop = len(ops) if end is None else end
    while at < stop:
        part, at = _part(ops, at)
        found.append(part)
    return tuple(found)


def _part(ops: tuple[Op, ...], at: int) -> tuple[Part, int]:
    """What begins at a place, and where the next part begins."""
    op = ops[at]
    if isinstance(op, UnlessOp):
        jump = ops[op.to - 1]
        if isinstance(jump, JumpOp) and jump.path == op.path:
            return Either(at, op, blocks(ops, at + 1, op.to - 1), blocks(ops, op.to, jump.to)), jump.to
        return Either(at, op, blocks(ops, at + 1, op.to), ()), op.to
    if isinstance(op, RepeatOp):
        turn = ops[at + 1]
        assert isinstance(turn, TurnOp)
        again = ops[turn.to - 1]
        assert isinstance(again, AgainOp)
        return Loop(at, op, again, blocks(ops, at + 2, turn.to - 1)), turn.to
    if isinstance(op, ForkOp):
        ends = {
            other.branch: index for index, other in enumerate(ops) if isinstance(other, JoinOp) and other.fork == at
        }
        return Together(at, {name: blocks(ops, start, ends[name]) for name, start in op.branches.items()}), op.to
    return Leaf(at, op), at + 1


Combine: TypeAlias = Callable[[Iterable[float]], float]


@dataclass(frozen=True, slots=True)
class Sum:
    """How something is added up over steps.

    Args:
        leaf: what one operation adds.
        turns: how often a loop goes round.
        either: of the two sides of an `if`: `min` or `max`; the second argument says which operation decides.
        together: of branches: `max` for times, `sum` for what is used up.
    """

    leaf: Callable[[Leaf], float]
    turns: Callable[[Loop], float]
    either: Callable[[Either, float, float], float]
    together: Combine

    def of(self, block: Block) -> float:
        """The whole of a block."""
        return sum(self.part(part) for part in block)

    def part(self, part: Part) -> float:
        match part:
            case Leaf():
                return self.leaf(part)
            case Either():
                return self.either(part, self.of(part.then), self.of(part.otherwise))
            case Loop():
                once = self.of(part.body)
                return once * self.turns(part) if once else 0.0
            case Together():
                return self.together(self.of(branch) for branch in part.branches.values())


def leaves(block: Block) -> Iterator[Leaf]:
    """All operations of a block, whatever they are nested in."""
    for part in block:
        match part:
            case Leaf():
                yield part
            case Either():
                yield from leaves(part.then)
                yield from leaves(part.otherwise)
            case Loop():
                yield from leaves(part.body)
            case Together():
                for branch in part.branches.values():
                    yield from leaves(branch)
