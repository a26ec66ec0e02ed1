"""Values and expressions of one protocol, compiled against its names; what is wrong with them is told in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from labd.expr import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    Expression,
    ExpressionError,
    Flaw,
    Template,
    Text,
    Type,
    compile_expression,
    compile_template,
    dimensioned,
)
from labd.files.problems import Problem
from labd.files.source import Path, Source
from labd.protocol.facts import LabFacts
from labd.protocol.names import Names
from labd.protocol.parameters import check_named
from labd.protocol.values import FREE, BadValue, Slot, expression_of, literal, out_of_bounds
from labd.sdk import Bounds

_CODES = {"syntax": "P209", "name": "P205", "type": "P206", "unit": "P207", "value": "P208"}
SECONDS = Bounds(min=0.0)
LIMIT = Bounds(min=0.001)


@lru_cache(maxsize=1)
def always() -> Expression:
    """Stands for an expression that is wrong. Not made before it is needed: the grammar takes its part of a start."""
    return compile_expression("true", {})


@dataclass(slots=True)
class Slots:
    """Compiles what stands at a path of the file.

    Args:
        source: the file.
        facts: the lab's places and materials.
        problems: where problems go.
        names: those that expressions may use.
    """

    source: Source
    facts: LabFacts
    problems: list[Problem] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    more: dict[str, Type] = field(default_factory=dict)  # names that are only known here, such as `index`

    def tell(self, code: str, message: str, path: Path, mend: str = "") -> None:
        """Notes a problem of what stands at a path."""
        self.problems.append(self.source.problem(code, message, path, mend))

    def inside(self, code: str, message: str, path: Path, offset: int, length: int, mend: str) -> None:
        """Notes a problem of a piece of the text at a path."""
        self.problems.append(self.source.problem(code, message, path, mend, offset=offset, length=length))

    @contextmanager
    def knowing(self, **more: Type) -> Iterator[None]:
        """Names that are known within."""
        before = self.more
        self.more = {**before, **more}
        try:
            yield
        finally:
            self.more = before

    def slot(self, raw: Any, wanted: Type, path: Path, bounds: Bounds = FREE, *, optional: bool = False) -> Slot:
        """A literal or an `=expression` as a value of a type."""
        text = expression_of(raw)
        if text is not None:
            return Slot(wanted, expression=self.expression(text, wanted, path, shift=1), bounds=bounds, path=path)
        if raw is None and optional:
            return Slot(wanted)
        try:
            value = literal(raw, wanted)
            if isinstance(wanted, Text):
                check_named(value, wanted, self.facts)
        except BadValue as bad:
            name = isinstance(raw, str) and raw.partition(".")[0] in self._types()
            self.tell(bad.code, bad.message, path, f"write `={raw}` for its value" if name else bad.mend)
            return Slot(ANYTHING, expression=always())
        problem = out_of_bounds(value, wanted, bounds)
        if problem:
            self.tell("P208", problem, path)
        return Slot(wanted, value, bounds=bounds, path=path)

    def duration(self, raw: Any, path: Path, bounds: Bounds = LIMIT) -> Slot:
        """A time; a time limit where nothing else is said."""
        return self.slot(raw, dimensioned("duration"), path, bounds)

    def condition(self, text: str, path: Path) -> Expression:
        """A condition; where it is wrong, one that always holds."""
        return self.expression(text, BOOLEAN, path) or always()

    def expression(self, text: str, wanted: Type, path: Path, shift: int = 0) -> Expression | None:
        """An expression, or None where it is wrong."""
        if not shift and text.startswith("="):
            text, shift = text[1:], 1  # `if: =x > 3` says the same
        try:
            return compile_expression(text, self._types(), wanted, self.names.aka)
        except ExpressionError as error:
            self._flaws(error.flaws, path, shift)
            return None

    def template(self, text: str, path: Path) -> Template:
        """A text with holes."""
        try:
            return compile_template(text, self._types())
        except ExpressionError as error:
            self._flaws(error.flaws, path, 0)
            return Template(text, (text,))

    def _types(self) -> Mapping[str, Type]:
        return {**self.names.types, **self.more} if self.more else self.names.types

    def _flaws(self, flaws: tuple[Flaw, ...], path: Path, shift: int) -> None:
        for flaw in flaws:
            self.inside(_CODES[flaw.kind], flaw.message, path, flaw.offset + shift, flaw.length, flaw.mend)


INDEX: dict[str, Type] = {"index": INTEGER}
"""What is known inside a `repeat`."""
