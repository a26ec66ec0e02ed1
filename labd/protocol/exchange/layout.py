"""`labd fmt`: one layout for all protocols. Text to text; comments stay where they belong, and the meaning as it was.

What goes where is the table SHAPES: one shape for each kind of mapping that the language has, and for lists of such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from labd.files import InputErrors, Reader, Source
from labd.files.commented import Collection, Document, Entry, Scalar, has_comments, read, tree_of
from labd.files.scalars import folded, literal, scalar

WIDTH = 120
"""Columns of a line, without the comment beside it."""
_BESIDE = 80  # comments of neighbouring lines stand below each other up to this column
_SCHEMA = "# yaml-language-server:"


class LayoutError(Exception):
    """The laid out text would not say the same. A fault of labd, never of the file."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a kind of mapping is laid out, and a list of such.

    Args:
        order: its keys; others follow, in the order of the file. Empty: all stay as they are.
        lines: `fit`, in braces where it is a short mapping of scalars; `block`, a line an entry; `single`, a block when
            it has more than one entry; `ending`, a block unless it is the end of a run.
        table: values of neighbouring one-line entries stand below each other.
        apart: an empty line stands between entries.
        parts: the shapes of values by their key; `each`: of all others.
    """

    order: tuple[str, ...] = ()
    lines: Literal["fit", "block", "single", "ending"] = "fit"
    table: bool = False
    apart: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    each: str = "any"


_STEP = (
    *("do", "call", "ask", "wait", "set", "parallel", "repeat", "if", "then", "else", "steps"),
    *("with", "roles", "choices", "input", "within", "otherwise", "as", "retry"),
)
_STEP_PARTS = {
    **dict.fromkeys(("then", "else", "steps"), "step"),
    **{key: key for key in ("wait", "parallel", "repeat", "choices", "input", "retry")},
    "otherwise": "way",
}
SHAPES: dict[str, Shape] = {
    "any": Shape(),
    "file": Shape(
        order=(
            *("labd", "protocol", "version", "summary", "parameters", "roles", "windows"),
            *("start", "states", "cleanup", "results"),
        ),
        lines="block",
        parts={
            **{key: key for key in ("parameters", "roles", "windows", "states", "results")},
            "cleanup": "step",
        },
    ),
    "parameters": Shape(lines="block", table=True, each="input"),
    "input": Shape(order=("type", "unit", "choices", "default", "min", "max", "summary")),
    "roles": Shape(lines="single", table=True, each="role"),
    "role": Shape(order=("role", "channels")),
    "windows": Shape(order=("from", "to", "within", "at_least", "otherwise"), parts={"otherwise": "way"}),
    "states": Shape(lines="block", table=True, apart=True, each="state"),
    "state": Shape(
        order=("end", "summary", *_STEP, "watch", "catch", "max_visits", "next"),
        lines="ending",
        parts={**_STEP_PARTS, "next": "way", "watch": "way", "catch": "catch", "max_visits": "limit"},
    ),
    "step": Shape(order=_STEP, lines="block", parts=_STEP_PARTS),
    "wait": Shape(order=("until", "within")),
    "retry": Shape(order=("times", "delay", "if")),
    "repeat": Shape(order=("times", "over", "as", "until", "at_most", "otherwise"), parts={"otherwise": "way"}),
    "parallel": Shape(lines="block", each="step"),
    "choices": Shape(each="way"),
    "catch": Shape(order=("timeout", "rejected", "fault", "unreachable"), each="way"),
    "limit": Shape(order=("times", "otherwise"), parts={"otherwise": "way"}),
    "way": Shape(order=("if", "for", "go", "hold", "continue_at"), parts={"go": "way"}),
    "results": Shape(lines="block", table=True),
}
_TITLE = frozenset({"protocol", "version", "summary"})
"""What follows `labd` without an empty line."""


def laid_out(text: str, name: str = "protocol") -> str:
    """A protocol's text in its canonical layout. Laying that out again changes nothing.

    Args:
        text: the file's text; it may be no sound protocol, but it is sound YAML.
        name: what messages call the file.

    Raises:
        InputErrors: with all that the reader finds.
        LayoutError: the result would not mean the same.
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    tree = _tree(plain, name)
    _check_protocol(tree, plain, name)
    document = read(plain)
    made = written(document)
    _check_same(document, tree, made, name)
    return made


def _tree(text: str, name: str) -> Any:
    reader = Reader(Source(name, text))
    tree = reader.read()
    if reader.problems:
        raise InputErrors(reader.problems)
    return tree


