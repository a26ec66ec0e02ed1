"""Which units hold the sample after each state: read from what the arm picks and where it places, without running it.

What is followed: the state's actions in order, each loop once, called protocols on their usual way. A part for the
sample that lies in a unit holds it as well. Where a place is only known in a run, nothing is taken to be in a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from labd.protocol.program import CallOp, DoOp, Program
from labd.protocol.proofs.blocks import Block, Either, Leaf, Loop, Together, blocks
from labd.protocol.proofs.paths import usual_way
from labd.protocol.proofs.ranges import Ranges
from labd.protocol.proofs.times import called_ranges
from labd.protocol.values import Slot

Place: TypeAlias = tuple[str, str]
"""`("unit", role)`, `("home", "")`, `("here", "")` for wherever the sample is, `("place", name)`, or an unknown one."""

HOME: Place = ("home", "")
HERE: Place = ("here", "")


@dataclass(frozen=True, slots=True)
class Frame:
    """A protocol as it is called.

    Args:
        roles: the outermost protocol's names by its own.
        places: of its parameters that are positions.
    """

    program: Program
    ranges: Ranges
    roles: Mapping[str, str]
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class Holding:
    """Where the sample and its parts are while states are followed.

    Args:
        units: which role's unit has its place where, by the place's name.
        home: the name of the place where the sample begins.
        inside: the protocol's roles whose unit has it, or a part of it.
        gripped: the arms that have something in the gripper.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    inside: set[str] = field(default_factory=set)
    gripped: set[str] = field(default_factory=set)
    at: Place = HOME

    def follow(self, frame: Frame, state: str) -> frozenset[str]:
        """One state; gives the roles whose units have the sample, or a part of it, afterwards."""
        self._block(frame, state, blocks(frame.program.states[state].ops))
        return frozenset(self.inside | self.gripped)

    def _block(self, frame: Frame, state: str, block: Block) -> None:
        for part in block:
            match part:
                case Leaf(op=DoOp() as op):
                    self._action(frame, op)
                case Leaf(op=CallOp() as op, at=at):
                    self._call(frame, op, (state, at))
                case Loop():
                    self._block(frame, state, part.body)
                case Together():
                    for branch in part.branches.values():
                        self._block(frame, state, branch)
                case Either():
                    holds = frame.ranges.holds(part.op.condition, frame.ranges.at((state, part.at)))
                    for way in (part.then,) if holds else (part.otherwise,) if holds is False else _both(part):
                        self._block(frame, state, way)
                case _:
                    pass

    def _call(self, frame: Frame, op: CallOp, place: tuple[str, int]) -> None:
        ranges = called_ranges(op, frame.ranges.at(place), frame.ranges)
        places = {name: self._place(frame, slot) for name, slot in op.parameters.items()}
        roles = {inner: frame.roles.get(outer, outer) for inner, outer in op.roles.items()}
        inner = Frame(op.program, ranges, roles, places)
        for state in usual_way(op.program, ranges):
            self._block(inner, state, blocks(op.program.states[state].ops))

    def _action(self, frame: Frame, op: DoOp) -> None:
        slot = op.parameters.get("place")
        role = frame.roles.get(op.role, op.role)
        if slot is None or op.action.name not in ("pick", "place"):
            return
        place = self._place(frame, slot)
        if op.action.name == "pick":
            self.gripped.add(role)
            if place in (HERE, self.at):
                place, self.at = self.at, ("unit", role)
            if place[0] == "unit":
                self.inside.discard(place[1])
            return
        self.gripped.discard(role)
        if self.at == ("unit", role):
            self.at = place
        if place[0] == "unit":
            self.inside.add(place[1])

    def _place(self, frame: Frame, slot: Slot) -> Place:
        if slot.expression is None:
            return self._named(slot.fixed)
        text = slot.expression.text.strip()
        name, _, field_ = text.partition(".")
        if text == "sample.home":
            return HOME
        if text == "sample.position":
            return HERE
        if field_ == "place" and name in frame.roles:
            return "unit", frame.roles[name]
        if text in frame.places:
            return frame.places[text]
        known = frame.ranges.text(slot)
        return self._named(known) if known is not None else ("unknown", text)

    def _named(self, name: object) -> Place:
        if not isinstance(name, str):
            return "unknown", ""
        if name == self.home and name:
            return HOME
        return ("unit", self.units[name]) if name in self.units else ("place", name)


def _both(part: Either) -> Iterable[Block]:
    return part.then, part.otherwise
