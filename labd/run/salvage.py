"""Making devices safe when the daemon is gone: what was under way by its journal, straight to the devices, in seconds.

A daemon that ends in order leaves nothing to do. After a crash or a kill each action that was under way has its word,
`on_loss`: what says stop is made safe, what says continue (a formation on its own cycler) is left alone, and is taken
up again by the next daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from labd import clock
from labd.files import InputErrors
from labd.journal import JournalError, schema
from labd.lab.config import Draft, read_lab
from labd.lab.equipment import Equipment, Find
from labd.lab.maintenance import KEPT, in_file
from labd.lab.models import LabError
from labd.lab.rules import SafeAction, safe_actions
from labd.sdk import Call, DeviceError, Driver, OnLoss, Unreachable

log = structlog.get_logger(__name__)

LIMIT = 8.0  # s of real time for all devices together
DIRECT = 4.0  # s of real time for a device that another one can make safe, and for that other one itself
CLOSE_LIMIT = 1.0  # s of real time
AGAIN = 0.5  # s before a device that did not answer is tried once more

_IN_FLIGHT = """
SELECT max(CASE WHEN kind = 'action.intended' THEN data END), run FROM events
WHERE kind IN ('action.intended', 'action.done', 'action.failed', 'action.reconciled')
  AND (run IS NULL OR run NOT IN (SELECT run FROM events WHERE kind = 'run.ended' AND run IS NOT NULL))
GROUP BY json_extract(data, '$.action_id')
HAVING sum(kind <> 'action.intended') = 0 AND sum(kind = 'action.intended') > 0
ORDER BY max(seq)
"""


@dataclass(frozen=True, slots=True)
class InFlight:
    """An action that was intended and has no outcome, in a run that has not ended."""

    device: str
    unit: str
    action: str
    on_loss: OnLoss
    run: str | None

    def __str__(self) -> str:
        return f"{self.action} of {self.run}" if self.run else self.action


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one device. `safe` is None where nothing had to be done."""

    device: str
    text: str
    safe: bool | None


def in_flight(journal: Path) -> list[InFlight]:
    """What was under way, the last intended one of each unit.

    Raises:
        JournalError: the journal cannot be read.
    """
    if not journal.exists():
        return []
    by_unit: dict[tuple[str, str], InFlight] = {}
    for text, run in schema.JOURNAL.look(journal, _IN_FLIGHT):
        data = json.loads(text)
        found = InFlight(data["device"], data["unit"], data["action"], OnLoss(data["on_loss"]), run)
        by_unit[found.device, found.unit] = found
    return list(by_unit.values())


def in_maintenance(draft: Draft, journal: Path) -> set[str]:
    """The devices on which a person works: by lab.yaml, or by what was said to the daemon."""
    said: dict[str, Any] = {}
    if journal.exists():
        with contextlib.suppress(JournalError):  # an older labd's journal keeps nothing
            rows = schema.JOURNAL.look(journal, f"SELECT name, value FROM kept WHERE name GLOB '{KEPT}*'")  # noqa: S608
            said = {name.removeprefix(KEPT): json.loads(text) for name, text in rows}
    found: set[str] = set()
    for name, device in draft.devices.items():
        told = said.get(name)
        if told is not None and told["over"] == in_file(device.maintenance):
            if told["upkeep"] is not None:
                found.add(name)
        elif device.maintenance is not None:
            found.add(name)
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one device.

    Args:
        units: these are made safe (an empty tuple: nothing; None: all).
        why: because of what.
        others: whether another device may do it (`safe_by`), which ends what the device's other units do.
    """

    device: str
    units: tuple[str | None, ...]
    why: str
    others: bool = True


def plan(
    open_: Collection[InFlight],
    units: Mapping[str, tuple[str, ...]],
    *,
    everything: bool,
    spared: Collection[str] = (),
) -> list[Plan]:
    """Which units are made safe.

    Args:
        open_: what was under way.
        units: of each device.
        everything: also of devices on which nothing was under way. What continues is left alone all the same.
        spared: devices on which a person works (maintenance): `everything` is not for them.
    """
    plans: list[Plan] = []
    for device, own in units.items():
        mine = [one for one in open_ if one.device == device]
        stops = [one for one in mine if one.on_loss is OnLoss.STOP]
        goes_on = {one.unit: one for one in mine if one.on_loss is OnLoss.CONTINUE}
        on = ", ".join(f"{one} goes on by itself" for one in goes_on.values())
        chosen: tuple[str | None, ...] = tuple(one.unit or None for one in stops)
        if everything and device not in spared:
            chosen = tuple(unit for unit in own if unit not in goes_on) if goes_on else (None,)
        under = ", ".join(f"{one} was under way" for one in stops)
        plans.append(Plan(device, chosen, "; ".join(filter(None, (under, on))) or "nothing was under way", not goes_on))
    return plans


@dataclass(slots=True)
class Salvage:
    """Makes the devices of one lab safe, without its daemon.

    Args:
        draft: lab.yaml, as far as it holds.
        everything: also devices on which nothing was under way.
        find: how a driver is found by its name.
    """

    draft: Draft
    everything: bool = False
    find: Find | None = None

    @classmethod
    def of(cls, lab: Path, *, everything: bool = False) -> Salvage:
        """Reads lab.yaml. Raises InputErrors: it tells neither devices nor store."""
        draft = read_lab(lab)
        if draft.config is None:
            raise InputErrors(draft.findings.problems)
        return cls(draft, everything)

    @property
    def store(self) -> Path:
        assert self.draft.config is not None
        return (self.draft.base / self.draft.config.store).resolve()

    @property
    def timeline(self) -> clock.Timeline:
        """Real time, or the lab's scaled one; what lives on virtual time has died with the daemon."""
        assert self.draft.config is not None
        kind = self.draft.config.clock_kind
        return clock.timeline_of("real" if kind == "virtual" else kind, self.store)

    async def run(self) -> list[Told]:
        """All of it, in at most LIMIT and CLOSE_LIMIT.

        Raises:
            JournalError: a daemon lives and has the store, or the journal cannot be read.
        """
        journal = self.store / "journal.sqlite"
        with contextlib.ExitStack() as held:
            if journal.exists():
                held.callback(os.close, schema.lock(journal))  # no daemon comes up and takes the devices meanwhile
            open_ = in_flight(journal)
            equipment = Equipment(
                self.draft.devices,
                self.draft.deck.values(),
                self.draft.base,
                self.draft.findings,
                clock.now().date(),
                find=self.find,
            )
            classes = equipment.classes()
            drivers = equipment.drivers(classes)
            units = {name: drivers[name].units if name in drivers else ("",) for name in self.draft.names}
            spared = in_maintenance(self.draft, journal)
            plans = plan(open_, units, everything=self.everything, spared=spared)
            safe_by = safe_actions(self.draft.devices, classes, self.draft.findings)
            return await Rescue(self.draft, drivers, safe_by).carry_out(plans)


