"""The weighing cell: what stands on the pan, how long it swings, what spoils it."""

from __future__ import annotations

import math
import random
from collections.abc import MutableMapping
from typing import Any

SWING = 0.3  # s; time constant with which the display follows a new load
REST = 1.0  # s that a new load needs at least before it counts as at rest
DRAUGHT = 0.02  # g by which an open draught shield moves the pan
JITTER = 0.2  # of a digit, from one reading to the next


class Pan:
    """A pan and its load, in g; times in s on one clock of the caller's.

    Args:
        rng: the device's own generator.
        faults: `unstable` (bool), `drift` (g/h); see `BalanceSimulator`.
        readability: g of the last digit.
        repeatability: g; standard deviation of one load put on again and again.
    """

    def __init__(
        self, rng: random.Random, faults: MutableMapping[str, Any], *, readability: float, repeatability: float
    ) -> None:
        self.readability = readability
        self._rng = rng
        self._faults = faults
        self._repeatability = repeatability
        self._load = 0.0
        self._error = 0.0
        self._swing = 0.0  # g off the load when it was last changed
        self._since = -math.inf
        self._drifted = 0.0
        self._now = 0.0

    def advance(self, now: float) -> None:
        """Lets time pass."""
        self._drifted += float(self._faults.get("drift") or 0.0) * (now - self._now) / 3600
        self._now = now

    def put(self, load: float) -> None:
        """The load is now so many g."""
        if math.isclose(load, self._load, abs_tol=1e-9):
            return
        shown = self._load + self._error + self._off()
        self._load, self._error = load, self._rng.gauss(0.0, self._repeatability)
        self._swing, self._since = shown - load - self._error, self._now

    def ease(self, load: float) -> None:
        """The load has become so many g, by and by: nothing swings."""
        self._load = load

    def start(self, load: float, now: float) -> None:
        """Switched on with a load that has stood there for long."""
        self._load, self._now = load, now

    @property
    def at_rest(self) -> bool:
        """Whether the reading is stable."""
        if self._faults.get("unstable"):
            return False
        return abs(self._off()) < self.readability / 2 and self._now - self._since >= REST

    def read(self) -> float:
        """What the cell reads now, in g, neither zeroed nor tared."""
        shown = self._load + self._error + self._off() + self._drifted
        shown += self._rng.gauss(0.0, JITTER * self.readability)
        if self._faults.get("unstable"):
            shown += self._rng.uniform(-DRAUGHT, DRAUGHT)
        return shown

    def _off(self) -> float:
        return self._swing * math.exp(-(self._now - self._since) / SWING) if self._swing else 0.0
