"""A TCP connection of a simulated device, seen from within: every server of every simulator is laid along its wire.

The loop's own `create_server` is where all servers come from, those of libraries too (OPC UA, HTTP). While a device is
started, what it opens there gets a `TcpLine` between socket and protocol; so no simulator needs to know of faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from simulators.faults.wire import Line, Way, Wire, current


def prepare(loop: asyncio.AbstractEventLoop) -> None:
    """Lays the servers that a device opens along its wire; others are as before."""
    if getattr(loop.create_server, "lays_wires", False):
        return
    create = loop.create_server

    async def create_server(factory: Callable[[], asyncio.BaseProtocol], *args: Any, **options: Any) -> asyncio.Server:
        wire = current.get()
        if wire is None:
            return await create(factory, *args, **options)
        return await create(lambda: TcpLine(wire, factory()), *args, **options)

    create_server.lays_wires = True  # type: ignore[attr-defined]
    loop.create_server = create_server  # type: ignore[assignment, method-assign]


class TcpLine(Line, asyncio.Protocol, asyncio.Transport):
    """To the socket it is the protocol, to the device's protocol it is the transport."""

    def __init__(self, wire: Wire, inner: asyncio.BaseProtocol) -> None:
        Line.__init__(self, wire)
        asyncio.Transport.__init__(self)
        assert isinstance(inner, asyncio.Protocol)
        self._inner: asyncio.Protocol = inner
        self._real: asyncio.Transport | None = None
        self._told = False  # whether the device knows of this connection
        self._closing = False
        self._out = bytearray()  # what leaves at once is one message
        self._leaving: asyncio.TimerHandle | None = None

    # ── from the socket ──────────────────────────────────────────────────────────────────────────────────────────
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._real = transport
        self.wire.laid(self)
        if self.wire.is_cut:
            transport.abort()
        elif self.wire.is_dead:
            self.dead = True
        else:
            self._told = True
            self._inner.connection_made(self)

    def data_received(self, data: bytes) -> None:
        self.carry("requests", data)

    def eof_received(self) -> bool | None:
        if self.dead or not self._told:
            return None
        if not self._queues["requests"]:
            return self._inner.eof_received()
        self.in_order("requests", self._late_eof)
        return True

    def _late_eof(self) -> None:
        if not self._inner.eof_received():
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.lines.remove(self)
        if not self._told:
            return
        if self.dead and not self._closing:
            self._leaving = asyncio.get_running_loop().call_later(self.wire.kept, self._left, None)
        else:
            self.in_order("requests", lambda: self._left(exc))

    def _left(self, exc: Exception | None) -> None:
        if self._told:
            self._told = False
            self._closing = True
            self.forget()
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def gone(self) -> bool:
        return self._real is None or self._real.is_closing()

    def hand_over(self, way: Way, data: bytes) -> None:
        if way == "requests":
            if self._told:
                self._inner.data_received(data)
        elif not self.gone:
            assert self._real is not None
            self._real.write(data)

    def cut(self) -> None:
        self._closing = True
        self._out.clear()
        self.forget()
        if self._real is not None:
            self._real.abort()

    def mend(self) -> None:
        """A connection that was cut or has died stays so: its client makes a new one."""

    def hang_up(self) -> None:
        if not self._told:
            self.cut()

    # ── from the device ──────────────────────────────────────────────────────────────────────────────────────────
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._out or not (self.wire.calm and not self.owed):
            if not self._out:
                asyncio.get_running_loop().call_soon(self._flush)
            self._out += data
            return
        self.carry("replies", bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        if self._out:
            data = bytes(self._out)
            self._out.clear()
            self.carry("replies", data)

    def write_eof(self) -> None:
        self._flush()
        assert self._real is not None
        self.in_order("replies", self._real.write_eof)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if self._closing:
            return
        self._flush()
        self._closing = True
        assert self._real is not None
        self.in_order("replies", self._real.close)
        if self.dead:  # its client never hears of it
            asyncio.get_running_loop().call_soon(self._left, None)

    def abort(self) -> None:
        self.cut()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
            asyncio.get_running_loop().call_soon(self._left, None)

    def is_closing(self) -> bool:
        return self._closing or self._real is None or (self._real.is_closing() and not self.dead)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if self._real is None else self._real.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._inner = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._inner

    def is_reading(self) -> bool:
        return self._real is not None and self._real.is_reading()

    def pause_reading(self) -> None:
        if self._real is not None:
            self._real.pause_reading()

    def resume_reading(self) -> None:
        if self._real is not None and not self._real.is_closing():
            self._real.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._real is not None:
            self._real.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return 0 if self._real is None else self._real.get_write_buffer_size()
