"""What an action did to the world, told apart: nothing, all of it, a part, too much."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

ROOM = 0.2  # of a full effect: volumes and forces scatter
NOTHING = 0.02  # of a full effect


class Extent(StrEnum):
    NONE = "none"
    PART = "part"
    FULL = "full"
    MORE = "more"


def change(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What has changed, by name."""
    names = before.keys() | after.keys()
    found = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in names}
    return {name: difference for name, difference in found.items() if abs(difference) > 1e-12}


def extent(made: Mapping[str, float], full: Mapping[str, float]) -> Extent:
    """How much of a full change was made.

    Args:
        made: a change.
        full: the change that the action makes when nothing disturbs it; not empty.
    """
    shares = [made.get(name, 0.0) / whole for name, whole in full.items()]
    others = [name for name in made if name not in full]
    if any(share > 1 + 2 * ROOM for share in shares):
        return Extent.MORE
    if all(abs(share - 1) <= ROOM for share in shares):
        return Extent.FULL
    if all(abs(share) <= NOTHING for share in shares) and not others:
        return Extent.NONE
    return Extent.PART
