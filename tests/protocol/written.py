"""Protocol-like files as people write them: any order, braces or lines, quotes or none, comments and gaps anywhere."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Draw = Any
WORDS = [
    *("35 µL", "=volume", "1e-3 mol/L", "1.10", "1", "-5", "true", "yes", "No", "null", "~", "", " ", "2026-01-01"),
    *("a, b", "a: b", "a #b", "#a", "x:", "{x}", "[1", "it's", 'say "x"', "back\\slash", "two\nlines\n", "- a", "?"),
    *("a\n\nb", "end\n\n", "\ttab", "x" * 130, "word " * 40 + "end", "a: b " * 40, "* x", "&x", "%x", "@x", "`x"),
    *("a # " * 40 + "b", "=", "<<", "12:30", "---", "... x", "a\u2028b", "\x85", "no break\u00a0space", "a  b", " a"),
    *("|", "0x1F", "b "),
]
texts = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
scalars = texts | st.booleans() | st.none() | st.integers(-99, 99) | st.sampled_from([1.5, 0.001])
KEYS = (
    "labd protocol version summary parameters roles windows start states cleanup results do with within as retry next "
    "if go for watch catch max_visits end steps then else type default min max choices ask set repeat times call "
    "parallel otherwise hold continue_at unknown yes"
)
keys = st.sampled_from(KEYS.split()) | st.sampled_from(["put right", "1", "a: b", "x#", ""])


def _parts(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(keys, inner, max_size=5) | st.lists(inner, max_size=4)


trees = st.recursive(scalars, _parts, max_leaves=25)
files = st.dictionaries(keys, trees, max_size=6).map(lambda tree: {**tree, "protocol": tree.get("protocol", "x")})


@st.composite
def written(draw: Draw) -> str:
    """A file, as text."""
    pen = _Pen(draw)
    lines = [*pen.gap(0), *pen.block(draw(files), 0), *pen.gap(0)]
    return "\n".join(lines) + "\n"


def can_be_block(text: str) -> bool:
    """Whether a text can stand below a `|`."""
    lines = text.removesuffix("\n").split("\n")
    return all(line.isprintable() and line.strip() and line[0] != " " for line in lines)


class _Pen:
    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.comments = draw(st.sampled_from([0, 0, 20, 50]))  # percent

    def gap(self, indent: int) -> list[str]:
        found = []
        while self.draw(st.integers(1, 100)) <= self.comments:
            found.append(self.draw(st.sampled_from(["", " " * indent + "# a", "# b", " " * (indent + 4) + "#c: {"])))
        return found

    def beside(self) -> str:
        return " # beside" if self.draw(st.integers(1, 100)) <= self.comments else ""

    def block(self, value: Any, indent: int) -> list[str]:
        if not value or not isinstance(value, (dict, list)):
            return [" " * indent + self.inline(value) + self.beside()]
        lines: list[str] = []
        step = self.draw(st.integers(1, 4))
        for key, part in value.items() if isinstance(value, dict) else ((None, part) for part in value):
            lines += self.gap(indent)
            lead = " " * indent + ("-" if key is None else self.text(key) + ":")
            if isinstance(part, (dict, list)) and part and self.draw(st.booleans()):
                lines += [lead + self.beside(), *self.block(part, indent + step)]
            elif isinstance(part, str) and can_be_block(part) and self.draw(st.booleans()):
                sign = "|" if part.endswith("\n") else "|-"
                lines += [
                    f"{lead} {sign}{self.beside()}",
                    *(" " * (indent + step) + line for line in part.splitlines()),
                ]
            else:
                lines.append(f"{lead} {self.inline(part)}{self.beside()}")
        return [*lines, *self.gap(indent)]

    def inline(self, value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.text(key)}: {self.inline(part)}" for key, part in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(self.inline(part) for part in value) + "]"
        return self.text(value) if isinstance(value, str) else json.dumps(value)

    def text(self, text: str) -> str:
        if text.isidentifier() and text.isascii() and self.draw(st.booleans()):
            return text
        return "'" + text.replace("'", "''") + "'" if text.isprintable() and "'" in text else json.dumps(text)
