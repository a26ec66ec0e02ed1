"""Modbus seen from the device: the application protocol, and its TCP and RTU framing.

Source: MODBUS Application Protocol Specification V1.1b3; MODBUS over Serial Line V1.02; MODBUS Messaging on TCP/IP
V1.0b. Written on bytes rather than on the library that drivers use, so that both ends cannot share one mistake.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from simulators._kit.pty import PtyServer

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, READ_WRITE = 5, 6, 15, 16, 23
WRITES = frozenset({WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, READ_WRITE})

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3

_MBAP = struct.Struct(">HHHB")  # transaction, protocol (0), length from the unit on, unit
_MOST_BITS, _MOST_WORDS = 2000, 125
_ON = 0xFF00


class ModbusError(Exception):
    """A request that the device refuses.

    Args:
        code: the exception code that goes back (2: no such address, 3: no such value).
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"modbus exception {code}")
        self.code = code


class Unit(Protocol):
    """One device's tables. Each method raises `ModbusError` for what it does not have."""

    def read_bits(self, function: int, address: int, count: int) -> Sequence[bool]:
        """Coils (1) or discrete inputs (2)."""
        ...

    def read_words(self, function: int, address: int, count: int) -> Sequence[int]:
        """Holding (3) or input registers (4), each 16 bits."""
        ...

    def write_bits(self, address: int, values: Sequence[bool]) -> None:
        """Coils."""
        ...

    def write_words(self, address: int, values: Sequence[int]) -> None:
        """Holding registers."""
        ...


def answer(unit: Unit, request: bytes) -> bytes:
    """What a device says to a request: function code and data, without framing."""
    function = request[0]
    try:
        return _carry_out(unit, function, request[1:])
    except ModbusError as error:
        return bytes([function | 0x80, error.code])
    except struct.error:
        return bytes([function | 0x80, ILLEGAL_VALUE])


def _carry_out(unit: Unit, function: int, data: bytes) -> bytes:
    if function not in (READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT, *WRITES):
        raise ModbusError(ILLEGAL_FUNCTION)
    address, number = struct.unpack(">HH", data[:4])
    if function == READ_WRITE:
        return _write_and_read(unit, data)
    if function in (READ_COILS, READ_DISCRETE):
        _within(number, _MOST_BITS)
        packed = pack_bits(unit.read_bits(function, address, number))
        return bytes([function, len(packed)]) + packed
    if function in (READ_HOLDING, READ_INPUT):
        _within(number, _MOST_WORDS)
        words = unit.read_words(function, address, number)
        return bytes([function, 2 * len(words)]) + struct.pack(f">{len(words)}H", *words)
    if function == WRITE_COIL:
        if number not in (0, _ON):
            raise ModbusError(ILLEGAL_VALUE)
        unit.write_bits(address, [number == _ON])
    elif function == WRITE_REGISTER:
        unit.write_words(address, [number])
    elif function == WRITE_COILS:
        _within(number, _MOST_BITS)
        unit.write_bits(address, unpack_bits(data[5:], number))
    else:
        _within(number, _MOST_WORDS)
        unit.write_words(address, struct.unpack(f">{number}H", data[5 : 5 + 2 * number]))
    return bytes([function]) + data[:4]


def _write_and_read(unit: Unit, data: bytes) -> bytes:
    """Function 23: registers are written first, then others are read."""
    address, number, target, count = struct.unpack(">4H", data[:8])
    _within(number, _MOST_WORDS)
    _within(count, _MOST_WORDS)
    unit.write_words(target, struct.unpack(f">{count}H", data[9 : 9 + 2 * count]))
    words = unit.read_words(READ_HOLDING, address, number)
    return bytes([READ_WRITE, 2 * len(words)]) + struct.pack(f">{len(words)}H", *words)


