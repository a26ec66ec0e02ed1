"""Protocols that hold, as trees, with what a mutation has to know of them."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from labd.expr.parser import FUNCTIONS
from labd.files.library import Library
from labd.files.problems import Problem
from labd.files.reader import Reader
from labd.files.source import Path, Source
from labd.protocol import LabFacts, Protocol, check, load
from labd.protocol.exchange.layout import written
from labd.protocol.model import DoStep, Step, steps_of
from labd.sdk import ROLES, Action
from tests.protocol import sound
from tests.protocol.callees import CALLEES
from tests.protocol.strategies import Maker

Tree = Any
TESTS = FilePath(__file__).parents[1]
SEEDS = 40
LONGEST = 5_000  # characters; of those that were made, half of it: reading them is what takes the time
TARGETS = frozenset({"go", "next", "start", "otherwise"})
NAME = re.compile(r"(?<![\w.\"])[A-Za-z_]\w*(?:\.\w+)*")
QUANTITY = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?(?:e-?\d+)?) (kN|mN|N|µL|mL|mV|V|µA|mA|A|g|mg|ms|min|s|h|Hz|kHz|degC|K|mm)\b"
)


@dataclass(frozen=True)
class Sound:
    """A protocol that holds."""

    name: str
    tree: Tree
    library: Mapping[str, str] = field(default_factory=dict)
    facts: LabFacts | None = None

    @cached_property
    def protocol(self) -> Protocol:
        return load(written(self.tree), self.name, Library(self.library))

    @cached_property
    def warnings(self) -> list[Problem]:
        return check(self.protocol, self.facts)

    @cached_property
    def steps(self) -> list[tuple[Path, Step]]:
        return list(steps_of(self.protocol.file))

    def actions(self) -> Iterator[tuple[Path, DoStep, Action]]:
        """Its steps that order something."""
        for path, step in self.steps:
            if isinstance(step, DoStep):
                role, _, name = step.do.partition(".")
                yield path, step, ROLES[self.protocol.roles[role].role].actions[name]

    @cached_property
    def states(self) -> dict[str, Any]:
        return dict(self.tree["states"])

    def successors(self, tree: Tree, name: str) -> set[str]:
        """The states that a state's targets name, read off the tree."""
        return {value for _, value in targets(tree["states"][name]) if value in tree["states"]}

    def expressions(self) -> Iterator[tuple[Path, str]]:
        """Everything that is an expression, as it is written."""
        for path, value in scalars(self.tree):
            if isinstance(value, str) and (path[-1] in ("if", "until") or value.startswith("=")):
                yield path, value


def scalars(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from scalars(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from scalars(value, (*path, index))
    else:
        yield path, tree


def targets(tree: Tree) -> Iterator[tuple[Path, str]]:
    """Every place where a state is named as a target."""
    for path, value in scalars(tree):
        keys = [part for part in path if isinstance(part, str)]
        named = bool(keys) and (
            keys[-1] in TARGETS or keys[-1] == "continue_at" or {"catch", "choices"} & {*keys[-2:-1]}
        )
        if isinstance(value, str) and named and value != "hold" and "input" not in keys:
            yield path, value


def get(tree: Tree, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def opened(tree: Tree, path: Path) -> tuple[Tree, Any]:
    """A copy, and what stands at a path of it, which may be changed."""
    top = found = copy.copy(tree)
    for part in path:
        inner = copy.copy(found[part])
        found[part] = inner
        found = inner
    return top, found


def put(tree: Tree, path: Path, value: Any) -> Tree:
    """A copy in which something else stands at a path."""
    found, parent = opened(tree, path[:-1])
    parent[path[-1]] = value
    return found


def without(tree: Tree, path: Path) -> Tree:
    """A copy in which nothing stands at a path."""
    found, parent = opened(tree, path[:-1])
    del parent[path[-1]]
    return found


def renamed(tree: Tree, path: Path, key: str) -> Tree:
    """A copy in which a key is another."""
    found, parent = opened(tree, path[:-1])
    items = [(key if name == path[-1] else name, value) for name, value in parent.items()]
    parent.clear()
    parent.update(items)
    return found


def added(tree: Tree, path: Path, at: int, item: Any) -> Tree:
    """A copy with one more item in a list."""
    found, items = opened(tree, path)
    items.insert(at, item)
    return found


def misspelt(word: str, luck: random.Random, taken: object = ()) -> str:
    """A word with one letter too few, too many, or two exchanged."""
    for _ in range(50):
        at = luck.randrange(len(word))
        new = luck.choice(
            (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
            )
        )
        if new != word and new not in taken and new not in FUNCTIONS and re.fullmatch(r"[A-Za-z]\w*", new):  # type: ignore[operator]
            return new
    return f"{word}x"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    return int(value) if isinstance(value, int) else float(value) if isinstance(value, float) else str(value)


def tree_of(text: str) -> Tree:
    return _plain(Reader(Source("text", text)).read())


def corpus() -> list[Sound]:
    """Protocols that people wrote, less the longest, and some that were made at random; all hold."""
    texts = {"sound": sound.SOUND, **CALLEES}
    for file in sorted((TESTS / "data" / "telling").glob("*.yaml")) + sorted(
        (TESTS.parents[1] / "protocols").glob("*.yaml")
    ):
        texts[file.stem] = file.read_text(encoding="utf-8")
    short = {name: text for name, text in texts.items() if len(text) < LONGEST}
    found = [Sound(name, tree_of(text), texts) for name, text in short.items()]
    for seed in range(SEEDS):
        tree = Maker(random.Random(seed), size=2).tree()
        if len(written(tree)) < LONGEST / 2:
            found.append(Sound(f"made {seed}", tree, CALLEES))
    return [one for one in found if holds(one)]


def holds(one: Sound) -> bool:
    try:
        return not any(problem.severity == "error" for problem in check(one.protocol, one.facts))
    except Exception:  # noqa: BLE001 - a protocol that is being worked on is none of the corpus
        return False
