"""One lab as configured: its devices, where things stand, and who may serve which role."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from labd import clock
from labd.lab.alarms import Alarms
from labd.lab.barriers import Barriers
from labd.lab.bus import Bus
from labd.lab.config import LabConfig, LabError
from labd.lab.device import Device, Poll
from labd.lab.dosing import WeighedDose, check_doses
from labd.lab.equipment import Equipment, Find, check_roles, limits_of
from labd.lab.findings import Findings
from labd.lab.inventory import Inventory
from labd.lab.places import Places
from labd.lab.rules import rules_of, safe_actions
from labd.lab.samples import Samples
from labd.sdk import Action, Parameters
from labd.sdk.quantities import unit_of


class Lab:
    """The devices of one lab, and the places between them.

    Args:
        config: lab.yaml.
        overrides: settings by device that replace the file's (the addresses where simulators really listen).
        find: how a driver is found by its name.

    Raises:
        InputErrors: drivers that do not exist, settings that they refuse, roles, limits and positions that do not hold.
    """

    def __init__(
        self,
        config: LabConfig,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        find: Find | None = None,
    ) -> None:
        self.config = config
        self.bus = Bus()
        self.alarms = Alarms(self.bus)
        self.barriers = Barriers()
        self.places = Places()
        self.samples = Samples()
        self.devices: dict[str, Device] = {}
        findings = config.findings()
        today = clock.now().date()
        equipment = Equipment(config.devices, config.deck, config.base, findings, today, overrides or {}, find)
        classes = equipment.classes()
        drivers = equipment.drivers(classes)
        # told with the drivers, which are made with them: not a second time
        quiet = replace(equipment, findings=Findings(None))
        self.calibrations = {name: quiet.calibrations(name) for name in config.devices}
        check_roles(config.roles, tuple(config.devices), classes, findings)
        self.limits = {
            name: limits_of(name, config.devices[name], cls.actions, findings) for name, cls in classes.items()
        }
        self.rules = rules_of(dict(enumerate(config.interlocks)), drivers, classes, tuple(config.devices), findings)
        self.safe_by = safe_actions(config.devices, classes, findings)
        check_doses(config.evidence, classes, drivers, tuple(config.devices), config.deck, findings)
        self.warnings = (*config.warnings, *findings.settle())
        for name, device in config.devices.items():
            poll = Poll(device.poll.idle, device.poll.busy)
            jitter = random.Random(f"{config.seed}:{name}")
            self.devices[name] = Device(name, device.driver, drivers[name], self.bus, poll, jitter=jitter)
        self.inventory = Inventory(config.deck, config.parts, self.devices, self.places)
        for rule in config.evidence:
            dosing, _, action = rule.after.partition(".")
            proofs = self.devices[dosing].witnesses.proofs
            proofs.setdefault(action, []).append(WeighedDose.of(rule, self.devices))

    def units_for(self, role: str, actions: Collection[str] = ()) -> list[tuple[Device, str]]:
        """Devices and units that serve a role and can do all of these actions, in the order that lab.yaml prefers."""
        names = self.config.roles.get(role)
        if names is None:
            names = [name for name, device in self.devices.items() if device.driver.role == role]
        able = [self.devices[name] for name in names]
        if actions:
            able = [device for device in able if device.driver.lacks().keys().isdisjoint(actions)]
        return [(device, unit) for device in able for unit in device.driver.units]

    def scarce(self) -> frozenset[str]:
        """The actions that some device has by its role and cannot do."""
        return frozenset(action for device in self.devices.values() for action in device.driver.lacks())

    async def wait_ready(self, limit: float) -> None:
        """Waits until all devices are there; after so many seconds of lab time raises LabError with what is missing."""
        devices = self.devices.values()
        try:
            async with asyncio.timeout(limit):
                await asyncio.gather(*(device.wait_ready() for device in devices))
        except TimeoutError:
            states = [device.state() for device in devices]
            missing = "; ".join(f"{state.device}: {state.problem}" for state in states if state.health != "ok")
            raise LabError(f"not all devices came up within {limit:g} s of lab time: {missing}") from None

    def place_of(self, device: Device, unit: str) -> str | None:
        """Where a sample is while a unit has it: a nest, a channel's holder, an arm's gripper."""
        if device.driver.role == "arm":
            return f"{device.id}/gripper"
        return device.driver.place_of(unit)

    def locate(self, source: str, volume: float = 0.0) -> str:
        """The place of a material; a place is given back as it is.

        Of several wells the first to expire serves of those that have the volume (µL).

        Raises:
            LabError: no labware of the deck holds the material.
        """
        if "/" in source:
            return source
        place = self.inventory.locate(source, volume)
        if place is not None:
            return place
        known = sorted(self.inventory.materials())
        raise LabError(f"no vial on the deck holds {source!r}; there are: {', '.join(known) or 'none'}")

    def check_limits(self, device: str, action: Action, parameters: Parameters) -> str | None:
        """What lab.yaml's own limits say against these parameters, in words, or None."""
        for name, bounds in self.limits[device].items():
            action_name, _, parameter = name.partition(".")
            if action_name != action.name:
                continue
            value = getattr(parameters, parameter)
            if value is None:
                continue
            problem = bounds.problem(value, unit_of(type(parameters).model_fields[parameter]) or "")
            if problem:
                return f"{name}: {problem} that lab.yaml allows"
        return None
