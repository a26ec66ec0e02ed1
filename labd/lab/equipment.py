"""From lab.yaml to drivers: found, made with their settings, and bounded by the lab's own limits."""

from __future__ import annotations

import datetime as dt
import importlib
import os
import pkgutil
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from labd.expr import did_you_mean
from labd.files import Path as Place
from labd.lab.calibrations import Calibration, read_calibrations
from labd.lab.deck import DeckEntry
from labd.lab.findings import Findings
from labd.lab.models import DeviceConfig, LabError, LimitText
from labd.lab.positions import PositionFile, read_positions
from labd.lab.shapes import flaws_of
from labd.sdk import ROLES, Action, Bounds, DeviceError, Driver, Setup
from labd.sdk.actions import build_models
from labd.sdk.quantities import bounds_of, unit_of
from labd.sdk.units import UnitError, parse, plain

Find = Callable[[str], type[Driver]]

RENAMED = {"mettler": "mt_sics"}
"""Drivers that had another name, by that name."""
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a lab's devices are made from.

    Args:
        devices, deck: as lab.yaml says.
        base: the folder of lab.yaml.
        overrides: settings by device that replace the file's.
        find: how a driver is found by its name.
        today: the day by which taught positions are valid or not.
    """

    devices: Mapping[str, DeviceConfig]
    deck: Iterable[DeckEntry]
    base: Path
    findings: Findings
    today: dt.date
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    find: Find | None = None

    def classes(self) -> dict[str, type[Driver]]:
        """The drivers' classes by device; one that is not there is told."""
        found = {name: self._class(name, config.driver) for name, config in self.devices.items()}
        return {name: cls for name, cls in found.items() if cls is not None}

    def drivers(self, classes: Mapping[str, type[Driver]]) -> dict[str, Driver]:
        """The drivers, not yet connected, of all devices for which one can be made; the rest is told."""
        found = {name: self._made(name, self.devices[name], cls) for name, cls in classes.items()}
        drivers = {name: driver for name, driver in found.items() if driver is not None}
        self._tell_shared(drivers)
        return drivers

    def _tell_shared(self, drivers: Mapping[str, Driver]) -> None:
        """Tells devices that need one port or address for themselves: the second would never come up."""
        first: dict[str, str] = {}
        for name, driver in drivers.items():
            link = driver.own_link()
            if link is None:
                continue
            owner = first.setdefault(link, name)
            if owner != name:
                settings = self.devices[name].settings
                key = next((key for key in ("address", "port") if key in settings), None)
                at: Place = ("devices", name, "settings", *([key] if key else []))
                self.findings.tell("L213", f"`{owner}` is at {link} already", at, "give each device a link of its own")

    def _class(self, name: str, kind: str) -> type[Driver] | None:
        try:
            return (self.find or find_driver)(kind)
        except LabError as error:
            mend = "" if kind in (known := known_drivers()) else did_you_mean(kind, known, "there is")
            mend = f"write `driver: {RENAMED[kind]}`" if kind in RENAMED else mend
            self.findings.tell("L201", str(error), ("devices", name, "driver"), mend)
        return None

    def _made(self, name: str, config: DeviceConfig, cls: type[Driver]) -> Driver | None:
        settings = {**config.settings, **self.overrides.get(name, {})}
        positions = {}
        if config.positions is not None:
            file = PositionFile(name, self.base / config.positions, self._shown(config.positions))
            positions = read_positions(file, self.findings, self.today)
        calibrations = self.calibrations(name)
        values = {key: one.value for key, one in calibrations.items()}
        deck = tuple(entry.as_labware() for entry in self.deck if entry.place.startswith(f"{name}/"))
        try:
            return cls(Setup(name, settings, positions, deck, values))
        except ValidationError as error:
            self._refused(name, cls, settings, error)
        except (ValueError, OSError, DeviceError) as error:
            said = [key for key, value in settings.items() if isinstance(value, str) and value and value in str(error)]
            where: Place = ("devices", name, "settings", *said[:1])
            self.findings.tell("L202", str(error), where)
        return None

    def calibrations(self, name: str) -> dict[str, Calibration]:
        """What was calibrated of a device, by name; what does not hold is told."""
        path = self.devices[name].calibrations
        if path is None:
            return {}
        return read_calibrations(PositionFile(name, self.base / path, self._shown(path)), self.findings, self.today)

    def _shown(self, path: Path) -> str:
        """A file beside lab.yaml as people name it who named lab.yaml."""
        source = self.findings.source
        return str(Path(source.name).parent / path) if source is not None else str(self.base / path)

    def _refused(self, name: str, cls: type[Driver], settings: Mapping[str, Any], error: ValidationError) -> None:
        at: Place = ("devices", name, "settings")
        if error.title != cls.Settings.__name__:
            self.findings.tell("L202", "; ".join(one["msg"] for one in error.errors()), at)
            return
        for found in flaws_of(error, cls.Settings, settings):
            message = found.message.replace("unknown key", f"{self.devices[name].driver} has no setting")
            self.findings.tell("L202", message, (*at, *found.path), found.mend, key=found.key)


