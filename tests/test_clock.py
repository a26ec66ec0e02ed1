"""Virtual, scaled and real time behind one loop."""

from __future__ import annotations

import asyncio
import os
import pty
import time
import tty
from pathlib import Path

import pytest

from labd import clock
from labd.clock import LabLoop, Timeline, VirtualTimeline


async def test_ten_hours_of_sleep_pass_at_once() -> None:
    real, start, wall = time.monotonic(), clock.monotonic(), clock.now()
    await asyncio.sleep(36_000)
    assert clock.monotonic() - start == pytest.approx(36_000)
    assert (clock.now() - wall).total_seconds() == pytest.approx(36_000)
    assert time.monotonic() - real < 30


async def test_timers_fire_in_their_order() -> None:
    seen: list[float] = []

    async def note(delay: float) -> None:
        await asyncio.sleep(delay)
        seen.append(delay)

    await asyncio.gather(*(note(delay) for delay in (30.0, 0.5, 100_000.0, 7.0)))
    assert seen == [0.5, 7.0, 30.0, 100_000.0]


async def test_work_in_a_thread_is_not_timed_out() -> None:
    async with asyncio.timeout(5):
        await asyncio.to_thread(time.sleep, 0.05)


async def test_an_open_hold_keeps_time_still() -> None:
    loop = asyncio.get_running_loop()
    before = clock.monotonic()
    with clock.hold():
        event = asyncio.Event()
        threading_timer = loop.run_in_executor(None, time.sleep, 0.02)
        threading_timer.add_done_callback(lambda _: event.set())
        async with asyncio.timeout(1):
            await event.wait()
        assert clock.monotonic() == before


async def test_exchanges_over_a_socket_are_never_falsely_late() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(0.9)  # within the client's second
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for number in range(1000):
        writer.write(b"%d\n" % number)
        async with asyncio.timeout(1):
            assert await reader.readline() == b"%d\n" % number
        await asyncio.sleep(10)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(1)  # the server's side sees the end of its stream
    server.close()
    await server.wait_closed()


async def test_a_lost_reply_does_time_out_and_exchanges_over_a_pty_do_not() -> None:
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    os.set_blocking(master, False)
    os.set_blocking(slave, False)
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    def device() -> None:
        if b"lost" not in (request := os.read(master, 64)):
            loop.call_later(0.9, os.write, master, request)

    loop.add_reader(master, device)
    loop.add_reader(slave, lambda: answers.put_nowait(os.read(slave, 64)))
    for number in range(1000):
        os.write(slave, b"%d" % number)
        async with asyncio.timeout(1):
            assert await answers.get() == b"%d" % number
    os.write(slave, b"lost")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await answers.get()
    loop.remove_reader(master)
    loop.remove_reader(slave)
    os.close(master)
    os.close(slave)


def test_scaled_time_runs_faster_and_two_processes_agree(tmp_path: Path) -> None:
    async def measure() -> tuple[float, float]:
        real, lab = time.monotonic(), clock.monotonic()
        await asyncio.sleep(30)
        return time.monotonic() - real, clock.monotonic() - lab

    timeline = clock.timeline_of({"scaled": 600}, tmp_path)
    real, lab = clock.run(measure(), timeline)
    assert lab == pytest.approx(30, rel=0.9)
    assert real < lab / 10
    again = clock.timeline_of({"scaled": 600}, tmp_path)
    assert abs((again.wall() - timeline.wall()).total_seconds()) < 60


def test_an_unknown_clock_is_refused() -> None:
    for bad in ("fast", {"scaled": 0}, {"scaled": -1}, {"slow": 2}):
        with pytest.raises(ValueError, match="clock"):
            clock.timeline_of(bad)  # type: ignore[arg-type]


def test_a_virtual_clock_can_be_stepped_by_hand() -> None:
    timeline = VirtualTimeline(wall0=0)
    timeline.advance(90)
    assert timeline.monotonic() == 90
    assert timeline.wall().isoformat() == "1970-01-01T00:01:30+00:00"
    loop = LabLoop(timeline)
    assert loop.time() == 90
    loop.close()
    assert Timeline(factor=60).wait(60) == 1
