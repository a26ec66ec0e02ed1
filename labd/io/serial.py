"""Serial links, on ports of any kind: UART, USB, pty."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
from pathlib import Path
from typing import Any, cast

import serial
import serial_asyncio_fast

from labd.io.portlock import PortLock, PortTaken, program
from labd.io.stream import StreamLink, Writer

XON_XOFF = b"\x11\x13"


class _Port(serial.Serial):  # type: ignore[misc]
    """A port that takes what it can. pyserial's own tries on and on, with the whole loop, while nothing is taken."""

    def write(self, data: bytes) -> int:
        try:
            return os.write(self.fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise serial.SerialException(f"write failed: {error}") from error


class SerialLink(StreamLink):
    """A serial port as a link. The port is taken exclusively: a second program is refused, and so are we.

    Three locks, for no program heeds all: a lock on the open file (labd, pyserial), the terminal's own exclusive mode
    (whatever opens it, root excepted), a lock file (minicom, picocom, pppd). A byte whose parity is wrong is read as
    NUL, which stands in no answer.

    Args:
        port: path of the port; `/dev/serial/by-id/…` stays the same when cables are replugged.
        baudrate: bits per second.
        bytesize, parity, stopbits: how a byte is framed; 8N1 unless told otherwise.
        rtscts: flow control by the lines RTS and CTS.
        xonxoff: flow control by XON and XOFF, which are then dropped from what is read.
        settle: s to wait after opening, for instruments that opening resets (DTR); what they say then is dropped.
        late, write_timeout, limit: see StreamLink.
    """

    def __init__(
        self,
        port: str,
        baudrate: int,
        *,
        bytesize: int = 8,
        parity: str = "N",
        stopbits: int = 1,
        rtscts: bool = False,
        xonxoff: bool = False,
        settle: float = 0.0,
        late: float = 0.5,
        write_timeout: float = 5.0,
        limit: int = 2**18,
    ) -> None:
        super().__init__(port, late=late, write_timeout=write_timeout, limit=limit, ignore=XON_XOFF if xonxoff else b"")
        self._baudrate = baudrate
        self._framing = {"bytesize": bytesize, "parity": parity, "stopbits": stopbits}
        self._rtscts = rtscts
        self._xonxoff = xonxoff
        self._settle = settle
        self._lock_file: PortLock | None = None

    async def open(self) -> None:
        was_open = self.is_open
        await super().open()
        if self._settle and not was_open:
            await asyncio.sleep(self._settle)
            with contextlib.suppress(ConnectionError):  # a port that goes again at once is told by the first exchange
                await self.drain(0.05)

    async def _connect(self) -> tuple[asyncio.StreamReader, Writer]:
        loop = asyncio.get_running_loop()
        port = await asyncio.to_thread(self._take_port)
        reader = asyncio.StreamReader(limit=self._limit, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await serial_asyncio_fast.connection_for_serial(loop, lambda: protocol, port)
        transport.set_write_buffer_limits(high=0)  # drain() then means: the kernel has all of it
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def close(self) -> None:
        await super().close()
        lock, self._lock_file = self._lock_file, None
        if lock is not None:
            lock.release()

    def _take_port(self) -> Any:
        real = not is_pty(self.address)
        lock = PortLock(self.address) if real else None
        try:
            port = _Port(
                self.address,
                self._baudrate,
                **(self._framing if real else {}),
                rtscts=self._rtscts,
                xonxoff=self._xonxoff,
                exclusive=True,
                timeout=0,
                write_timeout=self._write_timeout,
            )
            with contextlib.suppress(termios.error):  # an XOFF of an earlier life, or a disturbance, is forgotten
                termios.tcflow(port.fileno(), termios.TCOOFF)
                termios.tcflow(port.fileno(), termios.TCOON)
            if real:  # a pty has no bits, and would stay exclusive after us
                make_exclusive(port.fileno(), parity=self._framing["parity"] != "N")
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        self._lock_file = lock
        return port

    def _abort(self, writer: Writer) -> None:
        cast("asyncio.StreamWriter", writer).transport.abort()

    def _explain(self, error: OSError) -> str:
        code = error.errno
        text = str(error)
        if code == errno.ENOENT or "No such file" in text:
            return f"{self.address} is not there; is the instrument plugged in and on? {ports_now()}"
        if code == errno.EACCES or "Permission denied" in text:
            return f"{self.address} may not be opened; add the user to its group (`usermod -aG dialout USER`)"
        if isinstance(error, PortTaken):
            return f"{self.address} is in use: {text}; close it there first"
        if code in (errno.EBUSY, errno.EAGAIN) or "lock" in text:
            return f"{self.address} is in use by {holder(self.address) or 'another program'}; close it there first"
        return f"{self.address} cannot be opened: {error.strerror or text}"


def make_exclusive(fd: int, *, parity: bool) -> None:
    """Lets nobody else open a terminal, and has the kernel look at parity, which pyserial tells it not to."""
    with contextlib.suppress(OSError):  # a driver of an odd adapter that has no such mode
        fcntl.ioctl(fd, termios.TIOCEXCL)
    if parity:
        attributes = termios.tcgetattr(fd)
        attributes[0] = (attributes[0] | termios.INPCK) & ~(termios.IGNPAR | termios.PARMRK)
        termios.tcsetattr(fd, termios.TCSANOW, attributes)


def is_pty(port: str) -> bool:
    """Whether a port is a pseudo-terminal: it carries bytes, not bits, and Linux refuses any framing but 8N1 on it."""
    return Path(port).resolve().is_relative_to("/dev/pts")


def ports_now() -> str:
    """The serial ports that are there, in words."""
    found = sorted(str(path) for path in Path("/dev/serial/by-id").glob("*"))
    return f"Ports: {', '.join(found)}" if found else "There is no port under /dev/serial/by-id"


def holder(port: str) -> str | None:
    """The program that has a port open, `pstrace (pid 4711)`, as far as this user may see; None when unknown."""
    target = Path(port).resolve()
    ours = False
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(link.resolve() == target for link in (process / "fd").iterdir()):
                if process.name != str(os.getpid()):
                    return program(int(process.name))
                ours = True
    return f"labd itself (pid {os.getpid()}), for another device" if ours else None
