"""What a lab offers to protocols, as far as the checker needs it: no more than names, types and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from labd.sdk import ROLES, Action, Bounds, Signals, TipRange


@dataclass(frozen=True, slots=True)
class Server:
    """A device that serves a role: how many units it has, and which of the role's actions it cannot do, with why."""

    device: str
    units: int
    lacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """What the devices of one role can do, every one of them: a protocol runs on whichever is free.

    Args:
        actions: by the name that protocols use; those, and those parameters, that all devices have.
        signals: what one poll reads.
        units: how many units (channels, nests) the lab has of it; None where no lab is known.
        limits: bounds by `action.parameter`, in default units, that hold on every device: the narrowest of the drivers'
            own and of lab.yaml's.
        instances: how many devices serve it, each of one unit or more; None where no lab is known.
        servers: those devices, each with what it cannot do; none where no lab is known.
        resting: why none of them is given to runs now, in words, such as a maintenance of the only one; empty: one is.
    """

    actions: Mapping[str, Action]
    signals: type[Signals]
    units: int | None = None
    limits: Mapping[str, Bounds] = field(default_factory=dict)
    instances: int | None = None
    resting: str = ""
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True, slots=True)
class LabFacts:
    """What a lab has. All but the roles is None where no lab is known. Volumes in µL; places as `ot2/2/A1`.

    Args:
        roles: by their kind (`crimper`).
        places: of the deck, of units, and taught ones.
        materials: by name, expired ones too.
        volumes: what can be drawn of each material, less dead volumes; what has expired counts for nothing.
        capacities: what a place takes in all, where that is known.
        contents_at: what is at a place, its dead volume too.
        usable_at: what can be drawn from a place; 0 when it has expired.
        material_at: which material is at a place.
        tips: how many tips stand on a device's deck, by device and by the µL that they take.
        tip_ranges: which of them it takes for which volumes, by device, where it can tell.
        parts: how many there are of each part, on trays and in stock.
        stock: which part lies at a place.
        gone: places of trays whose part was taken.
        trays: all places of trays, where parts and cells lie.
        bare: those of them where nothing lies, and never did; none where no part on a tray was ever told of.
        name: what the lab is called; empty where no lab is known.
    """

    roles: Mapping[str, RoleFacts]
    places: frozenset[str] | None = None
    materials: frozenset[str] | None = None
    volumes: Mapping[str, float] | None = None
    capacities: Mapping[str, float] | None = None
    contents_at: Mapping[str, float] | None = None
    usable_at: Mapping[str, float] | None = None
    material_at: Mapping[str, str] | None = None
    tips: Mapping[str, Mapping[int, int]] | None = None
    tip_ranges: Mapping[str, tuple[TipRange, ...]] | None = None
    parts: Mapping[str, int] | None = None
    stock: Mapping[str, str] | None = None
    gone: frozenset[str] = frozenset()
    trays: frozenset[str] = frozenset()
    bare: frozenset[str] = frozenset()
    name: str = ""


@lru_cache(maxsize=1)
def standard_facts() -> LabFacts:
    """Every lab's least: the standard roles with their standard actions."""
    return LabFacts({name: RoleFacts(role.actions, role.Signals) for name, role in ROLES.items()})
