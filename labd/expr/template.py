"""Texts with holes, such as `The press reached only {pressed.peak_force}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labd.expr.closures import Values
from labd.expr.compiler import Expression, compile_expression
from labd.expr.errors import ExpressionError, Flaw
from labd.expr.show import show
from labd.expr.types import Type


@dataclass(frozen=True, slots=True)
class Template:
    """A text whose holes were checked."""

    text: str
    parts: tuple[str | Expression, ...]

    @property
    def names(self) -> frozenset[tuple[str, ...]]:
        """All names that its holes use."""
        return frozenset(name for part in self.parts if isinstance(part, Expression) for name in part.names)

    def __call__(self, values: Values) -> str:
        """The text with its holes filled. A hole without a value says so: a question is asked in any case."""
        return "".join(part if isinstance(part, str) else _fill(part, values) for part in self.parts)


def _fill(hole: Expression, values: Values) -> str:
    try:
        return show(hole(values), hole.type)
    except ExpressionError as error:
        return f"({error})"


def compile_template(text: str, names: Mapping[str, Type]) -> Template:
    """Checks a text with `{expression}` holes; `{{` and `}}` are braces. Raises ExpressionError with all flaws."""
    parts: list[str | Expression] = []
    flaws: list[Flaw] = []
    plain: list[str] = []
    at = 0
    while at < len(text):
        sign = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            plain.append(sign)
            at += 2
        elif sign == "}":
            flaws.append(Flaw("a `}` without its `{`", at, 1, "write `}}` for a brace"))
            at += 1
        elif sign == "{":
            end = text.find("}", at)
            if end < 0:
                flaws.append(Flaw("a `{` that is not closed", at, 1, "write `{{` for a brace"))
                break
            if plain:
                parts.append("".join(plain))
                plain = []
            try:
                parts.append(compile_expression(text[at + 1 : end], names))
            except ExpressionError as error:
                flaws += [Flaw(f.message, f.offset + at + 1, f.length, f.mend, f.kind) for f in error.flaws]
            at = end + 1
        else:
            plain.append(sign)
            at += 1
    if plain:
        parts.append("".join(plain))
    if flaws:
        raise ExpressionError(flaws)
    return Template(text, tuple(parts))