def _within(number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise ModbusError(ILLEGAL_VALUE)


def pack_bits(bits: Sequence[bool]) -> bytes:
    """Bits as Modbus packs them: the first one lowest."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= int(bit) << (index % 8)
    return bytes(packed)


def unpack_bits(data: bytes, count: int) -> list[bool]:
    """The reverse of `pack_bits`. Raises `ModbusError` when there are too few bytes."""
    if len(data) < (count + 7) // 8:
        raise ModbusError(ILLEGAL_VALUE)
    return [bool(data[index // 8] >> (index % 8) & 1) for index in range(count)]


def crc(data: bytes) -> bytes:
    """The check sum of RTU, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


class _Line:
    """What both framings share: which unit is meant, and the faults.

    Faults, read from `faults` at every request:
        silent (bool): requests are neither carried out nor answered.
        reply_lost (int, counts down): so many writes take effect, but their reply is lost.
        reply_delay (s): every reply comes that much later.
    """

    def __init__(self, unit: Unit, unit_id: int, faults: MutableMapping[str, Any]) -> None:
        self._unit = unit
        self._unit_id = unit_id
        self._faults = faults
        self._timers: set[asyncio.TimerHandle] = set()

    def handle(self, unit_id: int, request: bytes, reply: Callable[[bytes], None]) -> None:
        """Carries a request out, and calls `reply` with what goes back, if anything does."""
        faults = self._faults
        if unit_id != self._unit_id or not request or faults.get("silent"):
            return
        said = answer(self._unit, request)
        if request[0] in WRITES and faults.get("reply_lost"):
            faults["reply_lost"] = int(faults["reply_lost"]) - 1
            return
        delay = float(faults.get("reply_delay") or 0.0)
        if delay <= 0:
            reply(said)
            return

        def late() -> None:
            self._timers.discard(timer)
            reply(said)

        timer = asyncio.get_running_loop().call_later(delay, late)
        self._timers.add(timer)

    def cancel(self) -> None:
        """Drops the replies that are still to come."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


class _Connection(asyncio.Protocol):
    def __init__(self, server: ModbusTcpServer) -> None:
        self._server = server
        self._buffer = b""
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.connections.discard(self)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _MBAP.size:
            transaction, protocol, length, unit_id = _MBAP.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= 254:  # not Modbus: nothing after it can be found again
                assert self.transport is not None
                self.transport.abort()
                return
            if len(self._buffer) < 6 + length:
                return
            request = self._buffer[_MBAP.size : 6 + length]
            self._buffer = self._buffer[6 + length :]
            self._server.line.handle(unit_id, request, self._replier(transaction, unit_id))

    def _replier(self, transaction: int, unit_id: int) -> Callable[[bytes], None]:
        def reply(said: bytes) -> None:
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(_MBAP.pack(transaction, 0, len(said) + 1, unit_id) + said)

        return reply


class ModbusTcpServer:
    """One unit on Modbus TCP. For its faults see `_Line`.

    Args:
        unit: its tables.
        unit_id: the only unit that is there; others are never answered.
        faults: the simulator's switches.
    """

    def __init__(self, unit: Unit, unit_id: int, faults: MutableMapping[str, Any]) -> None:
        self.line = _Line(unit, unit_id, faults)
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Begins to listen (port 0: any free one); gives the port. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stops listening and cuts every client off."""
        if self._server is None:
            return
        self._server.close()
        self.line.cancel()
        connections = list(self.connections)
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()
        for connection in connections:
            await connection.closed
        await self._server.wait_closed()
        self._server = None


class ModbusRtuServer:
    """One unit on Modbus RTU over a pty. For its faults see `_Line` and `PtyServer`.

    Frames are told apart by their length, not by silence: a pty keeps no time.

    Args:
        link: where the symlink to the pty is put.
        unit: its tables.
        unit_id: the only unit on the line; others are never answered.
        faults: the simulator's switches.
    """

    def __init__(self, link: Path, unit: Unit, unit_id: int, faults: MutableMapping[str, Any]) -> None:
        self.line = _Line(unit, unit_id, faults)
        self._pty = PtyServer(link, self._received, faults)
        self._buffer = b""

    async def start(self) -> str:
        """Lays the line; gives the absolute path that a client opens. Raises `PtyError`."""
        return await self._pty.start()

    async def stop(self) -> None:
        """Takes the line up."""
        self.line.cancel()
        await self._pty.stop()

    def _received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:  # the shortest request: unit, function, 4 bytes, check sum
            length = 8
            if self._buffer[1] in (WRITE_COILS, WRITE_REGISTERS):
                length = 9 + self._buffer[6]
            elif self._buffer[1] == READ_WRITE:
                length = 13 + (self._buffer[10] if len(self._buffer) > 10 else 0)
            if len(self._buffer) < length:
                return
            frame, self._buffer = self._buffer[:length], self._buffer[length:]
            if crc(frame[:-2]) != frame[-2:]:
                self._buffer = b""  # a device that lost the thread waits for the next silence
                return
            self.line.handle(frame[0], frame[1:-2], self._replier(frame[0]))

    def _replier(self, unit_id: int) -> Callable[[bytes], None]:
        def reply(said: bytes) -> None:
            frame = bytes([unit_id]) + said
            self._pty.write(frame + crc(frame))

        return reply
