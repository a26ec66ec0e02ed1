"""Profiles: what the nodes of a server mean, in a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from labd.sdk import Duration, units
from labd.sdk.roles import PACKML_STATES

SHIPPED = {"machine": ("packml", "lads"), "glovebox": ("glovebox",)}
_UNITS = {"oxygen": "ppm", "water": "ppm", "pressure": "mbar"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Watched(_Model):
    """A node that is read.

    Args:
        node: its id, or its path of browse names.
        max_age: a value that its source has not renewed for so long is not believed. Only for what its source renews
            also when it stays the same.
    """

    node: str
    max_age: Duration | None = None


class Measured(Watched):
    """A number: in `unit`, times `factor`."""

    unit: str
    factor: float = 1.0


class Worded(Watched):
    """A state: what the node has, as text, in our words. What stands in no word is not known."""

    words: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _texts(cls, raw: Any) -> Any:
        """YAML's 0 and true are keys as OPC UA's `0` and `True`."""
        if isinstance(raw, dict) and isinstance(raw.get("words"), dict):
            return {**raw, "words": {str(key): value for key, value in raw["words"].items()}}
        return raw


class Argument(_Model):
    """One argument of a method. `{recipe}` and `{id}` (the action's id) stand for what an order gives."""

    value: JsonValue = None
    type: str = "String"


class Order(_Model):
    """How something is ordered: a method that is called, or a node that is written."""

    call: str | None = None
    arguments: tuple[Argument, ...] = ()
    write: str | None = None
    value: JsonValue = None
    type: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Order:
        if (self.call is None) is (self.write is None):
            raise ValueError("give either `call` (a method) or `write` (a node, with `value`)")
        if self.call is not None and "/" not in self.call:
            raise ValueError("`call` is a path, object/method: a method belongs to an object")
        return self


class _Profile(_Model):
    namespaces: Annotated[Mapping[str, str], Field(min_length=1)]
    alive: Watched | None = None


class GloveboxTimes(_Model):
    open: Duration = 120.0
    close: Duration = 1800.0


class GloveboxProfile(_Profile):
    """A box: what its air is like, and how its antechamber is worked."""

    kind: Literal["glovebox"]
    oxygen: Measured | None = None
    water: Measured | None = None
    pressure: Measured | None = None
    antechamber: Worded | None = None
    open_antechamber: Order | None = None
    close_antechamber: Order | None = None
    times: GloveboxTimes = GloveboxTimes()

    @model_validator(mode="after")
    def _sound(self) -> GloveboxProfile:
        known = {"open", "closed", "moving"}
        words = set(self.antechamber.words.values()) if self.antechamber is not None else set()
        if words - known:
            raise ValueError(
                f"antechamber: {', '.join(sorted(words - known))}: its words are {', '.join(sorted(known))}"
            )
        for name, unit in _UNITS.items():
            measured: Measured | None = getattr(self, name)
            if measured is not None:
                units.convert(0.0, measured.unit, unit)  # UnitError is a ValueError, and says what is wrong
        if (self.open_antechamber or self.close_antechamber) and not {"open", "closed"} <= words:
            raise ValueError(
                "an antechamber that is ordered must be seen: `antechamber` with words for open and closed"
            )
        return self


class MachineTimes(_Model):
    start: Duration = 10.0
    stop: Duration = 60.0
    reset: Duration = 60.0


class MachineProfile(_Profile):
    """A machine with PackML's states.

    Args:
        state: nodes with words for its state; from the first to the last, until one says none of `within`.
        within: words that only say that the next node knows more.
        words: theirs to PackML's, where they differ.
        ready: the states from which it starts.
        run: a node that changes with every start (a counter, an id): this is how labd finds out after a loss.
        reset_stopped: how it is reset from Stopped, where that is another order than from Complete.
        set_recipe: how a recipe is chosen before the start; `recipe` is read back.
    """

    kind: Literal["machine"]
    state: Annotated[tuple[str, ...], Field(min_length=1)]
    within: frozenset[str] = frozenset()
    words: Mapping[str, str] = Field(default_factory=dict)
    ready: Annotated[frozenset[str], Field(min_length=1)] = frozenset({"Idle"})
    run: str | None = None
    made: str | None = None
    defective: str | None = None
    recipe: str | None = None
    set_recipe: Order | None = None
    start: Order
    stop: Order
    reset: Order
    reset_stopped: Order | None = None
    abort: Order | None = None
    clear: Order | None = None
    times: MachineTimes = MachineTimes()

    @model_validator(mode="after")
    def _sound(self) -> MachineProfile:
        strange = {*self.words.values(), *self.ready} - set(PACKML_STATES)
        if strange:
            raise ValueError(f"{', '.join(sorted(strange))}: PackML's states are {', '.join(PACKML_STATES)}")
        return self


Profile = GloveboxProfile | MachineProfile
_ADAPTER: TypeAdapter[Profile] = TypeAdapter(Annotated[Profile, Field(discriminator="kind")])


def load(name: str, kind: str) -> Profile:
    """The profile of a shipped name, or of a YAML file.

    Args:
        name: as lab.yaml has it.
        kind: `machine` or `glovebox`: what the driver is for.

    Raises:
        ValueError: there is none, or it is not well formed; every mistake is told with its place in the file.
    """
    if name in SHIPPED[kind]:
        text, where = files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml"
    else:
        path = Path(name)
        try:
            text, where = path.read_text(encoding="utf-8"), str(path)
        except OSError as error:
            shipped = ", ".join(SHIPPED[kind])
            raise ValueError(
                f"profile {name!r} is neither shipped ({shipped}) nor a file that can be read: {error.strerror}"
            ) from error
    try:
        raw: Any = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(f"profile {where} is no YAML: {error}") from error
    try:
        profile = _ADAPTER.validate_python(raw)
    except ValidationError as error:
        mistakes = (
            f"{'.'.join(str(part) for part in one['loc'] if part not in SHIPPED) or 'file'}: {one['msg']}"
            for one in error.errors()
        )
        raise ValueError(f"profile {where}: {'; '.join(mistakes)}") from error
    if profile.kind != kind:
        raise ValueError(f"profile {where} is for a {profile.kind}, and this driver for a {kind}")
    return profile
