"""What a person sees of the stock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from labd.cli.views import console, say, table_of
from labd.cli.words import short_time


def show_inventory(found: Mapping[str, Any]) -> None:
    """A row for all of one kind at a place, and what lab.yaml says otherwise."""
    table = table_of("place", "what", "lot", "amount", "usable", "reserved", "expires", "remarks")
    for row in found["rows"]:
        unit = row["unit"]
        remarks = Text("; ".join(row["remarks"]), style="yellow")
        amounts = [_amount(row[key], unit) for key in ("amount", "usable")]
        reserved = _amount(row["reserved"], unit) if row["reserved"] else ""
        table.add_row(row["place"], row["name"], row["lot"] or "", *amounts, reserved, row["expires"] or "", remarks)
    if found["rows"]:
        console().print(table)
    else:
        say("nothing is there")
    for warning in found["warnings"]:
        say(warning, "yellow")


def show_history(passages: Sequence[Mapping[str, Any]]) -> None:
    """A line an entry, oldest first; then what is known of the whole lot."""
    table = table_of("at", "what", "amount", "of", "place", "to", "sample", "run", "by", "because")
    for one in passages:
        table.add_row(
            short_time(one["at"]),
            one["kind"],
            _amount(one["amount"], one["unit"]) + _against(one),
            one["name"],
            one["place"],
            one["to"] or "",
            one["sample"] or "",
            one["run"] or "",
            one["by"],
            one["because"] or "",
        )
    console().print(table)
    samples = dict.fromkeys(one["sample"] for one in passages if one["sample"])
    say(f"{len(samples)} samples: {', '.join(samples)}" if samples else "no sample has any of it")


def _against(one: Mapping[str, Any]) -> str:
    """What a count has found to be more or less than was believed."""
    if one["difference"] is None:
        return ""
    sign = "+" if one["difference"] >= 0 else ""
    return f" ({sign}{_amount(one['difference'], one['unit'])}, {_amount(one['before'], one['unit'])} before)"


def _amount(value: float, unit: str) -> str:
    if unit == "µL":
        return f"{value / 1000:.5g} mL" if abs(value) >= 1000 else f"{value:.5g} µL"
    return f"{value:g}" if unit in ("pieces", "tips") else f"{value:g} {unit}"
