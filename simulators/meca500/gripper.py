"""The gripper's fingers: how far open, how fast, how hard, and whether something is between them."""

from __future__ import annotations

from dataclasses import dataclass

TOP_SPEED = 100.0  # mm/s at 100 %
TOP_FORCE = 40.0  # N at 100 %
WEAKEST_GRIP = 10.0  # % of force below which a part slips out when the arm moves


@dataclass
class Fingers:
    """Openings in mm, force and velocity in percent.

    Args:
        stroke: how far they open.
        opening: how far open they were when last seen at rest.
    """

    stroke: float
    opening: float
    holding: bool = False
    force: float = 50.0
    velocity: float = 50.0
    _from: float = 0.0
    _to: float = 0.0
    _start: float = 0.0
    _moving: bool = False

    def move(self, target: float, at: float) -> float:
        """Begins to move; gives the time at which they arrive."""
        self._from, self._to, self._start = self.width(at), max(0.0, min(self.stroke, target)), at
        self._moving = True
        return self.passes(self._to)

    def passes(self, opening: float) -> float:
        """When they pass an opening on the way they are on."""
        return self._start + abs(opening - self._from) / self._speed

    def rest(self, opening: float) -> None:
        """They stop at an opening."""
        self.opening = opening
        self._moving = False

    def arrive(self) -> None:
        """They stop where they were sent."""
        self.rest(self._to)

    def width(self, at: float) -> float:
        """How far open they are, mm."""
        if not self._moving:
            return self.opening
        way = min(abs(self._to - self._from), max(0.0, at - self._start) * self._speed)
        return self._from + way if self._to > self._from else self._from - way

    @property
    def moving(self) -> bool:
        return self._moving

    @property
    def at_limit(self) -> bool:
        """Wide open or fully closed."""
        return not self._moving and not self.holding and self.opening in (0.0, self.stroke)

    @property
    def _speed(self) -> float:
        return TOP_SPEED * self.velocity / 100
