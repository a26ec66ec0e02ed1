"""Which states the runs under way have been in, when and with which units: what a plan cannot change any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from labd import clock
from labd.journal import Event
from labd.run.planning.tasks import Past

MOST = 48  # states of a run that are remembered: of one that goes round for months the last ones count


@dataclass(slots=True)
class Visits:
    """By run, the states that it has entered, oldest first. Times are of the lab's monotonic clock."""

    _of: dict[str, list[Past]] = field(default_factory=dict)

    def left(self, run: str) -> Past | None:
        """A run has left the state that it was in; gives that state, the first time that this is told."""
        visits = self._of.setdefault(run, [])
        if not visits or visits[-1].end is not None:
            return None
        visits[-1] = replace(visits[-1], end=clock.monotonic())
        return visits[-1]

    def entered(self, run: str, state: str, units: Mapping[str, tuple[str, ...]]) -> None:
        """A run has entered a state."""
        self.left(run)
        visits = self._of[run]
        if len(visits) >= MOST:
            del visits[: MOST // 2]
        visits.append(Past(state, clock.monotonic(), units))

    def forget(self, run: str) -> None:
        """A run has ended."""
        self._of.pop(run, None)

    def of(self, run: str) -> tuple[Past, ...]:
        """What is known of a run."""
        return tuple(self._of.get(run, ()))

    def take_up(self, run: str, entered: Iterable[Event], kinds: Mapping[str, str]) -> None:
        """What a run did before a restart, by its `protocol.entered` events.

        Args:
            run: the run.
            entered: oldest first.
            kinds: the kind of device by the protocol's name for it.
        """
        ahead = clock.monotonic() - clock.now().timestamp()
        visits: list[Past] = []
        for event in entered:
            data: Mapping[str, Any] = event.data
            at = datetime.fromisoformat(event.at).timestamp() + ahead
            if visits:
                visits[-1] = replace(visits[-1], end=at - float(data.get("waited") or 0.0))
            units: dict[str, tuple[str, ...]] = {}
            more: Mapping[str, list[str]] = data.get("more") or {}
            for name, unit in data["bindings"].items():
                kind = kinds.get(name, name)
                units[kind] = (*units.get(kind, ()), unit, *more.get(name, ()))
            visits.append(Past(data["state"], at, units))
        self._of[run] = visits[-MOST:]
