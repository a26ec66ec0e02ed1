"""What a person should know now: each alarm under an id of its own, until what it is about is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from labd import clock
from labd.lab.bus import Alarm, Bus

Severity = Literal["warning", "problem", "critical"]

SOON = 300.0  # s after a start; what is said later is another alarm


@dataclass(slots=True)
class Alarms:
    """The alarms of one lab that have not ended."""

    bus: Bus
    _active: dict[str, Alarm] = field(default_factory=dict)
    _remembered: dict[str, Alarm] = field(default_factory=dict)
    _remembered_at: float = 0.0

    def tell(self, id: str, severity: Severity, about: str, text: str) -> None:  # noqa: A002 - the word of the field
        """Says that something is so; said again with other words, they replace the first, under its time.

        Who has seen it has seen it, unless it matters more or less than before.

        Args:
            id: of `[a-z0-9_-]{1,64}`, such as `disk` or `interlock-oxygen`.
            severity: how much it matters.
            about: the device, the run, or `lab`.
            text: what is so, and what to do.
        """
        before = self._active.get(id)
        if before is not None and (before.severity, before.text) == (severity, text):
            return
        before = before or self._recall(id, severity, text)
        since = before.since if before is not None else clock.stamp()
        seen = before.acknowledged_by if before is not None and before.severity == severity else None
        self._active[id] = alarm = Alarm(id, severity, about, text, since, seen)
        self.bus.tell(alarm)

    def remember(self, alarms: Iterable[Alarm]) -> None:
        """What stood when the last daemon ended: said again soon and with the same words, it is the same alarm."""
        self._remembered = {alarm.id: alarm for alarm in alarms}
        self._remembered_at = clock.monotonic()
        for now in self.active:
            before = self._recall(now.id, now.severity, now.text)
            if before is not None:
                self._active[now.id] = same = replace(now, since=before.since, acknowledged_by=before.acknowledged_by)
                self.bus.tell(same)

    def _recall(self, id: str, severity: Severity, text: str) -> Alarm | None:  # noqa: A002
        before = self._remembered.pop(id, None)
        same = before is not None and (before.severity, before.text) == (severity, text)
        return before if same and clock.monotonic() - self._remembered_at <= SOON else None

    def acknowledge(self, id: str, by: str) -> Alarm:  # noqa: A002
        """Says that a person has seen it. Raises KeyError when nobody said that it is so."""
        self._active[id] = alarm = replace(self._active[id], acknowledged_by=by)
        self.bus.tell(alarm)
        return alarm

    def end(self, id: str) -> None:  # noqa: A002
        """Says that it is over. Harmless when nobody said that it is so."""
        alarm = self._active.pop(id, None)
        if alarm is not None:
            self.bus.tell(replace(alarm, ended=True))

    @property
    def active(self) -> tuple[Alarm, ...]:
        """Those that have not ended, the oldest first."""
        return tuple(self._active.values())
