"""A press with one button and one busy contact: nothing measured, nothing counted."""

from __future__ import annotations

import asyncio
import contextlib

from drivers.plc_crimper.profile import RelayProfile
from labd import clock
from labd.io.modbus import ModbusLink
from labd.sdk import Call, DeviceError, Fault, Intent, Outcome, OutcomeUnknown, Rejected, Result, Unreachable, Verdict
from labd.sdk.roles import CrimperSignals, CrimpResult

POLL = 0.1  # s


class RelayPress:
    """The button is pressed for a time; the busy contact must rise and fall. A wait alone is never success."""

    def __init__(self, link: ModbusLink, profile: RelayProfile) -> None:
        self._link = link
        self._profile = profile

    async def check(self) -> None:
        """Reads the contact once."""
        await self._busy()

    async def read(self) -> CrimperSignals:
        """One poll; the contact alone tells whether the link lives."""
        await self._busy()
        return CrimperSignals()

    async def open(self) -> None:
        """Such a press opens by itself: waits until it is at rest."""
        if not await self._wait(busy=False, seconds=self._profile.times.busy_fall):
            raise Fault("the press stays busy: look at it")

    async def close(self) -> None:
        raise Rejected("this press has no command to close without force: it has one button")

    async def reset(self) -> None:
        raise Rejected("this press has no alarms to reset")

    async def safe(self) -> None:
        """Lets the button go. A stroke that is under way ends by itself: there is no wire to stop it."""
        await self._link.write_coil(self._profile.coils.press, on=False)

    async def baseline(self) -> dict[str, int | float | None]:
        return {}

    async def outcome(self, intent: Intent) -> Outcome:
        """Lets the button go, which a program that died may have left pressed; what it did cannot be told."""
        del intent
        await self._let_go()
        return Outcome(Verdict.UNKNOWN, "a press on a relay counts nothing: look at the cell")

    async def attach(self, intent: Intent) -> Result:
        raise OutcomeUnknown(f"{intent.action} cannot be taken up again: the press on a relay counts nothing")

    async def crimp(self, call: Call, force: float, dwell: float) -> CrimpResult:
        """Presses once. Force and dwell are what the press is set to by hand; the result's dwell is the busy time."""
        del force
        if await self._ready():
            raise Rejected("the press is busy already")
        times, coil = self._profile.times, self._profile.coils.press
        start, risen = clock.monotonic(), False
        try:
            with contextlib.suppress(OutcomeUnknown):  # a reply may be lost and the order not: the contact tells
                await self._link.write_coil(coil, on=True)
            with contextlib.suppress(OutcomeUnknown):
                risen = await self._wait(busy=True, seconds=times.pulse)
            up = clock.monotonic()
            await asyncio.sleep(max(0.0, start + times.pulse - clock.monotonic()))
        finally:
            released = await self._let_go()
        if not released:
            raise Fault("the press's button could not be let go: the link was lost while it was held")
        if not risen:
            risen = await self._wait(busy=True, seconds=start + times.busy_rise - clock.monotonic())
            up = clock.monotonic()
        if not risen:
            raise OutcomeUnknown(
                f"the button was held for {times.pulse:g} s, and the press was not busy within {times.busy_rise:g} s: "
                "it may have pressed all the same"
            )
        call.accepted(busy=True)
        if not await self._wait(busy=False, seconds=times.busy_fall + dwell):
            raise Fault(f"the press is still busy after {clock.monotonic() - start:.3g} s: look at it")
        return CrimpResult(peak_force=None, dwell=clock.monotonic() - up, displacement=None, cycles=None)

    async def _ready(self) -> bool:
        try:
            return await self._busy()
        except OutcomeUnknown as error:
            raise Unreachable(f"{error.message}; nothing was pressed") from error

    async def _busy(self) -> bool:
        return (await self._link.read_discrete_inputs(self._profile.inputs.busy))[0]

    async def _wait(self, *, busy: bool, seconds: float) -> bool:
        """Waits until the contact says so; False when it does not in time. Lost replies are borne until then."""
        end = clock.monotonic() + seconds
        lost: DeviceError | None = None
        while True:
            try:
                if await self._busy() is busy:
                    return True
                lost = None
            except DeviceError as error:
                lost = error
            if clock.monotonic() >= end:
                if lost is not None:
                    raise OutcomeUnknown(f"the link was lost: {lost.message}") from lost
                return False
            await asyncio.sleep(POLL)

    async def _let_go(self) -> bool:
        """Lets the button go, once more where the reply is lost: releasing is harmless. Whether it worked."""
        for _ in range(2):
            with contextlib.suppress(DeviceError):
                await self._link.write_coil(self._profile.coils.press, on=False)
                return True
        return False
