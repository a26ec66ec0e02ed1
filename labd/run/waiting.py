"""What a run waits for by itself: times that go by, and what its devices' signals come to."""

from __future__ import annotations

import asyncio

from labd.lab.bus import DeviceState, Happening
from labd.lab.limit import Limit
from labd.protocol import messages as m
from labd.run.acting import Acting
from labd.run.agenda import Urgency
from labd.run.lifecycle import PAUSED
from labd.run.performer import Performer


class Waiting(Acting):
    """The sleeps, time limits and watched signals of one run."""

    def __init__(self, id: str, sample: str, performer: Performer) -> None:  # noqa: A002 - the word of the field
        super().__init__(id, sample, performer)
        self._late: list[tuple[Urgency, m.Elapsed]] = []  # timers of watches and windows that ended while it was held
        self._looking = False  # signals were read, and are looked at next
        self._same = False  # nothing has changed by what happens now
        self._health: dict[str, str] = {}  # of devices, as they were heard of last

    # ── times ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _begin_sleep(self, command: m.Sleep, seconds: float) -> None:
        self._times.sleep(command, seconds)
        self._waits.begin(command.step_id, self._sleep(command, seconds), f"waits in {command.step_id}")

    def _begin_await(self, command: m.Await, within: float) -> None:
        limit = self._times.limit(command.step_id, within)
        self._waits.begin(command.step_id, self._await(command, limit), f"waits in {command.step_id}")

    async def _sleep(self, command: m.Sleep, seconds: float) -> None:
        await asyncio.sleep(seconds)
        urgency = {"window": Urgency.WINDOW, "watch": Urgency.WATCH, "next": Urgency.RESULT}[command.urgency]
        elapsed = m.Elapsed(command.step_id, token=command.token)
        self._agenda.put(urgency, lambda: self._elapsed(elapsed, urgency))

    def _elapsed(self, elapsed: m.Elapsed, urgency: Urgency) -> None:
        """A time is over; what watches and windows say of that waits until the run is not held any more."""
        if urgency is not Urgency.RESULT and self.lifecycle.at in PAUSED:
            self._late.append((urgency, elapsed))
        else:
            self._times.over(elapsed.step_id)
            self._feed(elapsed)

    async def _await(self, command: m.Await, limit: Limit) -> None:
        if await self._expires(limit):
            expired = m.Expired(command.step_id, token=command.token)
            self._agenda.put(Urgency.RESULT, lambda: self._await_expired(expired))

    def _await_expired(self, expired: m.Expired) -> None:
        self._times.over(expired.step_id)
        self._feed(expired)

    # ── live signals ─────────────────────────────────────────────────────────────────────────────────────────────
    def _heard(self, happening: Happening) -> None:
        """How well a device is has changed, or only what it works for."""
        if isinstance(happening, DeviceState) and happening.health != self._health.get(happening.device):
            self._health[happening.device] = happening.health
            if happening.health == "ok":
                self._ask_again(happening.device)

    def _read(self) -> None:
        """Something was read from a device that it watches, or its health has changed."""
        if not self._looking and self.machine.watching:
            self._looking = True
            self._agenda.put(Urgency.WATCH, self._only_look)

    def _only_look(self) -> None:
        self._same = True  # unless something follows from what is seen
        self._look()

    def _look(self) -> None:
        self._looking = False
        if self.machine.watching and self.lifecycle.at not in PAUSED:
            self._feed(m.Observed())
