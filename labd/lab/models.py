"""What lab.yaml says: what one daemon owns, as frozen models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    field_validator,
)

from labd.files import Problem, Source
from labd.lab.access import Broker, Mqtt, Users
from labd.lab.deck import DeckEntry
from labd.lab.findings import Findings
from labd.lab.sizes import Size
from labd.lab.written import (
    Count,
    Day,
    DeviceName,
    InterlockName,
    Line,
    Name,
    Part,
    PartName,
    PlaceName,
    Settings,
    Whole,
    Written,
    flaw,
    plain,
)


class LabError(Exception):
    """The lab cannot do what is asked of it; the text says what, why and how to mend it."""


class Api(Part):
    """The interface for programs and people; the Unix socket is always there."""

    listen: Annotated[
        str | None,
        Field(pattern=r"^[^:]+:\d{1,5}$", description="Address and port besides the socket: 127.0.0.1:8040."),
    ] = None
    socket: Annotated[Path | None, Field(description="Default: labd.sock in the store.")] = None


class PollPeriods(Part):
    """Time between two polls, s."""

    idle: Annotated[
        float,
        Written("s", least=0.01),
        Field(description="While nothing acts on it.", json_schema_extra={"default": "10 s"}),
    ] = 10.0
    busy: Annotated[
        float,
        Written("s", least=0.01),
        Field(description="While something does.", json_schema_extra={"default": "1 s"}),
    ] = 1.0


_QUANTITY = WithJsonSchema({"type": "string"})  # a number without a unit is read, to be told that it needs one


class LimitText(Part):
    """Bounds tighter than the driver's own, as quantities in text; which unit is right, the driver knows."""

    min: Annotated[str | float | None, _QUANTITY, Field(description="The least: 1 kN.")] = None
    max: Annotated[str | float | None, _QUANTITY, Field(description="The greatest: 9 kN.")] = None


class Maintenance(Part):
    """Why a device is not to be given to runs."""

    reason: Annotated[Line, Field(description="What is done to it.")]
    by: Annotated[Line, Field(description="Who does it.")]
    since: Annotated[Day | None, Field(description="The day it began.")] = None


class SafeBy(Part):
    """Another device that makes this one safe when its own link is gone: a relay that takes its power."""

    device: Annotated[Name, Field(description="The other device.")]
    action: Annotated[str, Field(description="Its action; one of effect `state`, such as open.")]
    with_: Annotated[
        dict[str, Any], BeforeValidator(plain), Field(alias="with", description="The action's parameters.")
    ] = Field(default_factory=dict)

    model_config = ConfigDict(populate_by_name=True)


class DeviceConfig(Part):
    """One device."""

    driver: Annotated[str, Field(description="The driver's name: opentrons, meca500, plc_crimper, methodscript.")]
    settings: Annotated[Settings, Field(description="What the driver needs: its address, its model.")] = Field(
        default_factory=dict
    )
    poll: Annotated[
        PollPeriods,
        Field(
            description="How often it is asked for its signals.",
            json_schema_extra={"default": {"idle": "10 s", "busy": "1 s"}},
        ),
    ] = PollPeriods()
    simulator: Annotated[
        Settings | None,
        WithJsonSchema({"type": "object"}),
        Field(description="Present only where the device is simulated: the simulator's settings."),
    ] = None
    limits: Annotated[
        dict[str, LimitText], Field(description="By action and parameter, never looser than the driver's own.")
    ] = Field(default_factory=dict)
    positions: Annotated[Path | None, Field(description="The file of an arm's taught positions.")] = None
    calibrations: Annotated[
        Path | None, Field(description="The file of its calibrations; one that is not there holds none yet.")
    ] = None
    maintenance: Annotated[Maintenance | None, Field(description="Set while somebody works on the device.")] = None
    safe_by: Annotated[
        SafeBy | None, Field(description="What makes it safe when its own link is lost while it acts.")
    ] = None

    @field_validator("simulator", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        if value is None:  # who writes the key means a simulated device, and must not get a real one
            raise flaw("L103", "`simulator` has no value", "write `simulator: {}`, or delete the key for a real device")
        return value


class Scaled(Part):
    scaled: Annotated[float, Field(strict=True, gt=0, le=100_000, description="Lab seconds in a second.")]


class Interlock(Part):
    """A condition over live signals on which the lab acts by itself. labd is not a safety function."""

    model_config = ConfigDict(populate_by_name=True)

    name: Annotated[InterlockName, Field(description="What messages call it.")]
    if_: Annotated[Line, Field(alias="if", description="The condition: glovebox.oxygen > 50 ppm.")]
    for_: Annotated[
        float,
        Written("s", least=0),
        Field(alias="for", description="How long it must hold.", json_schema_extra={"default": "0 s"}),
    ] = 0.0
    then: Annotated[Literal["hold", "abort", "stop"], Field(description="What is done to the runs.")]
    devices: Annotated[list[Name] | None, Field(description="Only runs that use these; default: all.")] = None
    latch: Annotated[
        Annotated[bool, Field(strict=True)] | None,
        Field(description="Whether it stays tripped until a person clears it; default: for abort and stop."),
    ] = None

    @property
    def latches(self) -> bool:
        return self.then != "hold" if self.latch is None else self.latch


class Disk(Part):
    """The disk that the store is on."""

    hold_below: Annotated[
        int,
        Size(least=32_000_000),
        Field(
            description="All runs are held while less is free; a warning comes at twice that.",
            json_schema_extra={"default": "200 MB"},
        ),
    ] = 200_000_000


class QueueConfig(Part):
    """How the queue starts its jobs."""

    most_runs: Annotated[
        int, Field(strict=True, ge=1, le=1000, description="So many runs at a time; further jobs wait.")
    ] = 16
    plan: Annotated[
        bool,
        Field(
            strict=True,
            description="Whether runs and jobs follow a plan; else each begins what it can, in the order of the line.",
        ),
    ] = True


class MassEvidence(Part):
    """A dose that counts as done only when a balance under its destination has seen it."""

    name: Annotated[Name, Field(description="What messages call it.")]
    after: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9_-]{1,64}\.[a-z0-9_]{1,64}$",
            description="The action that gives the dose, by device and name: ot2.transfer.",
        ),
    ]
    to: Annotated[PlaceName, Field(description="Where it goes: a slot on the balance, or a well of it.")]
    mass: Annotated[Name, Field(description="The balance.")]
    density: Annotated[float, Written("g/cm^3", least=0.1, most=20), Field(description="Of the liquid: 1.2 g/mL.")]
    within: Annotated[
        float,
        Written("%", least=0.01, most=100),
        Field(description="How far off the mass may be, as a share of it: 10 %."),
    ]


