"""What a lab offers, in the words of the protocol checker."""

from __future__ import annotations

from labd.lab.config import LabConfig
from labd.lab.lab import Lab
from labd.protocol.facts import LabFacts, RoleFacts, standard_facts


def facts_of(lab: Lab) -> LabFacts:
    """The roles that a lab's devices serve, with their own actions and limits; its places and materials."""
    kinds = {device.driver.role for device in lab.devices.values()} | set(lab.config.roles)
    roles: dict[str, RoleFacts] = {}
    for kind in kinds:
        units = lab.units_for(kind)
        if not units:
            continue
        device, _ = units[0]
        standard = standard_facts().roles.get(kind)
        # what every device of the role can do: a protocol must run on whichever is free
        common = set.intersection(*(set(d.driver.actions) for d, _ in units))
        actions = {name: action for name, action in device.driver.actions.items() if name in common}
        signals = standard.signals if standard is not None else type(device.driver).Signals
        roles[kind] = RoleFacts(actions, signals, len(units), lab.limits[device.id])
    places = {f"{entry.place}/{well}" for entry in lab.config.deck for well in entry.wells}
    for device in lab.devices.values():
        places |= set(device.driver.setup.positions)
        places |= {place for unit in device.driver.units if (place := lab.place_of(device, unit))}
    return LabFacts(roles, frozenset(places), frozenset(lab.materials()))


def lab_facts(config: LabConfig) -> LabFacts:
    """The same for a lab that is not at work: for `labd check --lab`. Raises LabError."""
    return facts_of(Lab(config))
