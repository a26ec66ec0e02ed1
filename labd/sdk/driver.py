"""Driver: one class over one link, for one family of devices."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, JsonValue

from labd.sdk.actions import Action, Call, Parameters, Result, declared_actions
from labd.sdk.errors import OutcomeUnknown, Rejected
from labd.sdk.quality import DRAFT, Quality


class Settings(BaseModel):
    """Base of a driver's `settings` in lab.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Signals(BaseModel):
    """What one poll of one unit reads. None is a value that the device could not tell (quality `bad`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Reading = Signals | Mapping[str, Signals]
"""One poll: the signals of a device of one unit, or one Signals a unit."""


class About(BaseModel):
    """What a device says of itself on connecting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A taught position of an arm: x, y, z in mm and three angles in degrees, in the arm's base frame.

    `taught` and `ends` are days, `2026-01-31`: when it was taught, and the last one on which it is good; empty: unsaid.
    """

    pose: tuple[float, float, float, float, float, float]
    taught: str = ""
    by: str = ""
    ends: str = ""


@dataclass(frozen=True, slots=True)
class Labware:
    """What stands at one place of a device's deck: `place` is `<device>/<slot>`, wells are `<place>/<well>`."""

    place: str
    load_name: str
    contents: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)

    @property
    def slot(self) -> str:
        return self.place.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a driver is made from.

    Args:
        name: the device's name in lab.yaml.
        settings: its `settings`, not yet validated.
        positions: taught positions by the name of the place.
        deck: the labware on its own deck.
        calibrations: what was said of it with `labd device NAME calibrate`, as text, by name.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    positions: Mapping[str, Position] = field(default_factory=dict)
    deck: tuple[Labware, ...] = ()
    calibrations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TipRange:
    """The volumes, in µL, that a robot moves with tips of one size: above `above` (or from it, when 0) up to `most`."""

    size: int
    above: float
    most: float


