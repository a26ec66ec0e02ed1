"""Expressions of a campaign's file: compiled against their names, with what is wrong told in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labd.expr import Expression, ExpressionError, Flaw, Type, compile_expression, did_you_mean
from labd.files import Path
from labd.lab.findings import Findings

_CODES = {"syntax": "C112", "name": "C112", "type": "C113", "unit": "C113", "value": "C113"}


@dataclass(slots=True)
class Compiler:
    """Compiles, and remembers what was used.

    Attributes:
        used: the first parts of all names that expressions are made of.
    """

    findings: Findings
    used: set[str] = field(default_factory=set)

    def compile(
        self, text: str, names: Mapping[str, Type], wanted: Type, path: Path, shift: int = 0
    ) -> Expression | None:
        """The expression in the text at a path, `shift` characters from its beginning; None after telling its flaws."""
        try:
            found = compile_expression(text, names, wanted)
        except ExpressionError as error:
            for flaw in error.flaws:
                self.findings.inside(_CODES[flaw.kind], _mended(flaw, names), path, shift)
            return None
        self.used |= {parts[0] for parts in found.names}
        return found


def _mended(flaw: Flaw, names: Mapping[str, Type]) -> Flaw:
    """A flaw that says what there is instead of a name."""
    if flaw.mend or flaw.kind != "name":
        return flaw
    return Flaw(flaw.message, flaw.offset, flaw.length, did_you_mean("", names, "there are"))
