"""One side of a Microlab 600: a syringe on its drive with its valve, its buffer, and what it carries out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labd import clock
from simulators._kit.syringe import Barrel

STEPS = 48_000
FARTHEST = 52_800  # steps that the drive can go
VALVE = 0.4  # s for a turn
FIND_VALVE = 1.7  # s; 395° at 240°/s
HOME = 10.0  # s of a full stroke when it looks for its zero
NEW, OVERLOADED, TOO_LARGE, MISSING = 0x01, 0x02, 0x04, 0x10  # of a syringe, in E2
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Ports:
    """A valve: its named ports by their angle, and the angles of input and output (table 3.2.2)."""

    named: dict[str, int]
    inlet: int
    outlet: int


_ONE_THREE, _ONE_TWO, _SQUARE, _Y = (
    {"1": 0, "3": 135},
    {"1": 0, "2": 270},
    {"1": 0, "2": 90},
    {"1": 0, "2": 120, "3": 240},
)
VALVES = {
    17: (Ports(_Y, 0, 240), Ports(_Y, 0, 240)),
    18: (Ports(_ONE_THREE, 0, 135), Ports(_SQUARE, 90, 0)),
    19: (Ports(_ONE_TWO, 0, 270), Ports(_SQUARE, 90, 0)),
}
"""By type, of the left side and of the right."""


@dataclass(slots=True)
class Go:
    """A turn of the valve, or a way of the plunger: it waits in the buffer, or is carried out.

    `stroke` is the time of a full stroke, `seconds` that of this way once it has begun.
    """

    kind: str  # valve, move, zero
    target: int = 0  # steps; of a valve its angle
    stroke: float = HOME
    seconds: float = 0.0


@dataclass(slots=True)
class Side:
    """Where plunger and valve are, and where they go. Times are s on one clock of the caller's.

    Args:
        barrel: the syringe.
        step_volume: µL.
        memory: where its position outlives the program.
        ports: its valve's.
        inlet, outlet: places of the world.
        new: it was just switched on, and does not know where its plunger is.
        stalls: whether the way that ends now met an obstacle.
    """

    barrel: Barrel
    step_volume: float
    memory: dict[str, Any]
    ports: Ports
    inlet: str
    outlet: str
    new: bool
    stalls: Callable[[], bool]
    errors: int = 0
    buffer: list[Go] = field(default_factory=list)  # until R
    goes: list[Go] = field(default_factory=list)
    halted: bool = False
    angle: int = field(init=False)
    _began: float = 0.0

    def __post_init__(self) -> None:
        self.angle = self.ports.outlet

    # ── what can be read ─────────────────────────────────────────────────────────────────────────────────────────
    @property
    def position(self) -> int:
        """Steps from its zero, near its upper end, where it rested last."""
        return int(self.memory["position"])

    @property
    def valve(self) -> str:
        """I or O."""
        return "I" if self.angle == self.ports.inlet else "O"

    @property
    def port(self) -> str:
        """The name of the port where its valve stands."""
        return next(name for name, angle in self.ports.named.items() if angle == self.angle)

    @property
    def busy(self) -> bool:
        return bool(self.goes) and not self.halted

    @property
    def turns(self) -> bool:
        """Whether it is its valve that is busy."""
        return self.busy and self.goes[0].kind == "valve"

    @property
    def waits(self) -> bool:
        """Whether orders wait for R, or to go on."""
        return bool(self.buffer) or (self.halted and bool(self.goes))

    @property
    def until(self) -> float:
        """When what it does now ends."""
        return self._began + self.goes[0].seconds

    def at(self, now: float) -> int:
        """Where the plunger is just now."""
        if not self.busy or self.turns:
            return self.position
        go = self.goes[0]
        share = min(1.0, (now - self._began) / go.seconds) if go.seconds > 0 else 1.0
        return round(self.position + (go.target - self.position) * share)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    def take(self, word: str, steps: int, stroke: float) -> None:
        """Puts an order into the buffer. What is busy, and moves of what is not initialised, are passed over."""
        if self.busy:
            return
        if word == "X":
            turns = (Go("valve", self.ports.outlet, seconds=FIND_VALVE), Go("valve", self.ports.inlet, seconds=VALVE))
            self.buffer += [turns[0], Go("zero"), turns[1]]
        elif word in "IO":
            self.buffer.append(Go("valve", self.ports.inlet if word == "I" else self.ports.outlet, seconds=VALVE))
        elif not self.new:
            target = {"M": steps, "P": self.position + steps, "D": self.position - steps}[word]
            self.buffer.append(Go("move", target, stroke))

    def run(self, now: float, *, new: bool) -> None:
        """`R` carries out the buffer, `$` what was halted; so does an `R` that finds something halted."""
        if self.busy:
            return
        if new:
            self.goes, self.buffer = self.goes + self.buffer, []
        self.halted = False
        self._begin(now)

    def halt(self, now: float) -> None:
        """The plunger stops where it is, and waits to be resumed or cleared; a valve ends its turn."""
        if not self.busy:
            return
        if self.turns:
            self.angle = self.goes.pop(0).target
        else:
            self._move_to(self.at(now))
        self.halted = bool(self.goes)

    def clear(self) -> None:
        """Forgets what has not begun, and what was halted."""
        self.buffer.clear()
        del self.goes[0 if self.halted else 1 :]
        self.halted = False

    def switch_off(self, now: float) -> None:
        """It loses its power."""
        self.halt(now)
        self.halted = True
        self.clear()
        self.new, self.errors = True, 0

    # ── motion ───────────────────────────────────────────────────────────────────────────────────────────────────
    def advance(self, now: float) -> None:
        """Ends what is over, and begins what comes after it."""
        while self.busy and now >= self.until - _TINY:
            ended, go = self.until, self.goes.pop(0)
            self._end(go)
            self._begin(ended)

    def _begin(self, at: float) -> None:
        """Sets off on what is next, and tells how long it takes."""
        self._began = at
        if not self.goes:
            return
        go = self.goes[0]
        if go.kind == "valve":
            go.seconds = 0.0 if self.angle == go.target and go.seconds == VALVE else go.seconds
        elif 0 <= go.target <= FARTHEST:
            go.seconds = go.stroke * abs(go.target - self.position) / STEPS + (0.5 if go.kind == "zero" else 0.0)
        else:
            self.errors |= TOO_LARGE
            self.goes.clear()

    def _end(self, go: Go) -> None:
        if go.kind == "valve":
            self.angle = go.target
        elif go.kind == "zero":
            self._move_to(0)
            self.new, self.errors = False, 0
        elif self.stalls():
            self._move_to((self.position + go.target) // 2)
            self.errors |= OVERLOADED
            self.goes.clear()
        else:
            self._move_to(go.target)

    def _move_to(self, target: int) -> None:
        """The plunger stands there now: what it has displaced went through the valve."""
        moved = target - self.position
        place = self.inlet if self.valve == "I" else self.outlet
        if moved > 0:
            self.barrel.draw(place, moved * self.step_volume)
        elif moved < 0:
            self.barrel.give(place, -moved * self.step_volume, clock.now().timestamp())
        self.memory["position"] = target
