"""Actions: what a device can be told to do, declared by `@action` on a driver's method.

The method's signature is the declaration: from its annotations comes the pydantic model of the parameters, from its
return type the result. The runtime binds and checks parameters against that model before anything is sent.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, create_model, model_validator
from pydantic.fields import FieldInfo

from labd.sdk.evidence import Evidence
from labd.sdk.quantities import unit_of


class Effect(StrEnum):
    """What repeating an action does to the world."""

    READ = "read"  # nothing physical changes: may be repeated
    STATE = "state"  # reaches a named state (set 25 °C, open, home): repeating is harmless
    ONCE = "once"  # spends or alters a sample (dispense, crimp, charge): never repeated unasked


class OnLoss(StrEnum):
    """What a long action does when the daemon dies or the link drops."""

    STOP = "stop"
    CONTINUE = "continue"


class Parameters(BaseModel):
    """Base of all parameter models. A bare number where a quantity belongs is refused: people forget units."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_bare_numbers(cls, values: object) -> object:
        if isinstance(values, Mapping):
            for name, value in values.items():
                declared = cls.model_fields.get(name)
                if declared is None or isinstance(value, bool) or not isinstance(value, (int, float)):
                    continue
                unit = unit_of(declared)
                if unit is not None:
                    raise ValueError(f"{name}: {value} needs a unit, such as `{value} {unit}`")
        return values


class Result(BaseModel):
    """Base of all results. Quantities are floats in default units.

    `MEANS` are the values that the bare word `done` stands for, where a person gave it and nothing was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    MEANS: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def by_word(cls) -> Result:
        """The result of an action of which is only known that it was done; fields that nobody knows are None."""
        return cls.model_construct(**{**dict.fromkeys(cls.model_fields), **cls.MEANS})


class Nothing(Result):
    """The result of an action that has none."""


class Data(BaseModel):
    """Base of the rows that an action streams while it runs; each field a column with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _ignore(*_: object) -> None:
    """What a call outside the runtime (a driver's own test) does with its reports."""


@dataclass(slots=True)
class Call:
    """One order of an action, as the driver sees it.

    Args:
        id: the action's id; it travels to the device where the device can carry one.
        unit: the channel, nest or mount it is for; empty for a device of one unit.
        baseline: what `Driver.baseline` said before the intent was written.
        rows_before: how many rows of its data are kept from before it was taken up: a device that gives them anew
            from its own memory does not tell those again.
    """

    id: str
    unit: str = ""
    baseline: Mapping[str, JsonValue] = field(default_factory=dict)
    on_accepted: Callable[[Mapping[str, JsonValue]], None] = _ignore
    on_row: Callable[[tuple[float | None, ...]], None] = _ignore
    rows_before: int = 0

    def accepted(self, **evidence: JsonValue) -> None:
        """Says that the device has taken the order, with what it answered."""
        self.on_accepted(evidence)

    def row(self, *values: float | None) -> None:
        """Streams one row of the action's data: the columns of its Data model, in their order, in default units."""
        self.on_row(values)


TimeLimit = float | Callable[[Any], float]
Likely = float | Callable[[Any], float | None]
_Method = TypeVar("_Method", bound=Callable[..., Awaitable[Any]])
_RESERVED = {"self", "call"}


@dataclass(frozen=True, slots=True)
class Action:
    """The declaration of an action.

    Args:
        name: as protocols write it after the role, `crimp`.
        method: the method that does it; another name where Driver has a method of the action's name.
        effect: what repeating it does.
        timeout: seconds that it may take at most, or a function of its parameters that gives them.
        duration: seconds that it is expected to take, or a function of its parameters; None where nobody knows.
        least: seconds that no device does it in less, or a function of its parameters: times that are a parameter.
        on_loss: what becomes of it when the daemon dies or the link drops.
        cancellable: whether the driver's `cancel(action_id)` can end it with a partial result.
        evidence: what its signals must say after it, beside the device's word; None where nothing is asked for.
        parameters, result, data: the models; `data` is None when it streams nothing.
        summary: the first line of its docstring.
        one_of: parameters of which exactly one is to be given, and the others left away.
    """

    name: str
    method: str
    effect: Effect
    timeout: TimeLimit
    duration: Likely | None
    least: TimeLimit
    on_loss: OnLoss
    cancellable: bool
    evidence: Evidence | None
    parameters: type[Parameters]
    result: type[Result]
    data: type[Data] | None
    summary: str
    one_of: tuple[str, ...] = ()

    def time_limit(self, parameters: Parameters) -> float:
        """Seconds that the action may take with these parameters."""
        return self.timeout(parameters) if callable(self.timeout) else self.timeout

    def expected(self, parameters: Parameters) -> float | None:
        """Seconds that the action is expected to take with these parameters, or None."""
        return self.duration(parameters) if callable(self.duration) else self.duration

    def at_least(self, parameters: Parameters) -> float:
        """Seconds that the action takes at least with these parameters; 0 where nothing says so."""
        return self.least(parameters) if callable(self.least) else self.least

    def schema(self) -> dict[str, Any]:
        """The declaration as JSON, for `device/<id>/about`."""
        return {
            "summary": self.summary,
            "effect": self.effect.value,
            "on_loss": self.on_loss.value,
            "parameters": _schema(self.parameters),
            "result": _schema(self.result),
            "data": _schema(self.data) if self.data else None,
        }


