"""The alarms of the last daemon: what has ended meanwhile is told to be over, what is still so stays as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from labd import clock
from labd.journal import Journal, JournalError
from labd.lab.alarms import Alarms
from labd.lab.bus import Alarm, Happening

KEPT = "alarm/"
KEPT_AFTER_END = timedelta(days=30)


class Remembered:
    """Keeps the alarms of one lab in the journal.

    One that has ended is kept for a while, too: should the broker have been away then, the next start tells it anew.
    """

    def __init__(self, alarms: Alarms, journal: Journal) -> None:
        self._alarms = alarms
        self._journal = journal
        self._before: dict[str, Alarm] = {}

    async def take_up(self) -> Callable[[], None]:
        """Takes up what the journal keeps, and keeps what is told from now on; what it gives ends that."""
        for name, kept in (await self._journal.kept(KEPT)).items():
            ended = kept.pop("ended_at", None)
            if ended is not None and clock.now() - datetime.fromisoformat(ended) > KEPT_AFTER_END:
                self._journal.keep(name, None)
                continue
            alarm = Alarm(**kept)
            self._before[alarm.id] = alarm
        self._alarms.remember([alarm for alarm in self._before.values() if not alarm.ended])
        for alarm in self._alarms.active:
            self._keep(alarm)
        return self._alarms.bus.subscribe(self._hear, Alarm)

    def still(self, alarm_id: str) -> None:
        """Says of one that stood when the last daemon ended that nobody knows yet whether it is over."""
        before = self._before.get(alarm_id)
        if before is not None and not before.ended:
            self._alarms.tell(before.id, before.severity, before.about, before.text)

    def end_the_rest(self) -> None:
        """Tells the end of those that nobody has said again."""
        active = {alarm.id for alarm in self._alarms.active}
        for alarm in self._before.values():
            if alarm.id not in active:
                self._alarms.bus.tell(replace(alarm, ended=True))
        self._before.clear()

    def _hear(self, happening: Happening) -> None:
        if isinstance(happening, Alarm):
            before = self._before.get(happening.id)
            if not (happening.ended and before is not None and before.ended):  # its time stays
                self._keep(happening)

    def _keep(self, alarm: Alarm) -> None:
        kept: dict[str, Any] = asdict(alarm)
        if alarm.ended:
            kept["ended_at"] = clock.stamp()
        with contextlib.suppress(JournalError):  # who told the alarm is not to fail by it; the daemon ends anyway
            self._journal.keep(f"{KEPT}{alarm.id}", kept)
