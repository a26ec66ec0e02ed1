"""Laws that a campaign's file may name as what is known before the first experiment."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from importlib.metadata import entry_points

from labd.campaign.problem import Point

Law = Callable[[Point], float]
GROUP = "labd.laws"
"""Entry points by which other packages offer laws."""
_OWN = re.compile(r"([a-z_][a-z0-9_]*)\.([a-z_][a-z0-9_]*)")


class LawError(Exception):
    """There is no such law."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message, self.mend = message, mend


def law(name: str) -> Law:
    """A law by its name: `conductivity.carbonates` of labd's own, or an entry point of the group `labd.laws`.

    Raises:
        LawError: there is none of this name; only these two places are looked at, whatever a file says.
    """
    for point in entry_points(group=GROUP, name=name):
        found: Law = point.load()
        return found
    parts = _OWN.fullmatch(name)
    mend = "write `=` and an expression over the space, or the name of a law, such as `conductivity.carbonates`"
    if parts is None:
        raise LawError(f"`{name[:60]}` is no law", mend)
    try:
        module = importlib.import_module(f"labd.campaign.laws.{parts[1]}")
    except ImportError as error:
        raise LawError(f"there is no law `{name[:60]}`: {error}", mend) from error
    own = getattr(module, parts[2], None)
    if not callable(own):
        raise LawError(f"there is no law `{name[:60]}`", mend)
    return own  # type: ignore[no-any-return]
