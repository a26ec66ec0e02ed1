"""The press itself: how its ram travels and which force the stack of a cell gives back.

A CR2032 stack pushes back in two parts: the wave spring, gasket and lid's play first (soft), then steel, gasket and
electrodes under compression (stiff). Coin-cell crimpers need some 6 to 10 kN for a CR2032; the stiffnesses here put
7.8 kN at about 0.9 mm, which is what such presses show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TRAVEL_TO_STACK = 40.0  # mm from open to the top of an uncrimped CR2032
TRAVEL_TO_DIE = 43.2  # mm from open to the bare die, with nothing in the nest
CLOSED = 39.0  # mm; where `close_ram` stops: just above the stack, no force

APPROACH_SPEED = 25.0  # mm/s down to the stack, and back up
PRESS_SPEED = 0.8  # mm/s once the stack pushes back

SOFT = 0.6  # kN/mm, spring and play
STIFF = 15.0  # kN/mm, the stack under compression
DIE = 50.0  # kN/mm, steel on steel
OPEN_WITHIN = 0.5  # mm from the top at which the switch `ram_open` closes


@dataclass(frozen=True)
class Stack:
    """What lies in the nest, as the ram feels it: `play` mm of soft travel, then the `stiffness` in kN/mm."""

    contact: float
    play: float
    stiffness: float

    def force(self, compression: float) -> float:
        """How hard it pushes back, kN, at so many mm after contact."""
        if compression <= 0:
            return 0.0
        soft = SOFT * min(compression, self.play)
        return soft + self.stiffness * max(0.0, compression - self.play)

    def compression(self, force: float) -> float:
        """How far after contact, mm, it pushes back with so many kN."""
        soft = SOFT * self.play
        return force / SOFT if force <= soft else self.play + (force - soft) / self.stiffness


def cell_stack(play: float = 0.35) -> Stack:
    """A closed but uncrimped coin cell with so much play (mm)."""
    return Stack(TRAVEL_TO_STACK, play, STIFF)


def bare_die() -> Stack:
    """Nothing in the nest: the punch meets the die."""
    return Stack(TRAVEL_TO_DIE, 0.0, DIE)


@dataclass(frozen=True)
class Stroke:
    """One stroke from `start` (s) with the ram at `origin` (mm): down, press to `peak` (kN), dwell (s), up.

    With `halt` (s) everything stops there: the force vents, the ram stays where it is.
    """

    start: float
    stack: Stack
    peak: float
    dwell: float
    origin: float = 0.0
    halt: float = math.inf

    @property
    def displacement(self) -> float:
        """How far the stack was compressed at the peak, mm."""
        return self.stack.compression(self.peak)

    @property
    def touched(self) -> float:
        return self.start + max(0.0, self.stack.contact - self.origin) / APPROACH_SPEED

    @property
    def peaked(self) -> float:
        return self.touched + self.displacement / PRESS_SPEED

    @property
    def released(self) -> float:
        return self.peaked + self.dwell

    @property
    def end(self) -> float:
        return self.released + (self.stack.contact + self.displacement) / APPROACH_SPEED

    def position(self, at: float) -> float:
        """Where it is, mm from the top."""
        at = min(at, self.halt)
        if at <= self.start:
            return self.origin
        if at <= self.touched:
            return self.origin + (at - self.start) * APPROACH_SPEED
        bottom = self.stack.contact + self.displacement
        if at <= self.peaked:
            return self.stack.contact + (at - self.touched) * PRESS_SPEED
        return bottom if at <= self.released else max(0.0, bottom - (at - self.released) * APPROACH_SPEED)

    def force(self, at: float) -> float:
        """kN; nothing once the press was halted."""
        if at > self.halt:
            return 0.0
        return self._pressed(at)

    def _pressed(self, at: float) -> float:
        if not self.touched < at < self.released:
            return 0.0
        return min(self.peak, self.stack.force((at - self.touched) * PRESS_SPEED))

    def peak_until(self, at: float) -> float:
        """The highest force so far, kN."""
        at = min(at, self.halt)
        return self.peak if at >= self.peaked else self._pressed(at)

    def dwell_until(self, at: float) -> float:
        """How long the peak was held so far, s."""
        return min(max(0.0, min(at, self.halt) - self.peaked), self.dwell)

    def when_force(self, force: float) -> float:
        """When it first presses with so many kN, s."""
        return self.touched + self.stack.compression(min(force, self.peak)) / PRESS_SPEED


@dataclass(frozen=True)
class Travel:
    """The ram on its way without force, from `origin` to `target` mm."""

    start: float
    origin: float
    target: float

    @property
    def end(self) -> float:
        return self.start + abs(self.target - self.origin) / APPROACH_SPEED

    def position(self, at: float) -> float:
        """Where it is, mm from the top."""
        if at >= self.end:
            return self.target
        way = max(0.0, at - self.start) * APPROACH_SPEED
        return self.origin + math.copysign(way, self.target - self.origin)
