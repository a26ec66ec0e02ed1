"""A protocol as a picture, an SVG made by labd itself: no other program, no network, the same bytes each time."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.views.chart import Arrow, Box, Chart, chart
from labd.protocol.views.placing import Link, Route, Size, place

_FONT = "DejaVu Sans, Verdana, Segoe UI, Arial, sans-serif"
_TITLE, _TEXT = 13.0, 11.0  # px
_LEADING = 15.0
_PAD = 10.0
_MARGIN = 24.0
_WIDEST = 34  # characters of a line in a box, or of a label

_ENDS = {
    "complete": ("#d9f2df", "#2f855a"),
    "scrapped": ("#fde3d3", "#c05621"),
    "stopped": ("#e8e8ec", "#66667a"),
    "aborted": ("#fbd5d5", "#b02a2a"),
}
_STATE, _HOLD = ("#f5f8fc", "#47597a"), ("#fff6d6", "#b7791f")
_INK = "#1c2733"
_ARROWS = {
    "next": "#47597a",
    "choice": "#2b6cb0",
    "catch": "#b02a2a",
    "watch": "#7b3fa0",
    "limit": "#b7791f",
    "resume": "#66667a",
}
_WEIGHTS = {"next": 4.0, "choice": 2.0, "catch": 0.5, "watch": 0.5, "limit": 0.5, "resume": 0.5}
_TAGS = ("#dbe7ff", "#e2f0d9", "#fde7c8", "#ecdcf7", "#d5f0ef", "#f9d9e2")
_WINDOW = "#6b2fa0"
_UNIT = re.compile(r"(?<=\d) (?=[A-Za-zµΩ°%])")


def svg(protocol: Protocol, facts: LabFacts | None = None) -> str:
    """The picture. Raises InputErrors for a protocol that fails its check."""
    drawn = chart(protocol, facts)
    return "\n".join(_Picture(drawn).lines()) + "\n"


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────
_NARROW, _BROAD = frozenset("ijlIft.,:;'|!()[]{} -"), frozenset("mwMWOQGDHNUC@%→≤≥")


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is at most, in px: a picture has no font to ask."""
    total = sum(0.42 if sign in _NARROW else 0.88 if sign in _BROAD else 0.64 for sign in text)
    return total * size * (1.1 if bold else 1.0)


def _wrapped(text: str, width: int = _WIDEST, hanging: str = "") -> list[str]:
    """Lines of a text; what is indented stays so, and no number loses its unit."""
    indent = text[: len(text) - len(text.lstrip())]
    joined = _UNIT.sub("\u00a0", text)
    return textwrap.wrap(joined, width, initial_indent=indent, subsequent_indent=indent + hanging) or [""]


def _short(text: str, lines: int, hanging: str = "") -> list[str]:
    found = _wrapped(text, hanging=hanging)
    return found if len(found) <= lines else [*found[: lines - 1], f"{found[lines - 1]} …"]


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    style: str = ""  # a class of the style sheet
    size: float = _TEXT

    @property
    def width(self) -> float:
        return width_of(self.text, self.size, bold=self.style == "t")


