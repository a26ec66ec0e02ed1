"""Which mutants are told: by an error of the right code, on their line or by the name of what is wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from labd.files.library import Library
from labd.files.problems import InputErrors, Problem
from labd.files.reader import Reader
from labd.files.source import Path, Source
from labd.protocol import check, load
from labd.protocol.exchange.layout import written
from tests.protocol.mutants import quantities, stocks, ways, words
from tests.protocol.mutants.kinds import CODES, KINDS, PROOFS, Mutant
from tests.protocol.mutants.sound import Sound, corpus

PER_KIND = 20
LEAST = 0.95
MODULES = (words, quantities, ways, stocks)
"""The modules whose kinds are in the table."""


@dataclass
class Row:
    """One kind: how many mutants there were, and which were not told."""

    kind: str
    mutants: int = 0
    missed: list[tuple[Sound, Mutant, list[Problem]]] = field(default_factory=list)

    @property
    def caught(self) -> int:
        return self.mutants - len(self.missed)

    @property
    def share(self) -> float:
        return self.caught / self.mutants if self.mutants else 1.0


def problems_of(one: Sound, mutant: Mutant) -> tuple[Source, list[Problem]]:
    """A mutant's file, and the errors that are told of it."""
    text = written(mutant.tree)
    try:
        protocol = load(text, "mutant.yaml", Library(one.library))
        source, found = protocol.source, check(protocol, one.facts)
    except InputErrors as errors:
        source, found = Source("mutant.yaml", text), list(errors.problems)
        Reader(source).read()
    return source, [problem for problem in found if problem.severity == "error"]


def is_told(source: Source, mutant: Mutant, problems: Iterable[Problem], codes: tuple[str, ...]) -> bool:
    """Whether one of the problems is the mutant's: of its code, and on its lines or by its name."""
    lines = lines_of(source, mutant.path)
    return any(
        problem.line in lines or any(re.search(rf"\b{re.escape(name)}\b", problem.message) for name in mutant.names)
        for problem in problems
        if problem.code in codes
    )


def lines_of(source: Source, path: Path) -> range:
    """The lines of what stands at a path, its key included."""
    text = source.text
    while path and path not in source.values:
        path = path[:-1]
    span = source.values[path]
    begin = min(span.start, source.keys[path].start if path in source.keys else span.start)
    return range(text.count("\n", 0, begin) + 1, text.count("\n", 0, max(begin, span.end - 1)) + 2)


def judged(per_kind: int = PER_KIND) -> list[Row]:
    """The table: every kind with so many mutants, as different ones as the corpus gives."""
    sounds = corpus()
    return [_judge(name, sounds, per_kind) for name in KINDS]


def _judge(name: str, sounds: list[Sound], per_kind: int) -> Row:
    luck = random.Random(name)
    row = Row(name)
    order = luck.sample(sounds, len(sounds))
    most = 2
    while row.mutants < per_kind and most <= per_kind:
        row = Row(name)
        for one in order:
            found = list(KINDS[name](one, luck))
            for mutant in luck.sample(found, min(most, len(found), per_kind - row.mutants)):
                source, problems = problems_of(mutant.of or one, mutant)
                row.mutants += 1
                if not is_told(source, mutant, problems, CODES[name]):
                    row.missed.append((one, mutant, problems))
        most *= 3
    return row


def table(rows: list[Row]) -> str:
    """The table as text."""
    width = max(len(row.kind) for row in rows)
    lines = [f"{'kind':{width}}  mutants  caught      %"]
    for row in sorted(rows, key=lambda row: row.kind in PROOFS):
        mark = "  (proof)" if row.kind in PROOFS else ""
        lines.append(f"{row.kind:{width}}  {row.mutants:7}  {row.caught:6}  {100 * row.share:5.1f}{mark}")
    mutants, caught = sum(row.mutants for row in rows), sum(row.caught for row in rows)
    lines.append(f"{'all':{width}}  {mutants:7}  {caught:6}  {100 * caught / mutants:5.1f}")
    return "\n".join(lines)
