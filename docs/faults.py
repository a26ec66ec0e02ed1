"""The page of the vocabulary of faults, and of who knows which."""  # noqa: INP001

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import simulators
from simulators._kit.host import kind_of
from simulators.faults.check import Kind
from simulators.faults.words import ANYWHERE, COUNTERS, WORDS, Takes


def faults() -> Iterator[str]:
    """The page, part by part."""
    yield "# Faults"
    yield (
        "What can go wrong with simulated devices, by one vocabulary: [how to let it](../how-to/faults-on-purpose.md). "
        "`labd schema --of faults` prints the JSON Schema of a file of faults."
    )
    yield "## Every device"
    everywhere = Kind()
    yield "\n".join(["| fault | what goes wrong | with |", "|---|---|---|", *_rows(everywhere, ANYWHERE)])
    yield "`after` counts " + "; ".join(f"`{name}`: {about}" for name, about in COUNTERS.items()) + "."
    for module in sorted(one.name for one in pkgutil.iter_modules(simulators.__path__)):
        simulator = getattr(importlib.import_module(f"simulators.{module}"), "SIMULATOR", None)
        if simulator is None or not simulator.FAULTS:
            continue
        kind = kind_of(simulator)
        yield f"## {module}"
        words = [word for word in WORDS if word in kind.knobs]
        yield "\n".join(["| fault | what goes wrong | with |", "|---|---|---|", *_rows(kind, words)])
        if kind.counters:
            yield "`after` counts also " + ", ".join(f"`{name}`" for name in kind.counters) + "."


def _rows(kind: Kind, words: tuple[str, ...] | list[str]) -> Iterator[str]:
    for word in words:
        takes = "; ".join(_takes(name, its) for name, its in kind.takes(word).items())
        yield f"| `{word}` | {WORDS[word].about} | {takes} |"


def _takes(name: str, its: Takes) -> str:
    unit = {"1": "a number or %", "text": "a text", "pattern": "a regular expression"}.get(its.unit, its.unit)
    choices = f": {', '.join(its.choices)}" if its.choices else ""
    default = "" if its.default is None else f"; default {its.default}"
    return f"`{name}` ({unit}{choices}{default}): {its.about}"
