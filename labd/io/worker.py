"""A blocking library in a process of its own, which can be killed.

A thread that hangs in a library (VISA, a vendor's DLL) can never be ended, and keeps its port for as long as labd
lives. A process can: so an object of such a library lives in one, and its methods are awaited from the loop.

    worker = Worker("drivers.keithley.visa:Visa", "GPIB0::18::INSTR", "@py", 5.0)
    await worker.open()
    identity = await worker.call("ask", True, "*IDN?", limit=15.0)
    await worker.close()

`Visa` is written as one writes for the library, with blocking methods; labd never imports it. Arguments and results
go over a socket that only the two processes have (pickled, so they must be plain data).

**Time.** Limits are seconds of the machine, since a library in another process lives by those. On real time that is
the lab's time. On scaled time a limit of 2 s is 2 s of the machine and so many more of the lab. Virtual time goes at
the machine's pace while a call is out (`clock.pace()`), so that a deadline can come, and a simulator in this loop that
the library talks to can take its time: that makes such a call as slow as on a bench, and deadlocks nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd import clock
from labd.io.worker_process import HEAD
from labd.sdk import DeviceError, OutcomeUnknown, Unreachable

OPEN_LIMIT = 30.0  # s; starting Python, importing the library, opening the resource
CALL_LIMIT = 10.0  # s
CLOSE_LIMIT = 5.0  # s
_KILL_LIMIT = 5.0  # s; a process that the kernel does not let go of by then is waited for no more
_PROCESS = Path(__file__).with_name("worker_process.py")


class WorkerError(Exception):
    """The library raised: `kind` is its exception's class by name, `text` what it said.

    A driver turns it into the error that it means; what it does not foresee is its device's Fault.
    """

    def __init__(self, kind: str, text: str, trace: str = "") -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind
        self.text = text
        self.trace = trace


@dataclass(frozen=True, slots=True)
class _Process:
    """A process that runs, and the way to it."""

    popen: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Worker:
    """One object of a blocking library, in a process of its own. One call at a time; others wait for their turn.

    Whatever breaks a call off ends the process: its deadline, a cancellation, the process's own end. From then on
    calls are Unreachable until `open()` has started a new one.

    Args:
        path: `module:name` of the class or function that makes the object.
        args, kwargs: for it.
    """

    def __init__(self, path: str, *args: Any, **kwargs: Any) -> None:
        self.path = path
        self._made_of = (args, kwargs)
        self._process: _Process | None = None
        self._turn = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls can be made, as far as is known."""
        return self._process is not None and self._process.popen.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's number, while there is one."""
        return self._process.popen.pid if self._process is not None else None

    async def open(self, *, limit: float = OPEN_LIMIT) -> None:
        """Starts the process and makes the object in it; harmless when open.

        Raises:
            Unreachable: it did not come up within the limit, or ended.
            WorkerError: the library raised.
            DeviceError: the object's own maker raised one.
        """
        async with self._turn:
            if self.is_open:
                return
            await self._kill()
            self._process = await self._start()
            args, kwargs = self._made_of
            try:
                await self._ask("open", (None, (self.path, args), kwargs), limit)
            except OutcomeUnknown as error:
                raise Unreachable(error.message) from error
            except BaseException:
                await self._kill()
                raise

    async def call(self, method: str, *args: Any, limit: float = CALL_LIMIT, **kwargs: Any) -> Any:
        """Calls a method of the object (`query`, or `instrument.query` of what it holds) and gives its result.

        Args:
            method: its name.
            *args: for it.
            limit: s of the machine, from its turn on; then the process is killed.
            **kwargs: for it.

        Raises:
            Unreachable: there is no process; nothing was called.
            OutcomeUnknown: the limit passed, or the process ended in the midst of it.
            WorkerError: the library raised.
            DeviceError: the method itself raised one.
        """
        async with self._turn:
            if not self.is_open:
                await self._kill()
                raise Unreachable(f"{self.path}: its process does not run")
            return await self._ask(method, (method, args, kwargs), limit)

    async def close(self, *, limit: float = CLOSE_LIMIT) -> None:
        """Calls the object's own `close`, where it has one, and ends the process. Never raises.

        A call that is under way is not waited for longer than the limit: its process is killed.
        """
        with contextlib.suppress(TimeoutError, DeviceError, WorkerError), clock.pace():
            async with asyncio.timeout(clock.machine_seconds(limit)), self._turn:
                if self.is_open:
                    await self._ask("close", ("close", (), {}), limit)
        await self._kill()

    # ── the process ──────────────────────────────────────────────────────────────────────────────────────────────
    async def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", str(_PROCESS), json.dumps(sys.path), str(theirs.fileno())]
            try:
                popen = subprocess.Popen(  # noqa: ASYNC220, S603 - a fork, of ourselves
                    [*command, str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for labd
                )
            except OSError as error:
                ours.close()
                raise Unreachable(f"{self.path}: its process cannot be started: {error.strerror}") from error
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return _Process(popen, reader, writer)

    async def _ask(self, what: str, request: tuple[Any, ...], limit: float) -> Any:
        process = self._process
        assert process is not None
        told = pickle.dumps(request)  # before anything is sent: what cannot be is the caller's mistake
        whole = False
        try:
            with clock.pace():
                async with asyncio.timeout(clock.machine_seconds(limit)):
                    process.writer.write(HEAD.pack(len(told)) + told)
                    await process.writer.drain()
                    (size,) = HEAD.unpack(await process.reader.readexactly(HEAD.size))
                    answer = pickle.loads(await process.reader.readexactly(size))  # noqa: S301 - of our own child
            whole = True
        except TimeoutError as error:
            raise OutcomeUnknown(
                f"{self.path}: {what} did not end within {limit:g} s; its process was killed", sent=what
            ) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            await self._kill()
            how = _ending(process.popen.returncode)
            raise OutcomeUnknown(f"{self.path}: its process ended in {what}: {how}", sent=what) from error
        finally:
            if not whole:
                await self._kill()
        match answer:
            case ("done", result):
                return result
            case ("raised", error):
                raise error
            case (_, kind, text, trace):
                if what == "close" and kind == "AttributeError":
                    return None
                raise WorkerError(kind, text, trace)

    async def _kill(self) -> None:
        """Ends the process, and sees to it that it is gone: only then is its port free."""
        process, self._process = self._process, None
        if process is None:
            return
        process.writer.transport.abort()
        popen = process.popen
        if popen.poll() is None:
            with _exit_of(popen.pid) as gone:
                popen.kill()
                with clock.pace(), contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(clock.machine_seconds(_KILL_LIMIT)):
                        await asyncio.shield(gone)
            popen.poll()


@contextlib.contextmanager
def _exit_of(pid: int) -> Iterator[asyncio.Future[None]]:
    """A future of a process's end, without a thread that waits for it."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    fd = os.pidfd_open(pid)

    def ended() -> None:
        loop.remove_reader(fd)
        if not gone.done():
            gone.set_result(None)

    loop.add_reader(fd, ended)
    try:
        yield gone
    finally:
        loop.remove_reader(fd)
        os.close(fd)
        gone.cancel()


def _ending(status: int | None) -> str:
    if status is None:
        return "it does not go"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
