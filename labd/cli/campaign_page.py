"""A campaign's report as one HTML file that needs nothing else: what was sought, how it went, and every experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from labd.cli.campaign_views import expected_text, point_text, used_text, values_text
from labd.records import charts
from labd.records.report import document, plot, table


def page(one: Mapping[str, Any], at: str) -> str:
    """The page.

    Args:
        one: the campaign as the daemon tells it, with all its proposals.
        at: when it is made.
    """
    return document(f"campaign {one['campaign']}", list(_body(one, at)))


def _body(one: Mapping[str, Any], at: str) -> Iterator[str]:
    yield f'<p class="faint">made {escape(at)}</p>'
    if one["summary"]:
        yield f"<p>{escape(one['summary'])}</p>"
    yield table("Where it is", [], list(_about(one)))
    wanted = {told["name"]: told for told in one["problem"].get("objectives", ())}
    if wanted:
        rows = [[name, *(_text(told[key]) for key in _GOAL)] for name, told in wanted.items()]
        yield table("What is wanted", ["objective", *_GOAL], rows)
    for name, told in wanted.items():
        measured, best = _course(one, name)
        if measured:
            title = f"{name} / {told['unit']}" if told["unit"] else name
            yield from plot(f"{title}, experiment by experiment", charts.course(title, measured, best))
    if one["proposals"]:
        units = {name: told["unit"] for name, told in wanted.items()}
        headers = ["proposal", "status", "by", "point", "expected", "measured", "run", "why", "said"]
        yield table("Experiments", headers, [_row(told, one["units"], units) for told in one["proposals"]])


_GOAL = ("goal", "target", "low", "high", "unit", "weight")


def _about(one: Mapping[str, Any]) -> Iterator[list[str]]:
    yield ["state", f"{one['state']}: {one['why']}" if one["why"] else one["state"]]
    yield ["started", f"{one['started']} by {one['by']}"]
    if one["ended"]:
        yield ["ended", one["ended"]]
    yield ["proposed by", f"{one['optimiser']}, {one['rounds']} rounds"]
    yield [
        "experiments",
        ", ".join(f"{number} {status}" for status, number in one["experiments"].items()) or "none yet",
    ]
    yield ["used", ", ".join(used_text(name, told) for name, told in one["budget"].items())]
    if one["best"]:
        best = one["best"]
        where = point_text(best["point"], best["units"])
        yield ["best", f"{values_text(best['values'])} at {where} ({best['proposal']}, {best['run']})"]
    if len(one["problem"].get("objectives", ())) > 1 and one["front"]:
        yield ["beaten by none", ", ".join(one["front"])]


def _course(one: Mapping[str, Any], name: str) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Of one objective: what each experiment gave, and what the best until then has."""
    by_id = {told["proposal"]: told["values"] for told in one["proposals"]}
    steps = one["course"]
    measured = [(step["number"], by_id[step["proposal"]]) for step in steps]
    best = [(step["number"], step["values"][name]["v"]) for step in steps if step["values"]]
    return [(number, values[name]["v"]) for number, values in measured if name in values], best


def _row(told: Mapping[str, Any], of_point: Mapping[str, str], of_values: Mapping[str, str]) -> list[str]:
    said = [f"{note['word']} by {note['by']}: {note['why']}" for note in told["notes"]]
    expected = [expected_text(name, what, of_values.get(name, "")) for name, what in told["predicted"].items()]
    point, measured = point_text(told["point"], of_point), values_text(told["values"])
    who = [told["proposal"], told["status"], told["by"]]
    return [
        *who,
        point,
        ", ".join(expected),
        measured or _text(told["cause"]),
        _text(told["run"]),
        told["why"],
        "; ".join(said),
    ]


def _text(told: Any) -> str:
    return "" if told is None else str(told)
