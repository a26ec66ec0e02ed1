"""What watches over a lab beside its runs: interlocks, maintenance, devices that are gone or could not be made safe."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable

import structlog

from labd import clock
from labd.expr import did_you_mean
from labd.journal import Journal, JournalError, NewEvent
from labd.lab.absences import Absences, alarm_of
from labd.lab.bus import Alarm
from labd.lab.debts import Debts
from labd.lab.interlocks import Interlocks, Order, UnknownNameError
from labd.lab.lab import Lab
from labd.lab.limit import Limit
from labd.lab.maintenance import Upkeeps
from labd.lab.remembered import Remembered
from labd.lab.rules import SafeAction
from labd.lab.upkeep import LEFT_ALONE
from labd.sdk import Call, DeviceError

log = structlog.get_logger(__name__)


class Guards:
    """All of that for one lab. `run()` is its task.

    Args:
        lab, journal: what is watched over, and where it is told.
        order: what gives commands to runs.
        using: the runs that have a device, by its id.
    """

    def __init__(self, lab: Lab, journal: Journal, order: Order, using: Callable[[str], list[str]]) -> None:
        self.lab = lab
        self.journal = journal
        self.interlocks = Interlocks(lab, journal, order, self.make_safe)
        self.upkeeps = Upkeeps(lab, journal, using)
        self.debts = Debts(lab, journal)
        self._absences = Absences(lab)
        self._remembered = Remembered(lab.alarms, journal)
        self._forget: Callable[[], None] = lambda: None
        self._group: asyncio.TaskGroup | None = None
        self._by_other: dict[str, asyncio.Task[None]] = {}  # what makes a device safe through another now
        self._numbers = itertools.count(1)
        for device in lab.devices.values():
            device.on_secured = self._secured
            device.on_lost = self._lost
            device.on_unsafe = self._by_another

    async def take_up(self) -> None:
        """Takes up what the journal keeps: alarms, what had tripped, and what is in maintenance. Before runs go on."""
        self._forget = await self._remembered.take_up()
        await self.interlocks.take_up()
        await self.upkeeps.take_up()
        for device in self.lab.devices.values():
            if device.health == "down" and device.upkeep is None:
                self._remembered.still(alarm_of(device))  # until it is back: no end that is none
        self._remembered.end_the_rest()

    async def run(self) -> None:
        """Watches until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._absences.run(), name="absences")
                self._group.create_task(self.interlocks.run(), name="interlocks")
        finally:
            self._group = None
            self._forget()

    # ── making safe ──────────────────────────────────────────────────────────────────────────────────────────────
    async def make_safe(self, name: str, cause: str) -> str | None:
        """Makes a device safe through whatever path is left, but for one that a person works on.

        Gives what went wrong with the device itself, or None.
        """
        device = self.lab.devices[name]
        left_alone = device.upkeep is not None
        problem = None if left_alone else await device.make_safe(None, cause)
        with contextlib.suppress(JournalError):  # a broken journal keeps no other path from being tried
            self._secured(name, "", LEFT_ALONE if left_alone else problem, cause)
        return problem

    def _secured(self, name: str, unit: str, problem: str | None, cause: str) -> None:
        data = {"device": name, "unit": unit, "problem": problem, "cause": cause}
        self.journal.post(NewEvent("device.safe_state", data))

    def _lost(self, name: str) -> None:
        """A device was lost while it acted: what else can make it safe does so now."""
        self._through_other(name, f"the link to {name} was lost while it acted")

    async def _by_another(self, name: str, cause: str) -> None:
        task = self._through_other(name, cause)
        if task is not None:
            await asyncio.wait([task])  # and not the task itself: it is not to end with one who waits for it

    def _through_other(self, name: str, cause: str) -> asyncio.Task[None] | None:
        """Has a device made safe by what `safe_by` names; whoever wants that meanwhile joins in."""
        by, task = self.lab.safe_by.get(name), self._by_other.get(name)
        if by is None or self._group is None:
            return None
        if task is None or task.done():
            work = self._safe_by_other(name, by, cause)
            self._by_other[name] = task = self._group.create_task(work, name=f"makes {name} safe")
        return task

    async def _safe_by_other(self, name: str, by: SafeAction, cause: str) -> None:
        # with the time: a device that knows its orders by their ids is not to take it for one of before a restart
        action_id = f"safe-{name}-{clock.now():%Y%m%dT%H%M%S}-{next(self._numbers)}"
        other = self.lab.devices[by.device]
        problem = None
        try:
            call, limit = Call(action_id, other.driver.units[0]), Limit(by.action.time_limit(by.parameters))
            await other.invoke(by.action, by.parameters, call, f"safe-{name}", limit)
        except DeviceError as error:
            problem = str(error)
            log.warning("safe_by failed", device=name, by=str(by), problem=problem)
        data = {"device": name, "unit": "", "problem": problem, "cause": cause, "safe_by": str(by)}
        self.journal.post(NewEvent("device.safe_state", data))

    # ── alarms ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def acknowledge(self, alarm: str, by: str) -> Alarm:
        """Says that a person has seen an alarm; durable when this returns.

        Raises:
            UnknownNameError: there is no such alarm, or it has ended.
        """
        active = {one.id for one in self.lab.alarms.active}
        if alarm not in active:
            mend = did_you_mean(alarm, active, "there is") if active else "none is active"
            raise UnknownNameError(f"there is no alarm {alarm!r}; {mend}")
        await self.journal.append(NewEvent("alarm.acknowledged", {"alarm": alarm, "by": by}))
        try:
            return self.lab.alarms.acknowledge(alarm, by)
        except KeyError:  # while the journal wrote
            raise UnknownNameError(f"alarm {alarm!r} has just ended") from None
