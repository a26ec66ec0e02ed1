"""The names that a protocol's expressions may use, with their types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol as TypingProtocol

from labd.expr import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    ExpressionError,
    ListOf,
    Record,
    Text,
    Type,
    accepts,
    an,
    compile_expression,
    measure,
    record_of,
)
from labd.expr.parser import FUNCTIONS
from labd.files.source import Path
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.model import AskStep, CallStep, DoStep, RepeatStep, SetStep, Step, steps_of
from labd.protocol.parameters import Declared, Teller, declared, parameter_types
from labd.protocol.values import expression_of
from labd.sdk import UnitError, units

PLACE = Text(names="place")
SAMPLE = Record(
    "sample",
    {
        "id": TEXT,
        "position": PLACE,
        "home": PLACE,
        "barcode": TEXT,
        "active_mass": measure("g"),
        "specific_capacity": measure("mAh/g"),
    },
)
RUN = Record("run", {"id": TEXT})
KEYWORDS = frozenset({"and", "or", "not", "in", "if", "else", "true", "false", *FUNCTIONS})
LIKE_A_QUANTITY = re.compile(r"[+-]?\d[\d.]*(?:[eE][+-]?\d+)? ?[^\W\d]\S*")
RESERVED = frozenset({"sample", "run", "visits", "index", "rejected", "hold", *KEYWORDS})


@dataclass(slots=True)
class Names:
    """All names by type; `assigned` are those that only some step gives a value; `aka` explains likely mistakes."""

    types: dict[str, Type] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    aka: dict[str, str] = field(default_factory=dict)
    declared: dict[str, Declared] = field(default_factory=dict)


class HasResult(TypingProtocol):
    """A called protocol, as far as its caller sees it."""

    @property
    def result(self) -> Record: ...


def collect(protocol: Protocol, facts: LabFacts, callees: Mapping[str, HasResult], tell: Teller) -> Names:
    """Parameters, roles with their signals, `sample`, `run`, `visits`, results and variables."""
    names = Names({"sample": SAMPLE, "run": RUN, "visits": INTEGER})
    names.aka = dict.fromkeys(protocol.states, "a state has no value; name an action's result with `as:`")
    names.declared = parameter_types(protocol, tell)
    for name, parameter in names.declared.items():
        _add(names, name, parameter.type, ("parameters", name), tell)
    for name in protocol.parameters.keys() - names.types.keys():
        names.types[name] = ANYTHING  # its own problem is told already
    for name, use in protocol.roles.items():
        known = facts.roles.get(use.role)
        fields: dict[str, Type] = {}
        if known is not None:
            fields = dict(record_of(use.role, known.signals).fields)
        kind = Record(use.role, {**fields, "place": PLACE, "device": TEXT}) if known is not None else ANYTHING
        _add(names, name, kind, ("roles", name), tell)
    names.aka["index"] = "`index` counts the turns inside a `repeat`"
    names.aka["rejected"] = "`rejected` is known in the `if` of a `retry`"
    steps = list(steps_of(protocol.file))
    for path, step in steps:
        if isinstance(step, (DoStep, AskStep, CallStep)) and step.as_ is not None:
            _assign(names, step.as_, _result(protocol, facts, callees, step, path), (*path, "as"), tell)
    for path, step in steps:
        _variables(protocol, names, path, step, tell)
    return names


def _variables(protocol: Protocol, names: Names, path: Path, step: Step, tell: Teller) -> None:
    if isinstance(step, SetStep):
        for name, raw in step.set.items():
            _check_unit(protocol, raw, (*path, "set", name), tell)
            _assign(names, name, _value_type(raw, names.types), (*path, "set", name), tell)
    elif isinstance(step, RepeatStep) and step.repeat.as_ is not None:
        over = _value_type(step.repeat.over, names.types)
        item = over.item if isinstance(over, ListOf) else None
        _assign(names, step.repeat.as_, item, (*path, "repeat", "as"), tell)


def _check_unit(protocol: Protocol, raw: object, path: Path, tell: Teller) -> None:
    """Tells of a number with an unknown unit where any text may stand: `0 gzz` is hardly meant as one."""
    if not isinstance(raw, str) or not LIKE_A_QUANTITY.fullmatch(raw) or protocol.source.values[path].style:
        return
    try:
        units.parse(raw)
    except UnitError as error:
        tell("P207", str(error), path, f'write `"{raw}"` if a text is meant')


def _add(names: Names, name: str, kind: Type, path: Path, tell: Teller) -> None:
    if name in RESERVED:
        tell("P211", f"`{name}` is a word of the language", path, "choose another name")
    elif name in names.types:
        tell("P211", f"`{name}` is taken", path, "choose another name: parameters, roles and results share one list")
    else:
        names.types[name] = kind


def _assign(names: Names, name: str, kind: Type | None, path: Path, tell: Teller) -> None:
    """A result or variable: several steps may write it, all with one type."""
    if name not in names.assigned:
        before = len(names.types)
        _add(names, name, kind or ANYTHING, path, tell)
        if len(names.types) > before:
            names.assigned.add(name)
        return
    known = names.types[name]
    if kind is None:
        return
    if known == ANYTHING:
        names.types[name] = kind
    elif not (accepts(known, kind) or accepts(kind, known)):
        mend = "give the two different names"
        tell("P211", f"`{name}` was {an(known)} before, and is {an(kind)} here", path, mend)
    elif not accepts(known, kind):
        names.types[name] = kind  # a whole number that becomes any number


def _result(
    protocol: Protocol,
    facts: LabFacts,
    callees: Mapping[str, HasResult],
    step: DoStep | AskStep | CallStep,
    path: Path,
) -> Type | None:
    if isinstance(step, CallStep):
        return callees[step.call].result if step.call in callees else None
    if isinstance(step, AskStep):
        fields: dict[str, Type] = {"by": TEXT}
        if step.choices:
            fields["choice"] = Text(choices=tuple(step.choices))
        if step.input is not None:
            spec = declared(step.input, (*path, "input"), lambda *_: None)
            fields["value"] = spec.type if spec is not None else ANYTHING
        return Record("answer", fields)
    role, _, action = step.do.partition(".")
    use = protocol.roles.get(role)
    known = facts.roles.get(use.role) if use is not None else None
    if known is None or action not in known.actions:
        return None
    return record_of(f"{action} result", known.actions[action].result)


def _value_type(raw: object, types: Mapping[str, Type]) -> Type | None:
    """The type that a `set` gives a variable; None when it cannot be told, which is told where it is compiled."""
    text = expression_of(raw)
    if text is not None:
        try:
            found = compile_expression(text, {"index": INTEGER, **types}).type
        except ExpressionError:
            return None
        return TEXT if isinstance(found, Text) else found
    if isinstance(raw, str):
        try:
            return measure(units.parse(raw).unit)
        except UnitError:
            return TEXT
    return literal_type(raw)


def literal_type(raw: object) -> Type | None:
    """The type of a literal that is no text."""
    if isinstance(raw, bool):
        return BOOLEAN
    if isinstance(raw, int):
        return INTEGER
    if isinstance(raw, float):
        return NUMBER
    if isinstance(raw, list) and raw:
        kinds = [_value_type(item, {}) for item in raw]
        wider = [kind for kind in kinds if kind == NUMBER]  # `[1, 2.5]` are numbers
        first = kinds[0] if kinds[0] != INTEGER or not wider else NUMBER
        return ListOf(first) if first is not None else None
    return None
