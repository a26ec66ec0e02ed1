"""What all proofs look at: one protocol with its program, the lab's facts, and what its names may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from labd.expr import (
    INTEGER,
    Choices,
    Example,
    Expression,
    ExpressionError,
    Interval,
    Range,
    compile_expression,
    impossible,
    narrowed,
    possible,
    show,
    witness,
)
from labd.files.problems import Problem
from labd.files.source import Path
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.program import Program
from labd.protocol.proofs.knowledge import Guard, Known, Place, knowledge
from labd.protocol.proofs.ranges import Ranges, declared_ranges, default_ranges, point
from labd.protocol.proofs.walk import Walk
from labd.sdk import Bounds

COUNTERS = frozenset({"index", "visits"})


@dataclass(slots=True)
class _Walks:
    """Walks that were made, by the values that they were made for."""

    made: dict[frozenset[tuple[str, Any]], Walk] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One protocol that is to be proven.

    Args:
        protocol: whose shape, names, types and graph are right.
        given: what a run is started with, where that is known; else all that its parameters allow.
    """

    protocol: Protocol
    program: Program
    facts: LabFacts
    given: Mapping[str, Any] | None = None
    _walks: _Walks = field(default_factory=_Walks, repr=False)

    @cached_property
    def ranges(self) -> Ranges:
        """All that names may be."""
        declared = self.program.declared
        base = declared_ranges(declared) if self.given is None else default_ranges(declared, self.given)
        return Ranges(self.program, base, self._texts)

    @cached_property
    def usual(self) -> Ranges:
        """What names are when nothing else is said: parameters by their defaults."""
        return Ranges(self.program, default_ranges(self.program.declared, self.given), self._texts)

    @property
    def _texts(self) -> dict[str, str]:
        known = {name: (self.given or {}).get(name, one.default) for name, one in self.program.declared.items()}
        return {name: value for name, value in known.items() if isinstance(value, str)}

    @cached_property
    def known(self) -> Mapping[Place, Known]:
        """What is surely so before each operation."""
        return knowledge(self.program)

    # ── problems ─────────────────────────────────────────────────────────────────────────────────────────────────
    def problem(self, code: str, message: str, path: Path, mend: str = "", *, key: bool = False) -> Problem:
        """An error of what stands at a path."""
        return self.protocol.source.problem(code, message, path, mend, key=key)

    def warning(self, code: str, message: str, path: Path, mend: str = "", *, key: bool = False) -> Problem:
        """What is worth a look, and still runs."""
        return replace(self.problem(code, message, path, mend, key=key), severity="warning")

    def told(self, example: Example) -> str:
        """An example in words: `volume = 100 µL and cycles = 3`."""
        types = {**self.program.types, **dict.fromkeys(COUNTERS, INTEGER)}
        words = [f"{name} = {show(value, types[name])}" for name, value in sorted(example.items()) if name in types]
        return " and ".join(words)

    # ── examples ─────────────────────────────────────────────────────────────────────────────────────────────────
    def guards(self, place: Place) -> tuple[Guard, ...]:
        """What surely holds at a place, of names whose values are counted."""
        have = self.known.get(place)
        found = [guard for guard in have.guards if self._counted(guard[0])] if have is not None else []
        loops = self.ranges.loops(place)
        if loops and loops[-1].times is not None and loops[-1].times.expression is not None:
            turns = self.ranges.inlined(loops[-1].times.expression)
            counted = self.compile(f"index <= ({turns.text})")
            if counted is not None:
                found.append((counted, True))
        return tuple(found)

    def compile(self, text: str) -> Expression | None:
        """An expression over the protocol's names; None where it means nothing."""
        try:
            return compile_expression(text, {**self.program.types, "index": INTEGER})
        except ExpressionError:
            return None

    def _counted(self, expression: Expression) -> bool:
        return all(len(parts) == 1 and parts[0] in self.ranges.base for parts in expression.names)

    def provable(self, expression: Expression, place: Place) -> bool:
        """Whether examples can be found: all its names are parameters and counters with known ends."""
        env = self.ranges.at(place)
        known = [env.get(parts[0]) if len(parts) == 1 else None for parts in expression.names]
        return place in self.known and all(_concrete(one) for one in known)

    def breach(self, expression: Expression, bounds: Bounds, place: Place) -> Example | None:
        """Values of parameters with which a run comes to a place, and a value there breaks its bounds."""
        wanted = self.ranges.inlined(expression)
        if not self.provable(wanted, place):
            return None
        found = witness(wanted, self.ranges.at(place), bounds, self.guards(place))
        return found if found is not None and self.comes_to(place, found) else None

    def counterexample(self, condition: Expression, place: Place) -> Example | None:
        """Values of parameters with which a run comes to a place, and a condition does not hold there."""
        wanted = self.ranges.inlined(condition)
        if not self.provable(wanted, place):
            return None
        found = possible(wanted, False, self.ranges.at(place), self.guards(place))
        return found if found is not None and self.comes_to(place, found) else None

    def rules_out(self, condition: Expression, truth: bool, place: Place) -> bool:
        """Whether it is proven that a condition cannot have a truth at a place, whatever the parameters are."""
        wanted, env, guards = self.ranges.inlined(condition), self.ranges.at(place), self.guards(place)
        if self.provable(wanted, place):
            return impossible(wanted, truth, env, guards)
        return narrowed(env, (*guards, (wanted, truth))) is None  # what has no ends cannot be searched through

    def comes_to(self, place: Place, example: Example) -> bool:
        """Whether some run with these values of its parameters may come to a place."""
        values = frozenset((name, value) for name, value in example.items() if name in self.program.parameters)
        if values not in self._walks.made:
            points: dict[str, Range] = {name: known for name, value in values if (known := point(value)) is not None}
            ranges = Ranges(self.program, {**self.ranges.base, **points}, self.ranges.texts)
            self._walks.made[values] = Walk(self.program, ranges).run()
        walk = self._walks.made[values]
        return walk.whole and place in walk.places()


def _concrete(known: Range | None) -> bool:
    return isinstance(known, Choices) or (isinstance(known, Interval) and known.bounded)
