"""Words that are wrong: misspelt, of another kind, or of nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from labd.expr.parser import FUNCTIONS
from labd.protocol.model import CallStep
from labd.sdk import ROLES
from tests.protocol.mutants.kinds import Mutant, kind
from tests.protocol.mutants.sound import NAME, QUANTITY, Sound, get, misspelt, put, renamed, scalars, targets

WORDS = frozenset({"and", "or", "not", "in", "if", "else", "true", "false", *FUNCTIONS})
KEYS = frozenset(
    {
        *("summary", "do", "with", "within", "as", "retry", "steps", "next", "catch", "max_visits", "watch", "ask"),
        *("choices", "input", "wait", "set", "repeat", "parallel", "call", "roles", "parameters", "windows", "states"),
        *("start", "go", "for", "until", "times", "delay", "then", "over"),
    }
)


@kind("misspelt role", "P201")
def role(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, _ in one.actions():
        name, _, action = step.do.partition(".")
        new = misspelt(name, luck, one.protocol.roles)
        yield Mutant(put(one.tree, (*path, "do"), f"{new}.{action}"), (*path, "do"), (new,))


@kind("misspelt kind of role", "P201")
def role_kind(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, use in one.protocol.roles.items():
        plain = isinstance(one.tree["roles"][name], str)
        path = ("roles", name) if plain else ("roles", name, "role")
        new = misspelt(use.role, luck, ROLES)
        yield Mutant(put(one.tree, path, new), path, (new,))


@kind("misspelt action", "P202")
def action(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, _ in one.actions():
        name, _, word = step.do.partition(".")
        known = ROLES[one.protocol.roles[name].role].actions
        new = misspelt(word, luck, known)
        yield Mutant(put(one.tree, (*path, "do"), f"{name}.{new}"), (*path, "do"), (new,))


@kind("action of another role", "P202")
def wrong_role(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, _ in one.actions():
        word = step.do.partition(".")[2]
        for other, use in one.protocol.roles.items():
            if word not in ROLES[use.role].actions:
                yield Mutant(put(one.tree, (*path, "do"), f"{other}.{word}"), (*path, "do"), (word,))


@kind("misspelt parameter of an action", "P203")
def parameter(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, found in one.actions():
        for name in step.with_:
            new = misspelt(name, luck, found.parameters.model_fields)
            yield Mutant(renamed(one.tree, (*path, "with", name), new), (*path, "with", new), (new,))


@kind("misspelt name in an expression", "P205")
def name_in_expression(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    known = {*one.protocol.parameters, *one.protocol.roles, "sample", "run", "visits", "index", "rejected"}
    for path, text in one.expressions():
        for found in NAME.finditer(text):
            word = found[0].partition(".")[0]
            if word in WORDS or _is_unit(text, found):
                continue
            new = misspelt(word, luck, known)
            changed = text[: found.start()] + new + text[found.start() + len(word) :]
            yield Mutant(put(one.tree, path, changed), path, (new,))


@kind("misspelt field of a result or signal", "P205")
def result(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text in one.expressions():
        for found in NAME.finditer(text):
            first, _, word = found[0].partition(".")
            if not word:
                continue
            new = misspelt(word, luck, {"place", "device", "position", "home", "id"})
            changed = text[: found.start()] + f"{first}.{new}" + text[found.end() :]
            yield Mutant(put(one.tree, path, changed), path, (new,))


@kind("misspelt function", "P205")
def function(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text in one.expressions():
        for found in re.finditer(r"\b(min|max|abs|round|sum|mean|len)\(", text):
            new = misspelt(found[1], luck)
            yield Mutant(put(one.tree, path, text[: found.start()] + new + text[found.end() - 1 :]), path, (new,))


@kind("misspelt name in a text", "P205")
def hole(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text in scalars(one.tree):
        if path[-1] not in ("ask", "hold"):
            continue
        for found in re.finditer(r"\{([A-Za-z_]\w*)", str(text)):
            new = misspelt(found[1], luck, {*one.protocol.parameters, *one.protocol.roles})
            changed = text[: found.start(1)] + new + text[found.end(1) :]
            yield Mutant(put(one.tree, path, changed), path, (new,))


@kind("misspelt state", "P301")
def state(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, word in targets(one.tree):
        new = misspelt(word, luck, one.states)
        yield Mutant(put(one.tree, path, new), path, (new,))


@kind("misspelt unit", "P207")
def unit(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, text, found in quantities(one):
        new = luck.choice((f"{found[2]}x", f"{found[2]}zz", found[2] * 2))
        yield Mutant(put(one.tree, path, text[: found.start(2)] + new + text[found.end(2) :]), path, (new,))


@kind("misspelt key", "P111", "P114")
def key(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path in _keys(one.tree, ()):
        word = path[-1]
        if word in KEYS and "with" not in path and "set" not in path:
            new = misspelt(str(word), luck, KEYS | {"else", "otherwise", "to", "from", "min", "max", "end", "type"})
            yield Mutant(renamed(one.tree, path, new), (*path[:-1], new), (new, str(word)))


@kind("misspelt or wrong call", "P203", "P212", "P215")
def call(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step in one.steps:
        if not isinstance(step, CallStep):
            continue
        name, _, major = step.call.partition("@")
        for new in (f"{misspelt(name, luck, one.library)}@{major}", f"{name}@{int(major) + 1}", name):
            yield Mutant(put(one.tree, (*path, "call"), new), (*path, "call"), (new,))
        for part in ("with", "roles"):
            for word in get(one.tree, path).get(part, {}):
                new = misspelt(word, luck)
                yield Mutant(renamed(one.tree, (*path, part, word), new), (*path, part, new), (new,))
        for word in step.roles:
            for other, use in one.protocol.roles.items():
                if use.role != one.protocol.roles[step.roles[word]].role:
                    yield Mutant(put(one.tree, (*path, "roles", word), other), (*path, "roles", word), (other,))


@kind("misspelt edge of a window", "P113", "P301")
def edge(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for index, window in enumerate(one.tree.get("windows", [])):
        for end in ("from", "to"):
            word, _, side = window[end].partition(".")
            for new in (f"{misspelt(word, luck, one.states)}.{side}", f"{word}.{misspelt(side, luck)}", word):
                yield Mutant(put(one.tree, ("windows", index, end), new), ("windows", index, end), (new,))


@kind("misspelt type or choice", "P113", "P206")
def type_(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, spec in one.tree.get("parameters", {}).items():
        path = ("parameters", name, "type")
        yield Mutant(put(one.tree, path, misspelt(spec["type"], luck)), path)
        if spec["type"] == "choice" and "default" in spec:
            path = ("parameters", name, "default")
            yield Mutant(put(one.tree, path, misspelt(spec["default"], luck, spec["choices"])), path)
    for name, one_state in one.states.items():
        if "end" in one_state:
            path = ("states", name, "end")
            yield Mutant(put(one.tree, path, misspelt(one_state["end"], luck)), path)


@kind("a name that is taken", "P211")
def taken(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    words = [*one.protocol.parameters, *one.protocol.roles, "visits", "min", "and"]
    for path, step in one.steps:
        if getattr(step, "as_", None) is not None:
            new = luck.choice(words)
            yield Mutant(put(one.tree, (*path, "as"), new), (*path, "as"), (new,))


def _keys(tree: object, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(tree, dict):
        for word, value in tree.items():
            yield (*path, word)
            yield from _keys(value, (*path, word))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _keys(value, (*path, index))


def _is_unit(text: str, found: re.Match[str]) -> bool:
    return any(one.start(2) <= found.start() < one.end(2) for one in QUANTITY.finditer(text))


def quantities(one: Sound) -> Iterator[tuple[tuple[str | int, ...], str, re.Match[str]]]:
    """Every quantity with its unit, in values and in expressions; not in texts for people."""
    for path, text in scalars(one.tree):
        if not isinstance(text, str) or path[-1] in ("summary", "ask", "hold", "version", "choices"):
            continue
        for found in QUANTITY.finditer(text):
            yield path, text, found
