"""What a mutant is, and the table of kinds of mistakes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labd.files.source import Path
from tests.protocol.mutants.sound import Sound, Tree


@dataclass(frozen=True)
class Mutant:
    """A protocol with one mistake.

    Args:
        tree: the whole.
        path: where the mistake is; of what is missing, where it would be.
        names: the thing that is wrong, as messages name it.
        of: the protocol that it is made of, where that is another one.
    """

    tree: Tree
    path: Path
    names: tuple[str, ...] = ()
    of: Sound | None = None


Make = Callable[[Sound, random.Random], Iterator[Mutant]]
KINDS: dict[str, Make] = {}
CODES: dict[str, tuple[str, ...]] = {}
"""What a mutant of a kind is told as."""
PROOFS: set[str] = set()
"""Kinds that only the proofs about numbers, times and ways can tell."""


def kind(name: str, *codes: str, proof: bool = False) -> Callable[[Make], Make]:
    """Enters a kind of mistake into the table."""

    def enter(make: Make) -> Make:
        KINDS[name] = make
        CODES[name] = codes
        if proof:
            PROOFS.add(name)
        return make

    return enter
