"""Straight to the devices of a lab whose daemon is gone: what is to be made safe is made safe, in seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

import structlog

from labd import clock
from labd.lab.config import Draft
from labd.lab.models import LabError
from labd.lab.rules import SafeAction
from labd.sdk import Call, DeviceError, Driver, Unreachable

log = structlog.get_logger(__name__)

LIMIT = 8.0  # s of real time for all devices together
DIRECT = 4.0  # s of real time for a device that another one can make safe, and for that other one itself
CLOSE_LIMIT = 1.0  # s of real time
AGAIN = 0.5  # s before a device that did not answer is tried once more


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


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one device. `safe` is None where nothing had to be done."""

    device: str
    text: str
    safe: bool | None


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
        self.settled: set[str] = set()
        """Devices with which nothing is left to do: made safe by themselves, or gone with the daemon."""

    async def carry_out(self, plans: Collection[Plan]) -> list[Told]:
        """All of them; gives what became of each device."""
        return list(await asyncio.gather(*(self._carry_out(one) for one in plans)))

    async def _carry_out(self, what: Plan) -> Told:
        if not what.units:
            return Told(what.device, f"left alone, {what.why}", None)
        by = self._safe_by.get(what.device) if what.others else None
        problem = await self._directly(what, by)
        if problem is None:
            self.settled.add(what.device)
            return Told(what.device, f"made safe, {what.why}", True)
        if self._draft.devices[what.device].simulator is not None and isinstance(problem, Unreachable):
            self.settled.add(what.device)
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