class Verdict(StrEnum):
    """What a device says about an action that was ordered before."""

    DONE = "done"
    RUNNING = "running"
    NOT_DONE = "not_done"
    PARTIAL = "partial"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with its result (done, partial) and why it is believed."""

    verdict: Verdict
    why: str
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """An action as it was intended: what the journal holds from before its first byte."""

    id: str
    action: str
    unit: str
    parameters: Parameters
    baseline: Mapping[str, JsonValue]
    at: datetime


def _place(address: str) -> str | None:
    """An address without scheme, options and links to links; None where it names no fixed place (port 0)."""
    _, _, rest = address.rpartition("://")
    place = rest.partition("?")[0].rstrip("/")
    if "/" in place:
        return os.path.realpath(place)
    return None if place.endswith(":0") or not place else place.lower()


class Driver(ABC):
    """Base of all drivers and roles.

    A driver raises nothing but DeviceError's children for what its device does; any other exception counts as a
    Fault of that device. It never retries a ONCE action: the runtime decides.

    `role` is what a protocol calls it; `quality` how far it was tried; `quirks` what a user of the device must know, a
    sentence each. The contract suite (`pytest --labd-driver`) holds a driver to all of it.
    """

    role: ClassVar[str] = ""
    quality: ClassVar[Quality] = DRAFT
    quirks: ClassVar[tuple[str, ...]] = ()
    Settings: ClassVar[type[Settings]] = Settings
    Signals: ClassVar[type[Signals]] = Signals
    actions: ClassVar[dict[str, Action]] = {}
    packages: ClassVar[Mapping[str, str]] = {}
    """Modules that are imported only when it is used, each with what `pip install` is told; `labd doctor` looks."""
    found_at: ClassVar[Mapping[str, int]] = {}
    """Addresses of its devices, with `{host}` or `{port}` (a serial one), and at which TCP port `labd scan` looks
    (0: at serial ones)."""
    usb: ClassVar[tuple[str, ...]] = ()
    """Of USB ports that are certainly its devices': `vid:pid` in hexadecimal, or `vid:pid:product` as it begins."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.actions = declared_actions(cls)

    def __init__(self, setup: Setup) -> None:
        self.name = setup.name
        self.setup = setup
        self.settings = type(self).Settings.model_validate(setup.settings)

    @classmethod
    async def identify(cls, address: str) -> About | None:
        """Asks what is at an address whether it is a device of this driver; None: it is not, or says nothing.

        Called by `labd scan` of devices that nobody has configured: it may send only what asks, what moves and switches
        nothing on any device that could be there, and takes a few seconds at most. Raises nothing but DeviceError and
        ValueError, which count as no. By default nothing is asked.
        """
        del address
        return None

    @property
    def units(self) -> tuple[str, ...]:
        """Channels, nests or mounts by name; a device of one unit has the single unit ``""``."""
        return ("",)

    def place_of(self, unit: str) -> str | None:
        """Where a sample sits when this unit works on it (`press/nest`, `stat1/cell`), or None."""
        del unit
        return None

    def lacks(self) -> Mapping[str, str]:
        """The actions of its role that this device cannot do, each with why, in words; by its settings.

        A protocol that needs one is refused by the check where no device of the role can do it, its runs are given
        devices that can, and the action is Rejected.
        """
        return {}

    def own_link(self) -> str | None:
        """The port or address that it needs for itself, so that two devices of a lab cannot have it; None: none.

        Taken from the settings `address` or `port`. A driver of a bus that carries several units, each with a link of
        its own, adds the unit: `10.0.0.7:502 unit 2`.
        """
        said = getattr(self.settings, "address", None) or getattr(self.settings, "port", None)
        return _place(said) if isinstance(said, str) else None

    async def pose(self) -> tuple[float, float, float, float, float, float] | None:
        """Where an arm stands: x, y, z in mm and three angles in degrees, as positions are taught; None: who knows.

        Only of an arm that knows: one that is not homed raises Rejected.
        """
        return None

    def know_position(self, name: str, position: Position) -> None:
        """Told that a position was taught while it is at work."""
        self.setup = replace(self.setup, positions={**self.setup.positions, name: position})

    def know_calibration(self, name: str, value: str) -> None:
        """Told that something was calibrated while it is at work."""
        self.setup = replace(self.setup, calibrations={**self.setup.calibrations, name: value})

    def tips_by_volume(self) -> tuple[TipRange, ...]:
        """Which tips a pipetting robot takes for which volumes, the smallest first; empty where it cannot tell."""
        return ()

    def racks_for(self, action: str, parameters: Parameters) -> tuple[str, ...]:
        """The racks, by place, from one of which an action would take a new tip; empty: it takes none, or who knows."""
        del action, parameters
        return ()

    def tips_used(self) -> Mapping[str, frozenset[str]] | None:
        """Which tips are gone, wells by the place of the rack; None where it keeps no book of them."""
        return None

    def know_tips(self, used: Mapping[str, Collection[str]]) -> None:
        """Told at the start of the daemon, and when a person has counted: these tips are gone, whatever it knows.

        Args:
            used: wells by the place of the rack; they take the place of what was told of that rack before.
        """
        del used

    @abstractmethod
    async def connect(self) -> About:
        """Opens the link, identifies the device, and brings it to where it can take orders without moving it."""

    @abstractmethod
    async def close(self) -> None:
        """Closes the link. Never raises; harmless when closed."""

    @abstractmethod
    async def read_state(self) -> Reading:
        """One poll. Must not disturb an action that is running."""

    @abstractmethod
    async def safe_state(self, unit: str | None = None) -> None:
        """Makes a unit, or all, safe: no motion, no voltage on a cell. Idempotent; may be called at any time."""

    async def time(self) -> datetime | None:
        """The device's own clock, with its zone; None where it has none, or nobody can ask."""
        return None

    async def cancel(self, action_id: str) -> None:
        """Ends a running action in order; the action's own method then returns its partial result.

        Raises:
            Rejected: this driver has no way to, or no such action is running.
        """
        raise Rejected(f"{action_id} cannot be cancelled: the device has no way to end it in order")

    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        """What `outcome` will compare against later (a counter, the boot time); read before the intent is written."""
        del action, unit
        return {}

    async def outcome(self, intent: Intent) -> Outcome:
        """Whether an action happened. Says UNKNOWN unless the device gives proof."""
        del intent
        return Outcome(Verdict.UNKNOWN, "this device cannot tell")

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Takes up an action that is still running on the device, and gives its result.

        Raises:
            OutcomeUnknown: it cannot be taken up.
        """
        del call
        raise OutcomeUnknown(f"{intent.action} cannot be taken up again")

    async def catch_up(self, intent: Intent, call: Call) -> None:
        """Tells the rows of an action that has ended unheard (`outcome` said done or partial), where it kept them.

        Rows up to `call.rows_before` are kept already.
        """
        del intent, call

    async def invoke(self, action: Action, parameters: Parameters, call: Call) -> Result:
        """Runs one action with checked parameters. Rejected where the device lacks it."""
        lack = self.lacks().get(action.name)
        if lack is not None:
            raise Rejected(f"{self.name} has no {action.name}: {lack}")
        method = getattr(self, action.method)
        values = {name: getattr(parameters, name) for name in type(parameters).model_fields}
        result = await method(call, **values)
        return result if result is not None else action.result()
