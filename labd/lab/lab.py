"""One lab as configured: its devices, where things stand, and who may serve which role."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from labd.lab.bus import Bus
from labd.lab.config import DeviceConfig, LabConfig, LabError
from labd.lab.device import Device, Poll
from labd.lab.places import Places
from labd.sdk import Action, Bounds, Driver, Parameters, Setup
from labd.sdk.quantities import unit_of
from labd.sdk.units import UnitError, parse


class Lab:
    """The devices of one lab, and the places between them.

    Args:
        config: lab.yaml.
        overrides: settings by device that replace the file's (the addresses where simulators really listen).
        find: how a driver is found by its name.

    Raises:
        LabError: a driver that does not exist, or settings that it refuses.
    """

    def __init__(
        self,
        config: LabConfig,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        find: Callable[[str], type[Driver]] | None = None,
    ) -> None:
        self.config = config
        self.bus = Bus()
        self.places = Places()
        self.devices: dict[str, Device] = {}
        for name, device in config.devices.items():
            settings = {**device.settings, **(overrides or {}).get(name, {})}
            driver = make_driver(config, name, settings, (find or find_driver)(device.driver))
            poll = Poll(device.poll.idle, device.poll.busy)
            jitter = random.Random(f"{config.seed}:{name}")
            self.devices[name] = Device(name, device.driver, driver, self.bus, poll, jitter=jitter)
        for role, names in config.roles.items():
            for name in names:
                serves = self.devices[name].driver.role
                if serves != role:
                    raise LabError(f"roles.{role}: {name} ({config.devices[name].driver}) has the role {serves}")
        self.limits = {name: _limits(name, device, self.devices[name]) for name, device in config.devices.items()}

    def units_for(self, role: str) -> list[tuple[Device, str]]:
        """Devices and units that serve a role, in the order that lab.yaml prefers."""
        names = self.config.roles.get(role)
        if names is None:
            names = [name for name, device in self.devices.items() if device.driver.role == role]
        return [(self.devices[name], unit) for name in names for unit in self.devices[name].driver.units]

    def place_of(self, device: Device, unit: str) -> str | None:
        """Where a sample is while a unit has it: a nest, a channel's holder, an arm's gripper."""
        if device.driver.role == "arm":
            return f"{device.id}/gripper"
        return device.driver.place_of(unit)

    def locate(self, source: str) -> str:
        """The place of a material; a place is given back as it is.

        Raises:
            LabError: no labware of the deck holds the material.
        """
        if "/" in source:
            return source
        for entry in self.config.deck:
            for well, content in entry.contents.items():
                if content.get("material") == source:
                    return f"{entry.place}/{well}"
        known = sorted(self.materials())
        raise LabError(f"no vial on the deck holds {source!r}; there are: {', '.join(known) or 'none'}")

    def materials(self) -> set[str]:
        """The materials that stand on the deck."""
        return {
            str(content["material"])
            for entry in self.config.deck
            for content in entry.contents.values()
            if "material" in content
        }

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


def make_driver(config: LabConfig, name: str, settings: Mapping[str, Any], cls: type[Driver]) -> Driver:
    """Makes a device's driver, not yet connected. Raises LabError for settings that it refuses."""
    setup = Setup(name, settings, config.positions_of(name), config.labware_of(name))
    try:
        return cls(setup)
    except (ValidationError, ValueError) as error:
        raise LabError(f"device {name} ({config.devices[name].driver}): settings: {_first_line(error)}") from error


def find_driver(kind: str) -> type[Driver]:
    """Finds a driver by name: `drivers.<kind>`, or the entry-point group `labd.drivers`.

    Raises:
        LabError: there is none.
    """
    try:
        module = importlib.import_module(f"drivers.{kind}")
    except ModuleNotFoundError as error:
        if error.name != f"drivers.{kind}":
            raise LabError(f"driver {kind!r} needs the package {error.name!r}, which is not installed") from error
        found = [point for point in entry_points(group="labd.drivers") if point.name == kind]
        if not found:
            raise LabError(
                f"there is no driver {kind!r}: neither drivers/{kind}.py nor a labd.drivers entry"
            ) from error
        driver = found[0].load()
    else:
        driver = module.DRIVER
    if not (isinstance(driver, type) and issubclass(driver, Driver)):
        raise LabError(f"driver {kind!r}: its DRIVER is no subclass of labd.sdk.Driver")
    return driver


def _limits(name: str, config: DeviceConfig, device: Device) -> dict[str, Bounds]:
    found: dict[str, Bounds] = {}
    for key, text in config.limits.items():
        action_name, _, parameter = key.partition(".")
        action = device.driver.actions.get(action_name)
        field = action.parameters.model_fields.get(parameter) if action else None
        if field is None:
            raise LabError(f"device {name}: limits: {key!r} names no action and parameter, such as `crimp.force`")
        unit = unit_of(field)
        if unit is None:
            raise LabError(f"device {name}: limits: {key} is no quantity, so it has no limits")
        try:
            low, high = (parse(bound).to(unit) if bound else None for bound in (text.min, text.max))
        except UnitError as error:
            raise LabError(f"device {name}: limits: {key}: {error}") from error
        found[key] = Bounds(low, high)
    return found


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    return str(error)
