"""How a syringe moves a volume: its strokes between inlet and outlet, and what it tells of them afterwards.

Pure; positions and amounts are in steps of the plunger, 0 is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labd.sdk.errors import Rejected

Way = Literal["in", "out"]


@dataclass(frozen=True, slots=True)
class Stroke:
    """One move of the plunger, with the valve at the inlet (`in`) or at the outlet (`out`)."""

    way: Way
    begin: int
    end: int

    @property
    def steps(self) -> int:
        return abs(self.end - self.begin)

    def made(self, position: int) -> int | None:
        """The steps that are made of it when the plunger rests there; None: it never comes by there."""
        low, high = sorted((self.begin, self.end))
        return abs(position - self.begin) if low <= position <= high else None


@dataclass(frozen=True, slots=True)
class Strokes:
    """All strokes of one order.

    Args:
        start: where the plunger stood before.
        strokes: in their order.
        counts: which way the volume that was ordered goes.
    """

    start: int
    strokes: tuple[Stroke, ...]
    counts: Way

    @property
    def total(self) -> int:
        """Steps that go the way that counts."""
        return self.before(len(self.strokes))

    def before(self, whole: int) -> int:
        """Steps that went the way that counts, after so many whole strokes."""
        return sum(one.steps for one in self.strokes[:whole] if one.way == self.counts)

    def moved(self, whole: int, position: int) -> int:
        """The same, where the stroke after those ended early, at a position."""
        if whole >= len(self.strokes):
            return self.total
        stroke = self.strokes[whole]
        return self.before(whole) + ((stroke.made(position) or 0) if stroke.way == self.counts else 0)

    def possible(self, position: int, valve: str | None, valve_before: str | None) -> frozenset[int]:
        """What may have moved the way that counts, of a syringe that rests somewhere and whose past nobody saw.

        One number proves it. Several: the plunger came by there more than once with its valve so. None: somebody else
        has moved it.

        Args:
            position: where the plunger rests.
            valve: `in`, `out`, or wherever else it stands; None: there is no valve, or it cannot tell.
            valve_before: the same, before the order.
        """
        found = {
            self.moved(number, position)
            for number, stroke in enumerate(self.strokes)
            if valve in (None, stroke.way) and stroke.made(position) is not None
        }
        if position == self.start and (valve is None or valve == valve_before):
            found.add(0)
        return frozenset(found)


def aspiration(start: int, steps: int) -> Strokes:
    """Draws in."""
    return Strokes(start, (Stroke("in", start, start + steps),), "in")


def delivery(start: int, steps: int, full: int, mark: int) -> Strokes:
    """Gives so many steps to the outlet: of what the syringe holds; where that is less it fills itself on the way.

    Where it fills itself it ends at 0, or at `mark` steps when it began at 0, and turns round at the mark after: so the
    last position is one that neither the beginning nor any other stroke has, and tells that all was given.

    Args:
        start: where the plunger stands.
        steps: what is to be given.
        full: where the syringe is full.
        mark: steps that are surely told apart; a small share of `full`.
    """
    if steps <= start:
        return Strokes(start, (Stroke("out", start, start - steps),), "out")
    last, turn = (0, mark) if start else (mark, 2 * mark)
    strokes: list[Stroke] = []
    at, left = start, steps
    while left > 0:
        final = left + last <= full
        top = left + last if final else full
        bottom = last if final else turn
        if at < top:
            strokes.append(Stroke("in", at, top))
        strokes.append(Stroke("out", top, bottom))
        left -= top - bottom
        at = bottom
    return Strokes(start, tuple(strokes), "out")


@dataclass(frozen=True, slots=True)
class Syringe:
    """A syringe on its drive.

    Args:
        capacity: µL.
        full: steps of a full stroke.
    """

    capacity: float
    full: int

    @property
    def step(self) -> float:
        """µL of one step."""
        return self.capacity / self.full

    @property
    def mark(self) -> int:
        """Steps that are surely told apart, and a small share of its volume."""
        return round(self.full * 0.004)

    def volume(self, steps: int) -> float:
        """Steps in µL."""
        return round(steps * self.step, 6)

    def steps(self, volume: float) -> int:
        """A volume (µL) in whole steps. Raises Rejected: it is less than one."""
        steps = round(volume / self.step)
        if steps < 1:
            raise Rejected(f"{volume:g} µL is less than one step of this syringe, {self.step:.3g} µL")
        return steps

    def aspiration(self, start: int, volume: float) -> Strokes:
        """Draws a volume (µL) in. Raises Rejected: there is no room for it."""
        steps, room = self.steps(volume), self.full - start
        if steps > room:
            words = f"the syringe has room for {self.volume(room):g} µL more, and {volume:g} µL are asked for"
            raise Rejected(words)
        return aspiration(start, steps)

    def delivery(self, start: int, volume: float | None) -> Strokes:
        """Gives a volume (µL) to the outlet, or as much as a full stroke; see `delivery`."""
        steps = self.full if volume is None else self.steps(volume)
        return delivery(start, steps, self.full, self.mark)
