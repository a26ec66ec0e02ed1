"""Whether giving a run what it asks for leaves a way in which all runs can come to their ends.

A run that waits holds nothing but places: its cell in a press, a part in a gripper. Two runs of which each has what the
other needs next would wait for ever. So before units are given away it is looked whether the runs can still end one
after the other (Dijkstra's banker): each with what nobody before it in that order keeps from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from labd.lab.lab import Lab
from labd.protocol.abilities import asked_of_roles
from labd.protocol.program import Program
from labd.run.scheduling.occupying import NOTHING, WHEREVER, Change, Spot, change_of

UnitKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Need:
    """What a run may ask for from one of its states on.

    Args:
        state: the state.
        change: what it does to grippers, nests and channels.
        own: how many units of each kind of device it needs at once. A kind is a role, or one of a role whose devices
            can do some actions that not all can: `potentiostat!cycle+impedance`.
        later: the same for all that may come after it.
        actions: those that not all devices can do, of all of the run, by the protocol's name for the role.
    """

    state: str = ""
    change: Change = NOTHING
    own: Mapping[str, int] = field(default_factory=dict)
    later: Mapping[str, int] = field(default_factory=dict)
    actions: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Needs:
    """The needs of one run, by state; worked out when they are asked for.

    Args:
        program: what it executes.
        kinds: role (`crimper`) by the protocol's name for it, and how many units it takes.
        values: of its parameters.
        scarce: the actions that some device of the lab lacks.
    """

    def __init__(
        self,
        program: Program,
        kinds: Mapping[str, tuple[str, int]],
        values: Mapping[str, object],
        scarce: Collection[str] = (),
    ) -> None:
        self._program = program
        self._kinds = kinds
        self._values = values
        self._arms = tuple(name for name, (kind, _) in kinds.items() if kind == "arm")
        asked = asked_of_roles(program) if scarce else {}
        self._actions = {
            role: frozenset(own) for role, actions in asked.items() if (own := actions.keys() & set(scarce))
        }
        self._found: dict[str, Need] = {}

    def of(self, state: str) -> Need:
        """What the run may ask for from this state on; from none, before its start."""
        if state not in self._program.states:
            return Need()
        if state not in self._found:
            change = change_of(self._program, self._arms, state, self._values)
            later: Counter[str] = Counter()
            for name in self._reachable(state):
                later |= self._own(name)
            self._found[state] = Need(state, change, self._own(state), later, self._actions)
        return self._found[state]

    def _own(self, state: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for role in self._program.states[state].roles:
            kind, units = self._kinds[role]
            counts[kind] += units
            if self._actions.get(role):
                counts[f"{kind}!{'+'.join(sorted(self._actions[role]))}"] += units
        return counts

    def _reachable(self, state: str) -> set[str]:
        found: set[str] = set()
        todo = list(self._program.successors(state))
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self._program.successors(name)
        return found


@dataclass(frozen=True, slots=True)
class Claim:
    """A run as the banker sees it: the units with something of it in them, and what it may yet ask for by kind."""

    run: str
    blocks: frozenset[UnitKey]
    later: Mapping[str, int]


@dataclass(frozen=True)
class Units:
    """The units of a lab in which something can lie."""

    lab: Lab
    _of: dict[str, frozenset[UnitKey]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def at(self) -> Mapping[str, UnitKey]:
        """The unit by its place."""
        return {
            place: (device.id, unit)
            for device in self.lab.devices.values()
            for unit in device.driver.units
            if (place := self.lab.place_of(device, unit)) is not None
        }

    @cached_property
    def all(self) -> frozenset[UnitKey]:
        """All of them."""
        return frozenset(self.at.values())

    def of(self, kind: str) -> frozenset[UnitKey]:
        """Those that serve a role, can do what the kind says beside it, and have a place."""
        if kind not in self._of:
            role, _, actions = kind.partition("!")
            able = self.lab.units_for(role, actions.split("+") if actions else ())
            serve = ((device.id, unit) for device, unit in able)
            self._of[kind] = frozenset(key for key in serve if key in self.all)
        return self._of[kind]

    def blocked(self, sample: str) -> frozenset[UnitKey]:
        """Those that hold a sample, or a part for it."""
        places = (self.lab.places.place_of(sample), self.lab.places.part_of(sample))
        return frozenset(self.at[place] for place in places if place is not None and place in self.at)

    def left(self, sample: str, change: Change, bound: Mapping[str, Sequence[UnitKey]]) -> frozenset[UnitKey]:
        """Those that will hold the sample or a part for it when a state is over.

        Args:
            sample: what the run works on.
            change: what the state does.
            bound: the units that it has, by the protocol's name for the role.
        """
        here = self.lab.places.place_of(sample)
        empties = self._keys(change.empties, bound, here)
        return (self.blocked(sample) - empties) | self._keys(change.fills, bound, here)

    def _keys(self, spots: Iterable[Spot], bound: Mapping[str, Sequence[UnitKey]], here: str | None) -> set[UnitKey]:
        found: set[UnitKey] = set()
        for spot in spots:
            if spot.kind == "role":
                found |= self.all.intersection(bound.get(spot.name, ()))
            else:
                place = here if spot == WHEREVER else spot.name
                found |= {self.at[place]} if place is not None and place in self.at else set()
        return found


def stuck(claims: Sequence[Claim], units: Units) -> tuple[Claim, ...]:
    """The runs that could never come to their ends from here on; none when all is well."""
    left = list(claims)
    while left:
        blocked = Counter(key for claim in left for key in claim.blocks)
        kinds = {kind for claim in left for kind in claim.later}
        free = {kind: sum(key not in blocked for key in owned) for kind in kinds if (owned := units.of(kind))}
        waiting = [claim for claim in left if not _can_end(claim, free, blocked, units)]
        if len(waiting) == len(left):
            return tuple(left)
        left = waiting
    return ()


def _can_end(claim: Claim, free: Mapping[str, int], blocked: Mapping[UnitKey, int], units: Units) -> bool:
    """Whether all that a run may yet need is there, or is its own alone."""
    own = [key for key in claim.blocks if blocked[key] == 1]
    return all(
        count <= free[kind] + sum(key in units.of(kind) for key in own)
        for kind, count in claim.later.items()
        if kind in free
    )
