"""A test on its channel: started, followed by downloads until it ends, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from drivers.neware.files import StepFiles
from drivers.neware.schedule import Protection
from drivers.neware.techniques import Test
from drivers.neware.wire import Bts, Channel, Look
from labd import clock
from labd.sdk import Call, DeviceError, Fault, OutcomeUnknown, Rejected, Result, Unreachable

BEGIN_LIMIT = 15.0  # s until a test that was started shows on its channel
STOP_LIMIT = 8.0  # s until a channel that was stopped shows it
LOOK_AGAIN = 0.5  # s
PERIOD = (5.0, 30.0)  # s between two downloads of a test: its interval, within these; channels share one link
RETRY = 5.0  # s between two tries while the server cannot be asked


@dataclass(frozen=True, slots=True)
class Runner:
    """What is done with tests of one server.

    Args:
        bts: the server.
        files: where step files go.
        protection: of every test.
        backup: where the server keeps its copies.
    """

    bts: Bts
    files: StepFiles
    protection: Protection
    backup: str

    async def look(self, channel: Channel) -> Look:
        """What one channel does now."""
        (look,) = await self.bts.look([channel])
        return look

    async def begin(self, call: Call, channel: Channel, test: Test) -> int:
        """Starts a test; gives its number.

        Raises:
            Rejected: the channel works, or the cycler does not take it.
            OutcomeUnknown: no answer, or the test does not show.
        """
        before = await self.look(channel)
        if before.busy:
            raise Rejected(f"channel {channel.unit} is {before.state}, with {before.barcode or 'no barcode'}")
        last, _ = await self.bts.test(channel)
        file = await self.files.write(call.id, test.text(call.id, self.protection))
        if not await self.bts.start(channel, call.id, file, self.backup):
            await self.files.remove(call.id)
            raise Rejected(
                f"the cycler does not start {file} on channel {channel.unit}; does its PC find that file, and does "
                "BTS Client show the channel as free?",
                sent="start",
                received="false",
            )
        until = clock.monotonic() + BEGIN_LIMIT
        while True:
            look, (number, _) = await self.look(channel), await self.bts.test(channel)
            if look.barcode == call.id and number != last:
                call.accepted(test=number, file=file)
                return number
            if clock.monotonic() > until:
                raise OutcomeUnknown(f"the start was taken, and channel {channel.unit} shows {look.barcode!r}")
            await asyncio.sleep(LOOK_AGAIN)

    async def follow(self, call: Call, channel: Channel, number: int, test: Test) -> Result:
        """Looks and downloads until a test has ended; while the server cannot be asked, it tries again.

        Raises:
            Fault: protection or a person has ended it, or the channel was given another one.
            Rejected: it was ended before its first record.
        """
        period = min(max(test.interval, PERIOD[0]), PERIOD[1])
        while True:
            try:
                look = await self.look(channel)
                if look.barcode != call.id:
                    raise Fault(f"channel {channel.unit} was given another test, {look.barcode!r}, beside labd; look")
                await self.download(channel, number, test, call)
            except (Unreachable, OutcomeUnknown):
                await asyncio.sleep(RETRY)  # the cycler goes on without us
                continue
            if not look.busy:
                with contextlib.suppress(DeviceError):  # one that is left over harms nobody
                    await self.files.remove(call.id)
                return _ended(channel, look, test)
            await asyncio.sleep(period)

    async def download(self, channel: Channel, number: int, test: Test, call: Call | None) -> None:
        """Takes all rows of a test that have not been taken; tells those that nobody has told before."""
        _, count = await self.bts.test(channel)
        while test.taken < count:
            records = await self.bts.rows(channel, number, test.taken + 1)
            if not records:
                return
            for record in records:
                row = test.take(record)
                if call is not None and record.number > call.rows_before:
                    call.row(*row)

    async def stop(self, channel: Channel) -> None:
        """Ends the test of a channel, if it has one.

        Raises:
            OutcomeUnknown: it still works.
        """
        until = clock.monotonic() + STOP_LIMIT
        if not (await self.look(channel)).busy:
            return
        await self.bts.stop(channel)
        while (await self.look(channel)).busy:
            if clock.monotonic() > until:
                raise OutcomeUnknown(f"channel {channel.unit} was stopped, and still works after {STOP_LIMIT:g} s")
            await asyncio.sleep(LOOK_AGAIN)


def _ended(channel: Channel, look: Look, test: Test) -> Result:
    if look.state == "protect":
        raise Fault(
            f"protection has ended the test on channel {channel.unit} (log code {look.log_code}): a limit of the cell "
            "was passed, or the cycler has an alarm; look at the cell and at BTS Client",
            received=look.log_code,
        )
    if look.state == "stop" and not test.cancelled:
        raise Fault(f"somebody has stopped the test on channel {channel.unit} at the cycler")
    return test.result()
