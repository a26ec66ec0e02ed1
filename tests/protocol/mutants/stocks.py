"""Protocols that need more than a lab has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from labd.protocol import standard_facts
from labd.protocol.model import DoStep
from tests.protocol import sound
from tests.protocol.mutants.kinds import Mutant, kind
from tests.protocol.mutants.sound import Sound, get, put, tree_of

FACTS = replace(standard_facts(), volumes={"LP57": 150.0}, materials=frozenset({"LP57"}))
"""A lab with 150 µL of LP57; SOUND needs at most 100 µL of it."""


@kind("too much of a material", "P502", proof=True)
def material(given: Sound, luck: random.Random) -> Iterator[Mutant]:
    if given.name != "sound":
        return
    one = dosing()
    path = next(path for path, step in one.steps if isinstance(step, DoStep) and step.do == "robot.transfer")
    step = get(one.tree, path)
    at = (*path, "with", "volume")
    for volume in (151, 200, 1000):
        yield Mutant(put(one.tree, at, f"{volume} µL"), path, of=one)
    for factor in (1.6, 2, 3):
        yield Mutant(put(one.tree, at, f"={factor} * volume"), path, of=one)
    for most in (160, 900):
        yield Mutant(put(one.tree, ("parameters", "volume", "max"), f"{most} µL"), path, of=one)
    for times in (2, 3, 5):
        yield Mutant(put(one.tree, path, {"repeat": {"times": times}, "steps": [step]}), path, of=one)
        over = {"repeat": {"over": [f"{100 / times + 60} µL"] * times, "as": "part"}, "steps": [step]}
        over = {**over, "steps": [{**step, "with": {**step["with"], "volume": "=part"}}]}
        yield Mutant(put(one.tree, path, over), path, of=one)
        until = {"until": "dosed.volume > 1 µL", "at_most": times}
        yield Mutant(put(one.tree, path, {"repeat": until, "steps": [step]}), path, of=one)
        yield Mutant(put(one.tree, (*path, "retry"), {"times": times, "if": "dosed.volume < 1 µL"}), path, of=one)


def dosing() -> Sound:
    """The protocol that these mutants are of."""
    return Sound("sound", tree_of(sound.SOUND), {}, FACTS)
