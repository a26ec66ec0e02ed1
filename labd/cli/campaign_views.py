"""What a person sees of campaigns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from labd.cli.verdict import span
from labd.cli.views import console, say, table_of

_STATES = {"working": "green", "paused": "yellow", "ended": ""}
_STYLES = {
    "proposed": "",
    "queued": "cyan",
    "running": "green",
    "observed": "",
    "failed": "red",
    "lost": "yellow",
    "vetoed": "dim",
    "refused": "yellow",
}


def show_all(campaigns: Sequence[Mapping[str, Any]]) -> None:
    """All campaigns, a line each."""
    if not campaigns:
        say("no campaign yet; `labd campaign run FILE` starts one")
        return
    table = table_of("campaign", "state", "rounds", "made", "waiting", "failed", "best", "why")
    for one in campaigns:
        counts = one["experiments"]
        table.add_row(
            one["campaign"],
            Text(one["state"], style=_STATES[one["state"]]),
            str(one["rounds"]),
            str(sum(counts.get(status, 0) for status in ("observed", "failed", "lost"))),
            str(sum(counts.get(status, 0) for status in ("proposed", "queued", "running"))),
            str(counts.get("failed", 0)),
            values_text(one["best"]["values"]) if one["best"] else "",
            Text(one["why"] or ""),
        )
    console().print(table)


def show_state(one: Mapping[str, Any]) -> None:
    """One campaign in a few lines."""
    why = f": {one['why']}" if one["why"] else ""
    say(f"{one['campaign']}: {one['state']}{why}", _STATES[one["state"]])
    counts = ", ".join(f"{number} {status}" for status, number in one["experiments"].items())
    rounds = f"{one['rounds']} round{'' if one['rounds'] == 1 else 's'} of {one['optimiser']}"
    say(f"  {rounds}; {counts or 'nothing proposed yet'}")
    if one["budget"]:
        say(f"  used: {', '.join(used_text(name, told) for name, told in one['budget'].items())}")
    if one["best"]:
        best = one["best"]
        point = point_text(best["point"], best["units"])
        say(f"  best: {values_text(best['values'])} at {point} ({best['proposal']}, {best['run']})", "bold")


def show_detail(one: Mapping[str, Any]) -> None:
    """One campaign with its proposals."""
    show_state(one)
    show_proposals(one["proposals"], one["units"])


def show_proposals(proposals: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> None:
    """Proposals, a line each, and what people said of them."""
    if not proposals:
        return
    table = table_of("proposal", "status", "by", "point", "measured", "run", "said")
    for one in proposals:
        said = [f"{note['word']} by {note['by']}: {note['why']}" for note in one["notes"]]
        if one["cause"] and not said:
            said = [one["cause"]]
        table.add_row(
            one["proposal"],
            Text(one["status"], style=_STYLES[one["status"]]),
            one["by"],
            point_text(one["point"], units),
            values_text(one["values"]),
            one["run"] or one["job"] or "",
            Text("; ".join(said)),
        )
    console().print(table)


def show_candidates(found: Mapping[str, Any], campaign: Mapping[str, Any]) -> None:
    """What an optimiser would try, best first."""
    wanted = {one["name"]: one["unit"] for one in campaign["problem"].get("objectives", ())}
    wish = found["verdict"] is not None
    if wish:
        say(found["verdict"], "green" if found["possible"] else "yellow")
    table = table_of("", "point", *(["chance"] if wish else []), "expected", "why")
    for number, one in enumerate(found["proposals"], 1):
        expected = ", ".join(expected_text(name, told, wanted.get(name, "")) for name, told in one["predicted"].items())
        chance = [f"{one['chance']:.0%}"] if wish else []
        table.add_row(str(number), point_text(one["point"], campaign["units"]), *chance, expected, Text(one["why"]))
    console().print(table)
    say(f"nothing was queued; `labd campaign add {campaign['campaign']} KEY=VALUE… --why …` makes one of them", "dim")


def show_report(one: Mapping[str, Any]) -> None:
    """What came of a campaign."""
    if one["summary"]:
        say(one["summary"], "bold")
    show_state(one)
    wanted = {told["name"]: told["unit"] for told in one["problem"].get("objectives", ())}
    by_id = {told["proposal"]: told for told in one["proposals"]}
    table = table_of("", "proposal", "point", "expected", "measured", "best so far")
    before = None
    for step in one["course"]:
        told = by_id[step["proposal"]]
        expected = ", ".join(
            expected_text(name, what, wanted.get(name, "")) for name, what in told["predicted"].items()
        )
        better = step["best"] != before
        before = step["best"]
        table.add_row(
            str(step["number"]),
            told["proposal"],
            point_text(told["point"], one["units"]),
            expected,
            Text(values_text(told["values"]) or f"{told['status']}: {told['cause']}", style=_STYLES[told["status"]]),
            Text(values_text(step["values"]) if step["values"] else "", style="green" if better else "dim"),
        )
    console().print(table)
    if len(wanted) > 1 and one["front"]:
        say(f"beaten by none in all objectives: {', '.join(one['front'])}")
    for told in one["proposals"]:
        for note in told["notes"]:
            say(f"  {told['proposal']} {note['word']} by {note['by']}: {note['why']}")


def used_text(name: str, told: Mapping[str, Any]) -> str:
    if name == "time":
        return f"{span(told['used'])} of {span(told['of'])}"
    of = f" of {told['of']:g}" if told["of"] is not None else ""
    unit = f" {told['unit']}" if told["unit"] else f" {name}"
    what = f" ({name})" if told["unit"] else ""
    return f"{told['used']:.4g}{of}{unit}{what}"


def values_text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_quantity(told['v'], told['u'])}" for name, told in values.items())


def expected_text(name: str, told: Mapping[str, float], unit: str) -> str:
    return f"{name} {told['mean']:.4g} ± {told['std']:.2g}{f' {unit}' if unit else ''}"


def point_text(point: Mapping[str, Any], units: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {_quantity(value, units.get(name, ''))}" for name, value in point.items())


def _quantity(value: Any, unit: str) -> str:
    told = value if isinstance(value, str) else f"{value:.5g}"
    return f"{told} {unit}" if unit else told