def known_drivers() -> list[str]:
    """The names of all drivers that are installed."""
    own = [module.name for module in pkgutil.iter_modules(importlib.import_module("drivers").__path__)]
    return sorted({*own, *(point.name for point in entry_points(group="labd.drivers"))})


def find_driver(kind: str) -> type[Driver]:
    """Finds a driver by name: `drivers.<kind>`, or the entry-point group `labd.drivers`.

    Raises:
        LabError: there is none.
    """
    if not _KIND.fullmatch(kind):
        raise LabError(f"there is no driver {kind[:60]!r}")
    driver = _loaded(kind, partial(importlib.import_module, f"drivers.{kind}"), own=f"drivers.{kind}")
    if driver is None:
        found = [point for point in entry_points(group="labd.drivers") if point.name == kind]
        if not found and kind in RENAMED:
            raise LabError(f"the driver {kind!r} is called {RENAMED[kind]!r} now")
        if not found:
            raise LabError(f"there is no driver {kind!r}: neither drivers/{kind}.py nor a labd.drivers entry")
        driver = _loaded(kind, found[0].load)
    driver = getattr(driver, "DRIVER", None) if isinstance(driver, ModuleType) else driver
    if not (isinstance(driver, type) and issubclass(driver, Driver)):
        raise LabError(f"driver {kind!r}: its DRIVER is no subclass of labd.sdk.Driver")
    try:
        build_models(driver.actions.values())
    except TypeError as error:
        raise LabError(f"driver {kind!r}: {error}") from error
    return driver


def _loaded(kind: str, load: Callable[[], Any], own: str | None = None) -> Any:
    """What somebody's code gives that is loaded, whatever it is that fails in it; None where `own` is not there.

    Raises:
        LabError: it failed, or needs a package that is not installed.
    """
    try:
        return load()
    except ModuleNotFoundError as error:
        if error.name == own:
            return None
        raise LabError(f"driver {kind!r} needs the package {error.name!r}, which is not installed") from error
    except SyntaxError as error:
        raise LabError(f"driver {kind!r} cannot be loaded: {error}") from error  # it says where itself
    except Exception as error:
        said = f"driver {kind!r} cannot be loaded: {type(error).__name__}: {error}"
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_pythons(frame.filename)]
        own_code = frames[1:]  # the first one is ours
        at = f", {'/'.join(Path(own_code[-1].filename).parts[-2:])}:{own_code[-1].lineno}" if own_code else ""
        raise LabError(said + at) from error


def _is_pythons(file: str) -> bool:
    return file.startswith("<") or (Path(file).is_relative_to(Path(os.__file__).parent) and "site-packages" not in file)