def _check_protocol(tree: Any, text: str, name: str) -> None:
    if not isinstance(tree, dict) or not tree.keys() & {"protocol", "states"}:
        what = "the file is empty" if tree is None else "this is no protocol"
        mend = "a protocol begins with `labd: 1`, `protocol: its_name`"
        raise InputErrors([Source(name, text).at("P113", what, 0, mend)])


def _check_same(document: Document, tree: Any, made: str, name: str) -> None:
    """That nothing is lost, and nothing means something else."""
    try:
        again = _tree(made, name)
    except InputErrors as errors:
        raise LayoutError(f"{name}: its layout cannot be read:\n{errors}") from errors
    if _exact(again) != _exact(tree):
        raise LayoutError(f"{name}: its layout would say something else")
    if read(made).comments() != document.comments():
        raise LayoutError(f"{name}: its layout would lose a comment")


def _exact(tree: Any) -> Any:
    """A tree to compare: `1`, `1.0`, `true` and `1.10` are four things."""
    if isinstance(tree, dict):
        return {key: _exact(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_exact(value) for value in tree]
    return type(tree).__name__, getattr(tree, "text", tree)


@dataclass(slots=True)
class _Line:
    indent: int
    text: str
    comment: str = ""

    @property
    def is_comment(self) -> bool:
        return not self.text


def written(document: Document | Mapping[str, Any]) -> str:
    """The text of a protocol's tree, or of plain data that is to become one."""
    if not isinstance(document, Document):
        document = Document(tree_of(document))
    assert isinstance(document.root, Collection)
    lines = [_Line(0, "", comment) for comment in _head(document.head)]
    if lines and document.apart:
        lines.append(_Line(0, ""))
    lines += _block(document.root, "file", 0)
    return "\n".join(_with_comments(lines)) + "\n"


def _head(comments: list[str]) -> list[str]:
    """The head's comments, with the one for editors first, and a single empty line where there were some."""
    made: list[str] = []
    for comment in sorted(comments, key=lambda comment: not comment.startswith(_SCHEMA)):
        if comment or (made and made[-1]):
            made.append(comment)
    return made if not made or made[-1] else made[:-1]


def _with_comments(lines: list[_Line]) -> Iterable[str]:
    """Lines as text, with the comments beside neighbouring ones in one column."""
    widths = [line.indent + len(line.text) if line.text and line.comment else 0 for line in lines]
    columns = [width if width <= _BESIDE else 0 for width in widths]
    for ahead in (range(1, len(lines)), range(len(lines) - 2, -1, -1)):
        for at in ahead:
            near = columns[at - 1] if ahead.step > 0 else columns[at + 1]
            columns[at] = max(columns[at], near) if columns[at] and near else columns[at]
    for line, width, column in zip(lines, widths, columns, strict=True):
        gap = max(column - width, 0) + 2 if line.text and line.comment else 0
        yield (" " * line.indent + line.text + " " * gap + line.comment) if line.text or line.comment else ""


# ── collections ──────────────────────────────────────────────────────────────────────────────────────────────────
def _block(part: Collection, shape: str, indent: int) -> list[_Line]:
    """A mapping or list with a line or more for each entry."""
    how = SHAPES[shape]
    entries = _ordered(part, how)
    bodies = [_body(entry, _shape_of(entry, part, shape), indent) for entry in entries]
    pads = _pads(entries, bodies, how)
    lines: list[_Line] = []
    before: Entry | None = None
    for number, (entry, body, pad) in enumerate(zip(entries, bodies, pads, strict=True)):
        if before is not None and _is_apart(before, entry, part, shape, one_line=_one_line(bodies, number)):
            lines.append(_Line(0, ""))
        above = [*entry.above, *entry.beside[:-1]]
        lines += [_Line(indent, "", comment) for comment in above]
        lines += _led(entry, body, pad, indent)
        before = entry
    if part.foot:
        lines += [_Line(indent, "", comment) for comment in part.foot]
    return lines


def _ordered(part: Collection, how: Shape) -> list[Entry]:
    if not part.mapping or not how.order:
        return part.entries
    rank = {key: number for number, key in enumerate(how.order)}
    return sorted(part.entries, key=lambda entry: rank.get(entry.name, len(rank)))


def _shape_of(entry: Entry, part: Collection, shape: str) -> str:
    """Of an entry's value: in a list, that of the list."""
    return SHAPES[shape].parts.get(entry.name, SHAPES[shape].each) if part.mapping else shape


def _body(entry: Entry, shape: str, indent: int) -> list[_Line] | str:
    """An entry's value: what stands in its line, or the lines below it."""
    value = entry.value
    room = WIDTH - indent - (len(_key(entry)) + 2 if entry.key else 2)
    if isinstance(value, Collection):
        inline = _inline(value, shape)
        if inline is not None and (len(inline) <= room or not value.entries):
            return inline
        return _block(value, shape, indent + 2)
    if value.style in ("|", ">"):
        lines = literal(value.text, value.style, WIDTH - indent - 2)
        if lines is not None:
            return [_Line(indent, lines[0]), *(_Line(indent + 2 if line else 0, line) for line in lines[1:])]
    text = scalar(value.text, plain=not value.style, flow=False)
    if len(text) <= room:
        return text
    first, *others = folded(text, room, WIDTH - indent - 2)
    return [_Line(indent, first), *(_Line(indent + 2, line) for line in others)] if others else first


def _led(entry: Entry, body: list[_Line] | str, pad: int, indent: int) -> list[_Line]:
    """The entry's lines: its key or dash, and its value."""
    beside = entry.beside[-1] if entry.beside else ""
    lead = "-" if entry.key is None else _key(entry) + ":"
    if isinstance(body, str):
        text = f"{lead:<{pad}} {body}" if body else lead
        return [_Line(indent, text, beside)]
    if isinstance(entry.value, Scalar):
        first, *others = body
        lines = [_Line(indent, f"{lead} {first.text}"), *others]
        header = entry.value.style in ("|", ">") and first.text[0] in "|>"
        (lines[0] if header else lines[-1]).comment = beside
        return lines
    if entry.key is not None:
        return [_Line(indent, lead, beside), *body]
    above = [_Line(indent, "", beside)] if beside else []
    while body[0].is_comment:  # comments above the first key of an item stand above the item
        above.append(_Line(indent if body[0].comment else 0, "", body.pop(0).comment))
    first, *others = body
    return [*above, _Line(indent, f"- {first.text}", first.comment), *others]


def _key(entry: Entry) -> str:
    assert entry.key is not None
    return scalar(entry.key.text, plain=not entry.key.style, flow=False)


def _one_line(bodies: list[list[_Line] | str], number: int) -> bool:
    """Whether neither an entry nor the one before it needs more than its line."""
    return all(isinstance(body, str) for body in bodies[number - 1 : number + 1])


def _is_apart(before: Entry, entry: Entry, part: Collection, shape: str, *, one_line: bool) -> bool:
    """Whether an empty line stands between two entries."""
    how = SHAPES[shape]
    if shape == "file":
        if entry.name == "states" and before.name == "start":
            return False
        return entry.name not in _TITLE
    if how.apart:
        return bool(entry.above) or not one_line
    return entry.apart and not (part.mapping and how.order)


def _pads(entries: list[Entry], bodies: list[list[_Line] | str], how: Shape) -> list[int]:
    """How wide the key of each entry is set: all of neighbouring one-line entries alike."""
    pads = [0] * len(entries)
    group: list[int] = []
    for number, (entry, body) in enumerate(zip(entries, bodies, strict=True)):
        one_line = how.table and isinstance(body, str) and entry.key is not None
        if group and (not one_line or (entry.apart and not how.apart)):
            _pad(group, entries, pads)
            group = []
        if one_line:
            group.append(number)
    if group:
        _pad(group, entries, pads)
    return pads


def _pad(group: list[int], entries: list[Entry], pads: list[int]) -> None:
    width = max(len(_key(entries[number])) + 1 for number in group)
    for number in group:
        pads[number] = width


# ── in one line ──────────────────────────────────────────────────────────────────────────────────────────────────
def _inline(part: Collection, shape: str) -> str | None:
    """In braces or brackets, where the shape allows that; None where it stands in lines."""
    if not part.entries and not part.foot:
        return "{}" if part.mapping else "[]"
    if has_comments(part):
        return None
    if part.mapping:
        lines = SHAPES[shape].lines
        if lines == "block" or (lines == "single" and len(part.entries) > 1):
            return None
        if lines == "ending" and all(entry.name != "end" for entry in part.entries):
            return None
    return _flow(part, shape)


def _flow(part: Collection, shape: str) -> str | None:
    """None where it holds a mapping, or a text of several lines."""
    shown: list[str] = []
    for entry in _ordered(part, SHAPES[shape]):
        text = _flow_value(entry.value, _shape_of(entry, part, shape))
        if text is None:
            return None
        key = f"{scalar(entry.key.text, plain=not entry.key.style, flow=True)}: " if entry.key else ""
        shown.append(key + text)
    inner = ", ".join(shown)
    return f"{{{inner}}}" if part.mapping else f"[{inner}]"


def _flow_value(value: Scalar | Collection, shape: str) -> str | None:
    if isinstance(value, Collection):
        if value.entries and value.mapping:
            return None
        return _flow(value, shape)
    if value.style in ("|", ">"):
        return None
    return scalar(value.text, plain=not value.style, flow=True)
