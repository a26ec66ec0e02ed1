"""A report as one HTML file that needs nothing else: no network, no scripts, plots as SVG in it.

What a plot shows stands in a table as well, so that it is read without images. Without matplotlib there are no plots,
and the page says so. Pure: what it is made of is gathered by `labd.records.pictures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from labd.records import charts
from labd.records.drawing import PlotError, inline
from labd.records.outcome import cycle_rows, spectra, value
from labd.records.pictures import Read, gather, plots_of, verdict
from labd.sdk.units import plain

__all__ = ["Read", "document", "gather", "page", "plot", "section", "svgs", "table"]

SUMMARY = ("capacity_1", "capacity", "ce_1", "ce", "retention", "energy", "r_ohmic", "conductivity", "ocv", "dose")
"""The figures that have a column in a batch's table, where a cell has them."""
BOXES = ("capacity_1", "capacity", "ce", "r_ohmic", "conductivity")
_CYCLE_HEADERS = (
    ("cycle", ""),
    ("charge", "mAh"),
    ("capacity", "mAh"),
    ("ce", "%"),
    ("energy", "mWh"),
    ("energy_efficiency", "%"),
    ("retention", "%"),
    ("rest_charged", "V"),
    ("rest_discharged", "V"),
)
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#22262b;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1,h2,h3{line-height:1.2}table{border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.2rem 0}th,td{padding:.15rem .7rem .15rem 0;text-align:left;
border-bottom:1px solid #e5e7eb;vertical-align:top}td.n,th.n{text-align:right}figure{margin:1rem 0}
svg{max-width:100%;height:auto}figcaption,.faint{color:#6b7280;font-size:.9em}.bad{color:#b3261e;font-weight:600}
.wide{overflow-x:auto}code{font-size:.9em}@media print{figure,table{break-inside:avoid}}
"""


def section(read: Read) -> list[str]:
    """What a page tells of one run: its plots take most of the time that a page takes."""
    return list(_run(read))


def svgs(read: Read, section: Sequence[str]) -> dict[str, str]:
    """The plots of a run's section as SVG, by name, so that none is drawn twice; none where matplotlib is missing."""
    found = [
        text[text.index("<svg ") : text.index("</svg>") + 6] for text in section if text.startswith("<figure><svg ")
    ]
    return dict(zip(plots_of(read), found, strict=True)) if found else {}


def page(
    name: str, kind: str, runs: Sequence[Read], about: Mapping[str, Any], sections: Sequence[list[str]] | None = None
) -> str:
    """The page.

    Args:
        name: what it is of.
        kind: `run`, `batch` or `sample`.
        runs: what it tells, oldest first.
        about: `lab`, `at` (when it is made), and `waiting`: jobs that have no run yet.
        sections: what `section` gave for each run, where that is known already.
    """
    told_of = sections if sections is not None else [section(read) for read in runs]
    body = [f'<p class="faint">lab {escape(about["lab"])}, made {escape(about["at"])}</p>']
    if kind == "run" and runs:
        body += told_of[0]
    else:
        body += _many(runs, about["waiting"])
        for read, own in zip(runs, told_of, strict=True):
            told = read.told
            body.append(f'<h2 id="{escape(told["run"])}">{escape(str(told["sample"]))}, {escape(told["run"])}</h2>')
            body += own
    return document(f"{kind} {name}", body)


def document(title: str, body: Sequence[str]) -> str:
    """A page of its own, with its title as the first heading.

    Args:
        title: as text.
        body: lines of HTML, `table` and `plot` among them.
    """
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    view = '<meta name="viewport" content="width=device-width">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}{view}</head>\n<body>\n<h1>{escape(title)}</h1>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


# ── several ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _many(runs: Sequence[Read], waiting: Sequence[str]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for read in runs:
        end = str(read.told["outcome"] or "under way")
        counts[end] = counts.get(end, 0) + 1
    if waiting:
        counts["waiting"] = len(waiting)
    if not counts:
        yield "<p>It has no runs yet.</p>"
        return
    ended = sum(1 for read in runs if read.told["outcome"])
    share = f"; yield {counts.get('complete', 0) / ended:.0%} of the {ended} that have ended" if ended else ""
    yield table(f"Cells by outcome{share}", ["outcome", "cells"], [[end, str(n)] for end, n in counts.items()])
    yield from plot("Cells by outcome", charts.outcomes(counts))
    shown = [name for name in SUMMARY if any(name in read.told["figures"] for read in runs)]
    units = {name: _unit(runs, name) for name in shown}
    headers = ["sample", "run", "outcome", *(_head(name, units[name]) for name in shown)]
    rows = []
    for read in runs:
        told = read.told
        figures = [_number(value(told, name)) for name in shown]
        rows.append([str(told["sample"]), told["run"], told["failed"] or told["outcome"] or "under way", *figures])
    yield table("Cells", headers, rows)
    spreads = [_spread(runs, name, units[name]) for name in shown]
    yield table("Spread over cells", ["figure", "cells", "mean", "standard deviation", "least", "greatest"], spreads)
    groups = [charts.Group(_head(name, units[name]), _by_cell(runs, name)) for name in BOXES if name in shown]
    groups = [group for group in groups if len(group.values) > 1]
    if groups:
        yield from plot("Figures over cells: quartiles, and each cell", charts.boxes(groups))


def _by_cell(runs: Sequence[Read], name: str) -> tuple[tuple[str, float], ...]:
    told = ((str(read.told["sample"]), value(read.told, name)) for read in runs)
    return tuple((sample, found) for sample, found in told if found is not None)


def _spread(runs: Sequence[Read], name: str, unit: str) -> list[str]:
    from statistics import mean, stdev

    told = [found for _, found in _by_cell(runs, name)]
    spread = _number(stdev(told)) if len(told) > 1 else "–"
    return [_head(name, unit), str(len(told)), _number(mean(told)), spread, _number(min(told)), _number(max(told))]


def _unit(runs: Sequence[Read], name: str) -> str:
    return next(str(read.told["figures"][name]["u"]) for read in runs if name in read.told["figures"])


# ── one ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _run(read: Read) -> Iterator[str]:
    told = read.told
    about = [
        ["sample", str(told["sample"])],
        ["protocol", f"{told['protocol']} {told['version']}"],
        ["parameters", ", ".join(f"{name} {_said(what)}" for name, what in (told["parameters"] or {}).items())],
        ["started", f"{told['started']} by {told['by']}"],
        ["ended", str(told["ended"] or "not yet")],
        ["outcome", told["failed"] or told["outcome"] or "under way"],
    ]
    yield table("What was run", [], about)
    if told["failed"]:
        yield f'<p class="bad">Failed: {escape(told["failed"])}</p>'
    rows = cycle_rows(told)
    if rows:
        headers = [_head(name, unit) for name, unit in _CYCLE_HEADERS]
        yield table("Cycles", headers, [[_number(row[name]) for name, _ in _CYCLE_HEADERS] for row in rows])
    peaks = [
        [str(slope.cycle), slope.way, _number(at), _number(high)]
        for slope in read.incremental
        for at, high in slope.peaks()
    ]
    if peaks:
        yield table("Peaks of dQ/dV", ["cycle", "half", "voltage / V", "height / (mAh/V)"], peaks)
    yield from _impedance(told)
    for caption, draw in plots_of(read).values():
        yield from plot(caption, draw)
    yield from _figures(told)
    yield from _series(told)


def _impedance(told: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [
            series,
            verdict(found),
            found.get("circuit") or found.get("problem") or "",
            _number(found.get("r_ohmic")),
            _number(found.get("r_polarisation")),
        ]
        for series, found in spectra(told)
    ]
    if rows:
        headers = ["spectrum", "Kramers-Kronig", "circuit", "R ohmic / Ω", "R polarisation / Ω"]
        yield table("Impedance", headers, rows)


def _figures(told: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [name, _number(figure["v"]), figure["u"], _number(figure["std"]), figure["source"]]
        for name, figure in sorted(told["figures"].items())
    ]
    yield table("Figures", ["name", "value", "unit", "standard deviation", "from"], rows)
    if told["missing"]:
        yield table("What is missing, and why", ["name", "why"], [list(one) for one in sorted(told["missing"].items())])


def _series(told: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [one["series"], one["action"] or "", one["device"], one["analysis"]["kind"], one["version"], one["input"][:16]]
        for one in told["series"]
    ]
    headers = ["series", "action", "device", "analysed as", "methods", "SHA-256 of the rows begins"]
    yield table("Measurements and their analysis", headers, rows)


# ── parts of a page ──────────────────────────────────────────────────────────────────────────────────────────────────
def table(caption: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns of numbers stand to the right. Texts, not HTML."""
    numbers = [all(_is_number(row[i]) for row in rows) for i in range(len(rows[0]))] if rows and headers else []
    head = "".join(f"<th{_class(numbers, i)}>{escape(text)}</th>" for i, text in enumerate(headers))
    lines = [
        "<tr>" + "".join(f"<td{_class(numbers, i)}>{escape(str(text))}</td>" for i, text in enumerate(row)) + "</tr>"
        for row in rows
    ]
    told = f"<thead><tr>{head}</tr></thead>" if headers else ""
    inner = f"<table><caption>{escape(caption)}</caption>{told}<tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="wide">{inner}</div>'


def _class(numbers: Sequence[bool], index: int) -> str:
    return ' class="n"' if index < len(numbers) and numbers[index] else ""


def _is_number(text: str) -> bool:
    return text == "–" or text.replace(".", "").replace("-", "").replace("e", "").replace("+", "").isdigit()


def plot(caption: str, draw: Callable[[Any], None]) -> Iterator[str]:
    """A plot; without matplotlib a line that says so."""
    said = escape(caption)
    try:
        drawn = inline(draw)
    except PlotError as error:
        yield f'<p class="faint">{said}: {escape(str(error))}</p>'
        return
    drawn = drawn.replace("<svg ", f'<svg role="img" aria-label="{said}" ', 1)
    yield f"<figure>{drawn}<figcaption>{said}</figcaption></figure>"


_TITLES = {"ce": "coulombic efficiency", "capacity": "discharge", "r_ohmic": "R ohmic", "ocv": "OCV"}


def _head(name: str, unit: str) -> str:
    stem, _, number = name.partition("_") if name not in _TITLES else (name, "", "")
    told = f"{_TITLES[stem]} {number}".strip() if stem in _TITLES else name.replace("_", " ")
    return f"{told} / {unit}" if unit else told


def _number(told: float | None) -> str:
    return "–" if told is None else f"{told:.5g}"


def _said(what: Any) -> str:
    if isinstance(what, Mapping) and isinstance(what.get("v"), (int, float)):
        return plain(float(what["v"]), str(what["u"]))
    return str(what)
