"""The feedback port: frames of 1440 bytes, again and again, to whoever is connected."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

SIZE = 1440
CUT = 700  # bytes of a frame that is cut


def packed(
    *,
    inputs: int,
    outputs: int,
    mode: int,
    milliseconds: int,
    joints: Sequence[float],
    pose: Sequence[float],
    speed: float,
    queue_open: bool,
) -> bytes:
    """One frame: offsets as in the table of Dobot's TCP/IP guide; what is not simulated is zero."""
    raw = bytearray(SIZE)
    struct.pack_into("<H", raw, 0, SIZE)
    struct.pack_into("<6Q", raw, 8, inputs, outputs, mode, milliseconds, milliseconds, 0x123456789ABCDEF)
    struct.pack_into("<d", raw, 64, speed)
    six_joints, six_pose = ([*values, 0.0, 0.0] for values in (joints, pose))
    for at in (192, 432):  # target and actual joints
        struct.pack_into("<6d", raw, at, *six_joints)
    for at in (624, 768):  # actual and target pose
        struct.pack_into("<6d", raw, at, *six_pose)
    raw[1014] = queue_open
    raw[1026] = mode in (5, 7)
    raw[1028] = mode == 7
    raw[1029] = mode == 9
    raw[1031] = 3  # MG400
    return bytes(raw)


class _Listener(asyncio.Protocol):
    def __init__(self, server: FeedbackServer) -> None:
        self._server = server
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.listeners.append(self)
        self._timer = asyncio.get_running_loop().call_later(self._server.period, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._timer is not None:
            self._timer.cancel()
        self._server.listeners.remove(self)
        self.closed.set_result(None)

    def _tick(self) -> None:
        assert self.transport is not None
        if self.transport.is_closing():
            return
        data = self._server.frame()
        if data:
            self.transport.write(data)
        self._timer = asyncio.get_running_loop().call_later(self._server.period, self._tick)


class FeedbackServer:
    """Sends a frame each `period` s (of 5 a second on port 30005) to each client, from one period after it came on."""

    def __init__(self, make: Callable[[], bytes], period: float, faults: MutableMapping[str, Any]) -> None:
        self.period = period
        self.listeners: list[_Listener] = []
        self._make = make
        self._faults = faults
        self._server: asyncio.Server | None = None

    def frame(self) -> bytes:
        """The next frame, through the faults."""
        if self._faults.get("no_frames"):
            return b""
        data = self._make()
        if self._faults.get("cut_frames"):
            self._faults["cut_frames"] = int(self._faults["cut_frames"]) - 1
            return data[:CUT]
        return data

    async def start(self, host: str, port: int) -> int:
        """Begins to listen (port 0: any free one); gives the port. Raises OSError when it is taken."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Listener(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stops listening and cuts every client off; harmless when it never began."""
        if self._server is None:
            return
        self._server.close()
        for listener in (left := list(self.listeners)):
            if listener.transport is not None:
                listener.transport.abort()
        for listener in left:
            await listener.closed
        await self._server.wait_closed()
        self._server = None
