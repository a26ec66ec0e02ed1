"""The bench as lab.yaml describes it: which units serve which kind of device, and whose place is where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labd.lab.lab import Lab
from labd.run.planning.model import Bench


@dataclass(frozen=True, slots=True)
class Site:
    """A lab, as far as plans need it.

    Args:
        places: the kind of device that has its place there, by the name of the place: `press/nest` -> `crimper`.
        unit_at: which unit of it that is.
    """

    bench: Bench
    places: Mapping[str, str] = field(default_factory=dict)
    unit_at: Mapping[str, str] = field(default_factory=dict)


def unit_name(device: str, unit: str) -> str:
    """What a plan calls a unit: as bindings in the journal do."""
    return f"{device}.{unit}" if unit else device


def site_of(lab: Lab, closed: Mapping[str, float] | None = None) -> Site:
    """Of a lab, connected or not.

    Args:
        lab: as configured.
        closed: units that may not be used, and until when.
    """
    kinds = {device.driver.role for device in lab.devices.values()} | set(lab.config.roles)
    units: dict[str, tuple[str, ...]] = {}
    places: dict[str, str] = {}
    unit_at: dict[str, str] = {}
    for kind in sorted(kinds):
        serving = lab.units_for(kind)
        units[kind] = tuple(unit_name(device.id, unit) for device, unit in serving)
        for device, unit in serving:
            place = lab.place_of(device, unit)
            if place is not None:
                places.setdefault(place, kind)
                unit_at.setdefault(place, unit_name(device.id, unit))
    return Site(Bench(units, closed or {}), places, unit_at)
