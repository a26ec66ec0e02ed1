"""What the contract is held against: a driver, the simulator of its device, and what it is told on a bench."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from labd.lab.equipment import find_driver, known_drivers
from labd.lab.models import LabError
from labd.sdk import Action, DeviceError, Driver, Parameters, Setup
from labd.sdk.quantities import bounds_of, is_place, unit_of
from simulators._kit.registry import GROUP, checked, find_simulator
from simulators._kit.simulator import Simulator
from simulators._kit.trial import Trial

_USUAL = {"s": 5.0, "µL": 50.0, "kN": 1.0, "V": 3.7, "A": 1e-4, "°C": 30.0, "mm": 20.0, "Hz": 100.0, "g": 1.0}
"""What a quantity is made up as, in its unit, where its bounds allow."""


class NoSubject(Exception):
    """What was named is no driver, or not to be had; the text says why."""


@dataclass(frozen=True)
class Subject:
    """A driver and what it is tried on.

    Args:
        kind: its name in lab.yaml, or the reference by which it was named.
        driver: the class.
        simulator: of its device; None where there is none.
        transcripts: the folder of recordings; those of this driver begin with its name.
    """

    kind: str
    driver: type[Driver]
    simulator: type[Simulator] | None
    transcripts: Path | None = None

    def __str__(self) -> str:
        return self.kind

    @property
    def trial(self) -> Trial:
        return self.simulator.trial if self.simulator is not None else Trial()

    @property
    def name(self) -> str:
        """The device's name on the bench."""
        return self.trial.name or "device"

    def recordings(self) -> list[Path]:
        """Its transcripts."""
        short = self.kind.partition(":")[0].rpartition(".")[2].removeprefix("labd_")
        return sorted(self.transcripts.glob(f"{short}*.jsonl")) if self.transcripts is not None else []

    def module_doc(self) -> str:
        """The docstring of the driver's module, and of its package."""
        module = inspect.getmodule(self.driver)
        package = importlib.import_module(module.__package__) if module and module.__package__ else None
        return "\n".join(filter(None, (inspect.getdoc(one) for one in (module, package))))

    def lacks(self) -> frozenset[str]:
        """The actions that the device of the trial cannot do, by its driver's word."""
        try:
            return frozenset(self.driver(Setup(self.name, self.trial.settings)).lacks())
        except (ValueError, OSError, DeviceError):  # the trial leaves settings to be found by trying
            return frozenset()

    def acts(self) -> list[tuple[Action, Parameters]]:
        """All actions with parameters: as the trial says, then the others made up from their bounds.

        Raises:
            AssertionError: the trial names what is not there, or parameters cannot be made up.
        """
        actions = self.driver.actions
        unknown = [name for name, _ in self.trial.acts if name not in actions]
        assert not unknown, f"its simulator's `trial.acts` name {', '.join(unknown)}, which the driver does not have"
        found = [(actions[name], _read(actions[name], dict(values))) for name, values in self.trial.acts]
        named = {name for name, _ in self.trial.acts} | self.lacks()
        return found + [(one, _read(one, _made_up(one))) for name, one in actions.items() if name not in named]


def _read(action: Action, values: Mapping[str, Any]) -> Parameters:
    try:
        return action.parameters.model_validate(values)
    except ValueError as error:
        raise AssertionError(f"{action.name}: name its parameters in the simulator's `trial.acts`: {error}") from error


def _made_up(action: Action) -> dict[str, Any]:
    fields = action.parameters.model_fields
    wanted = [name for name, field in fields.items() if field.is_required()]
    if action.one_of and not any(name in wanted for name in action.one_of):
        wanted.append(action.one_of[0])
    return {name: usual(fields[name]) for name in wanted}


def usual(field: FieldInfo) -> Any:
    """A value within a field's bounds; None where none can be thought of."""
    unit, bounds = unit_of(field), bounds_of(field)
    kind = field.annotation
    if is_place(field):
        return None
    if unit is not None or kind in (int, float):
        value = _USUAL.get(unit or "", 1.0)
        value = max(value, bounds.min) if bounds.min is not None else value
        value = min(value, bounds.max) if bounds.max is not None else value
        return f"{value:g} {unit}" if unit else kind(value) if kind in (int, float) else value
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    return {bool: True, str: "a"}.get(kind) if isinstance(kind, type) else None


def shipped(transcripts: Path | None = None) -> list[Subject]:
    """All drivers that are installed, with their simulators."""
    return [subject(kind, transcripts=transcripts) for kind in known_drivers()]


def subject(name: str, simulator: str | None = None, transcripts: Path | None = None) -> Subject:
    """A driver by its name in lab.yaml (`julabo`) or its place (`mypackage.balance:DRIVER`).

    Args:
        name: of the driver.
        simulator: its simulator's place, `mypackage.simulator:SIMULATOR`; left out: by the driver's name, or beside it.
        transcripts: the folder of recordings.

    Raises:
        NoSubject: there is no such driver, or no such simulator.
    """
    module, colon, attribute = name.partition(":")
    try:
        driver = _loaded(module, attribute or "DRIVER") if colon else find_driver(name)
        if not (isinstance(driver, type) and issubclass(driver, Driver)):
            raise NoSubject(f"{name}: this is no driver, no subclass of labd.sdk.Driver")
        found = _simulator(name, driver, simulator)
    except (LabError, ImportError, AttributeError, TypeError, ValueError) as error:
        raise NoSubject(f"{name}: {error}") from error
    return Subject(name, driver, found, transcripts)


def _simulator(name: str, driver: type[Driver], given: str | None) -> type[Simulator] | None:
    if given is not None:
        module, _, attribute = given.partition(":")
        return checked(_loaded(module, attribute or "SIMULATOR"), given)
    if ":" not in name:
        return find_simulator(name)
    names = [point.name for point in entry_points(group="labd.drivers") if point.value == name]
    own = driver.__module__.split(".")
    if own[0] == "drivers":
        names.append(own[1])
    for kind in names:
        found = find_simulator(kind)
        if found is not None:
            return found
    module = name.partition(":")[0]
    beside = f"{module}.simulator"  # where `labd new driver` puts it, before it is installed
    if hasattr(sys.modules[module], "__path__") and importlib.util.find_spec(beside) is not None:
        return checked(_loaded(beside, "SIMULATOR"), beside)
    return None


def _loaded(module: str, attribute: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


__all__ = ["GROUP", "NoSubject", "Subject", "shipped", "subject", "usual"]
