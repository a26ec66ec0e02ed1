"""What watches over a lab beside its runs: interlocks, maintenance, devices that are gone or could not be made safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from labd.expr import did_you_mean
from labd.journal import Journal, NewEvent
from labd.lab.absences import Absences
from labd.lab.bus import Alarm
from labd.lab.interlocks import Interlocks, Order, UnknownNameError
from labd.lab.lab import Lab
from labd.lab.limit import Limit
from labd.lab.maintenance import Upkeeps
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
        self._absences = Absences(lab)
        self._group: asyncio.TaskGroup | None = None
        for device in lab.devices.values():
            device.on_secured = self._secured
            device.on_lost = self._lost
            device.on_unsafe = self._safe_by_other

    async def take_up(self) -> None:
        """Takes up what the journal keeps: what had tripped, and what is in maintenance. Before runs go on."""
        await self.interlocks.take_up()
        await self.upkeeps.take_up()

    async def run(self) -> None:
        """Watches until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._absences.run(), name="absences")
                self._group.create_task(self.interlocks.run(), name="interlocks")
        finally:
            self._group = None

    # ── making safe ──────────────────────────────────────────────────────────────────────────────────────────────
    async def make_safe(self, name: str, cause: str) -> None:
        """Makes a device safe through whatever path is left, but for one that a person works on."""
        device = self.lab.devices[name]
        problem = await device.make_safe(None, cause) if device.upkeep is None else LEFT_ALONE
        self._secured(name, "", problem, cause)

    def _secured(self, name: str, unit: str, problem: str | None, cause: str) -> None:
        data = {"device": name, "unit": unit, "problem": problem, "cause": cause}
        self.journal.post(NewEvent("device.safe_state", data))

    def _lost(self, name: str) -> None:
        """A device was lost while it acted: what else can make it safe does so now."""
        if name in self.lab.safe_by and self._group is not None:
            cause = f"the link to {name} was lost while it acted"
            self._group.create_task(self._safe_by_other(name, cause), name=f"makes {name} safe")

    async def _safe_by_other(self, name: str, cause: str) -> None:
        by = self.lab.safe_by.get(name)
        if by is None:
            return
        other = self.lab.devices[by.device]
        problem = None
        try:
            call, limit = Call(f"safe-{name}", other.driver.units[0]), Limit(by.action.time_limit(by.parameters))
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
        return self.lab.alarms.acknowledge(alarm, by)
