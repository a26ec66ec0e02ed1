"""`labd schema`: the language as JSON Schema 2020-12, so that editors complete and check while one types.

It says which keys there are and what kind of value belongs to each; units, names and ways are `labd check`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from labd.protocol.facts import LabFacts, standard_facts
from labd.protocol.model import NAME, STATE_KINDS, STEP_KINDS, DoState, DoStep, HoldTarget, Parameter, ProtocolFile
from labd.protocol.views.keys import bare, forms, keys_of, told
from labd.protocol.views.schema_values import CONDITION, DURATION, EXPRESSION, QUANTITY, VALUE, action_rules, ref
from labd.sdk import ROLES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_DURATIONS = ("within", "at_least", "for", "delay", "wait")
_CONDITIONS = ("if", "until")


def protocol_schema(facts: LabFacts | None = None) -> Schema:
    """The schema of protocol files; for one lab where its facts are given: its roles, actions, limits and places."""
    writer = _Writer(facts or standard_facts())
    whole = writer.part(ProtocolFile)
    return {
        "$schema": DIALECT,
        "title": "labd protocol, version 1",
        **whole,
        "$defs": dict(sorted(writer.defs.items())),
    }


class _Writer:
    def __init__(self, facts: LabFacts) -> None:
        self.facts = facts
        self.defs: dict[str, Schema] = {
            "Name": {"type": "string", "pattern": f"^{NAME}$"},
            "Text": {"type": ["string", "number"]},
            "Condition": CONDITION,
            "Duration": DURATION,
            "Expression": EXPRESSION,
            "Quantity": QUANTITY,
            "Value": VALUE,
            "Action": {"allOf": list(action_rules(facts))},
        }

    def part(self, model: type[BaseModel]) -> Schema:
        """A mapping of the language."""
        known = keys_of(model)
        found: Schema = {
            "description": told(model),
            "type": "object",
            "properties": {key.name: dict(self._key(model, key.name, key.annotation)) for key in known},
            "additionalProperties": False,
        }
        for key in known:
            entry = found["properties"][key.name]
            if key.meaning:
                entry["description"] = key.meaning[:1].upper() + key.meaning[1:]
        required = [key.name for key in known if key.required]
        if required:
            found["required"] = required
        if model in (DoStep, DoState):
            found["allOf"] = [ref("Action")]
        if model is Parameter:
            found["allOf"] = list(self._parameter_rules())
        return found

    def _key(self, model: type[BaseModel], name: str, annotation: Any) -> Schema:
        if name == "do":
            return self._do()
        if name == "call":
            return {"type": "string", "pattern": f"^{NAME}@(0|[1-9][0-9]*)$", "examples": ["rest_and_measure@1"]}
        if name == "role":
            return self._roles()
        found = self.value(annotation, name)
        if model is ProtocolFile and name == "roles":
            found["additionalProperties"] = {"anyOf": [self._roles(), ref("RoleUse")]}
        return found

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────
    def value(self, annotation: Any, name: str) -> Schema:
        """What may stand at a key."""
        base, demands = bare(annotation)
        parts = forms(annotation)
        if len(parts) > 1:
            found = self._union(parts, name)
        elif parts[0] is not annotation:
            found = self.value(parts[0], name)
        elif base is Any:
            found = ref("Duration" if name in _DURATIONS else "Value")
        elif base is str:
            found = self._text(demands, name)
        elif base is int:
            found = {"type": "integer"} | _renamed(demands, {"ge": "minimum", "le": "maximum"})
        elif isinstance(base, type) and issubclass(base, BaseModel):
            found = self._ref_of(base)
        else:
            found = self._compound(base, demands, name)
        return found

    def _text(self, demands: Mapping[str, Any], name: str) -> Schema:
        pattern = demands.get("pattern")
        if pattern == f"^{NAME}$":
            return ref("Name")
        if pattern is not None:
            return {"type": "string", "pattern": pattern}
        if name in _CONDITIONS:
            return ref("Condition")
        return {**self.defs["Text"], "minLength": 1} if demands.get("min_length") else ref("Text")

    def _union(self, parts: list[Any], name: str) -> Schema:
        bases = [bare(part)[0] for part in parts]
        shared = {"Step": STEP_KINDS, "State": STATE_KINDS}
        for label, kinds in shared.items():
            if set(bases) == set(kinds.values()):
                if label not in self.defs:
                    self.defs[label] = {}  # steps have steps
                    self.defs[label] = {"anyOf": [self._ref_of(kind) for kind in kinds.values()]}
                return ref(label)
        if bases == [str, HoldTarget]:
            if "Target" not in self.defs:
                meaning = "A state, `hold`, or a hold with its reason."
                self.defs["Target"] = {"description": meaning, "anyOf": [ref("Name"), self._ref_of(HoldTarget)]}
            return ref("Target")
        return {"anyOf": [self.value(part, name) for part in parts]}

    def _ref_of(self, model: type[BaseModel]) -> Schema:
        label = model.__name__
        if label not in self.defs:
            self.defs[label] = {}
            self.defs[label] = self.part(model)
        return ref(label)

    def _compound(self, base: Any, demands: Mapping[str, Any], name: str) -> Schema:
        origin, parts = get_origin(base), get_args(base)
        if origin is Literal:
            return {"const": parts[0]} if len(parts) == 1 else {"enum": list(parts)}
        if origin is tuple:
            inner = self.value(parts[0], name)
            return {"type": "array", "items": inner} | _renamed(demands, {"min_length": "minItems"})
        assert origin is dict, base
        found: Schema = {"type": "object", "additionalProperties": self.value(parts[1], name)}
        names = bare(parts[0])[1]
        if "pattern" in names:
            found["propertyNames"] = {"pattern": names["pattern"]}
        return found | _renamed(demands, {"min_length": "minProperties", "max_length": "maxProperties"})

    # ── what the lab has ─────────────────────────────────────────────────────────────────────────────────────────
    def _roles(self) -> Schema:
        known = sorted(self.facts.roles)
        told_roles = [f"{name}: {told_role(name)}" for name in known]
        return {"enum": known, "description": "\n\n".join(["The kind of device.", *told_roles])}

    def _do(self) -> Schema:
        """Local names of roles are the protocol's own: an action is known by what stands after the dot."""
        actions = sorted({name for role in self.facts.roles.values() for name in role.actions})
        shown = sorted(f"{role}.{name}" for role, known in self.facts.roles.items() for name in known.actions)
        return {"type": "string", "pattern": rf"^{NAME}\.({'|'.join(actions)})$", "examples": shown}

    def _parameter_rules(self) -> list[Schema]:
        """What belongs to each type of parameter."""

        def rule(kind: str, value: Schema, *required: str) -> Schema:
            of_kind = {"properties": {"type": {"const": kind}}, "required": ["type"]}
            keys = dict.fromkeys(("default", "min", "max"), value)
            return {"if": of_kind, "then": {"properties": keys, "required": list(required)}}

        materials = sorted(self.facts.materials or ())
        return [
            rule("quantity", ref("Quantity")),
            rule("integer", {"type": "integer"}),
            rule("number", {"type": "number"}),
            rule("boolean", {"type": "boolean"}),
            rule("choice", ref("Text"), "choices"),
            rule("material", {"enum": materials} if materials else ref("Text")),
            rule("position", ref("Text")),
        ]


def _renamed(demands: Mapping[str, Any], names: Mapping[str, str]) -> Schema:
    return {names[name]: value for name, value in demands.items() if name in names}


def told_role(name: str) -> str:
    """What a role is, in one line."""
    role = ROLES.get(name)
    return (role.__doc__ or "").partition("\n")[0] if role is not None else "of this lab."
