"""What can still be said of a file whose shape is wrong: its other parts are checked without the wrong ones.

So one misspelt key does not hide the mistakes in the rest of the file. Only what is local is told: whether a state can
be reached, or a name has a value, nobody knows of half a file.
"""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from labd.files.library import Library
from labd.files.problems import InputErrors, Problem
from labd.files.shapes import essential
from labd.files.source import Path
from labd.protocol.compiler import compile_protocol
from labd.protocol.facts import LabFacts, standard_facts
from labd.protocol.loader import Protocol, called_by, read_tree
from labd.protocol.model import ProtocolFile, file_of

LOCAL = frozenset(f"P{number}" for number in (201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 301))
_ROUNDS = 4  # a part that stands in for a wrong one may itself show what else is wrong
_NOTHING = {"wait": "1 s"}
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAMED = re.compile(r"`([^`]*)`")


def rest_of(
    source: FilePath | str, name: str | None, library: Library, facts: LabFacts | None, told: InputErrors
) -> list[Problem]:
    """The mistakes in those parts of a file that are right in shape, beside what `load` has told of the others."""
    try:
        tree, origin, _ = read_tree(source, name)
    except InputErrors:
        return []
    lost: set[str] = set()
    states = tree.get("states")
    first = next(iter(states), "") if isinstance(states, dict) else ""
    for key, stand_in in (("protocol", "half"), ("version", "0.0.0"), ("start", first)):
        tree.setdefault(key, stand_in)
    file = _sound(tree, lost)
    if file is None:
        return []
    protocol = Protocol(file, origin, called_by(file, origin, library))
    _, problems = compile_protocol(protocol, facts or standard_facts())
    lines = {problem.line for problem in told.problems}
    return [
        problem
        for problem in problems
        if problem.code in LOCAL and problem.line not in lines and not _follows(problem, lost)
    ]


def _follows(problem: Problem, lost: set[str]) -> bool:
    """Whether a mistake may only be there because what it names was taken out."""
    return problem.code in ("P201", "P204", "P205", "P301") and any(
        word in lost for word in _NAMED.findall(problem.message)
    )


def _sound(tree: dict[str, Any], lost: set[str]) -> ProtocolFile | None:
    """The model of a tree without its wrong parts; the words that stood in them go to `lost`."""
    for _ in range(_ROUNDS):
        try:
            return file_of(tree)
        except ValidationError as error:
            for flaw in essential(error):
                path = tuple(part for part in flaw["loc"] if not str(part).startswith(("@", "[")))
                if not _take_out(tree, path, lost, extra=flaw["type"] == "extra_forbidden"):
                    return None
    return None


def _take_out(tree: dict[str, Any], path: Path, lost: set[str], *, extra: bool) -> bool:
    """Takes the smallest part out that can be missing, or that something can stand in for."""
    for length in range(len(path), 0, -1):
        inner = path[:length]
        try:
            parent = _at(tree, inner[:-1])
            part = parent[inner[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # a key that is missing, or that was taken out with another flaw
        if extra and length == len(path):
            del parent[inner[-1]]
        elif isinstance(inner[-1], int):
            parent[inner[-1]] = dict(_NOTHING) if "steps" in inner or len(inner) > 3 else {"go": "hold"}
        elif len(inner) == 2 and inner[0] == "states":
            parent[inner[-1]] = {**_NOTHING, "next": "hold"}
        elif len(inner) == 2 or inner[0] in ("windows", "cleanup", "results", "summary"):
            del parent[inner[-1]]
        else:
            continue
        lost.update(_WORD.findall(str(part)), [str(inner[-1])])
        return True
    return False


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree
