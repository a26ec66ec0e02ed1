"""Register maps of presses, as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from labd.io.modbus import WordOrder
from labd.sdk import Bounds, Duration, Force

SHIPPED = ("handshake", "relay")
MOST_BITS = 2000  # one read of inputs, MODBUS Application Protocol Specification V1.1b3, 6.2
MOST_REGISTERS = 125  # one read of registers, 6.4

Address = Annotated[int, Field(ge=0, le=0xFFFF)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Bits(_Model):
    """Names of single bits; no two may share an address."""

    @model_validator(mode="after")
    def _distinct(self) -> _Bits:
        _refuse_overlaps([(address, 1, name) for name, address in self], MOST_BITS)
        return self


class HandshakeCoils(_Bits):
    """Commands."""

    start: Address
    stop: Address
    reset: Address
    hand: Address
    auto: Address
    init: Address
    recipe_request: Address
    open_ram: Address
    close_ram: Address
    heartbeat: Address


class HandshakeInputs(_Bits):
    """What the PLC confirms and watches."""

    running: Address
    stopped: Address
    reset_done: Address
    hand: Address
    auto: Address
    initialised: Address
    recipe_ready: Address
    ram_open: Address
    ram_closed: Address
    heartbeat: Address
    estop: Address
    guard_closed: Address
    light_curtain_clear: Address
    alarm: Address
    cycle_done: Address


class Recipe(_Model):
    """Holding registers of the recipe, float32: kN and s."""

    target_force: Address
    dwell: Address

    @model_validator(mode="after")
    def _distinct(self) -> Recipe:
        _refuse_overlaps([(address, 2, name) for name, address in self], 0xFFFF)
        return self


class Values(_Model):
    """Input registers: float32 in kN and mm, uint32 counters, a uint16 alarm code."""

    force: Address
    ram: Address
    peak_force: Address
    displacement: Address
    cycles: Address
    uptime: Address | None = None  # without it a restart goes unseen, and `not done` is never proven
    alarm_code: Address | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Values:
        _refuse_overlaps(
            [(at, 1 if name == "alarm_code" else 2, name) for name, at in self if at is not None], MOST_REGISTERS
        )
        return self


class ForceRange(_Model):
    min: Force = 0.5
    max: Force = 15.0


class DwellRange(_Model):
    min: Duration = 0.0
    max: Duration = 120.0


class Limits(_Model):
    """What the press may be asked for."""

    force: ForceRange = ForceRange()
    dwell: DwellRange = DwellRange()

    def problem(self, force: float, dwell: float) -> str | None:
        """What is wrong with a crimp's parameters, in words, or None."""
        for name, value, unit, limit in (("force", force, "kN", self.force), ("dwell", dwell, "s", self.dwell)):
            found = Bounds(limit.min, limit.max).problem(value, unit)
            if found:
                return f"{name}: {found} of this press"
        return None


class HandshakeTimes(_Model):
    confirm: Duration = 5.0
    init: Duration = 30.0
    ram: Duration = 20.0
    start: Duration = 5.0
    cycle: Duration = 40.0


class RelayCoils(_Bits):
    press: Address


class RelayInputs(_Bits):
    busy: Address


class RelayTimes(_Model):
    pulse: Duration = 2.5
    busy_rise: Duration = 5.0
    busy_fall: Duration = 45.0


class HandshakeProfile(_Model):
    """A press whose PLC confirms each command, measures and counts."""

    kind: Literal["handshake"]
    word_order: WordOrder = WordOrder.CDAB
    coils: HandshakeCoils
    inputs: HandshakeInputs
    recipe: Recipe
    values: Values
    alarms: Mapping[int, str] = Field(default_factory=dict)
    limits: Limits = Limits()
    times: HandshakeTimes = HandshakeTimes()


class RelayProfile(_Model):
    """A press with one button and a busy contact."""

    kind: Literal["relay"]
    coils: RelayCoils
    inputs: RelayInputs
    limits: Limits = Limits()
    times: RelayTimes = RelayTimes()


Profile = HandshakeProfile | RelayProfile
_ADAPTER: TypeAdapter[Profile] = TypeAdapter(Annotated[Profile, Field(discriminator="kind")])


def load(name: str) -> Profile:
    """The profile of a shipped name, or of a YAML file.

    Raises:
        ValueError: there is none, or it is not well formed; every mistake is told with its place in the file.
    """
    if name in SHIPPED:
        return _shipped(name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"profile {name!r} is neither one of {', '.join(SHIPPED)} nor a file that can be read: {error.strerror}"
        ) from error
    return _read(text, name)


@cache
def _shipped(name: str) -> Profile:
    return _read(files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


def _read(text: str, where: str) -> Profile:
    try:
        raw: Any = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(f"profile {where} is no YAML: {error}") from error
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        mistakes = (
            f"{'.'.join(str(part) for part in one['loc'] if part not in SHIPPED) or 'file'}: {one['msg']}"
            for one in error.errors()
        )
        raise ValueError(f"profile {where}: {'; '.join(mistakes)}") from error


def _refuse_overlaps(spans: list[tuple[int, int, str]], most: int) -> None:
    """Refuses spans (address, length, name) that overlap, or that one read cannot take in."""
    spans = sorted(spans)
    for (low, length, first), (high, _, second) in pairwise(spans):
        if high < low + length:
            raise ValueError(f"{first} at {low} and {second} at {high} overlap")
    reach = spans[-1][0] + spans[-1][1] - spans[0][0]
    if reach > most:
        raise ValueError(f"addresses reach over {reach}, one request over {most}")
