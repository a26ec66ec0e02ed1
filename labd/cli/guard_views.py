"""What a person sees of interlocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from labd.cli.views import console, say, table_of
from labd.cli.words import short_time


def show_interlocks(interlocks: Sequence[Mapping[str, Any]]) -> None:
    """A table of all, labd's own first."""
    table = table_of("interlock", "condition", "reads", "then", "of", "state")
    for one in interlocks:
        state, style = _state(one)
        table.add_row(
            one["name"],
            Text(one["condition"]),
            Text(one["because"]),
            f"{one['then']}, latches" if one["latch"] else one["then"],
            "all" if one["devices"] is None else ", ".join(one["devices"]),
            Text(state, style=style),
        )
    console().print(table)
    for one in interlocks:
        if one["tripped"] and one["latch"]:
            say(f"  labd clear --interlock {one['name']}", "dim")


def _state(one: Mapping[str, Any]) -> tuple[str, str]:
    if one["tripped"]:
        return f"tripped since {short_time(one['tripped'])}", "red"
    if one["holds"] is None:
        return "cannot be told", "yellow"
    return ("holds", "yellow") if one["holds"] else ("ready", "green")
