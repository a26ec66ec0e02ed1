"""Values in the JSON Schema: quantities, expressions, and the parameters of each action."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from labd.expr import BOOLEAN, ListOf, Measure, Number, Text, Type, an, field_type, show
from labd.protocol.facts import LabFacts, RoleFacts
from labd.protocol.model import NAME
from labd.protocol.values import FREE
from labd.sdk import Action, Bounds, units
from labd.sdk.quantities import bounds_of

Schema = dict[str, Any]

_NUMBER = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
_QUANTITY = rf"\s*{_NUMBER}\s*[A-Za-zµμΩΩ°%].*"

EXPRESSION: Schema = {"type": "string", "pattern": "^=", "description": "An expression: `=0.95 * force`."}
QUANTITY: Schema = {"type": "string", "pattern": f"^{_QUANTITY}$", "description": "A number and a unit: `35 µL`."}
DURATION: Schema = {
    "type": "string",
    "pattern": f"^(=.*|{_QUANTITY})$",
    "description": "A time with its unit, or an expression: `90 s`, `=rest`.",
    "examples": ["30 s", "10 min", "4 h"],
}
CONDITION: Schema = {
    "type": "string",
    "minLength": 1,
    "description": "An expression that holds or does not: `pressed.peak_force < 0.95 * force`.",
}
VALUE: Schema = {
    "type": ["string", "number", "boolean", "array", "object"],
    "description": "A quantity `35 µL`, a number, true or false, a text, a list; or an expression: `=volume`.",
}


def ref(name: str) -> Schema:
    """A reference to one of the schema's definitions."""
    return {"$ref": f"#/$defs/{name}"}


def action_rules(facts: LabFacts) -> Iterator[Schema]:
    """For each action, by its name after the dot: what may stand under `with`."""
    by_name: dict[str, list[tuple[str, RoleFacts]]] = {}
    for role, known in sorted(facts.roles.items()):
        for name in known.actions:
            by_name.setdefault(name, []).append((role, known))
    for name, roles in sorted(by_name.items()):
        parts: dict[str, Schema] = {}
        for role, known in roles:
            made = _parameters(known.actions[name], known, facts, role)
            parts.setdefault(str({**made, "description": ""}), made)
        meanings = [f"{role}: {known.actions[name].summary}" for role, known in roles]
        forms = list(parts.values())
        then: Schema = {
            "properties": {
                "do": {"description": "\n\n".join(meanings)},
                "with": forms[0] if len(forms) == 1 else {"anyOf": forms},
            }
        }
        if all(form.get("required") for form in forms):
            then["required"] = ["with"]
        yield {
            "if": {"properties": {"do": {"pattern": rf"^{NAME}\.{name}$"}}, "required": ["do"]},
            "then": then,
        }


def _parameters(action: Action, known: RoleFacts, facts: LabFacts, role: str) -> Schema:
    fields = action.parameters.model_fields
    found: Schema = {
        "type": "object",
        "description": f"{role}: {action.summary}",
        "properties": {
            name: _parameter(field, known.limits.get(f"{action.name}.{name}", FREE), facts)
            for name, field in fields.items()
        },
        "additionalProperties": False,
    }
    required = [name for name, field in fields.items() if field.is_required()]
    return {**found, "required": required} if required else found


def _parameter(field: FieldInfo, limits: Bounds, facts: LabFacts) -> Schema:
    kind = field_type(field)
    bounds = bounds_of(field).narrowed(limits)
    found = _value(kind, bounds, facts)
    if not field.is_required() and field.default is None:
        found = {"anyOf": [*found.get("anyOf", [found]), {"type": "null"}]}
    text = ", ".join(part for part in (_told(kind), _range(kind, bounds), _default(field, kind)) if part)
    return {**found, "description": text}


def _value(kind: Type, bounds: Bounds, facts: LabFacts) -> Schema:
    match kind:
        case Measure():
            return {"anyOf": [ref("Quantity"), ref("Expression")], "examples": [f"1 {kind.dimension.unit}"]}
        case Number():
            limits = {"minimum": bounds.min, "maximum": bounds.max}
            number = {"type": "integer" if kind.integer else "number"}
            return {"anyOf": [number | {k: v for k, v in limits.items() if v is not None}, ref("Expression")]}
        case ListOf():
            return {"anyOf": [{"type": "array", "items": _value(kind.item, bounds, facts)}, ref("Expression")]}
        case Text():
            known = list(kind.choices) or _named(kind, facts)
            return {"anyOf": [{"enum": known} if known else ref("Text"), ref("Expression")]}
        case _:
            return {"anyOf": [{"type": "boolean"}, ref("Expression")]} if kind == BOOLEAN else ref("Value")


def _named(kind: Text, facts: LabFacts) -> list[str]:
    """The lab's places or materials, where a lab is known."""
    known: list[str] = []
    if kind.names in ("material", "source") and facts.materials is not None:
        known += sorted(facts.materials)
    if kind.names in ("place", "source") and facts.places is not None:
        known += sorted(facts.places)
    return known if kind.names != "source" or facts.places is not None else []


def _told(kind: Type) -> str:
    text = "a place or a material" if isinstance(kind, Text) and kind.names == "source" else an(kind)
    unit = f" (default unit {kind.dimension.unit})" if isinstance(kind, Measure) else ""
    return text[:1].upper() + text[1:] + unit


def _range(kind: Type, bounds: Bounds) -> str:
    def shown(value: float) -> str:
        return units.plain(value, kind.dimension.unit) if isinstance(kind, Measure) else f"{value:g}"

    if bounds.min is not None and bounds.max is not None:
        return f"from {shown(bounds.min)} to {shown(bounds.max)}"
    if bounds.min is not None:
        return f"{shown(bounds.min)} or more"
    return f"{shown(bounds.max)} at most" if bounds.max is not None else ""


def _default(field: FieldInfo, kind: Type) -> str:
    if field.is_required():
        return "has to be given"
    return "may be left out" if field.default is None else f"{show(field.default, kind)} without it"
