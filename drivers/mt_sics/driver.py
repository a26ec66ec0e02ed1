"""The driver of Mettler Toledo's balances.

A balance may stand by itself: then a cell or a vial is put onto `<name>/pan`, and while it is there the balance is
kept for its run, as a press is for the cell in its nest. Or it stands under the deck of another device (`pan: ot2/6`):
then it weighs all of what stands there, no sample is *in* it, and it is kept only by the state that uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

from pydantic import Field, field_validator

from drivers.mt_sics.sics import Sics, Weight
from labd.io.address import Line, StreamAddress
from labd.sdk import (
    About,
    Balance,
    Bounds,
    Call,
    Duration,
    Effect,
    Fault,
    OutcomeUnknown,
    Rejected,
    Settings,
    Setup,
    Unreachable,
    action,
)
from labd.sdk.quality import Quality
from labd.sdk.roles import BalanceSignals, WeighResult

FACTORY = Line(9600, xonxoff=True)
REST_LIMIT = 40.0  # s that taring and zeroing wait for rest; the balance itself gives up at about the same time


class MtSicsSettings(Settings):
    """Where the balance is, and what it weighs.

    Args:
        address: `/dev/serial/by-id/…`, `serial:///dev/…?baudrate=9600&parity=N&bytesize=8` or `tcp://host:port`; the
            factory's line is 9600 8N1 with XON/XOFF.
        pan: the place that stands on it, where that is another device's: `ot2/6`. Left out: `<name>/pan`.
        serial_number: refuse any other balance than the one that was calibrated.
    """

    address: str
    pan: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,32}){1,3}$")] | None = None
    serial_number: str | None = None

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        StreamAddress.parse(text, FACTORY)
        return text


class MtSics(Balance):
    """A balance with MT-SICS level 0 and 1."""

    quality = Quality("simulated")
    quirks = (
        "`S`, `T` and `Z` are answered when the pan is at rest; `@` takes them back.",
        "The print key sends the same line as an answer.",
    )
    Settings = MtSicsSettings
    settings: MtSicsSettings
    found_at = {"{port}": 0}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._sics = Sics(StreamAddress.parse(self.settings.address, FACTORY).link())
        self._turn = asyncio.Lock()
        self._last = BalanceSignals()

    def place_of(self, unit: str) -> str | None:
        """`<name>/pan`; None for a balance under another device's deck, which no sample has for itself."""
        del unit
        return None if self.settings.pan else f"{self.name}/pan"

    @property
    def pan(self) -> str:
        """As `pan` in its settings says."""
        return self.settings.pan or super().pan

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens the link, cancels what an earlier life left waiting, and asks who it is. Zero and tare stay.

        Raises:
            Unreachable: no port, or nothing that speaks MT-SICS.
            Fault: another balance than lab.yaml says.
        """
        await self._sics.link.open()
        try:
            serial = await self._sics.reset()
        except OutcomeUnknown as error:
            await self.close()
            raise Unreachable(
                f"{self.settings.address}: no balance answers; is it on, is its interface set to MT-SICS (host), and "
                f"do baud rate and parity agree? ({error.message})",
                received=error.received,
            ) from error
        wanted = self.settings.serial_number
        if wanted is not None and serial != wanted:
            await self.close()
            raise Fault(f"lab.yaml says serial number {wanted}, and this balance has {serial or 'none'}")
        return About(model=await self._told("I2"), serial=serial, firmware=await self._told("I3"))

    async def _told(self, command: str) -> str:
        with contextlib.suppress(Rejected):  # not every balance tells
            return (await self._sics.ask(command)).text
        return ""

    async def close(self) -> None:
        await self._sics.link.close()

    async def read_state(self) -> BalanceSignals:
        """What the balance shows; the values before, while an action has the line. No mass when it is out of range."""
        if not self._turn.locked():
            async with self._turn:
                self._note(await self._sics.weigh_now())
        return self._last

    async def safe_state(self, unit: str | None = None) -> None:
        """Nothing: a balance moves nothing and heats nothing."""

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def tare(self, call: Call) -> None:
        """Waits until the pan is at rest, and takes what stands on it as zero. Rejected: it does not come to rest."""
        del call
        async with self._turn:
            await self._sics.when_stable("T", REST_LIMIT)

    @action(effect=Effect.STATE, timeout=60, duration=5)
    async def zero(self, call: Call) -> None:
        """Sets the zero point of an empty pan, and clears the tare."""
        del call
        async with self._turn:
            await self._sics.when_stable("Z", REST_LIMIT)

    async def weigh(self, call: Call, settle: Annotated[Duration, Bounds(min=0, max=600)] = 5.0) -> WeighResult:
        """Waits for rest for up to `settle`; then takes what the balance shows, `stable: false` where it moves.

        Rejected: the balance is busy, or what stands on it is out of its range.
        """
        del call
        async with self._turn:
            weight = await self._sics.weigh_stable(settle) if settle > 0 else None
            if weight is None:
                weight = await self._sics.weigh_now()
            self._note(weight)
        if weight.mass is None:
            raise Rejected(weight.why, received=weight.line)
        return WeighResult(mass=weight.mass, stable=weight.stable)

    def _note(self, weight: Weight) -> None:
        self._last = BalanceSignals(mass=weight.mass, stable=weight.stable)