class Rescue:
    """Carries out what is planned, at all devices at once and in at most LIMIT and CLOSE_LIMIT.

    Args:
        draft: lab.yaml, as far as it holds.
        drivers: by device, not connected.
        safe_by: by device, what another one does to make it safe.
    """

    def __init__(self, draft: Draft, drivers: Mapping[str, Driver], safe_by: Mapping[str, SafeAction]) -> None:
        self._draft = draft
        self._drivers = drivers
        self._safe_by = safe_by
        self._helpers = {by.device for by in safe_by.values()}
        self._links = {name: asyncio.Lock() for name in drivers}  # one conversation with each at a time
        self._ends = clock.monotonic() + _real(LIMIT)

    async def carry_out(self, plans: Collection[Plan]) -> list[Told]:
        """All of them; gives what became of each device."""
        return list(await asyncio.gather(*(self._carry_out(one) for one in plans)))

    async def _carry_out(self, what: Plan) -> Told:
        if not what.units:
            return Told(what.device, f"left alone, {what.why}", None)
        by = self._safe_by.get(what.device) if what.others else None
        problem = await self._directly(what, by)
        if problem is None:
            return Told(what.device, f"made safe, {what.why}", True)
        if self._draft.devices[what.device].simulator is not None and isinstance(problem, Unreachable):
            return Told(what.device, f"simulated inside the daemon and gone with it, {what.why}", None)
        if by is None:
            return Told(what.device, f"NOT SAFE, {what.why}: {problem}", False)
        other = await self._through(what.device, by)
        if other is None:
            return Told(what.device, f"made safe by {by}, {what.why}; itself: {problem}", True)
        return Told(what.device, f"NOT SAFE, {what.why}: {problem}; {by}: {other}", False)

    async def _directly(self, what: Plan, by: SafeAction | None) -> Exception | None:
        driver = self._drivers.get(what.device)
        if driver is None:
            return LabError("its driver cannot be made; `labd check --lab` says why")

        async def make_safe() -> None:
            for unit in what.units:
                await driver.safe_state(unit)

        limit = _real(DIRECT if by is not None or what.device in self._helpers else LIMIT)
        return await self._try(driver, make_safe, limit)

    async def _through(self, name: str, by: SafeAction) -> Exception | None:
        """Has another device do it, in the time that is left, once that one was made safe itself."""
        driver = self._drivers.get(by.device)
        if driver is None:
            return LabError(f"the driver of {by.device} cannot be made")

        async def act() -> None:
            # with the time: a device that knows its orders by their ids is not to take it for one of before
            call = Call(f"safe-{name}-{clock.now():%Y%m%dT%H%M%S}", driver.units[0])
            await driver.invoke(by.action, by.parameters, call)

        return await self._try(driver, act, self._ends - clock.monotonic())

    async def _try(self, driver: Driver, work: Callable[[], Awaitable[None]], limit: float) -> Exception | None:
        """Tries until it is done or so many s are over; gives what was wrong at last. Never raises."""
        problem: Exception = TimeoutError(f"no answer within {limit:.0f} s")
        simulated = self._draft.devices[driver.name].simulator is not None
        try:
            async with asyncio.timeout(limit), self._links[driver.name]:
                try:
                    while True:
                        try:
                            await driver.connect()
                            await work()
                        except DeviceError as error:
                            problem = error
                            if simulated and isinstance(error, Unreachable):
                                return error
                            await asyncio.sleep(AGAIN)
                        else:
                            return None
                finally:
                    await self._close(driver)
        except TimeoutError:
            return problem
        except Exception as error:
            log.exception("driver failed", device=driver.name)
            return error

    @staticmethod
    async def _close(driver: Driver) -> None:
        try:
            async with asyncio.timeout(_real(CLOSE_LIMIT)):
                await driver.close()
        except Exception as error:  # noqa: BLE001 - the process ends now, and its links with it
            log.warning("link did not close", device=driver.name, problem=repr(error))


def _real(seconds: float) -> float:
    """So many seconds of real time, in seconds of this loop; on virtual time, where there is none, the same."""
    return seconds if clock.is_virtual() else seconds * clock.factor()
