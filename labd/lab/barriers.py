"""What keeps runs from going on: named reasons, each about some devices or about the whole lab."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Barrier:
    """One reason, in words that follow `waits for a crimper: …`. `devices` are those it is about; None: all."""

    reason: str
    devices: frozenset[str] | None

    def bars(self, devices: Collection[str]) -> bool:
        return self.devices is None or not self.devices.isdisjoint(devices)


@dataclass(slots=True)
class Barriers:
    """The reasons of one lab. While one stands, its devices are given to no run, and no run that uses one goes on.

    Runs that are at work are not ended by it and keep their devices: whoever sets it holds, stops or aborts them.
    One about the whole lab keeps new runs from being started, too.
    """

    _standing: dict[str, Barrier] = field(default_factory=dict)
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def set(self, name: str, reason: str, devices: Collection[str] | None = None) -> None:
        """Puts one up, or says it with other words.

        Args:
            name: what it is lifted by: `disk`, `interlock-oxygen`.
            reason: in words, what is so and what lifts it.
            devices: those that it is about; None: all.
        """
        barrier = Barrier(reason, None if devices is None else frozenset(devices))
        if self._standing.get(name) != barrier:
            self._standing[name] = barrier
            self._tell()

    def lift(self, name: str) -> None:
        """Takes one away. Harmless when there is none."""
        if self._standing.pop(name, None) is not None:
            self._tell()

    def reason_for(self, devices: Collection[str] = ()) -> str | None:
        """Why nothing new begins on these devices now, or None; without devices: nowhere in the lab."""
        told = [barrier.reason for barrier in self._standing.values() if barrier.bars(devices)]
        return "; ".join(told) or None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls it whenever one was put up or lifted. It must not block and must not raise."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