def check_roles(
    roles: Mapping[str, Sequence[str]], names: Sequence[str], classes: Mapping[str, type[Driver]], findings: Findings
) -> None:
    """Tells unknown roles, and devices that are not there or serve another role.

    Args:
        roles: as lab.yaml says.
        names: of all devices of lab.yaml.
        classes: of those whose driver is there.
        findings: who is told.
    """
    known = {*ROLES, *(cls.role for cls in classes.values())}
    for role, devices in roles.items():
        if role not in known:
            findings.tell("L203", f"there is no role `{role}`", ("roles", role), did_you_mean(role, known), key=True)
            continue
        for index, name in enumerate(devices):
            at: Place = ("roles", role, index)
            if name not in names:
                findings.tell("L204", f"there is no device `{name}`", at, did_you_mean(name, names))
            elif name in devices[:index]:
                findings.tell("L302", f"`{name}` stands twice", at, "keep one of them")
            elif name in classes and classes[name].role != role:
                other = classes[name].role
                findings.tell("L204", f"`{name}` is of the role {other}, no {role}", at, f"move it to `{other}`")


def limits_of(name: str, config: DeviceConfig, actions: Mapping[str, Action], findings: Findings) -> dict[str, Bounds]:
    """The lab's own bounds of a device by `action.parameter`, in default units; what does not hold is told."""
    found: dict[str, Bounds] = {}
    for key, text in config.limits.items():
        at: Place = ("devices", name, "limits", key)
        action_name, _, parameter = key.partition(".")
        action = actions.get(action_name)
        wanted = action.parameters.model_fields.get(parameter) if action else None
        unit = unit_of(wanted) if wanted is not None else None
        if wanted is None or unit is None:
            what = "is no quantity, so it has no limits" if wanted is not None else "names no action and parameter"
            findings.tell("L205", f"`{key}` {what}", at, did_you_mean(key, _quantities(actions), "it has"), key=True)
            continue
        bounds = _bounds(text, unit, at, findings)
        if bounds is not None and _fits(bounds, bounds_of(wanted), unit, at, findings):
            found[key] = bounds
    return found


def _quantities(actions: Mapping[str, Action]) -> list[str]:
    """What limits may name: `crimp.force`."""
    return [
        f"{action.name}.{name}"
        for action in actions.values()
        for name, one in action.parameters.model_fields.items()
        if unit_of(one) is not None
    ]


def _bounds(text: LimitText, unit: str, at: Place, findings: Findings) -> Bounds | None:
    """Both bounds in a unit, or None when one cannot be read."""
    read: dict[str, float | None] = {}
    for side, bound in (("min", text.min), ("max", text.max)):
        try:
            if isinstance(bound, float):
                raise UnitError(f"`{bound:g}` needs a unit")  # noqa: TRY301 - told as the others are
            read[side] = parse(bound).to(unit) if bound is not None else None
        except UnitError as error:
            example = f"{bound:g}" if isinstance(bound, float) else "1"
            findings.tell("L105", str(error), (*at, side), f"write one like `{example} {unit}`")
    return Bounds(**read) if len(read) == 2 else None


def _fits(bounds: Bounds, own: Bounds, unit: str, at: Place, findings: Findings) -> bool:
    """Whether bounds leave something, and are nowhere looser than the driver's own."""
    if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
        message = f"the least, {plain(bounds.min, unit)}, is above the greatest, {plain(bounds.max, unit)}"
        findings.tell("L206", message, (*at, "min"))
        return False
    narrowed = bounds.narrowed(own)
    if narrowed.min is not None and narrowed.max is not None and narrowed.min > narrowed.max:
        message = f"this leaves nothing of what the driver takes, {_range(own, unit)}"
        findings.tell("L206", message, at, key=True)
        return False
    for side, given, most in (("min", bounds.min, own.min), ("max", bounds.max, own.max)):
        if given is not None and most is not None and getattr(narrowed, side) != given:
            word = "least" if side == "min" else "most"
            message = f"{plain(given, unit)} is looser than the driver's own bound, {plain(most, unit)}"
            findings.tell("L206", message, (*at, side), f"write at {word} `{plain(most, unit)}`, or delete it")
    return True


def _range(own: Bounds, unit: str) -> str:
    low = plain(own.min, unit) if own.min is not None else ""
    high = plain(own.max, unit) if own.max is not None else ""
    return f"{low} to {high}" if low and high else f"up to {high}" if high else f"{low} and more"
