"""A plan as a picture: one row a unit, one colour a work. An SVG made here, the same bytes for the same plan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from labd.run.planning.model import Plan, Row, Work, stays_of

_FONT = "DejaVu Sans, Verdana, Segoe UI, Arial, sans-serif"
_INK, _FAINT, _LINE, _NOW, _BROKEN = "#1c2733", "#5b6878", "#d5dbe3", "#b02a2a", "#b02a2a"
_COLOURS = (
    ("#cfe0f7", "#2b5c9e"), ("#d9f0d3", "#2f7d3b"), ("#fde2c4", "#b05f12"), ("#e6d9f5", "#6b3fa0"),
    ("#f9d5dc", "#a83254"), ("#d0f0ee", "#1f7a78"), ("#fbf0b9", "#8a6d00"), ("#e3e3ea", "#55566b"),
    ("#ffd9c9", "#b4451f"), ("#d7e7c1", "#567018"), ("#cfe9fb", "#1d6c99"), ("#f3d3ee", "#93358a"),
)  # fmt: skip
_ROW, _BAR, _TOP, _BOTTOM, _GAP = 30.0, 22.0, 52.0, 44.0, 16.0
_LANE = 7.0  # a window
_MOST_LANES = 8
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)


def gantt(plan: Plan, works: Sequence[Work] = (), *, title: str = "", width: float = 1280.0) -> str:
    """The picture.

    Args:
        plan: what is shown.
        works: that it was made of: with them the picture shows windows too, and what is blocked while a sample waits.
        title: over it.
        width: px.
    """
    return "\n".join(_Picture(plan, works, title, width).lines()) + "\n"


@dataclass(frozen=True, slots=True)
class _Bar:
    """One window, from when it opens to when it is shut, and how far it is used."""

    work: str
    name: str
    begin: float
    used: float
    limit: float


class _Picture:
    def __init__(self, plan: Plan, works: Sequence[Work], title: str, width: float) -> None:
        self.plan, self.works, self.title, self.width = plan, {work.id: work for work in works}, title, width
        self.units = sorted({unit for row in plan.rows for have in row.units.values() for unit in have}, key=_natural)
        ids = dict.fromkeys(row.work for row in plan.rows)
        self.colour = {work: _COLOURS[number % len(_COLOURS)] for number, work in enumerate(ids)}
        self.begin = min([plan.now, *(row.start for row in plan.rows)])
        self.end = max([plan.now + 1.0, *(row.end for row in plan.rows)])
        self.left = 24.0 + 7.2 * max([8, *(len(unit) for unit in self.units)])
        self.windows = _lanes(self._windows())
        self.chart = _ROW * len(self.units)
        lanes = _LANE * len(self.windows)
        self.height = _TOP + self.chart + (_GAP + lanes if self.windows else 0.0) + _BOTTOM

    def x(self, at: float) -> float:
        return self.left + (at - self.begin) / (self.end - self.begin) * (self.width - self.left - 20.0)

    def lines(self) -> Iterator[str]:
        size = f'width="{self.width:.0f}" height="{self.height:.0f}" viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}" font-size="11">'
        yield (
            '<defs><pattern id="held" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<rect width="6" height="6" fill="#f2f4f7"/><rect width="2" height="6" fill="#aab4c0"/></pattern></defs>'
        )
        yield f'<rect width="{self.width:.0f}" height="{self.height:.0f}" fill="#ffffff"/>'
        yield f'<text x="16" y="22" font-size="14" font-weight="bold" fill="{_INK}">{escape(self._title())}</text>'
        yield from self._axis()
        yield from self._held()
        for row in self.plan.rows:
            yield from self._row(row)
        for number, lane in enumerate(self.windows):
            for bar in lane:
                yield from self._window(bar, _TOP + self.chart + _GAP + number * _LANE)
        yield from self._now()
        yield "</svg>"

    def _title(self) -> str:
        plan = self.plan
        told = f"{span(plan.makespan)}, {plan.ratio:.3f} of the bound of {span(plan.bound)} ({plan.solver})"
        return f"{self.title}: {told}" if self.title else told

    def _axis(self) -> Iterator[str]:
        bottom = _TOP + self.chart
        for number, unit in enumerate(self.units):
            y = _TOP + number * _ROW
            right, name = self.width - 20, self.left - 8
            yield f'<line x1="{self.left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_LINE}"/>'
            yield f'<text x="{name:.1f}" y="{y + 19:.1f}" text-anchor="end" fill="{_INK}">{escape(unit)}</text>'
        if self.windows:
            y = bottom + _GAP + 7
            yield f'<text x="{self.left - 8:.1f}" y="{y:.1f}" text-anchor="end" fill="{_FAINT}">windows</text>'
        whole = self.end - self.begin
        step = next((one for one in _STEPS if whole / one <= 12), math.ceil(whole / 12))
        at = self.plan.now + math.ceil((self.begin - self.plan.now) / step) * step
        foot = self.height - _BOTTOM + 6
        while at <= self.end + 1e-9:
            x = self.x(at)
            yield f'<line x1="{x:.1f}" y1="{_TOP:.1f}" x2="{x:.1f}" y2="{foot:.1f}" stroke="{_LINE}"/>'
            label = span(at - self.plan.now, whole)
            yield f'<text x="{x:.1f}" y="{foot + 14:.1f}" text-anchor="middle" fill="{_FAINT}">{label}</text>'
            at += step
        told = "time from now; hatched: a sample waits there"
        yield f'<text x="16" y="{self.height - 8:.1f}" fill="{_FAINT}">{told}</text>'

    def _y(self, unit: str) -> float:
        return _TOP + self.units.index(unit) * _ROW + (_ROW - _BAR) / 2

    def _held(self) -> Iterator[str]:
        """What a unit is blocked by while the sample in it waits, behind the tasks."""
        for id_, work in self.works.items():
            rows = self.plan.of(id_)
            for stay in stays_of(work) if rows else ():
                begin, end = self.x(rows[stay.tasks[0]].start), self.x(rows[stay.last].end)
                edge = self.colour[id_][1]
                for unit in rows[stay.tasks[0]].units.get(stay.role, ()):
                    yield (
                        f'<rect x="{begin:.2f}" y="{self._y(unit) + 3:.1f}" width="{max(0.5, end - begin):.2f}" '
                        f'height="{_BAR - 6:.1f}" fill="url(#held)" stroke="{edge}" stroke-width="0.6"/>'
                    )

    def _row(self, row: Row) -> Iterator[str]:
        fill, edge = self.colour[row.work]
        begin, end = self.x(row.start), self.x(row.end)
        wide = max(0.5, end - begin)
        tip = f"{row.work}: {row.state}, {span(row.start - self.plan.now)} to {span(row.end - self.plan.now)}"
        dash = "" if row.begun else ' rx="2"'
        for unit in dict.fromkeys(unit for have in row.units.values() for unit in have):
            y = self._y(unit)
            yield (
                f'<rect x="{begin:.2f}" y="{y:.1f}" width="{wide:.2f}" height="{_BAR:.1f}"{dash} fill="{fill}" '
                f'stroke="{edge}" stroke-width="{1.6 if row.begun else 0.8}"><title>{escape(tip)}</title></rect>'
            )
            label = next((text for text in _labels(row) if len(text) * 6.6 + 6 <= wide), None)
            if label is not None:
                middle = begin + wide / 2
                yield (
                    f'<text x="{middle:.2f}" y="{y + 15:.1f}" text-anchor="middle" fill="{_INK}" '
                    f'font-size="10" pointer-events="none">{escape(label)}</text>'
                )

    def _windows(self) -> list[_Bar]:
        found: list[_Bar] = []
        for id_, work in self.works.items():
            rows = self.plan.of(id_)
            for window in work.windows:
                if window.within is None or not window.begin[0] <= window.finish[0] < len(rows):
                    continue
                begin = _edge(rows[window.begin[0]], window.begin[1])
                used = _edge(rows[window.finish[0]], window.finish[1])
                found.append(_Bar(id_, window.name, begin, used, begin + window.within))
        return sorted(found, key=lambda bar: (bar.begin, bar.work))

    def _window(self, bar: _Bar, y: float) -> Iterator[str]:
        edge = self.colour[bar.work][1]
        begin, used, limit = (self.x(min(max(at, self.begin), self.end)) for at in (bar.begin, bar.used, bar.limit))
        late = bar.used > bar.limit + 1e-6
        tip = f"{bar.work}: {bar.name}, {span(bar.used - bar.begin)} of {span(bar.limit - bar.begin)}"
        yield (
            f'<rect x="{begin:.2f}" y="{y:.1f}" width="{max(0.5, limit - begin, used - begin):.2f}" '
            f'height="{_LANE - 2:.1f}" '
            f'fill="#ffffff" stroke="{edge}" stroke-width="0.6"><title>{escape(tip)}</title></rect>'
        )
        yield (
            f'<rect x="{begin:.2f}" y="{y:.1f}" width="{max(0.5, used - begin):.2f}" height="{_LANE - 2:.1f}" '
            f'fill="{_BROKEN if late else edge}" pointer-events="none"/>'
        )

    def _now(self) -> Iterator[str]:
        x = self.x(self.plan.now)
        top, foot = _TOP - 8, self.height - _BOTTOM + 2
        yield f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{foot:.1f}" stroke="{_NOW}" stroke-width="1.5"/>'
        yield f'<text x="{x + 3:.1f}" y="{_TOP - 5:.1f}" fill="{_NOW}">now</text>'


def _edge(row: Row, edge: str) -> float:
    return row.start if edge == "start" else row.end


def _labels(row: Row) -> tuple[str, ...]:
    """What may stand in a bar, the longest first."""
    number = row.work.rpartition("-")[2].lstrip("0") or row.work
    return f"{row.work} {row.state}", row.work, number


def _lanes(bars: Sequence[_Bar]) -> list[list[_Bar]]:
    """Windows below each other where they meet; what does not fit is drawn over the last lane."""
    lanes: list[list[_Bar]] = []
    for bar in bars:
        free = next((lane for lane in lanes if lane[-1].limit <= bar.begin and lane[-1].used <= bar.begin), None)
        if free is not None:
            free.append(bar)
        elif len(lanes) < _MOST_LANES:
            lanes.append([bar])
        else:
            lanes[-1].append(bar)
    return lanes


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """`cycler.2` before `cycler.10`."""
    words = name.replace("-", ".").split(".")
    return tuple((0, int(word)) if word.isdecimal() else (1, word) for word in words)


def span(seconds: float, among: float | None = None) -> str:
    """`90 s`, `12.5 min`, `3.2 h`; in the unit of the longest, where it stands among others."""
    size = abs(seconds) if among is None else among
    if size < 120:
        return f"{seconds:.4g} s"
    if size < 2 * 3600:
        return f"{seconds / 60:.4g} min"
    return f"{seconds / 3600:.4g} h"
