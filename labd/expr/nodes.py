"""The tree of an expression. Offsets are in characters of its text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Spanned:
    """Where a node stands, and how deep the tree below it is."""

    offset: int
    end: int
    depth: int = 1

    @property
    def length(self) -> int:
        return max(1, self.end - self.offset)


@dataclass(frozen=True, slots=True)
class Literal(Spanned):
    """A number, true, false, or a text."""

    value: float | bool | str


@dataclass(frozen=True, slots=True)
class QuantityLiteral(Spanned):
    """A number with its unit, not yet looked up."""

    number: float
    unit: str


@dataclass(frozen=True, slots=True)
class Name(Spanned):
    """`force`, `pressed.peak_force`."""

    parts: tuple[str, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ListLiteral(Spanned):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call(Spanned):
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unary(Spanned):
    """`-x`, `not x`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Chain(Spanned):
    """Terms joined by operators of one rank, from left to right: `a + b - c`, `a and b and c`."""

    terms: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison(Spanned):
    """`a < b`, `x in [..]`, `x not in [..]`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Choice(Spanned):
    """`value if condition else otherwise`."""

    value: Node
    condition: Node
    otherwise: Node


Node: TypeAlias = Literal | QuantityLiteral | Name | ListLiteral | Call | Unary | Chain | Comparison | Choice

NOTHING = ListLiteral((), offset=0, end=0)


def parts_of(node: Node) -> Iterator[Node]:
    """A tree's nodes, in no order; without recursion."""
    waiting: list[Node] = [node]
    while waiting:
        current = waiting.pop()
        yield current
        match current:
            case ListLiteral():
                waiting.extend(current.items)
            case Call():
                waiting.extend(current.arguments)
            case Unary():
                waiting.append(current.operand)
            case Chain():
                waiting.extend(current.terms)
            case Comparison():
                waiting.extend((current.left, current.right))
            case Choice():
                waiting.extend((current.value, current.condition, current.otherwise))
            case _:
                pass


def names_in(node: Node) -> frozenset[tuple[str, ...]]:
    """All names that an expression uses: `("pressed", "peak_force")`."""
    return frozenset(part.parts for part in parts_of(node) if isinstance(part, Name))
