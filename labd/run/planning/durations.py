"""How long states really take, learnt from the journal.

Of each state the latest visits count, their median: one stuck pick does not change it, and a robot that has become
slower does so after a few cells. The time in which a run waited for a device is not part of a visit; a visit in which
the run was held or suspended, or labd was restarted, teaches nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from statistics import median
from typing import Any

from labd.journal import Event
from labd.run.planning.varying import Key

LATEST = 15  # visits that count
MOST = 400  # that are kept of a state, for all values of its parameters
KINDS = ("run.started", "protocol.entered", "run.state", "run.resumed", "protocol.ended", "run.ended")
"""The events that are looked at."""

WORKING = frozenset({"Starting", "Execute", "Completing", "Complete", "Idle"})


@dataclass(slots=True)
class _Run:
    """A run that is under way: the state that it is in, since when, and whether that can teach anything."""

    protocol: str
    numbers: Mapping[str, float]
    state: str = ""
    since: datetime | None = None
    whole: bool = True


@dataclass(slots=True)
class Durations:
    """What was learnt, s by protocol and state, and by the parameters that matter; `version` grows with each lesson."""

    version: int = 0
    _visits: dict[tuple[str, str], deque[tuple[Mapping[str, float], float]]] = field(default_factory=dict)
    _runs: dict[str, _Run] = field(default_factory=dict)
    _medians: dict[tuple[str, str], dict[Key, float | None]] = field(default_factory=dict)  # until the next lesson

    def seconds(self, protocol: str, state: str, key: Key = ()) -> float | None:
        """How long a state takes; None where nothing was learnt of it.

        Args:
            protocol: its name.
            state: of it.
            key: the parameters that matter, with their values (see `varying`): only visits with the same count.
        """
        known = self._medians.setdefault((protocol, state), {})
        if key not in known:
            latest = list(islice(self._alike(protocol, state, key), LATEST))
            known[key] = median(latest) if latest else None
        return known[key]

    def visits(self, protocol: str, state: str, key: Key = ()) -> int:
        """How many visits that rests on."""
        return sum(1 for _ in islice(self._alike(protocol, state, key), LATEST))

    def _alike(self, protocol: str, state: str, key: Key) -> Iterator[float]:
        """The times of visits with the same parameters, the latest first."""
        for numbers, seconds in reversed(self._visits.get((protocol, state), ())):
            if all(name in numbers and math.isclose(numbers[name], value, rel_tol=1e-5) for name, value in key):
                yield seconds

    def learn(self, protocol: str, state: str, seconds: float, numbers: Mapping[str, float] | None = None) -> None:
        """One visit, with all parameters that are numbers."""
        visits = self._visits.setdefault((protocol, state), deque(maxlen=MOST))
        visits.append((numbers or {}, max(0.0, seconds)))
        self._medians.pop((protocol, state), None)
        self.version += 1

    def fold(self, events: Iterable[Event]) -> None:
        """Events of the journal in their order; may be called again with those that follow."""
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """One event of the journal."""
        if event.run is None:
            return
        if event.kind == "run.started":
            numbers = _numbers(event.data.get("parameters") or {})
            self._runs[event.run] = _Run(str(event.data.get("protocol", "")), numbers)
            return
        run = self._runs.get(event.run)
        if run is None:
            return
        match event.kind:
            case "protocol.entered":
                self._left(run, event.at, float(event.data.get("waited") or 0.0))
                run.state, run.whole = str(event.data["state"]), True
                run.since = datetime.fromisoformat(event.at)
            case "run.state":
                run.whole = run.whole and event.data.get("to") in WORKING
            case "run.resumed":
                run.whole = False
            case "protocol.ended":
                self._left(run, event.at, 0.0)
                run.since = None
            case "run.ended":
                del self._runs[event.run]
            case _:
                pass

    def _left(self, run: _Run, at: str, waited: float) -> None:
        if run.since is not None and run.whole:
            seconds = (datetime.fromisoformat(at) - run.since).total_seconds() - waited
            self.learn(run.protocol, run.state, seconds, run.numbers)


def _numbers(parameters: Mapping[str, Any]) -> dict[str, float]:
    """The parameters of a run that are numbers, as the journal tells them: `{"v": 3.0, "u": "h"}`."""
    values = {name: one.get("v") if isinstance(one, Mapping) else one for name, one in parameters.items()}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
