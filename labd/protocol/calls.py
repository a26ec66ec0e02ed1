"""Calls of other protocols: what they are given, and what they give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labd.expr import Record, did_you_mean
from labd.files.source import Path
from labd.protocol.loader import Protocol
from labd.protocol.model import CallStep
from labd.protocol.parameters import Declared, parameter_types
from labd.protocol.program import Program
from labd.protocol.slots import Slots
from labd.protocol.values import Slot, example


@dataclass(frozen=True, slots=True)
class Callee:
    """A called protocol, compiled."""

    protocol: Protocol
    program: Program

    @property
    def parameters(self) -> Mapping[str, Declared]:
        return parameter_types(self.protocol, lambda *_: None)

    @property
    def result(self) -> Record:
        """What a caller sees under `as`."""
        kinds = {
            name: slot.expression.type if slot.expression is not None else slot.type
            for name, slot in self.program.results.items()
        }
        return Record(f"{self.protocol.name} result", kinds)


def call_parameters(step: CallStep, callee: Callee, slots: Slots, path: Path) -> Mapping[str, Slot]:
    """The values that a call gives, by the callee's names; its defaults included."""
    known = callee.parameters
    found: dict[str, Slot] = {}
    for name, raw in step.with_.items():
        at = (*path, "with", name)
        kind = known.get(name)
        if kind is None:
            mend = did_you_mean(name, known.keys() - step.with_.keys(), "it has")
            message = f"`{step.call}` has no parameter `{name}`"
            slots.problems.append(slots.source.problem("P203", message, at, mend, key=True))
            continue
        found[name] = slots.slot(raw, kind.type, at, kind.bounds)
    for name, kind in known.items():
        if name in step.with_:
            continue
        if kind.default is None:
            mend = f"add `with: {{{name}: {example(kind.type)}}}`"
            at = (*path, "with") if step.with_ else (*path, "call")
            slots.tell("P204", f"`{step.call}` needs `{name}`", at, mend)
        else:
            found[name] = Slot(kind.type, kind.default, bounds=kind.bounds)
    return found


def call_roles(step: CallStep, callee: Callee, caller: Protocol, slots: Slots, path: Path) -> Mapping[str, str]:
    """The caller's role for each of the callee's; those of the same name need not be written."""
    found: dict[str, str] = {}
    theirs = callee.protocol.roles
    for name in step.roles.keys() - theirs.keys():
        mend = did_you_mean(name, theirs, "it has")
        message = f"`{step.call}` has no role `{name}`"
        slots.problems.append(slots.source.problem("P215", message, (*path, "roles", name), mend, key=True))
    for name, use in theirs.items():
        ours = step.roles.get(name, name)
        at = (*path, "roles", name) if name in step.roles else (*path, "call")
        if ours not in caller.roles:
            mend = f"say which of ours it is: `roles: {{{name}: …}}`"
            if name in step.roles:
                mend = did_you_mean(ours, caller.roles, "the roles here are")
            slots.tell("P215", f"`{step.call}` needs a {use.role} for `{name}`", at, mend)
        elif caller.roles[ours].role != use.role:
            message = f"`{step.call}` needs a {use.role} for `{name}`, and `{ours}` is a {caller.roles[ours].role}"
            slots.tell("P215", message, at)
        else:
            found[name] = ours
    return found