def build_models(actions: Iterable[Action]) -> None:
    """Builds the models of actions: not while all drivers are declared, but before several threads read by them.

    Raises:
        TypeError: a parameter, a result or a row has a type, a bound or a pattern that nothing can be read by.
    """
    for one in actions:
        for model in (one.parameters, one.result, one.data):
            try:
                if model is not None:
                    model.model_rebuild()
            except Exception as error:
                said = str(error).partition("\n")[0]
                raise TypeError(f"no model can be made for its action {one.name!r}: {said}") from error


class Schemas(Mapping[str, dict[str, Any]]):
    """Declarations of actions as JSON, by name, each worked out when it is looked at: most starts look at none."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._actions[name].schema()

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)


@lru_cache(maxsize=1024)
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Worked out once for all devices of a kind: a lab of a hundred instruments tells all of theirs at its start."""
    return model.model_json_schema()


@dataclass(frozen=True, slots=True)
class _Declared:
    name: str | None = None
    effect: Effect | None = None
    timeout: TimeLimit | None = None
    duration: Likely | None = None
    least: TimeLimit | None = None
    on_loss: OnLoss | None = None
    cancellable: bool | None = None
    data: type[Data] | None = None
    evidence: Evidence | None = None
    one_of: tuple[str, ...] | None = None

    def over(self, other: _Declared) -> _Declared:
        """This declaration, with what it leaves open taken from the role's."""
        own = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
        return replace(other, **own)


def action(
    *,
    name: str | None = None,
    effect: Effect | None = None,
    timeout: TimeLimit | None = None,
    duration: Likely | None = None,
    least: TimeLimit | None = None,
    on_loss: OnLoss | None = None,
    cancellable: bool | None = None,
    data: type[Data] | None = None,
    evidence: Evidence | None = None,
    one_of: tuple[str, ...] | None = None,
) -> Callable[[_Method], _Method]:
    """Declares a driver's method `async def name(self, call, ...) -> SomeResult` as an action.

    A driver that overrides a role's action need not repeat what stays as the role says; it may narrow bounds by its
    annotations and add parameters with defaults, or take all of the role's as `**values`. `timeout`, `duration` and
    `least` are seconds, or functions of the parameters. `evidence` tells from the signals before and after what speaks
    against an action that its device calls done: its outcome is then unknown, and a person is asked. `one_of` names
    parameters of which a protocol gives exactly one.
    """

    def mark(method: _Method) -> _Method:
        declared = _Declared(name, effect, timeout, duration, least, on_loss, cancellable, data, evidence, one_of)
        method.__labd_action__ = declared  # type: ignore[attr-defined]
        return method

    return mark


def declared_actions(cls: type) -> dict[str, Action]:
    """All actions of a driver or role, in the order of their declaration.

    Raises:
        TypeError: an action without effect or time limit, one that drops a parameter of its role or changes its
            dimension, or one whose effect is milder than its role's.
    """
    found: dict[str, Action] = {}
    merged: dict[str, _Declared] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            own = getattr(member, "__labd_action__", None)
            if own is None and name in merged and inspect.iscoroutinefunction(member):
                own = _Declared()
            if own is None:
                continue
            inherited = merged.get(name, _Declared())
            if inherited.effect is not None and own.effect not in (None, inherited.effect):
                raise TypeError(f"{cls.__name__}.{name}: its role says {inherited.effect}, not {own.effect}")
            merged[name] = own.over(inherited)
            found[name] = _build(base, name, member, merged[name], found.get(name))
    return {action.name: action for action in found.values()}


def _build(cls: type, name: str, method: Callable[..., Any], declared: _Declared, role: Action | None) -> Action:
    where = f"{cls.__name__}.{name}"
    if declared.effect is None or declared.timeout is None:
        raise TypeError(f"{where}: an action needs an effect and a timeout")
    hints = typing.get_type_hints(method, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and role is not None:
            fields = {name: (field.rebuild_annotation(), field) for name, field in role.parameters.model_fields.items()}
        elif parameter.name not in _RESERVED:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
    parameters = create_model(f"{name}_parameters", __base__=Parameters, **fields)
    result = hints.get("return", type(None))
    result = Nothing if result is type(None) else result
    if role is not None:
        _check_against_role(where, parameters.model_fields, role)
        if not issubclass(result, role.result):
            raise TypeError(f"{where}: gives {result.__name__}, its role says {role.result.__name__}")
    summary = (inspect.getdoc(method) or (role.summary if role else "")).partition("\n")[0]
    return Action(
        declared.name or name,
        name,
        declared.effect,
        declared.timeout,
        declared.duration,
        declared.least or 0.0,
        declared.on_loss or OnLoss.STOP,
        bool(declared.cancellable),
        declared.evidence,
        parameters,
        result,
        declared.data,
        summary,
        declared.one_of or (),
    )


def _check_against_role(where: str, fields: Mapping[str, FieldInfo], role: Action) -> None:
    for name, wanted in role.parameters.model_fields.items():
        if name not in fields:
            raise TypeError(f"{where}: its role has a parameter {name!r}, which is missing")
        if unit_of(fields[name]) != unit_of(wanted):
            raise TypeError(f"{where}: {name!r} is in {unit_of(fields[name])}, its role's in {unit_of(wanted)}")
    for name, extra in fields.items():
        if name not in role.parameters.model_fields and extra.is_required():
            raise TypeError(f"{where}: {name!r} is not in its role, so it needs a default")
