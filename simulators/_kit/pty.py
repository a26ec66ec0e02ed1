"""The instrument's end of a serial line: a pty whose other end stands where lab.yaml says the port is."""

from __future__ import annotations

import asyncio
import os
import tty
from collections import deque
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from simulators.faults.wire import Line, Way, Wire, current

KEPT = 256 * 1024  # bytes kept for a reader that is slow or away; beyond it the oldest lines are lost, as on a UART
_CHUNK = 65536
UNPLUGGED = 1.0  # s that an adapter is unplugged when nothing else is said
HANGS = 10.0  # s that one hangs


class PtyError(Exception):
    """The line cannot be laid; the text says why and how to mend it."""


def spoilt(data: bytes, faults: MutableMapping[str, Any]) -> bytes:
    """What is left of a write after the faults that spoil it; see `PtyServer`."""
    if faults.get("silent"):
        return b""
    if faults.get("drop"):
        faults["drop"] = int(faults["drop"]) - 1
        return b""
    if faults.get("truncate") is not None:
        data = data[: int(faults.pop("truncate"))]
    if data and faults.get("garble") is not None:
        index = int(faults.pop("garble")) % len(data)
        data = data[:index] + b"\x7e" + data[index + 1 :]
    return data


class PtyServer:
    """A raw pty whose master side lives in the running loop.

    The slave stays open here too, so a client may close the port and open it again: nothing hangs up. Writing never
    blocks: what the client does not read is kept up to `KEPT` bytes, then the oldest writes are dropped whole.

    Faults are read from `faults` at every write, and those marked once are taken out when they have happened:
        silent (bool): nothing leaves the instrument.
        drop (int, counts down): so many writes are lost.
        delay (s): every write arrives that much later, in order.
        truncate (int, once): the next write ends after so many bytes.
        garble (int, once): the byte at this index of the next write is spoilt.

    Args:
        link: where the symlink to the slave is put; a stale link is replaced, anything else is left alone.
        receive: is called with every piece of bytes that comes in.
        faults: the simulator's switches.
    """

    def __init__(
        self, link: Path, receive: Callable[[bytes], None], faults: MutableMapping[str, Any] | None = None
    ) -> None:
        self.link = link
        self._receive = receive
        self._faults: MutableMapping[str, Any] = {} if faults is None else faults
        self._master = -1
        self._slave = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._out: deque[bytes] = deque()
        self._kept = 0
        self._blocked = False
        self._late: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._line: _PtyLine | None = None

    async def start(self) -> str:
        """Lays the line; gives the absolute path that a client opens.

        Raises:
            PtyError: another thing than a link stands at the path, or it cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        self.plug()
        wire = current.get()
        if wire is not None:
            self._line = _PtyLine(wire, self)
            wire.laid(self._line)
        return str(self.link.absolute())

    def plug(self) -> None:
        """Lays a new pty where the client looks for it. Raises PtyError."""
        assert self._loop is not None
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        try:
            self._lay()
        except OSError as error:
            self._close()
            raise PtyError(f"{self.link}: the port's link cannot be made: {error.strerror}") from error
        except PtyError:
            self._close()
            raise
        self._loop.add_reader(self._master, self._readable)

    def _lay(self) -> None:
        self.link.parent.mkdir(parents=True, exist_ok=True)
        if self.link.exists() and not self.link.is_symlink():
            raise PtyError(f"{self.link}: stands there already and is no link; give the simulated port another path")
        temporary = self.link.with_name(f".{self.link.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.ttyname(self._slave))
        temporary.replace(self.link)

    async def stop(self) -> None:
        """Takes the line up: an open client reads an I/O error from now on."""
        if self._line is not None:
            self._line.end()
            self._line = None
        self.unplug()

    def unplug(self) -> None:
        """The adapter goes, with all that was not read yet; `plug` brings it back."""
        if self._loop is None or self._master < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop.remove_reader(self._master)
        if self._blocked:
            self._loop.remove_writer(self._master)
            self._blocked = False
        if self.link.is_symlink() and str(self.link.readlink()) == os.ttyname(self._slave):
            self.link.unlink()
        self._close()
        self._out.clear()
        self._kept = 0
        self._late.clear()

    def _close(self) -> None:
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    @property
    def plugged(self) -> bool:
        """Whether there is a port."""
        return self._master >= 0

    def write(self, data: bytes) -> None:
        """Sends to the client, through the faults."""
        if self._line is None:
            self.say(data)
        else:
            self._line.carry("replies", data)

    def say(self, data: bytes) -> None:
        """Sends to the client, past the faults of the wire but not past the switches."""
        faults = self._faults
        if faults or self._late:
            data = self._spoil(data)
            if not data:
                return
            delay = faults.get("delay")
            if delay or self._late:
                assert self._loop is not None
                due = max(self._loop.time() + float(delay or 0.0), self._late[-1][0] if self._late else 0.0)
                self._late.append((due, data))
                self._arm()
                return
        self._send(data)

    def _spoil(self, data: bytes) -> bytes:
        return spoilt(data, self._faults)

    def _arm(self) -> None:
        if self._timer is None and self._late:
            assert self._loop is not None
            self._timer = self._loop.call_at(self._late[0][0], self._deliver)

    def _deliver(self) -> None:
        assert self._loop is not None
        self._timer = None
        # Timers fire up to one clock tick early; what is due within a microsecond is due.
        while self._late and self._late[0][0] <= self._loop.time() + 1e-6:
            self._send(self._late.popleft()[1])
        self._arm()

    def _send(self, data: bytes) -> None:
        if self._master < 0:
            return
        self._out.append(data)
        self._kept += len(data)
        if not self._blocked:
            self._flush()
        while self._kept > KEPT and len(self._out) > 1:
            # The first one may be half sent: it is finished, or the client would see two lines joined.
            lost = self._out[1]
            del self._out[1]
            self._kept -= len(lost)

    def _flush(self) -> None:
        assert self._loop is not None
        while self._out:
            try:
                sent = os.write(self._master, self._out[0])
            except BlockingIOError:
                sent = 0
            self._kept -= sent
            if sent == len(self._out[0]):
                self._out.popleft()
                continue
            self._out[0] = self._out[0][sent:]
            if not self._blocked:
                self._blocked = True
                self._loop.add_writer(self._master, self._flush)
            return
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._master)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            return
        if self._line is None:
            self.hear(data)
        else:
            self._line.carry("requests", data)

    def hear(self, data: bytes) -> None:
        """Bytes have come to the instrument."""
        self._receive(data)


class _PtyLine(Line):
    """The serial line along its device's wire."""

    def __init__(self, wire: Wire, server: PtyServer) -> None:
        super().__init__(wire)
        self._server = server
        self._mending: asyncio.TimerHandle | None = None

    @property
    def gone(self) -> bool:
        return not self._server.plugged

    def hand_over(self, way: Way, data: bytes) -> None:
        if way == "requests":
            self._server.hear(data)
        else:
            self._server.say(data)

    def cut(self) -> None:
        self.forget()
        self._server.unplug()
        self._later(UNPLUGGED)

    def deaden(self) -> None:
        super().deaden()
        self._later(HANGS)

    def _later(self, seconds: float) -> None:
        if self._mending is not None:
            self._mending.cancel()
        self._mending = asyncio.get_running_loop().call_later(seconds, self.mend)

    def mend(self) -> None:
        if not self.wire.is_cut and not self._server.plugged:
            self._server.plug()
        if not self.wire.is_dead:
            self.dead = False

    def hang_up(self) -> None:
        """Its device takes it up by itself."""

    def end(self) -> None:
        """The device closes its port."""
        if self._mending is not None:
            self._mending.cancel()
        self.forget()
        self.wire.lines.remove(self)
