"""A technique as labd runs it: it sources, reads, and ends it; the instrument itself holds the limits meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from drivers.keithley.meter import Meter, Sample
from drivers.keithley.techniques import Part
from labd import clock
from labd.sdk import Call, DeviceError, Fault, OutcomeUnknown, Unreachable

_T = TypeVar("_T")

WATCH = 5.0  # s; the end of a stretch is looked for at least so often
PATIENCE = 30.0  # s for which readings may fail to come before it is given up
RETRY = 1.0  # s
NEAR = 0.05  # V between what is sourced and what is read back, when the voltage governs


class End(StrEnum):
    """Why a stretch has ended."""

    TIME = "time"
    REACHED = "reached"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Runner:
    """One technique under way.

    Args:
        meter: the instrument.
        call: the order.
        interval: s between two rows.
        columns: makes a row of time, voltage and current.
    """

    meter: Meter
    call: Call
    interval: float
    columns: Callable[[float, float, float], tuple[float | None, ...]] = lambda *row: row
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    latest: Sample | None = None
    time: float = 0.0  # s since the first reading, over all stretches
    _odd: int = 0

    async def stretch(
        self, limit: float, reached: Callable[[Sample], bool] | None = None, *, to: float | None = None
    ) -> tuple[Part, End]:
        """Reads until something ends it; what is sourced stays on.

        Args:
            limit: s.
            reached: whether a sample is the end.
            to: V; it also ends when the limit of the current no longer governs: this voltage is reached.

        Raises:
            Fault: the output has gone off, or gives neither its voltage nor its current.
            OutcomeUnknown: readings have failed to come for PATIENCE.
        """
        part = Part(self.time)
        watch = _Watch()
        while True:
            if self.cancelled.is_set() and part.count:  # its output may be off by now: a reading would say so
                self._last_row(part)
                return part, End.CANCELLED
            sample = await self._retried(self.meter.sample)
            part.take(Sample(part.last.time + watch.since(sample.time), sample.voltage, sample.current))
            self.latest, self.time = part.last, part.begin + part.last.time
            if part.due(self.interval):
                self._row(part)
            end = await self._end(part, limit, reached, to)
            if end is not None:
                self._last_row(part)
                return part, end
            await self._pause(part, limit)

    def _last_row(self, part: Part) -> None:
        if part.pending:
            self._row(part)

    def _row(self, part: Part) -> None:
        self.call.row(*self.columns(part.begin + part.last.time, part.last.voltage, part.last.current))

    async def _end(
        self, part: Part, limit: float, reached: Callable[[Sample], bool] | None, to: float | None
    ) -> End | None:
        if reached is not None and reached(part.last):
            return End.REACHED
        limited = to is None or await self._retried(self.meter.limited)
        if self.cancelled.is_set():
            return End.CANCELLED
        if to is not None and not limited and self._has_come(part.last.voltage, to):
            return End.REACHED
        return End.TIME if part.last.time >= limit - 1e-3 else None

    def _has_come(self, voltage: float, to: float) -> bool:
        """Whether the voltage is reached, when no limit governs; one odd reading may be of the moment of switching."""
        if abs(voltage - to) <= NEAR:
            return True
        self._odd += 1
        if self._odd > 1:
            raise Fault(
                f"the output gives neither its voltage nor its current: {voltage:.4g} V, and {to:g} V is sourced; "
                "look at the leads and at the instrument's limits"
            )
        return False

    async def _pause(self, part: Part, limit: float) -> None:
        step = min(self.interval, WATCH, max(0.01, limit - part.last.time))
        try:
            async with asyncio.timeout(step):
                await self.cancelled.wait()
        except TimeoutError:
            pass

    async def _retried(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Asks again while answers fail to come: reading changes nothing."""
        until = clock.monotonic() + PATIENCE
        while True:
            try:
                return await ask()
            except (OutcomeUnknown, Unreachable) as error:
                if clock.monotonic() > until:
                    raise OutcomeUnknown(
                        f"no readings for {PATIENCE:g} s: {error.message}; the instrument holds its limits meanwhile"
                    ) from error
            await asyncio.sleep(RETRY)


@dataclass(slots=True)
class _Watch:
    """The time between readings by the instrument's clock, which begins anew when its buffer does."""

    _told: float | None = None
    _at: float = 0.0

    def since(self, told: float) -> float:
        """S since the reading before; 0 for the first."""
        before, self._told = self._told, told
        at, self._at = self._at, clock.monotonic()
        if before is None:
            return 0.0
        return told - before if told >= before else self._at - at


async def ended(meter: Meter) -> None:
    """Switches off at the end of a technique, and looks whether all was well.

    Raises:
        Fault: it cannot be switched off, or the event log says something.
    """
    try:
        await meter.switch_off()
    except DeviceError as error:
        raise Fault(f"the output could not be switched off: {error.message}; open the circuit by hand") from error
    await meter.settle_log()
