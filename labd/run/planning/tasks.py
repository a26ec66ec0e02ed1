"""From a protocol to the work of one run: the tasks of its usual way, with their times, units and windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from labd.expr import Interval
from labd.protocol.loader import Protocol
from labd.protocol.program import Edge, Program
from labd.protocol.proofs.paths import usual_way
from labd.protocol.proofs.ranges import Ranges, default_ranges
from labd.protocol.proofs.times import Times
from labd.run.planning.durations import Durations
from labd.run.planning.holding import Frame, Holding
from labd.run.planning.model import Begun, Task, Units, Window, Work
from labd.run.planning.varying import Key, varying

MOST = 512  # recipes that are kept


@dataclass(frozen=True, slots=True)
class Past:
    """A state that a run has entered. `units` are by kind of device; `end` is None of the one that it is in."""

    state: str
    start: float
    units: Units = field(default_factory=dict)
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is the same for all runs of a protocol with the same parameters that matter."""

    tasks: tuple[Task, ...]
    keys: tuple[Key, ...]
    windows: tuple[Window, ...]


@dataclass(slots=True)
class Recipes:
    """Works of runs and jobs; what was worked out once is kept, for identical cells are many.

    Args:
        durations: as learnt; what is not known is taken from the checker.
        places: the kind of device that has its place there, by the name of the place (see `site.site_of`).
    """

    durations: Durations = field(default_factory=Durations)
    places: Mapping[str, str] = field(default_factory=dict)
    _known: dict[tuple[object, ...], Recipe] = field(default_factory=dict)

    def work(
        self,
        id: str,  # noqa: A002 - the word of the field
        protocol: Protocol,
        program: Program,
        parameters: Mapping[str, Any] | None = None,
        *,
        past: Sequence[Past] = (),
        home: str = "",
        at: Mapping[str, str] | None = None,
        priority: int = 0,
        ready: float = -math.inf,
    ) -> Work:
        """The work of a run or a job.

        Args:
            id: its name in the plan.
            protocol: as loaded.
            program: compiled for the lab.
            parameters: what `bind_parameters` gave; default: the protocol's defaults.
            past: the states that a run has entered, the last one that it is in.
            home: where the sample begins.
            at: where it is now, the unit by kind of device, if that is the place of one.
            priority: the higher goes first.
            ready: before this time no task begins.
        """
        values = dict(parameters or {})
        states = tuple(one.state for one in past)
        key = (protocol.digest, home if home in self.places else "", states, *self._key(protocol, program, values))
        if key not in self._known:
            while len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = self._recipe(protocol, program, values, states, home)
        begun = tuple(Begun(one.start, one.units, one.end) for one in past)
        found = self._known[key]
        return Work(id, self._learnt(protocol, found), priority, found.windows, ready, begun, at or {})

    def _key(self, protocol: Protocol, program: Program, values: Mapping[str, Any]) -> list[object]:
        """What decides how a run goes; of places only whether one is that of a unit."""
        deciding = varying(protocol.digest, program).deciding
        told = {
            name: self.places.get(value, "") if isinstance(value, str) and "/" in value else value
            for name, value in values.items()
            if name in deciding
        }
        return [(name, repr(value)) for name, value in sorted(told.items())]

    def _learnt(self, protocol: Protocol, recipe: Recipe) -> tuple[Task, ...]:
        """The tasks with the times that were learnt meanwhile."""
        found: list[Task] = []
        for task, key in zip(recipe.tasks, recipe.keys, strict=True):
            seconds = self.durations.seconds(protocol.name, task.state, key)
            found.append(task if seconds is None else replace(task, duration=seconds))
        return tuple(found)

    def _recipe(
        self, protocol: Protocol, program: Program, values: Mapping[str, Any], past: Sequence[str], home: str
    ) -> Recipe:
        usual = _ranges(program, values)
        ahead = replace(program, start=past[-1]) if past else program
        way = [*past[:-1], *(name for name in usual_way(ahead, usual) if program.states[name].end is None)]
        roles = {name: name for name in protocol.roles}
        inside = {self._named(protocol, self.places[home])} - {""} if home in self.places else set()
        units = {place: name for place, kind in self.places.items() if (name := self._named(protocol, kind))}
        holding = Holding(units, home, inside)
        frame = Frame(program, usual, roles)
        times = Times(program, usual, usual)
        matters = varying(protocol.digest, program)
        tasks: list[Task] = []
        before: frozenset[str] = frozenset(inside)
        for state in way:
            needs = _needs(protocol, program, state)
            after = holding.follow(frame, state)
            kept = {protocol.roles[name].role for name in after} & needs.keys()
            freed = {protocol.roles[name].role for name in before - after}
            tasks.append(Task(state, times.state(state).expected, needs, frozenset(kept), frozenset(freed)))
            before = after
        keys = tuple(matters.key(state, values) for state in way)
        return Recipe(tuple(tasks), keys, tuple(_windows(program, usual, way)))

    @staticmethod
    def _named(protocol: Protocol, kind: str) -> str:
        """The protocol's name for a kind of device, the first one; empty where it has none."""
        return next((name for name, use in protocol.roles.items() if use.role == kind), "")


def tasks_of(
    id: str,  # noqa: A002 - the word of the field
    protocol: Protocol,
    program: Program,
    parameters: Mapping[str, Any] | None = None,
    durations: Durations | None = None,
    places: Mapping[str, str] | None = None,
    home: str = "",
) -> Work:
    """The work of one job; of many, `Recipes.work` works out once what is the same."""
    return Recipes(durations or Durations(), places or {}).work(id, protocol, program, parameters, home=home)


def _ranges(program: Program, values: Mapping[str, Any]) -> Ranges:
    texts = {name: values.get(name, one.default) for name, one in program.declared.items()}
    known = {name: value for name, value in texts.items() if isinstance(value, str)}
    return Ranges(program, default_ranges(program.declared, values), known)


def _needs(protocol: Protocol, program: Program, state: str) -> dict[str, int]:
    needs: dict[str, int] = {}
    for name in sorted(program.states[state].roles):
        use = protocol.roles[name]
        needs[use.role] = needs.get(use.role, 0) + use.channels
    return needs


def _windows(program: Program, usual: Ranges, way: Sequence[str]) -> list[Window]:
    """The windows whose both edges are on the way; of a state visited again the latest visit counts."""
    found: list[Window] = []
    for rule in program.windows:
        finish = _place(way, rule.finish, len(way))
        begin = _place(way, rule.begin, finish[0] + 1) if finish is not None else None
        if begin is None or finish is None:
            continue
        env = usual.at((program.start, 0))
        within = usual.number(rule.within, env) if rule.within is not None else None
        least = usual.number(rule.at_least, env) if rule.at_least is not None else None
        found.append(Window(begin, finish, _low(within), _high(least), rule.name))
    return found


def _place(way: Sequence[str], edge: Edge, before: int) -> tuple[int, Literal["start", "end"]] | None:
    state, which = edge
    at = next((index for index in range(before - 1, -1, -1) if way[index] == state), None)
    return None if at is None else (at, which)


def _low(found: Interval | None) -> float | None:
    return found.low if found is not None and math.isfinite(found.low) else None


def _high(found: Interval | None) -> float | None:
    return found.high if found is not None and math.isfinite(found.high) else None
