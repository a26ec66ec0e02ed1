"""Values that are wrong: of another dimension or type, out of their bounds, or missing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from labd.expr import BOOLEAN, Measure, Number, compile_expression, field_type
from labd.protocol.facts import standard_facts
from labd.protocol.names import collect
from labd.sdk import units
from labd.sdk.quantities import bounds_of
from tests.protocol.mutants.kinds import Mutant, kind
from tests.protocol.mutants.sound import Sound, get, put, without
from tests.protocol.mutants.words import quantities

OTHERS = ("kN", "µL", "V", "s", "g")
TYPED = frozenset({"set", "over", "results"})
"""Where a value says the type itself: another one is another meaning, and no mistake there."""


def _other(unit: str, luck: random.Random) -> str:
    here = units.unit(unit).dimension
    return luck.choice([other for other in OTHERS if units.unit(other).dimension != here])


def _declares(one: Sound, path: tuple[Any, ...]) -> bool:
    """Whether it alone says in what something is measured."""
    spec = get(one.tree, path[:-1])
    if path[-1] not in ("default", "min", "max") or not isinstance(spec, dict):
        return False
    return sum(key in spec for key in ("default", "min", "max")) < 2


@kind("unit of another dimension", "P207")
def unit(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text, found in quantities(one):
        if text.startswith("=") or path[-1] in ("if", "until") or TYPED & {*path} or _declares(one, path):
            continue
        whole = path[:-1] if path[-1] in ("default", "min", "max") else path
        yield Mutant(put(one.tree, path, f"{found[1]} {_other(found[2], luck)}"), whole)


@kind("another dimension in an expression", "P207")
def dimension(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text, found in quantities(one):
        if (text.startswith("=") or path[-1] in ("if", "until")) and not TYPED & {*path}:
            changed = text[: found.start(2)] + _other(found[2], luck) + text[found.end(2) :]
            yield Mutant(put(one.tree, path, changed), path)


@kind("names of two dimensions exchanged", "P207")
def exchanged(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    types = {name: spec for name, spec in one.tree.get("parameters", {}).items() if spec["type"] == "quantity"}
    unit_of = {name: str(spec.get("default", spec.get("min"))).split()[-1] for name, spec in types.items()}
    for path, text in one.expressions():
        if TYPED & {*path}:
            continue
        for found in re.finditer(r"(?<![\w.])[a-z]\w*(?![\w.(])", text):
            if found[0] not in types:
                continue
            here = units.unit(unit_of[found[0]]).dimension
            for other, other_unit in unit_of.items():
                if units.unit(other_unit).dimension != here:
                    changed = text[: found.start()] + other + text[found.end() :]
                    yield Mutant(put(one.tree, path, changed), path)


@kind("a bare number for a quantity", "P207")
def bare(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text, found in quantities(one):
        if found[0] == text and not TYPED & {*path} and not _declares(one, path):
            number = float(found[1])
            whole = path[:-1] if path[-1] in ("default", "min", "max") else path
            yield Mutant(put(one.tree, path, int(number) if number.is_integer() else number), whole)


@kind("a value of another type", "P206", "P207")
def wrong_type(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, action in one.actions():
        for name in step.with_:
            type_ = field_type(action.parameters.model_fields[name])
            if isinstance(type_, Measure):
                wrong: tuple[Any, ...] = ("yes", True, [1])
            elif isinstance(type_, Number):
                wrong = ("three", "3 s", True, *((2.5,) if type_.integer else ()))
            elif type_ == BOOLEAN:
                wrong = ("yes", 1)
            else:
                wrong = (True, [1])
            at = (*path, "with", name)
            yield Mutant(put(one.tree, at, luck.choice(wrong)), at)
    for name, spec in one.tree.get("parameters", {}).items():
        wrongs = {
            "boolean": "yes",
            "integer": 2.5,
            "number": "two",
            "quantity": True,
            "text": True,
            "choice": "none of them",
        }
        if spec["type"] in wrongs and "default" in spec:
            at = ("parameters", name, "default")
            yield Mutant(put(one.tree, at, wrongs[spec["type"]]), at)


@kind("a condition that is neither true nor false", "P206")
def no_condition(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    types = collect(one.protocol, standard_facts(), {}, lambda *_: None).types
    for path, text in one.expressions():
        if path[-1] not in ("if", "until"):
            continue
        for found in re.finditer(r" (<=|>=|==|!=|<|>) ", text):
            first = text[: found.start()]
            if re.search(r"\b(and|or|not|in)\b", text):
                continue
            try:
                if compile_expression(first, types).type == BOOLEAN:
                    continue
            except Exception:  # noqa: BLE001 - names of a loop or retry
                continue
            yield Mutant(put(one.tree, path, first), path)


@kind("an expression that cannot be read", "P209")
def unreadable(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text in one.expressions():
        changed = luck.choice((f"{text} +", f"{text} )", f"{text} = 3", f"({text.removeprefix('=')}", f"{text} and"))
        if text.startswith("=") and not changed.startswith("="):
            changed = f"={changed}"
        yield Mutant(put(one.tree, path, changed), path)


@kind("a value out of its bounds", "P208")
def bounds(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, action in one.actions():
        for name in step.with_:
            field = action.parameters.model_fields[name]
            type_, limits = field_type(field), bounds_of(field)
            unit_ = f" {type_.dimension.unit}" if isinstance(type_, Measure) else ""
            for limit, worse in ((limits.min, -1), (limits.max, 1)):
                if limit is None:
                    continue
                value = (
                    limit + worse
                    if isinstance(type_, Number) and type_.integer
                    else limit + worse * max(abs(limit) / 2, 1e-3)
                )
                raw: Any = f"{value:.6f}{unit_}" if unit_ else value
                yield Mutant(put(one.tree, (*path, "with", name), raw), (*path, "with", name))
        if step.retry is not None:
            yield Mutant(put(one.tree, (*path, "retry", "times"), 0), (*path, "retry", "times"))
        if step.within is not None:
            yield Mutant(put(one.tree, (*path, "within"), "-5 s"), (*path, "within"))
    for name, spec in one.tree.get("parameters", {}).items():
        if "max" in spec and "default" in spec:
            number, _, unit_ = str(spec["max"]).partition(" ")
            above: Any = f"{float(number) * 2 + 1:g} {unit_}" if unit_ else spec["max"] + 1
            yield Mutant(put(one.tree, ("parameters", name, "default"), above), ("parameters", name, "default"))


@kind("bounds that are exchanged", "P208")
def swapped(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, spec in one.tree.get("parameters", {}).items():
        if "min" in spec and "max" in spec and spec["min"] != spec["max"]:
            tree = put(
                put(one.tree, ("parameters", name, "min"), spec["max"]), ("parameters", name, "max"), spec["min"]
            )
            yield Mutant(tree, ("parameters", name))


@kind("a required parameter that is missing", "P204")
def missing(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, action in one.actions():
        for name in step.with_:
            if action.parameters.model_fields[name].is_required():
                tree = without(one.tree, (*path, "with", name))
                if not get(tree, (*path, "with")):
                    tree = without(tree, (*path, "with"))
                yield Mutant(tree, path, (name,))


@kind("an expression that leaves its bounds", "P208", proof=True)
def interval(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    known = {name: spec for name, spec in one.tree.get("parameters", {}).items() if "max" in spec}
    if any(problem.code == "W104" for problem in one.warnings):
        return  # some of its states no run comes to
    for path, step, action in one.actions():
        if path[0] == "cleanup":
            continue  # what it does is passed over where it cannot be done
        for name in step.with_:
            field = action.parameters.model_fields[name]
            type_, limit = field_type(field), bounds_of(field).max
            if limit is None or not isinstance(type_, Measure | Number):
                continue
            for word, spec in known.items():
                number, _, unit_ = str(spec["max"]).partition(" ")
                same = unit_ and isinstance(type_, Measure) and units.unit(unit_).dimension == type_.dimension.name
                if not (same or (spec["type"] == "integer" and isinstance(type_, Number))):
                    continue
                most = (
                    units.convert(float(number), unit_, type_.dimension.unit)
                    if isinstance(type_, Measure)
                    else float(number)
                )
                times = int(limit / most) + 1
                yield Mutant(put(one.tree, (*path, "with", name), f"={times + 1} * {word}"), (*path, "with", name))
    for path, step in one.steps:
        call = getattr(step, "call", None)
        if call == "squeeze@1":
            for word, spec in known.items():
                if str(spec["max"]).endswith(" kN"):
                    yield Mutant(put(one.tree, (*path, "with", "force"), f"=4 * {word}"), (*path, "with", "force"))
