"""What a driver makes of a wire that is cut, slow, spoilt, half or late."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from labd.sdk import DeviceError, Reading
from labd.testing.stage import CONNECT_LIMIT, POLL_LIMIT, SAFE_LIMIT, Stage, by_unit, stage, within
from labd.testing.subject import Subject
from labd.testing.wire import LATE, Weather

HOSTILE = (Weather.SILENT, Weather.SLOW, Weather.GARBAGE, Weather.NOISE, Weather.HALF, Weather.LATE)
SPOILS = frozenset(
    {Weather.GARBAGE, Weather.NOISE}
)  # other bytes: where nothing checks them, another number is a number
POLLS_IN_NOISE = 8  # so many, that noise meets all parts of an answer
LOOKS = 6  # polls by which it is known what a device that is left alone tells


async def read_state_stands_a_hostile_link(subject: Subject, directory: Path) -> None:
    """Cut, silent, slow, garbage, half a reply, a late reply: a poll tells the truth or raises a DeviceError.

    On a sound wire it is itself again, and no answer of before is taken for that to a later question.
    """
    async with stage(subject, directory) as bench:
        usual = await _usual(bench)
        for weather in HOSTILE:
            for _ in range(POLLS_IN_NOISE if weather is Weather.NOISE else 2):
                bench.wire.weather = weather
                await _poll_in_bad_weather(bench, weather.value, None if weather in SPOILS else usual)
            bench.wire.weather = Weather.SOUND
            await _itself_again(bench, usual, f"after a wire that was {weather.value}")
            await asyncio.sleep(2 * LATE)
            await _itself_again(bench, usual, f"a while after a wire that was {weather.value}")
        await bench.wire.cut()
        for _ in range(2):
            await _poll_in_bad_weather(bench, "cut", usual)
        await bench.wire.mend()
        await _itself_again(bench, usual, "after a cut")


async def read_state_in_mid_reply_is_cut(subject: Subject, directory: Path) -> None:
    """A link that breaks while an answer is awaited is told as a DeviceError, and opened again by connecting."""
    async with stage(subject, directory) as bench:
        bench.wire.weather = Weather.SILENT
        poll = asyncio.ensure_future(bench.driver.read_state())
        await asyncio.sleep(0.1)
        await bench.wire.cut()
        with contextlib.suppress(DeviceError, TimeoutError):
            await within(POLL_LIMIT, poll, "read_state")
        await bench.wire.mend()
        await bench.recovered()


async def connecting_to_nothing_is_told(subject: Subject, directory: Path) -> None:
    """Nobody there, or somebody who says nothing: `connect` raises a DeviceError in time; later it connects."""
    async with stage(subject, directory) as bench:
        await bench.driver.close()
        await bench.wire.cut()
        await _refused(bench, "nobody is there")
        await bench.wire.mend()
        bench.wire.weather = Weather.SILENT
        await _refused(bench, "nothing is said")
        bench.wire.weather = Weather.SOUND
        await bench.connect()
        await bench.poll()


async def _refused(bench: Stage, why: str) -> None:
    try:
        await within(CONNECT_LIMIT, bench.driver.connect(), "connect")
    except (DeviceError, TimeoutError):
        await bench.driver.close()
        return
    raise AssertionError(f"{why}, and `connect` returns as if it were connected")


async def closing_is_harmless(subject: Subject, directory: Path) -> None:
    """`close` never raises: twice, on a wire that is cut, and before `connect`; and it connects again after it."""
    async with stage(subject, directory) as bench:
        await subject.driver(bench.setup).close()
        await bench.driver.close()
        await bench.driver.close()
        await bench.connect()
        await bench.poll()
        await bench.wire.cut()
        await within(POLL_LIMIT, bench.driver.close(), "close")
        await bench.wire.mend()
        await bench.connect()
        await bench.poll()


async def safe_state_may_be_called_at_any_time(subject: Subject, directory: Path) -> None:
    """Twice, and by unit; on a wire that is cut it raises a DeviceError, or is done; and it works again after that."""
    async with stage(subject, directory) as bench:
        for unit in (None, None, *bench.driver.units):
            await within(SAFE_LIMIT, bench.driver.safe_state(unit), "safe_state")
        before = bench.seen()
        await within(SAFE_LIMIT, bench.driver.safe_state(), "safe_state")
        assert bench.seen().keys() == before.keys(), "made safe again, it changed the world"
        await bench.wire.cut()
        for _ in range(2):
            with contextlib.suppress(DeviceError, TimeoutError):
                await within(SAFE_LIMIT, bench.driver.safe_state(), "safe_state")
        await bench.wire.mend()
        await bench.recovered()
        await within(SAFE_LIMIT, bench.driver.safe_state(), "safe_state")
        await bench.poll()


Usual = dict[tuple[str, str], tuple[float, float] | set[object]]


async def _poll_in_bad_weather(bench: Stage, weather: str, usual: Usual | None) -> None:
    """A DeviceError, or the truth: what is left of an answer that was cut short is no reading."""
    try:
        reading = await bench.poll()
    except AssertionError:
        raise
    except DeviceError:
        return
    except Exception as error:
        raise AssertionError(f"on a wire that is {weather}, read_state raised {error!r}: no DeviceError") from error
    if usual is not None:
        _like(reading, usual, f"on a wire that is {weather}")


async def _usual(bench: Stage) -> Usual:
    """What a device that is left alone tells: numbers from, to; and the other values, by unit and signal."""
    seen: dict[tuple[str, str], list[object]] = {}
    for _ in range(LOOKS):
        for unit, signals in by_unit(await bench.poll()).items():
            for name, value in signals:
                seen.setdefault((unit, name), []).append(value)
        await asyncio.sleep(5.0)
    found: Usual = {}
    for key, values in seen.items():
        numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if numbers and len(numbers) == len(values):
            spread = max(numbers) - min(numbers)
            room = 30 * spread + 0.01 * max(map(abs, numbers)) + 1e-9
            found[key] = (min(numbers) - room, max(numbers) + room)
        else:
            found[key] = {str(value) for value in values}
    return found


async def _itself_again(bench: Stage, usual: Usual, when: str) -> None:
    """Two readings that are like those of before."""
    for _ in range(2):
        _like(await bench.recovered(), usual, when)
        await asyncio.sleep(1.0)


def _like(reading: Reading, usual: Usual, when: str) -> None:
    """Raises AssertionError where a signal is another than it is usually."""
    for unit, signals in by_unit(reading).items():
        for name, value in signals:
            known = usual[unit, name]
            if isinstance(known, tuple):
                low, high = known
                told = isinstance(value, (int, float)) and low <= value <= high
                assert told or value is None, f"{when} {name} is {value}, and was within {low:g} and {high:g}"
            elif isinstance(value, (bool, str)):
                words = " or ".join(sorted(map(str, known)))
                assert str(value) in known or known == {"None"}, f"{when} {name} is {value}, and was {words}"