class _Picture:
    def __init__(self, drawn: Chart) -> None:
        self.chart = drawn
        self.tags = {name: _TAGS[index % len(_TAGS)] for index, name in enumerate(drawn.roles)}
        self.texts = {box.name: list(self._text(box)) for box in drawn.boxes}
        self.marks = {box.name: self._windows(box.name) for box in drawn.boxes}
        self.links = [arrow for arrow in drawn.arrows if arrow.source != arrow.target]
        self.loops = {arrow.source: arrow for arrow in drawn.arrows if arrow.source == arrow.target}
        self.sizes = {box.name: self._size(box) for box in drawn.boxes}
        links = [Link(arrow.source, arrow.target, _label_size(arrow), _WEIGHTS[arrow.kind]) for arrow in self.links]
        self.placed = place(self.sizes, links, drawn.start)

    def _text(self, box: Box) -> Iterator[_Line]:
        if box.hold:
            yield _Line("hold", "t", _TITLE)
        else:
            yield _Line(box.name, "t", _TITLE)
        if box.summary:
            for line in _short(box.summary, 3):
                yield _Line(line, "s")
        if box.end is not None and box.end != box.name:
            yield _Line(box.end)
        for text in box.lines:
            for line in _short(text, 3, "  "):
                yield _Line(line)
        if box.limit:
            yield _Line(box.limit, "l")

    def _windows(self, name: str) -> list[str]:
        """The marks of the windows that begin or end with a state."""
        found = []
        for number, span in enumerate(self.chart.spans, 1):
            found += [f"window {number} begins"] if span.begin == name else []
            found += [f"window {number} ends"] if span.finish == name else []
        return found

    def _size(self, box: Box) -> Size:
        tags = sum(_tag_width(role) + 4 for role in box.roles)
        marks = max((_tag_width(mark) for mark in self.marks[box.name]), default=0.0)
        width = max(70.0, tags, marks, *(line.width for line in self.texts[box.name])) + 2 * _PAD
        rows = len(self.texts[box.name]) + bool(box.roles) * 1.2 + len(self.marks[box.name]) * 1.2
        loop = self.loops.get(box.name)
        beside = 34.0 + _label_size(loop).width if loop is not None else 0.0
        least = _label_size(loop).height + 8 if loop is not None else 0.0
        return Size(width, max(rows * _LEADING + 2 * _PAD - 2, least), beside)

    # ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────
    def lines(self) -> Iterator[str]:
        notes = [f"window {number}: {span.text}" for number, span in enumerate(self.chart.spans, 1)]
        if self.chart.cleanup:
            steps = "; ".join(line.strip() for line in self.chart.cleanup)
            notes.append(f"on stop, abort and scrap: {steps}")
        head = 46.0 if self.chart.summary else 30.0
        columns = max(60, int(self.placed.width / 6.5))
        notes = [line for note in notes for line in _wrapped(note, columns)]
        widest = max(width_of(self.chart.summary, _TEXT), width_of(self.chart.title, 16, bold=True))
        widest = max(widest, *(width_of(note, _TEXT) for note in ("", *notes)), self.placed.width)
        width = widest + 2 * _MARGIN
        top = _MARGIN + head + 26
        height = top + self.placed.height + _MARGIN + (len(notes) + 1) * _LEADING * bool(notes)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{_FONT}" font-size="{_TEXT:g}" role="img">'
        )
        yield f"<title>{escape(self.chart.title)}</title>"
        if self.chart.summary:
            yield f"<desc>{escape(self.chart.summary)}</desc>"
        yield from _definitions()
        yield f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
        yield _words(_MARGIN, _MARGIN + 14, self.chart.title, "t", size=16)
        if self.chart.summary:
            yield _words(_MARGIN, _MARGIN + 34, self.chart.summary, "s")
        left = _MARGIN + max(0.0, (widest - self.placed.width) / 2)
        yield f'<g transform="translate({left:.1f} {top:.1f})">'
        yield from self._drawing()
        yield "</g>"
        for number, note in enumerate(notes):
            yield _words(_MARGIN, top + self.placed.height + _MARGIN + (number + 0.6) * _LEADING, note, "w")
        yield "</svg>"

    def _drawing(self) -> Iterator[str]:
        x, y = self.placed.boxes[self.chart.start]
        yield f'<circle cx="{x:.1f}" cy="{y - 22:.1f}" r="5" fill="{_INK}"/>'
        yield f'<path d="M{x:.1f} {y - 17:.1f}V{y:.1f}" class="a" stroke="{_ARROWS["next"]}" marker-end="url(#next)"/>'
        for arrow, route in zip(self.links, self.placed.routes, strict=True):
            dashes = ' stroke-dasharray="5 4"' if arrow.kind in ("watch", "resume") else ""
            colour = _ARROWS[arrow.kind]
            yield f'<path d="{_path(route)}" class="a" stroke="{colour}"{dashes} marker-end="url(#{arrow.kind})"/>'
        for arrow, route in zip(self.links, self.placed.routes, strict=True):
            yield from _label(arrow, *route.label)
        for box in self.chart.boxes:
            yield from self._box(box)

    # ── boxes ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _box(self, box: Box) -> Iterator[str]:
        size, (x, y) = self.sizes[box.name], self.placed.boxes[box.name]
        fill, stroke = _HOLD if box.hold else _ENDS[box.end] if box.end is not None else _STATE
        round_, dashes = (15, "") if box.end is not None else (5, ' stroke-dasharray="4 3"' if box.hold else "")
        yield (
            f'<rect x="{x - size.width / 2:.1f}" y="{y:.1f}" width="{size.width:.1f}" height="{size.height:.1f}" '
            f'rx="{round_}" fill="{fill}" stroke="{stroke}" stroke-width="1.4"{dashes}/>'
        )
        left, at = x - size.width / 2 + _PAD, y + _PAD + 11
        for line in self.texts[box.name]:
            middle = box.end is not None
            indent = 8.0 * (len(line.text) - len(line.text.lstrip())) / 2
            yield _words(
                x if middle else left + indent, at, line.text.strip(), line.style, middle=middle, size=line.size
            )
            at += _LEADING
        for mark in self.marks[box.name]:
            yield from _tag(left, at - 8, mark, "#efe3f9", _WINDOW)
            at += 1.2 * _LEADING
        tag = left
        for role in box.roles:
            yield from _tag(tag, at - 8, role, self.tags.get(role, _TAGS[0]), _INK)
            tag += _tag_width(role) + 4
        loop = self.loops.get(box.name)
        if loop is not None:
            yield from _loop(loop, x + size.width / 2, y + size.height / 2, size)


