"""What is wrong with an expression, and where in its text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong.

    Args:
        message: what, in words a technician understands.
        offset, length: where, in characters of the expression's text.
        mend: how to put it right, where that is known.
        kind: `syntax`, `name`, `type`, `unit`, or `value` for what only running shows.
    """

    message: str
    offset: int = 0
    length: int = 1
    mend: str = ""
    kind: str = "syntax"

    def __str__(self) -> str:
        return f"{self.message}; {self.mend}" if self.mend else self.message


class ExpressionError(Exception):
    """An expression that is wrong as written, or that has no value now. `flaws` are in the order of the text."""

    def __init__(self, flaws: Iterable[Flaw]) -> None:
        self.flaws = tuple(sorted(flaws, key=lambda flaw: flaw.offset))
        super().__init__("; ".join(str(flaw) for flaw in self.flaws))
