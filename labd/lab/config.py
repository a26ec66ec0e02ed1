"""lab.yaml: what one daemon owns, as frozen models; errors with file, line and column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from labd.sdk import Bounds, Duration, Labware, Parameters, Position, UnitError, labware
from labd.sdk.units import parse

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
PlaceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,32}){1,3}$")]


class LabError(Exception):
    """lab.yaml cannot be used; the text names file, line, column, what is wrong and how to mend it, one a line."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(_Part):
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class Broker(_Part):
    """A broker of the lab's network."""

    host: str
    port: int = 1883
    tls: Tls | None = None
    user: str | None = None
    password_file: Path | None = None


class Mqtt(_Part):
    broker: Literal["embedded"] | Broker
    port: int = 1883  # of the embedded broker; 0: any free one
    home_assistant: bool = False


class Api(_Part):
    listen: Annotated[str, StringConstraints(pattern=r"^[^:]+:\d{1,5}$")] | None = None
    socket: Path | None = None  # default: <store>/labd.sock


class PollPeriods(Parameters):
    idle: Annotated[Duration, Bounds(min=0.01)] = 10.0
    busy: Annotated[Duration, Bounds(min=0.01)] = 1.0


class LimitText(_Part):
    """Bounds tighter than the driver's own, as quantities in text."""

    min: str | None = None
    max: str | None = None


class DeviceConfig(_Part):
    driver: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    settings: dict[str, Any] = Field(default_factory=dict)
    poll: PollPeriods = PollPeriods()
    simulator: dict[str, Any] | None = None
    limits: dict[str, LimitText] = Field(default_factory=dict)
    positions: Path | None = None


class DeckEntry(_Part):
    place: PlaceName
    labware: str
    contents: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fill: Name | None = None

    @field_validator("labware")
    @classmethod
    def _known(cls, value: str) -> str:
        labware.shape(value)
        return value

    @property
    def wells(self) -> list[str]:
        return labware.wells(self.labware)


class Scaled(_Part):
    scaled: Annotated[float, Field(gt=0, le=100_000)]


class LabConfig(_Part):
    """One lab as configured. `base` is the folder that relative paths of the file are under."""

    labd: Literal[1]
    lab: Name
    store: Path
    seed: int = 1
    clock: Literal["real", "virtual"] | Scaled = "real"
    mqtt: Mqtt | None = None
    api: Api = Api()
    devices: dict[Name, DeviceConfig]
    roles: dict[Name, list[Name]] = Field(default_factory=dict)
    deck: list[DeckEntry] = Field(default_factory=list)
    parts: dict[str, int] = Field(default_factory=dict)
    base: Path = Path()

    @field_validator("clock", mode="before")
    @classmethod
    def _clock(cls, value: object) -> object:
        if isinstance(value, str) and value not in ("real", "virtual"):
            raise ValueError(f"{value!r} is none of: real, virtual, {{scaled: 60}}")
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> LabConfig:
        for role, devices in self.roles.items():
            for device in devices:
                if device not in self.devices:
                    raise ValueError(
                        f"roles.{role}: there is no device {device!r}; known are {', '.join(self.devices)}"
                    )
        if self.clock == "virtual":
            real = [name for name, device in self.devices.items() if device.simulator is None]
            if real:
                raise ValueError(f"clock: virtual time is for simulated labs only; {', '.join(real)} has no simulator")
            if self.mqtt is not None and self.mqtt.broker != "embedded":
                raise ValueError("clock: a broker outside cannot follow virtual time; write `clock: {scaled: 60}`")
        return self

    @property
    def directory(self) -> Path:
        """The store's folder, absolute."""
        return (self.base / self.store).resolve()

    @property
    def socket(self) -> Path:
        """The Unix socket of the daemon."""
        return (self.base / self.api.socket).resolve() if self.api.socket else self.directory / "labd.sock"

    @property
    def clock_kind(self) -> str | dict[str, float]:
        return self.clock if isinstance(self.clock, str) else {"scaled": self.clock.scaled}

    def labware_of(self, device: str) -> tuple[Labware, ...]:
        """The labware on a device's own deck."""
        return tuple(
            Labware(entry.place, entry.labware, entry.contents)
            for entry in self.deck
            if entry.place.startswith(f"{device}/")
        )

    def positions_of(self, device: str) -> dict[str, Position]:
        """An arm's taught positions, from its file. Raises LabError."""
        path = self.devices[device].positions
        if path is None:
            return {}
        path = self.base / path
        found: dict[str, Position] = {}
        for name, entry in _read(path)[0].items():
            try:
                x, y, z, a, b, g = (float(number) for number in entry["pose"])
            except (TypeError, KeyError, ValueError) as error:
                mend = "write {pose: [x, y, z, a, b, g], taught: DATE, by: WHO}"
                raise LabError(f"{path}: {name}: needs a pose of six numbers; {mend}") from error
            found[name] = Position((x, y, z, a, b, g), str(entry.get("taught", "")), str(entry.get("by", "")))
        return found


def load_lab(path: Path) -> LabConfig:
    """Reads lab.yaml.

    Raises:
        LabError: it cannot be read, or says what does not hold; all errors at once.
    """
    data, node = _read(path)
    try:
        config = LabConfig.model_validate({**data, "base": path.resolve().parent})
    except ValidationError as error:
        raise LabError("\n".join(_tell(path, node, problem) for problem in error.errors())) from error
    for name, device in config.devices.items():
        for limit, text in device.limits.items():
            for bound in (text.min, text.max):
                try:
                    if bound is not None:
                        parse(bound)
                except UnitError as error:
                    raise LabError(f"{_at(path, node, ('devices', name, 'limits', limit))}: {error}") from error
    return config


def _read(path: Path) -> tuple[dict[str, Any], Node]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LabError(f"{path}: is not UTF-8 text") from error
    try:
        data = YAML(typ="safe", pure=True).load(text)
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise LabError(f"{place}: {error.problem}") from error
    except ValueError as error:
        raise LabError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise LabError(f"{path}:1:1: a mapping is expected, `labd: 1` first")
    return data, node


def _tell(path: Path, node: Node, problem: Mapping[str, Any]) -> str:
    steps = tuple(step for step in problem["loc"] if not _is_tag(step))
    message = re.sub(r"^Value error, ", "", problem["msg"])
    if problem["type"] == "extra_forbidden":
        message = f"unknown key {steps[-1]!r}"
    if problem["type"] == "missing":
        message = f"{steps[-1]!r} is missing"
        steps = steps[:-1]
    where = ".".join(str(step) for step in steps)
    return f"{_at(path, node, steps)}: {where + ': ' if where else ''}{message}"


def _is_tag(step: object) -> bool:
    """Pydantic puts the names of a union's members into a location; they are no keys of the file."""
    return isinstance(step, str) and (step.startswith(("literal[", "constrained-", "function-")) or step in _MODELS)


_MODELS = {"Broker", "Scaled", "str"}


def _at(path: Path, node: Node, steps: tuple[Any, ...]) -> str:
    for step in steps:
        if isinstance(node, MappingNode):
            match = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if match is None:
                break
            node = match[1] if step is not steps[-1] else match[0]
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
    mark = node.start_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}"
