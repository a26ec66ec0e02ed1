"""A blocking library in a process of its own: it hangs, crashes, babbles, and labd goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from labd import clock
from labd.io.worker import Worker, WorkerError
from labd.sdk import OutcomeUnknown, Rejected, Unreachable

PATIENCE = 60.0  # s of the machine; only what is broken takes that long


@contextlib.asynccontextmanager
async def working(*args: object, **kwargs: object) -> AsyncIterator[Worker]:
    worker = Worker("tests.blocking:Instrument", *args, **kwargs)
    await worker.open()
    try:
        yield worker
    finally:
        await worker.close()


def is_gone(pid: int) -> bool:
    """Waits for a process that is no child of ours, or no more, to end."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], PATIENCE)[0])
    finally:
        os.close(fd)


async def test_methods_are_called_with_their_arguments() -> None:
    async with working("smu") as worker:
        assert await worker.call("query", "*IDN?") == "smu: *IDN?"
        assert await worker.call("query", "*IDN?", end="\n", limit=20) == "smu: *IDN?\n"
        assert await worker.call("name.upper") == "SMU"
        assert worker.pid == await worker.call("pid") != os.getpid()


async def test_a_thousand_calls_and_whoever_asks_gets_his_own_answer() -> None:
    async with working("smu") as worker:
        answers = await asyncio.gather(*(worker.call("query", str(number), limit=60) for number in range(1000)))
        assert answers == [f"smu: {number}" for number in range(1000)]
        assert await worker.call("calls.bit_length") == (1000).bit_length()


@pytest.mark.parametrize("how", ["hang", "hang_with_the_lock"])
async def test_a_call_that_hangs_in_c_is_killed_at_its_limit_and_the_next_open_works(how: str) -> None:
    async with working("smu") as worker:
        first = worker.pid
        with pytest.raises(OutcomeUnknown, match=rf"{how} did not end within 0\.2 s; its process was killed"):
            await worker.call(how, limit=0.2)
        assert first is not None
        assert is_gone(first)
        assert not worker.is_open
        with pytest.raises(Unreachable, match="its process does not run"):
            await worker.call("query", "late")
        await worker.open()
        assert worker.pid != first
        assert await worker.call("query", "fresh") == "smu: fresh"


async def test_a_cancelled_call_ends_the_process_and_its_answer_is_nobodys() -> None:
    async with working("smu") as worker:
        task = asyncio.create_task(worker.call("hang", limit=3600))
        while not worker._turn.locked():
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert not worker.is_open
        await worker.open()
        assert await worker.call("query", "mine") == "smu: mine"


@pytest.mark.parametrize(("how", "words"), [("crash", "killed by SIGSEGV"), ("leave", "exit status 7")])
async def test_a_library_that_crashes_takes_its_process_only(how: str, words: str) -> None:
    async with working("smu") as worker:
        with pytest.raises(OutcomeUnknown, match=f"its process ended in {how}: {words}"):
            await worker.call(how)
        await worker.open()
        assert await worker.call("query", "up") == "smu: up"


async def test_a_process_that_ended_between_two_calls_was_asked_nothing() -> None:
    async with working("smu") as worker:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert is_gone(worker.pid)
        with pytest.raises(Unreachable):
            await worker.call("query", "x")


async def test_what_a_library_prints_breaks_nothing() -> None:
    async with working("smu") as worker:
        assert await worker.call("noise", 20_000) == 20_000
        assert await worker.call("query", "clear") == "smu: clear"
        assert len(await worker.call("big", 5_000_000)) == 5_000_000


async def test_exceptions_come_back_with_kind_and_text() -> None:
    async with working("smu") as worker:
        with pytest.raises(WorkerError, match="VI_ERROR_TMO") as caught:
            await worker.call("fail")
        assert (caught.value.kind, caught.value.text) == ("tests.blocking.LibraryError", "VI_ERROR_TMO: timeout")
        assert "in fail" in caught.value.trace
        with pytest.raises(Rejected, match="the range is wrong") as refused:
            await worker.call("refuse")
        assert refused.value.sent == "RANG 7"
        with pytest.raises(WorkerError, match="has no attribute 'nothing'"):
            await worker.call("nothing")
        with pytest.raises(WorkerError, match="pickle"):
            await worker.call("strange")
        assert await worker.call("query", "still") == "smu: still"


async def test_what_cannot_be_made_says_why() -> None:
    worker = Worker("tests.blocking:Instrument", refuse=True)
    with pytest.raises(WorkerError, match="no such resource"):
        await worker.open()
    assert not worker.is_open
    with pytest.raises(WorkerError, match="No module named 'no_such_library'"):
        await Worker("no_such_library:X").open()
    with pytest.raises(Unreachable, match="did not end within 0"):
        await Worker("time:sleep", 3600).open(limit=0.2)


async def test_closing_does_not_wait_for_a_call_that_hangs() -> None:
    async with working("smu") as worker:
        call = asyncio.create_task(worker.call("hang", limit=3600))
        while not worker._turn.locked():
            await asyncio.sleep(0)
        await worker.close(limit=0.2)
        assert not worker.is_open
        with pytest.raises(OutcomeUnknown, match="its process ended in hang"):
            await call


async def test_a_simulator_in_this_loop_may_take_its_time_before_it_answers() -> None:
    """The library's process waits for a peer that lives on the virtual time which the call itself slows down."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(0.05)
            writer.write(line.upper())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, working() as worker:
        await worker.call("connect", *server.sockets[0].getsockname())
        began = clock.monotonic()
        assert await worker.call("ask", "volt?") == "VOLT?"
        assert clock.monotonic() - began > 0.0499  # but for the last digit of a sum
        await asyncio.sleep(3600)  # and then time is free again


@pytest.mark.parametrize("factor", [1.0, 60.0])
def test_limits_are_seconds_of_the_machine_on_any_clock(factor: float) -> None:
    async def main() -> None:
        async with working("smu") as worker:
            assert await worker.call("query", "x", limit=PATIENCE) == "smu: x"
            began = clock.monotonic()
            with pytest.raises(OutcomeUnknown):
                await worker.call("hang", limit=0.1)
            assert clock.monotonic() - began >= 0.1 * factor

    clock.run(main(), clock.Timeline(factor=factor))


PARENT = """
import asyncio
from labd import clock
from labd.io.worker import Worker

async def main():
    worker = Worker("tests.blocking:Instrument")
    await worker.open()
    print(worker.pid, flush=True)
    await worker.call({how!r}, limit=3600)

clock.run(main())
"""


@pytest.mark.parametrize("how", ["hang", "hang_with_the_lock"])
def test_when_labd_is_killed_no_orphan_keeps_the_port(how: str) -> None:
    command = [sys.executable, "-c", PARENT.format(how=how)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert is_gone(child)
