"""A file's text with the position of everything in it, by path: `("states", "dose", "steps", 0, "do")`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from labd.files.problems import Problem

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands, as indices into the text. `value` is a scalar's text; `style` its quotes, "" for none."""

    start: int
    end: int
    style: str = ""
    value: str | None = None


@dataclass(slots=True)
class Source:
    """One file.

    Args:
        name: as people know it, for messages.
        values, keys: positions by path.
    """

    name: str
    text: str
    values: dict[Path, Span] = field(default_factory=dict)
    keys: dict[Path, Span] = field(default_factory=dict)

    def problem(
        self,
        code: str,
        message: str,
        path: Path,
        mend: str = "",
        *,
        key: bool = False,
        offset: int | None = None,
        length: int | None = None,
    ) -> Problem:
        """A problem of what stands at a path; of its key; or at an offset in a scalar's text."""
        while path and path not in self.values:
            path, key = path[:-1], False
        span = (self.keys.get(path) if key else None) or self.values.get(path, Span(0, 0))
        if offset is not None and span.value is not None:
            start = self._inside(span, offset)
            return self.at(code, message, start, mend, length or 1)
        if (span.value is None or span.start == span.end) and not key and path in self.keys:
            span = self.keys[path]  # of a whole mapping, and of nothing at all, its key says best which
        shown = span.end - span.start if span.value is not None else 1
        return self.at(code, message, span.start, mend, length or max(1, shown))

    def at(self, code: str, message: str, index: int, mend: str = "", length: int = 1) -> Problem:
        """A problem at an index of the text."""
        index = max(0, min(index, len(self.text)))
        begin = self.text.rfind("\n", 0, index) + 1
        end = self.text.find("\n", index)
        line = self.text[begin : end if end >= 0 else len(self.text)].rstrip("\r")
        number = self.text.count("\n", 0, index) + 1
        column = index - begin + 1
        length = max(1, min(length, len(line) - column + 1))
        return Problem(code, message, self.name, number, column, line, mend, length)

    def _inside(self, span: Span, offset: int) -> int:
        """The index in the file of a character of a scalar, also when the scalar is folded over lines."""
        index = span.start
        if span.style in ("|", ">"):
            index = self.text.find("\n", span.start) + 1
        elif span.style:
            index += 1
        for sign in (span.value or "")[:offset]:
            if sign.isspace():
                while index < span.end and self.text[index].isspace():
                    index += 1
                continue
            while index < span.end and self.text[index] != sign:
                index += 1
            index += 1
        while index < span.end and self.text[index].isspace() and (span.value or "")[offset : offset + 1].strip():
            index += 1
        return min(index, max(span.start, span.end - 1))
