"""What a lab offers, in the words of the protocol checker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pydantic import create_model

from labd.lab.device import Device
from labd.lab.lab import Lab
from labd.protocol.facts import LabFacts, RoleFacts, Server, standard_facts
from labd.sdk import Action, Bounds, Parameters, labware
from labd.sdk.quantities import bounds_of

FREE = Bounds()


def facts_of(lab: Lab, own: str | None = None, *, only: Collection[str] | None = None) -> LabFacts:
    """The roles that a lab's devices serve, with what holds on all of them; its places, materials, tips and parts.

    Of these what is really left, less what is reserved for others.

    Args:
        lab: the lab.
        own: the job or run for which is asked: what is reserved for it is there for it.
        only: the others for which reservations count; None: all of them.
    """
    kinds = {device.driver.role for device in lab.devices.values()} | set(lab.config.roles)
    roles = {kind: role for kind in kinds if (role := _role(lab, kind)) is not None}
    inventory = lab.inventory
    trays = _trays(lab)
    wells, free = inventory.stock.wells, inventory.free(own, only=only)
    return LabFacts(
        roles,
        _places(lab),
        frozenset(inventory.materials()),
        volumes={material: free.materials.get(material, 0.0) for material in inventory.materials()},
        capacities=_capacities(lab),
        contents_at={place: well.volume for place, well in wells.items()},
        usable_at={place: free.materials.get(place, 0.0) for place in wells},
        material_at={place: well.material for place, well in wells.items() if well.material is not None},
        tips=_tips(lab, own, only),
        tip_ranges={name: found for name, device in lab.devices.items() if (found := device.driver.tips_by_volume())},
        parts={name: int(count) for name, count in free.parts.items()},
        stock={place: piece.name for place, piece in inventory.stock.parts.items()},
        gone=frozenset(inventory.gone()),
        trays=trays,
        bare=_bare(lab, trays),
        name=lab.config.lab,
    )


# ── roles ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _role(lab: Lab, kind: str) -> RoleFacts | None:
    """What every device of a role can do, or None when none serves it."""
    units = lab.units_for(kind)
    if not units:
        return None
    devices = list({device.id: device for device, _ in units}.values())
    by_class = list({type(device.driver): device for device in devices}.values())
    own = [device.driver.actions for device in by_class]
    actions = {
        name: _common([actions[name] for actions in own]) for name in own[0] if all(name in actions for actions in own)
    }
    standard = standard_facts().roles.get(kind)
    signals = standard.signals if standard is not None else type(devices[0].driver).Signals
    limits = _limits(lab, actions, by_class, devices)
    servers = tuple(
        Server(device.id, sum(one is device for one, _ in units), device.driver.lacks()) for device in devices
    )
    return RoleFacts(actions, signals, len(units), limits, len(devices), _resting(lab, devices), servers)


def _resting(lab: Lab, devices: Sequence[Device]) -> str:
    """Why none of the devices is given to runs, by lab.yaml."""
    said = {device.id: lab.config.devices[device.id].maintenance for device in devices}
    if any(maintenance is None for maintenance in said.values()):
        return ""
    return "; ".join(f"{name} is in maintenance: {one.reason}" for name, one in said.items() if one is not None)


def _common(actions: Sequence[Action]) -> Action:
    """An action as all drivers have it: the first one's, less the parameters that another does not know."""
    first, *others = actions
    fields = first.parameters.model_fields
    shared = {name for name in fields if all(name in other.parameters.model_fields for other in others)}
    if len(shared) == len(fields):
        return first
    kept = {name: (fields[name].rebuild_annotation(), fields[name]) for name in fields if name in shared}
    parameters: type[Parameters] = create_model(first.parameters.__name__, __base__=Parameters, **kept)  # type: ignore[call-overload]
    return replace(first, parameters=parameters)


def _limits(
    lab: Lab, actions: Mapping[str, Action], by_class: Sequence[Device], devices: Sequence[Device]
) -> dict[str, Bounds]:
    """The bounds that hold on every device: the drivers' own, and lab.yaml's."""
    found: dict[str, Bounds] = {}
    for action in actions.values():
        for name in action.parameters.model_fields:
            key = f"{action.name}.{name}"
            bounds = FREE
            for device in by_class:
                bounds = bounds.narrowed(bounds_of(device.driver.actions[action.name].parameters.model_fields[name]))
            for device in devices:
                tighter = lab.limits[device.id].get(key)
                bounds = bounds if tighter is None else bounds.narrowed(tighter)
            if bounds != FREE:
                found[key] = bounds
    return found


# ── places and material ──────────────────────────────────────────────────────────────────────────────────────────
def _places(lab: Lab) -> frozenset[str]:
    places = {f"{entry.place}/{well}" for entry in lab.config.deck for well in entry.wells}
    for device in lab.devices.values():
        places |= set(device.driver.setup.positions)
        places |= {place for unit in device.driver.units if (place := lab.place_of(device, unit))}
    return frozenset(places)


def _trays(lab: Lab) -> frozenset[str]:
    """Places where parts and cells lie; a unit's own place is a station, whatever stands on it."""
    units = {lab.place_of(device, unit) for device in lab.devices.values() for unit in device.driver.units}
    trays = [entry for entry in lab.config.deck if labware.holds_parts(entry.labware)]
    return frozenset(f"{entry.place}/{well}" for entry in trays for well in entry.wells) - units


def _bare(lab: Lab, trays: frozenset[str]) -> frozenset[str]:
    """Of the places of trays those where nothing lies or will; none where nobody keeps a book of parts on trays."""
    known = lab.inventory.stock.known
    return trays - known - set(lab.places.occupied()) - lab.inventory.promised() if known else frozenset()


def _capacities(lab: Lab) -> dict[str, float]:
    """What the wells of the deck take, µL, and a cell wherever one is worked on."""
    found = {
        place: labware.CELL_CAPACITY
        for device in lab.devices.values()
        for unit in device.driver.units
        if device.driver.role != "arm" and (place := lab.place_of(device, unit))
    }
    for entry in lab.config.deck:
        most = labware.capacity(entry.labware)
        if most is not None:
            found |= {f"{entry.place}/{well}": most for well in entry.wells}
    return found


def _tips(lab: Lab, own: str | None, only: Collection[str] | None) -> dict[str, dict[int, int]]:
    """Tips that are left and nobody else needs, by device and size; a robot without a rack has none."""
    found: dict[str, dict[int, int]] = {
        device.id: {} for device in lab.devices.values() if device.driver.role == "pipetting_robot"
    }
    taken = dict(lab.inventory.reserved(own, only=only).tips)
    for place, left in lab.inventory.tips().items():
        size, device = lab.inventory.sizes[place], place.partition("/")[0]
        if device in lab.devices:
            others = min(float(left), taken.get(str(size), 0.0))
            taken[str(size)] = taken.get(str(size), 0.0) - others
            tips = found.setdefault(device, {})
            tips[size] = tips.get(size, 0) + int(left - others)
    return found
