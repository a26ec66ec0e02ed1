"""What a protocol uses up: volumes of materials (µL), tips, parts; and what it puts where.

Least is on the shortest way to a complete end, expected when all goes well, greatest on the worst way that
`max_visits` and the bounds of its parameters allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from labd.expr import Interval
from labd.files.source import Path
from labd.protocol.facts import LabFacts, standard_facts
from labd.protocol.program import CallOp, DoOp, Program
from labd.protocol.proofs.blocks import Either, Leaf, Loop, Sum, blocks, leaves
from labd.protocol.proofs.paths import Shortest, costliest, usual_way
from labd.protocol.proofs.ranges import Ranges, declared_ranges, default_ranges
from labd.protocol.proofs.times import called_ranges
from labd.protocol.values import Slot

SAMPLE = "sample"
"""The place that is the sample itself, wherever it is."""


class Key(NamedTuple):
    """One thing that is counted: drawn of a material or from a place, put into a place, tips, picks where parts lie.

    `put` is where an arm sets something down.

    `tips` are all of them; `tip` are those of one size, whose µL are the name.
    """

    kind: Literal["material", "place", "into", "tips", "tip", "pick", "put"]
    name: str = ""


TIPS = Key("tips")


@dataclass(frozen=True, slots=True)
class Amount:
    """µL, or pieces; `greatest` is None where nothing bounds it."""

    least: float
    expected: float
    greatest: float | None

    def as_json(self) -> dict[str, float | None]:
        return {"least": _tidy(self.least), "expected": _tidy(self.expected), "greatest": _tidy(self.greatest)}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run uses up.

    Args:
        materials: µL by material, or by place where the lab does not say what is there.
        parts: by name, where a lab says which part lies at a place.
        amounts: all that was counted; `paths` say where in the file each is used first.
    """

    materials: Mapping[str, Amount]
    tips: Amount
    parts: Mapping[str, Amount]
    amounts: Mapping[Key, Amount] = field(default_factory=dict)
    paths: Mapping[Key, Path] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For editors: µL, and pieces."""
        return {
            "materials": {name: amount.as_json() for name, amount in self.materials.items()},
            "tips": self.tips.as_json(),
            "parts": {name: amount.as_json() for name, amount in self.parts.items()},
        }


def needs(program: Program, facts: LabFacts | None = None, parameters: Mapping[str, Any] | None = None) -> Needs:
    """What a protocol uses up.

    Args:
        program: compiled.
        facts: of the lab: what stands at which place.
        parameters: what `bind_parameters` gave for one run; without them all that they may be.
    """
    usual = default_ranges(program.declared, parameters)
    base = declared_ranges(program.declared) if parameters is None else usual
    texts = {name: (parameters or {}).get(name, one.default) for name, one in program.declared.items()}
    known = {name: value for name, value in texts.items() if isinstance(value, str)}
    return Ledger(
        program, facts or standard_facts(), Ranges(program, base, known), Ranges(program, usual, known)
    ).needs()


@dataclass(slots=True)
class Use:
    """What one operation uses of one thing, for all values and by default."""

    every: Interval
    usual: float
    path: Path


@dataclass(slots=True)
class Ledger:
    """All that one program uses, operation by operation."""

    program: Program
    facts: LabFacts
    ranges: Ranges
    usual: Ranges
    uses: dict[tuple[str, int], dict[Key, Use]] = field(default_factory=dict)

    def needs(self) -> Needs:
        """The sums over the program's ways."""
        for name, state in self.program.states.items():
            for leaf in leaves(blocks(state.ops)):
                self.uses[name, leaf.at] = dict(self._leaf((name, leaf.at), leaf))
        self._tips_of_once()
        paths: dict[Key, Path] = {}
        for found in self.uses.values():
            for key, use in found.items():
                paths.setdefault(key, use.path)
        amounts = {key: self._amount(key) for key in paths}
        materials: dict[str, Amount] = {}
        for key, amount in amounts.items():
            if key.kind in ("material", "place"):
                name = (self.facts.material_at or {}).get(key.name, key.name) if key.kind == "place" else key.name
                materials[name] = _both(materials.get(name), amount)
        parts: dict[str, Amount] = {}
        for key, amount in amounts.items():
            if key.kind == "pick" and key.name in (self.facts.stock or {}):
                part = (self.facts.stock or {})[key.name]
                parts[part] = _both(parts.get(part), amount)
        return Needs(materials, amounts.get(TIPS, Amount(0, 0, 0)), parts, amounts, paths)

    # ── sums ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _amount(self, key: Key) -> Amount:
        least = self._costs(key, self.ranges, lambda use: use.every.low, min)
        expected = self._costs(key, self.usual, lambda use: use.usual, max)
        greatest = self._costs(key, self.ranges, lambda use: use.every.high, max)
        shortest = Shortest(self.program, least, self.ranges).from_start()
        ends = [cost for name, cost in shortest.items() if self.program.states[name].end == "complete"]
        usual = sum(expected[name] for name in usual_way(self.program, self.usual))
        most = costliest(self.program, greatest)
        if key.kind == "pick":
            most = max(1.0, usual)  # one part lies there: who picks it again has missed it
        return Amount(min(min(ends, default=0.0), usual), usual, most if math.isfinite(most) else None)

    def _costs(
        self, key: Key, ranges: Ranges, of: Callable[[Use], float], choose: Callable[[float, float], float]
    ) -> dict[str, float]:
        return {name: self._state(name, key, ranges, of, choose) for name in self.program.states}

    def _state(
        self, name: str, key: Key, ranges: Ranges, of: Callable[[Use], float], choose: Callable[[float, float], float]
    ) -> float:
        def leaf(found: Leaf) -> float:
            use = self.uses[name, found.at].get(key)
            return of(use) if use is not None else 0.0

        def turns(loop: Loop) -> float:
            found = ranges.turns(loop.op, ranges.at((name, loop.at)))
            if choose is max and ranges is self.ranges:
                return found.high
            return (found.low + found.high) / 2 if ranges is self.usual and loop.op.at_most is None else found.low

        def either(part: Either, then: float, otherwise: float) -> float:
            holds = ranges.holds(part.op.condition, ranges.at((name, part.at)))
            return choose(then, otherwise) if holds is None else then if holds else otherwise

        return Sum(leaf, turns, either, _sum).of(blocks(self.program.states[name].ops))

    # ── one operation ────────────────────────────────────────────────────────────────────────────────────────────
    def _leaf(self, place: tuple[str, int], leaf: Leaf) -> Iterator[tuple[Key, Use]]:
        op = leaf.op
        if isinstance(op, DoOp):
            yield from self._action(place, op)
        elif isinstance(op, CallOp):
            ranges = called_ranges(op, self.ranges.at(place), self.ranges)
            usual = called_ranges(op, self.usual.at(place), self.usual)
            inner = Ledger(op.program, self.facts, ranges, usual).needs()
            for key, amount in inner.amounts.items():
                most = math.inf if amount.greatest is None else amount.greatest
                use = Use(Interval(amount.least, most), amount.expected, op.path)
                slot = op.parameters.get(key.name.removeprefix("=")) if key.kind == "put" else None
                yield from ((one, use) for one in ([key] if slot is None else self._puts(slot, place)))

    def _action(self, place: tuple[str, int], op: DoOp) -> Iterator[tuple[Key, Use]]:
        again = 1 + op.retry.times if op.retry is not None and _after_a_result(op) else 1
        volume = op.parameters.get("volume")
        if volume is not None and "source" in op.parameters:
            every = self._volume(volume, self.ranges, place)
            usual = self._volume(volume, self.usual, place)
            middle = (usual.low + usual.high) / 2 if usual.bounded else usual.low
            use = Use(Interval(every.low, every.high * again), middle, (*op.path, "with", "volume"))
            yield from self._shared([self._source(name) for name in self._names(op.parameters["source"], place)], use)
            if "destination" in op.parameters:
                where = self._names(op.parameters["destination"], place)
                yield from self._shared([Key("into", name) for name in where], use)
        tips = _tips(op)
        if tips is not None:
            use = Use(Interval(tips.low, tips.high * again), tips.high, (*op.path, "do"))
            yield TIPS, use
            if volume is not None:
                yield from self._sized(volume, use, place)
        if op.action.name == "pick" and "place" in op.parameters:
            names = self._names(op.parameters["place"], place)
            found = [Key("pick", name) for name in names if self._lies(name) or name in self.facts.gone]
            share = Use(Interval(1, 1), 1, (*op.path, "with", "place"))
            yield from self._shared(found, share, len(names))
        if op.action.name == "place" and "place" in op.parameters:
            put = Use(Interval(0, 1), 1, (*op.path, "with", "place"))
            yield from ((key, put) for key in self._puts(op.parameters["place"], place))

    def _puts(self, slot: Slot, place: tuple[str, int]) -> Iterator[Key]:
        """Where an arm sets something down on a tray: not at its sample's own place, nor at that of a unit."""
        known = self.program.assigned | self.program.parameters
        for name in self._names(slot, place):
            head, dot, rest = name.removeprefix("=").partition(".")
            of_unit = name.startswith("=") and dot and rest == "place" and head not in known
            if name != SAMPLE and not name.startswith("=sample.") and not of_unit:
                yield Key("put", name)

    def _lies(self, name: str) -> bool:
        """Whether a part lies at a place, or none does where one might."""
        return name in (self.facts.stock or {}) or name in self.facts.bare

    def _sized(self, volume: Slot, use: Use, place: tuple[str, int]) -> Iterator[tuple[Key, Use]]:
        """The tips of each size that one action may take; nothing where several robots could serve."""
        known = self.facts.tip_ranges or {}
        if len(known) != 1 or len(self.facts.tips or known) != 1:
            return
        (ranges,) = known.values()
        every, usual = self._volume(volume, self.ranges, place), self._volume(volume, self.usual, place)
        middle = (usual.low + usual.high) / 2 if usual.bounded else usual.low
        for number, one in enumerate(ranges):
            most = one.most if number < len(ranges) - 1 else math.inf  # the largest takes the rest in strokes
            if every.high <= one.above or every.low > most:
                continue
            surely = one.above < every.low and every.high <= most
            low, middling = use.every.low if surely else 0.0, use.usual if one.above < middle <= most else 0.0
            yield Key("tip", str(one.size)), Use(Interval(low, use.every.high), middling, use.path)

    def _shared(self, keys: list[Key], use: Use, among: int = 0) -> Iterator[tuple[Key, Use]]:
        """What goes to each of a list's items in turn: of all turns each has its share."""
        parts = among or len(keys)
        for key in dict.fromkeys(keys):
            share = keys.count(key) / parts
            yield key, Use(Interval(use.every.low * share, use.every.high * share), use.usual * share, use.path)

    def _volume(self, slot: Slot, ranges: Ranges, place: tuple[str, int]) -> Interval:
        found = ranges.number(slot, ranges.at(place)) or Interval(0.0)
        return Interval(max(0.0, found.low), max(0.0, found.high))

    def _source(self, name: str) -> Key:
        known = self.facts.places
        return Key("place" if "/" in name or (known is not None and name in known) else "material", name)

    def _names(self, slot: Slot, place: tuple[str, int]) -> list[str]:
        """Places or materials by name; what is only known in a run by its expression, `=found.place`."""
        name = self.ranges.text(slot)
        if name:
            return [name]
        text = slot.expression.text.strip() if slot.expression is not None else ""
        for loop in self.ranges.loops(place):
            items = loop.over.fixed if loop.over is not None and loop.as_ == text else None
            if isinstance(items, list) and items and all(isinstance(item, str) for item in items):
                return [str(item) for item in items]
        return [SAMPLE if text == "sample.position" else f"={text}"]

    def _tips_of_once(self) -> None:
        """With `new_tip: once` a tip stays on as long as its source stays the same: one a visit, however often."""
        for state_name, state in self.program.states.items():
            ops = [(leaf.at, leaf.op) for leaf in leaves(blocks(state.ops)) if isinstance(leaf.op, DoOp)]
            once = [(at, op) for at, op in ops if _policy(op) == "once" and "source" in op.parameters]
            sources = {one for at, op in once for one in self._names(op.parameters["source"], (state_name, at))}
            if len(sources) != 1:
                continue
            for at, op in once[1:]:
                self._set_tips((state_name, at), Use(Interval(0, 0), 0, (*op.path, "do")))
            at, op = once[0]
            turns = 1.0
            for loop in self.ranges.loops((state_name, at)):
                turns *= max(1.0, self.ranges.turns(loop, self.ranges.at((state_name, at))).high)
            self._set_tips((state_name, at), Use(Interval(0, 1 / turns), 1 / turns, (*op.path, "do")))

    def _set_tips(self, place: tuple[str, int], use: Use) -> None:
        for key in [key for key in self.uses[place] if key.kind in ("tips", "tip")]:
            self.uses[place][key] = use


def _policy(op: DoOp) -> str | None:
    """`always`, `once`, `never`; None where it is only known in a run, or for what has no tips."""
    if "new_tip" not in op.action.parameters.model_fields:
        return "always" if op.action.name == "mix" else None
    slot = op.parameters.get("new_tip")
    if slot is None:
        return str(op.action.parameters.model_fields["new_tip"].get_default())
    return slot.fixed if isinstance(slot.fixed, str) else "?"


def _tips(op: DoOp) -> Interval | None:
    policy = _policy(op)
    if policy is None or policy == "never":
        return None
    return Interval(1 if policy == "always" else 0, 1)


def _after_a_result(op: DoOp) -> bool:
    """Whether a retry comes after something was done; what was rejected has used nothing."""
    assert op.retry is not None
    condition = op.retry.condition
    return condition is not None and any(parts[0] != "rejected" for parts in condition.names)


def _sum(values: Iterable[float]) -> float:
    return float(sum(values))


def _both(first: Amount | None, second: Amount) -> Amount:
    if first is None:
        return second
    most = None if first.greatest is None or second.greatest is None else first.greatest + second.greatest
    return Amount(first.least + second.least, first.expected + second.expected, most)


def _tidy(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")