class LabConfig(Part):
    """One lab as configured."""

    labd: Annotated[Literal[1], Field(description="The version of this file's language.")]
    lab: Annotated[Name, Field(description="Its name; part of every topic.")]
    store: Annotated[Path, Field(description="The folder of journal, signals and runs.")]
    seed: Annotated[Whole, Field(description="Of all that is random in simulators and waits.")] = 1
    clock: Annotated[
        Annotated[Literal["real", "virtual"], Tag("@kind")] | Annotated[Scaled, Tag("@scaled")],
        Discriminator(lambda given: "@scaled" if _is_mapping(given) else "@kind"),
        Field(description="`real`, `{scaled: 60}`, or `virtual` in simulated labs."),
    ] = "real"
    mqtt: Annotated[Mqtt | None, Field(description="Where telemetry goes; without it there is none.")] = None
    users: Annotated[
        Users,
        Field(description="Who may command over MQTT, by login; without it everybody who can publish there may."),
    ] = None
    api: Annotated[Api, Field(description="Where labd listens.")] = Api()
    disk: Annotated[
        Disk,
        Field(description="How full the store's disk may become.", json_schema_extra={"default": {}}),
    ] = Disk()
    queue: Annotated[QueueConfig, Field(description="How jobs are started.", json_schema_extra={"default": {}})] = (
        QueueConfig()
    )
    devices: Annotated[dict[DeviceName, DeviceConfig], Field(description="By the name that people and topics use.")]
    roles: Annotated[
        dict[Name, list[Name]], Field(description="Which devices serve a role, in order of preference.")
    ] = Field(default_factory=dict)
    deck: Annotated[list[DeckEntry], Field(description="Places and what stands on them.")] = Field(default_factory=list)
    parts: Annotated[dict[PartName, Count], Field(description="Parts in stock that lie on no tray of the deck.")] = (
        Field(default_factory=dict)
    )
    interlocks: Annotated[list[Interlock], Field(description="Conditions on which the lab acts by itself.")] = Field(
        default_factory=list
    )
    evidence: Annotated[
        list[MassEvidence], Field(description="What must show that an action was done, beside its device's word.")
    ] = Field(default_factory=list)

    _base: Path = PrivateAttr(default_factory=Path)
    _source: Source | None = PrivateAttr(default=None)
    _warnings: tuple[Problem, ...] = PrivateAttr(default=())

    def read_from(self, source: Source, base: Path, warnings: tuple[Problem, ...]) -> LabConfig:
        """Remembers the file that it was read from: for paths, and for the places of problems."""
        self._source, self._base, self._warnings = source, base, warnings
        return self

    @property
    def base(self) -> Path:
        """The folder that relative paths of the file are under."""
        return self._base

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What the file says that is told and still runs."""
        return self._warnings

    def findings(self) -> Findings:
        """For problems of this lab; they know their places where it was read from a file."""
        return Findings(self._source)

    @property
    def directory(self) -> Path:
        """The store's folder, absolute."""
        return (self.base / self.store).resolve()

    @property
    def socket(self) -> Path:
        """The Unix socket of the daemon."""
        return (self.base / self.api.socket).resolve() if self.api.socket else self.directory / "labd.sock"

    @property
    def telemetry(self) -> Mqtt | None:
        """`mqtt` with absolute paths."""
        return None if self.mqtt is None else self.mqtt.under(self.base)

    @property
    def clock_kind(self) -> str | dict[str, float]:
        return self.clock if isinstance(self.clock, str) else {"scaled": self.clock.scaled}


def _is_mapping(given: object) -> bool:
    return isinstance(given, (dict, Part))


def lab_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of lab.yaml, so that editors complete and check while typing."""
    schema = LabConfig.model_json_schema(by_alias=True)
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "lab.yaml"}
    return {**about, **{key: value for key, value in schema.items() if key != "title"}}


__all__ = ["Broker", "DeviceConfig", "Interlock", "LabConfig", "LabError", "Mqtt", "lab_schema"]
