"""Pydantic's findings about a file's shape, in a technician's words and at the right place."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from labd.expr import did_you_mean
from labd.files.problems import Problem
from labd.files.shapes import WANTED, describe, short
from labd.files.source import Path, Source
from labd.protocol.model import (
    STATE_KINDS,
    STEP_KINDS,
    Branch,
    Catch,
    HoldTarget,
    InputSpec,
    Parameter,
    ProtocolFile,
    RepeatSpec,
    Retry,
    RoleUse,
    UntilSpec,
    VisitLimit,
    Watch,
    Window,
)

_MISSING = {
    "start": "name the first state: `start: dose`",
    "states": "write the states: `states: {…}`",
    "protocol": "name the protocol: `protocol: dose_and_crimp`",
    "version": "number it: `version: 1.0.0`",
    "go": "say where to: `go: state`",
    "type": "say what kind of value it is: `type: quantity`",
    "then": "list the steps: `then: [..]`",
    "steps": "list the steps: `steps: [..]`",
    "times": "say how often: `times: 3`",
    "until": "say what to wait for: `until: bath.temperature > 24 degC`",
    "if": "say when: `if: cycler.voltage < 0.2 V`",
    "from": "say where it begins: `from: dose.start`",
    "to": "say where it ends: `to: crimp.start`",
}


def shape_problem(source: Source, tree: Any, flaw: Any) -> Problem:
    """One of pydantic's errors as a Problem."""
    loc: tuple[str | int, ...] = flaw["loc"]
    path: Path = tuple(part for part in loc if not (isinstance(part, str) and part.startswith("@")))
    kind: str = flaw["type"]
    if path and path[-1] == "[key]":
        message, mend = _name_problem(str(path[-2]), flaw)
        return source.problem("P113", message, path[:-1], mend, key=True)
    if kind == "extra_forbidden":
        return _unknown_key(source, tree, loc, path)
    if kind == "missing":
        name = str(path[-1])
        return source.problem("P112", f"`{name}` is missing", path[:-1], _MISSING.get(name, ""))
    if kind == "union_tag_not_found":
        return _no_kind(source, path, flaw["input"])
    return _wrong_value(source, path, kind, flaw)


def _wrong_value(source: Source, path: Path, kind: str, flaw: Any) -> Problem:
    given, name = flaw["input"], path[-1]
    code, key, mend = "P113", False, ""
    if given is None:
        message, mend, key = f"`{name}` has no value", "write one, or delete the key", True
    elif kind == "literal_error":
        options = [option.strip(" '\"") for option in flaw["ctx"]["expected"].replace(" or ", ", ").split(",")]
        message, mend = f"`{short(given)}` does not belong here", did_you_mean(str(given), options, "it is one of")
    elif kind == "string_pattern_mismatch":
        message, mend = _name_problem(str(given), flaw)
    elif kind in ("greater_than_equal", "less_than_equal"):
        limit = flaw["ctx"].get("ge", flaw["ctx"].get("le"))
        word = "at least" if kind == "greater_than_equal" else "at most"
        code, message = "P208", f"`{name}` is {word} {limit}, not {short(given)}"
    elif kind in ("too_short", "string_too_short"):
        message, mend, key = f"`{name}` is empty", "write what belongs there, or delete it", True
    else:
        message = f"{WANTED.get(kind, str(flaw['msg']))}, not {describe(given)}"
    return source.problem(code, message, path, mend, key=key)


def _name_problem(given: str, flaw: Any) -> tuple[str, str]:
    if "(start|end)" in str(flaw.get("ctx", {}).get("pattern", "")):
        return f"`{given[:40]}` is no edge of a state", "write `dose.start` or `dose.end`"
    if "\\d+" in str(flaw.get("ctx", {}).get("pattern", "")):
        return f"`{given[:40]}` is no version", "write three numbers: `1.0.0`"
    words = [part for part in "".join(c if c.isascii() and c.isalnum() else " " for c in given).split() if part]
    better = "_".join(words)[:60] if words and words[0][0].isalpha() else ""
    mend = f"write `{better}`" if better else "a name has letters, digits and `_`, and begins with a letter"
    return f"`{given[:40]}` is no name", mend


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


_BY_KEY: dict[str | int, type[BaseModel]] = {
    "@hold": HoldTarget,
    "@limit": VisitLimit,
    "@use": RoleUse,
    "@until": UntilSpec,
    "repeat": RepeatSpec,
    "retry": Retry,
    "catch": Catch,
    "input": InputSpec,
}
_BY_PARENT: dict[str | int, type[BaseModel]] = {
    "@ways": Branch,
    "parameters": Parameter,
    "watch": Watch,
    "windows": Window,
}


def _model_at(loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Which part of the language stands at a place, by pydantic's path with its tags."""
    if not loc:
        return ProtocolFile
    last, before = loc[-1], loc[-2] if len(loc) > 1 else ""
    if last in _BY_KEY:
        return _BY_KEY[last]
    if isinstance(last, str) and last.startswith("@"):
        return (STEP_KINDS if isinstance(before, int) else STATE_KINDS).get(last[1:])
    return _BY_PARENT.get(before)


def _unknown_key(source: Source, tree: Any, loc: tuple[str | int, ...], path: Path) -> Problem:
    key = str(loc[-1])
    model = _model_at(loc[:-1])
    known = _keys(model) if model is not None else []
    kinds = STEP_KINDS if len(loc) > 2 and isinstance(loc[-3], int) else STATE_KINDS
    if model in kinds.values() and key in kinds:
        tag = str(loc[-2])[1:]
        what = "a step" if kinds is STEP_KINDS else "a state"
        mend = "put the steps into a list: `steps: [..]`" if tag != "end" else "an end does nothing more"
        return source.problem("P114", f"{what} has `{tag}` or `{key}`, not both", path, mend, key=True)
    if model is RepeatSpec and key == "steps":
        mend = "write it as a key of the step, at the depth of `repeat`"
        return source.problem("P111", "`steps` stands beside `repeat`, not in it", path, mend, key=True)
    parent: Any = tree
    for part in path[:-1]:
        parent = parent.get(part) if isinstance(parent, dict) else parent[int(part)]
    free = [name for name in known if not isinstance(parent, dict) or name not in parent]
    return source.problem("P111", f"unknown key `{key}`", path, did_you_mean(key, free, "the keys here are"), key=True)


def _no_kind(source: Source, path: Path, given: Any) -> Problem:
    step = isinstance(path[-1], int)
    what, kinds = ("step", STEP_KINDS) if step else ("state", STATE_KINDS)
    choice = ", ".join(f"`{kind}`" for kind in kinds)
    if given is None:
        return source.problem("P113", f"this {what} has nothing in it", path, f"give it one of {choice}")
    if not isinstance(given, dict):
        return source.problem("P113", f"a {what} is a mapping (`key: value`), not {describe(given)}", path)
    known = {name for kind in kinds.values() for name in _keys(kind)}
    for key in given:
        near = did_you_mean(str(key), kinds, "") if key not in known else ""
        if near.startswith("did you mean"):
            return source.problem("P111", f"unknown key `{key}`", (*path, key), near, key=True)
    message = f"this {what} says nothing to do"
    return source.problem("P114", message, path, f"give it one of {choice}")