def _loop(arrow: Arrow, x: float, y: float, size: Size) -> Iterator[str]:
    """A way back into the same box, on its right."""
    high = min(14.0, size.height / 3)
    out = x + 24
    colour = _ARROWS[arrow.kind]
    path = f"M{x:.1f} {y + high:.1f}C{out:.1f} {y + high:.1f} {out:.1f} {y - high:.1f} {x + 1:.1f} {y - high:.1f}"
    yield f'<path d="{path}" class="a" stroke="{colour}" marker-end="url(#{arrow.kind})"/>'
    label = _label_size(arrow)
    yield from _label(arrow, x + 20 + label.width / 2, y)


# ── arrows ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _label_lines(arrow: Arrow) -> list[str]:
    texts = [f"{label} or" for label in arrow.labels[:-1]] + list(arrow.labels[-1:])
    return [line for text in texts for line in _short(text, 3)]


def _label_size(arrow: Arrow) -> Size:
    lines = _label_lines(arrow)
    if not lines:
        return Size(8, 0)
    return Size(max(width_of(line, _TEXT) for line in lines) + 8, len(lines) * (_LEADING - 1) + 2)


def _label(arrow: Arrow, x: float, y: float) -> Iterator[str]:
    lines, size = _label_lines(arrow), _label_size(arrow)
    if not lines:
        return
    yield (
        f'<rect x="{x - size.width / 2:.1f}" y="{y - size.height / 2:.1f}" width="{size.width:.1f}" '
        f'height="{size.height:.1f}" rx="3" fill="#ffffff" fill-opacity="0.92"/>'
    )
    at = y - size.height / 2 + 12
    for line in lines:
        yield _words(x, at, line, "", middle=True, colour=_ARROWS[arrow.kind])
        at += _LEADING - 1


def _path(route: Route) -> str:
    """Straight through each rank, curved between two."""
    (x, y, end), *rest = route.stretches
    parts = [f"M{x:.1f} {y:.1f}V{end:.1f}"]
    for next_x, begin, next_end in rest:
        middle = (end + begin) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {begin:.1f}V{next_end:.1f}")
        x, end = next_x, next_end
    return "".join(parts)


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _definitions() -> Iterator[str]:
    yield "<style>.t{font-weight:bold}.s{font-style:italic;fill:#47597a}.l{fill:#b7791f}.w{fill:#6b2fa0}"
    yield f".a{{fill:none;stroke-width:1.4}}text{{fill:{_INK};white-space:pre}}</style>"
    yield "<defs>"
    for kind, colour in _ARROWS.items():
        yield (
            f'<marker id="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        )
    yield "</defs>"


def _words(
    x: float, y: float, text: str, style: str, *, middle: bool = False, size: float = _TEXT, colour: str = ""
) -> str:
    marks = f' class="{style}"' if style else ""
    marks += ' text-anchor="middle"' if middle else ""
    marks += f' font-size="{size:g}"' if size != _TEXT else ""
    marks += f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{marks}>{escape(text)}</text>'


def _tag_width(text: str) -> float:
    return width_of(text, 10) + 12


def _tag(x: float, y: float, text: str, fill: str, colour: str) -> Iterator[str]:
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{_tag_width(text):.1f}" height="15" rx="7.5" fill="{fill}"/>'
    yield _words(x + _tag_width(text) / 2, y + 11, text, "", middle=True, size=10, colour=colour)
