"""A protocol's parameters: their types and bounds, and the values that a run is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from labd.expr import BOOLEAN, INTEGER, NUMBER, TEXT, Measure, Text, Type, did_you_mean, measure
from labd.files.problems import InputErrors, Problem
from labd.files.source import Path
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol as LoadedProtocol
from labd.protocol.model import InputSpec, Parameter
from labd.protocol.values import FREE, BadValue, example, expression_of, literal, out_of_bounds, without_example
from labd.sdk import Bounds, UnitError, units

_TYPES: dict[str, Type] = {
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "text": TEXT,
    "material": Text(names="material"),
    "position": Text(names="place"),
}
_BOUNDED = ("quantity", "integer", "number")


class Teller(Protocol):
    """Takes one problem: code, message, path, mend."""

    def __call__(self, code: str, message: str, path: Path, mend: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter, or a typed answer, as it was declared."""

    type: Type
    bounds: Bounds = FREE
    default: Any = None


def declared(spec: Parameter | InputSpec, path: Path, tell: Teller) -> Declared | None:
    """The type, bounds and default of a declaration; None when its type cannot be told. Problems go to `tell`."""
    default = getattr(spec, "default", None)
    kind = _type_of(spec, default, path, tell)
    if kind is None:
        return None
    given: dict[str, Any] = {}
    for name, raw in (("min", spec.min), ("max", spec.max), ("default", default)):
        if raw is None:
            continue
        if name != "default" and spec.type not in _BOUNDED:
            tell("P206", f"a {spec.type} has no bounds", (*path, name), "delete it")
        elif expression_of(raw) is not None:
            tell("P206", "a parameter's default and bounds are no expressions", (*path, name), "write the value")
        else:
            try:
                given[name] = literal(raw, kind)
            except BadValue as bad:
                tell(bad.code, bad.message, (*path, name), bad.mend)
    low, high = given.get("min"), given.get("max")
    if low is not None and high is not None and low > high:
        tell("P208", "the least value is above the greatest", (*path, "min"), "exchange `min` and `max`")
        return Declared(kind)
    bounds = Bounds(low, high)
    problem = out_of_bounds(given.get("default"), kind, bounds)
    if problem:
        tell("P208", problem, (*path, "default"))
    return Declared(kind, bounds, given.get("default"))


def _type_of(spec: Parameter | InputSpec, default: Any, path: Path, tell: Teller) -> Type | None:
    if spec.choices is not None and spec.type != "choice":
        tell("P206", f"a {spec.type} has no `choices`", (*path, "choices"), "write `type: choice`")
    if spec.type == "choice":
        if spec.choices is None:
            tell("P112", "`choices` is missing", path, "list them: `choices: [a, b]`")
            return TEXT
        return Text(choices=spec.choices)
    if spec.type != "quantity":
        return _TYPES[spec.type]
    return _measure_of(spec, default, path, tell)


def _measure_of(spec: Parameter | InputSpec, default: Any, path: Path, tell: Teller) -> Type | None:
    """A quantity's dimension is that of its default or bounds."""
    for name, raw in (("default", default), ("min", spec.min), ("max", spec.max)):
        if raw is None:
            continue
        if isinstance(raw, str):
            try:
                return measure(units.parse(raw).unit)
            except UnitError as error:
                mend = f"write a number and a unit, such as `{_likely(spec, default, '35 µL')}`"
                tell("P207", without_example(error), (*path, name), mend)
        elif isinstance(raw, (list, Mapping)):
            tell(
                "P206",
                "a number and a unit belong here",
                (*path, name),
                f"write it as `{_likely(spec, default, '35 µL')}`",
            )
        else:
            shown = getattr(raw, "text", raw)
            unit = _likely(spec, default, "35 µL").partition(" ")[2]
            tell(
                "P207", f"{shown} needs a unit", (*path, name), f"write it as `{shown} {unit}`, or with the unit it has"
            )
        return None
    tell("P207", "a quantity needs a default or bounds: they say in what it is measured", path, "add `min: 1 µL`")
    return None


def _likely(spec: Parameter | InputSpec, default: Any, otherwise: str) -> str:
    """A quantity of the dimension that the parameter most likely has: another of its own."""
    for raw in (default, spec.min, spec.max):
        try:
            if isinstance(raw, str) and units.parse(raw):
                return raw
        except UnitError:
            continue
    return otherwise


