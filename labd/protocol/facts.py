"""What a lab offers to protocols, as far as the checker needs it: no more than names, types and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from labd.sdk import ROLES, Action, Bounds, Signals


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """What the devices of one role can do.

    Args:
        actions: by the name that protocols use.
        signals: what one poll reads.
        units: how many units (channels, nests) the lab has of it; None where no lab is known.
        limits: the lab's own bounds by `action.parameter`, in default units.
    """

    actions: Mapping[str, Action]
    signals: type[Signals]
    units: int | None = None
    limits: Mapping[str, Bounds] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabFacts:
    """What a lab has: roles by their kind (`crimper`); places and materials by name, None where no lab is known."""

    roles: Mapping[str, RoleFacts]
    places: frozenset[str] | None = None
    materials: frozenset[str] | None = None


@lru_cache(maxsize=1)
def standard_facts() -> LabFacts:
    """Every lab's least: the standard roles with their standard actions."""
    return LabFacts({name: RoleFacts(role.actions, role.Signals) for name, role in ROLES.items()})