def parameter_types(protocol: LoadedProtocol, tell: Teller) -> dict[str, Declared]:
    """All parameters of a protocol whose types can be told."""
    found: dict[str, Declared] = {}
    for name, spec in protocol.parameters.items():
        one = declared(spec, ("parameters", name), tell)
        if one is not None:
            found[name] = one
    return found


def bind_parameters(
    protocol: LoadedProtocol, values: Mapping[str, Any], facts: LabFacts | None = None
) -> dict[str, Any]:
    """The values of a run's parameters: what was given, else defaults; quantities as floats in default units.

    Args:
        protocol: whose parameters they are.
        values: texts as typed by people (`35 µL`, `3`, `true`), or values; a quantity always has its unit.
        facts: where they are known, places and materials are looked up in them.

    Raises:
        InputErrors: with all that is wrong.
    """
    problems: list[Problem] = []

    def tell(code: str, message: str, path: Path, mend: str = "") -> None:
        problems.append(protocol.source.problem(code, message, path, mend))

    types = parameter_types(protocol, tell)
    for name in [name for name in values if name not in protocol.parameters]:
        mend = did_you_mean(name, protocol.parameters, "the parameters are")
        problems.append(Problem("P401", f"{protocol.name} has no parameter `{name}`", mend=mend))
    bound: dict[str, Any] = {}
    for name, kind in types.items():
        given = values.get(name)
        if given is None:
            if kind.default is None:
                quote = "'" if isinstance(kind.type, Measure) else ""  # a shell parts `35 µL` at its space
                mend = f"write `{name}={quote}{example(kind.type)}{quote}`"
                problems.append(Problem("P401", f"the parameter `{name}` has no value", mend=mend))
            else:
                bound[name] = kind.default
            continue
        try:
            bound[name] = value_of(given, kind, facts)
        except BadValue as bad:
            problems.append(Problem("P401", f"{name}: {bad.message}", mend=bad.mend))
    if problems:
        raise InputErrors(problems)
    return bound


def value_of(given: Any, kind: Declared, facts: LabFacts | None) -> Any:
    """A parameter's value from what was given for it. Raises BadValue where it does not fit."""
    if isinstance(given, Mapping) and set(given) == {"v", "u"}:
        given = f"{given['v']} {given['u']}"
    value = literal(_typed(given, kind.type) if isinstance(given, str) else given, kind.type)
    problem = out_of_bounds(value, kind.type, kind.bounds)
    if problem:
        raise BadValue("P208", problem)
    if isinstance(kind.type, Text) and facts is not None:
        check_named(value, kind.type, facts)
    return value


def _typed(text: str, kind: Type) -> Any:
    """A text from a command line as YAML would read it: `3`, `0.5`, `true`."""
    text = text.strip()
    if isinstance(kind, (Measure, Text)):
        return text
    if kind == BOOLEAN:
        return {"true": True, "false": False}.get(text.casefold(), text)
    try:
        return int(text) if kind == INTEGER else float(text)
    except ValueError:
        return text


def check_named(value: str, kind: Text, facts: LabFacts) -> None:
    """Raises BadValue for a place or material that the lab does not have."""
    known: set[str] = set()
    if kind.names in ("place", "source"):
        if facts.places is None:
            return
        known |= facts.places
    if kind.names in ("material", "source"):
        if facts.materials is None:
            return
        known |= facts.materials
    if known and value not in known:
        what = {"place": "place", "material": "material", "source": "place or material"}[kind.names]
        raise BadValue("P210", f"the lab has no {what} `{value[:60]}`", did_you_mean(value, known, "it has"))


def told(protocol: LoadedProtocol, values: Mapping[str, Any]) -> dict[str, Any]:
    """Bound values as JSON, quantities with their unit: `{"v": 7.8, "u": "kN"}`."""
    types = parameter_types(protocol, lambda *_: None)
    return {
        name: {"v": value, "u": types[name].type.dimension.unit}  # type: ignore[union-attr]
        if name in types and isinstance(types[name].type, Measure)
        else value
        for name, value in values.items()
    }
