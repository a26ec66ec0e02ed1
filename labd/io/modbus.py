"""Modbus over TCP and serial RTU, one request at a time, and never a second try.

pymodbus repeats a request up to three times by default, also a write whose reply alone was lost: a relay would fire
four times. Here it repeats nothing and reconnects by itself never; after any exchange without a whole, matching reply
the link is closed and opened anew before the next request, so that a late reply is not taken for the next answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from labd.io.arrival import bound
from labd.io.portlock import PortLock, PortTaken
from labd.io.serial import holder, is_pty, make_exclusive
from labd.io.tap import Kind, Tapped
from labd.sdk.errors import DeviceError, Fault, OutcomeUnknown, Rejected, Unreachable

DEADLINE = 2.0  # s
DRAIN = 0.5  # s; how long a late reply on a serial line is waited for before the next request
_T = TypeVar("_T")

_NEVER = 3600.0  # s; pymodbus's own time limit, longer than any deadline of ours

# pymodbus tells its log what it then raises; whoever wants to read it twice sets the level
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

# MODBUS Application Protocol Specification V1.1b3, chapter 7
_EXCEPTIONS: dict[int, tuple[str, type[DeviceError]]] = {
    1: ("illegal function", Rejected),
    2: ("illegal data address", Rejected),
    3: ("illegal data value", Rejected),
    4: ("server device failure", Fault),
    5: ("acknowledge: accepted, and not yet done", OutcomeUnknown),
    6: ("server device busy", Rejected),
    8: ("memory parity error", Fault),
    10: ("gateway path unavailable", Rejected),
    11: ("gateway target device failed to respond", OutcomeUnknown),
}


class WordOrder(StrEnum):
    """In which order the four bytes ABCD of a 32-bit value stand in two registers."""

    ABCD = "ABCD"  # big-endian, as the specification would have it
    CDAB = "CDAB"  # words swapped: most PLCs
    BADC = "BADC"  # bytes swapped in each word
    DCBA = "DCBA"  # little-endian

    def pack(self, raw: bytes) -> list[int]:
        """Two registers from four big-endian bytes."""
        moved = bytes(raw["ABCD".index(letter)] for letter in self.value)
        return [int.from_bytes(moved[:2], "big"), int.from_bytes(moved[2:], "big")]

    def unpack(self, registers: Sequence[int]) -> bytes:
        """Four big-endian bytes from two registers."""
        moved = registers[0].to_bytes(2, "big") + registers[1].to_bytes(2, "big")
        return bytes(moved[self.value.index(letter)] for letter in "ABCD")


def float32(registers: Sequence[int], order: WordOrder = WordOrder.CDAB) -> float:
    """The IEEE 754 single in two registers."""
    return float(struct.unpack(">f", order.unpack(registers))[0])


def uint32(registers: Sequence[int], order: WordOrder = WordOrder.CDAB) -> int:
    """The unsigned integer in two registers."""
    return int.from_bytes(order.unpack(registers), "big")


def from_float32(value: float, order: WordOrder = WordOrder.CDAB) -> list[int]:
    """Two registers that hold an IEEE 754 single."""
    return order.pack(struct.pack(">f", value))


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """Where a Modbus server is.

    `modbus://host[:port]` is Modbus TCP, `modbus+rtu://host[:port]` RTU frames over TCP (a serial server), and
    `serial:///dev/…[?baudrate=19200&parity=E&stopbits=1&bytesize=8]` a serial line with RTU frames.
    """

    kind: Literal["tcp", "rtu over tcp", "serial"]
    host: str
    port: int = 502
    baudrate: int = 19200
    parity: str = "N"
    stopbits: int = 1
    bytesize: int = 8

    def __str__(self) -> str:
        return self.host if self.kind == "serial" else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> ModbusAddress:
        """Reads an address. Raises ValueError that says how to write one."""
        try:
            url = urlsplit(text)
            port = url.port or 502
            options = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
        except ValueError as error:
            raise ValueError(f"{text!r} is no Modbus address: {error}") from error
        if url.scheme in {"modbus", "modbus+rtu"} and url.hostname and not options and url.path in {"", "/"}:
            return cls("tcp" if url.scheme == "modbus" else "rtu over tcp", url.hostname, port)
        numbers = {"baudrate", "stopbits", "bytesize"}
        if url.scheme == "serial" and url.path and set(options) <= {*numbers, "parity"}:
            given: dict[str, Any] = {key: int(value) if key in numbers else value for key, value in options.items()}
            if given.get("parity", "N") in {"N", "E", "O"}:
                return cls("serial", f"{url.netloc}{url.path}", **given)
        raise ValueError(
            f"{text!r} is no Modbus address; write `modbus://10.0.0.7:502`, `modbus+rtu://10.0.0.7:4001` "
            "or `serial:///dev/ttyUSB0?baudrate=19200&parity=E`"
        )


class _Lost(Exception):
    """The peer closed the connection while a reply was awaited."""


class ModbusLink(Tapped):
    """One Modbus server (a PLC, a relay) by one client.

    Every exchange raises:
        Unreachable: no connection came about; nothing was sent.
        OutcomeUnknown: it was sent, and no whole reply came within the deadline.
        Rejected, Fault: the server answered with an exception code.

    Args:
        address: see ModbusAddress.
        device_id: the unit that the requests are for.
        deadline: seconds for connecting, and again for each exchange.
        drain: seconds to let a late reply pass by on a serial line that gave none in time.
    """

    kind: ClassVar[Kind] = "modbus"
    """Its tap is told each request and each reply: the PDU, without address and check sum, as hexadecimal digits."""

    def __init__(
        self, address: ModbusAddress | str, *, device_id: int = 1, deadline: float = DEADLINE, drain: float = DRAIN
    ) -> None:
        self.address = ModbusAddress.parse(address) if isinstance(address, str) else address
        self.device_id = device_id
        self.deadline = deadline
        self.drain = drain
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._lock = asyncio.Lock()
        self._awaiting = False
        self._dirty = False
        self._why: BaseException | None = None
        self._last_transaction = 0
        self._port: PortLock | None = None

    # ── exchanges ────────────────────────────────────────────────────────────────────────────────────────────────
    async def read_coils(self, address: int, count: int = 1) -> list[bool]:
        """Function 1."""
        reply = await self._exchange(
            1,
            f"read {count} coils from {address}",
            lambda client: client.read_coils(address, count=count, device_id=self.device_id),
        )
        return self._whole(reply.bits[:count], count)

    async def read_discrete_inputs(self, address: int, count: int = 1) -> list[bool]:
        """Function 2."""
        reply = await self._exchange(
            2,
            f"read {count} discrete inputs from {address}",
            lambda client: client.read_discrete_inputs(address, count=count, device_id=self.device_id),
        )
        return self._whole(reply.bits[:count], count)

    async def read_holding_registers(self, address: int, count: int = 1) -> list[int]:
        """Function 3."""
        reply = await self._exchange(
            3,
            f"read {count} holding registers from {address}",
            lambda client: client.read_holding_registers(address, count=count, device_id=self.device_id),
        )
        return self._whole(reply.registers, count)

    async def read_input_registers(self, address: int, count: int = 1) -> list[int]:
        """Function 4."""
        reply = await self._exchange(
            4,
            f"read {count} input registers from {address}",
            lambda client: client.read_input_registers(address, count=count, device_id=self.device_id),
        )
        return self._whole(reply.registers, count)

    async def write_coil(self, address: int, *, on: bool) -> None:
        """Function 5."""
        await self._exchange(
            5,
            f"write coil {address} {'on' if on else 'off'}",
            lambda client: client.write_coil(address, on, device_id=self.device_id),
        )

    async def write_registers(self, address: int, values: Sequence[int]) -> None:
        """Function 16."""
        await self._exchange(
            16,
            f"write holding registers {address} {list(values)}",
            lambda client: client.write_registers(address, list(values), device_id=self.device_id),
        )

    # ── the link ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def open(self) -> None:
        """Connects, unless connected. Raises Unreachable."""
        async with self._lock:
            await self._ready()

    async def close(self) -> None:
        """Closes the link; it opens again with the next request."""
        self._drop()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next round

    async def _exchange(self, function: int, what: str, request: Callable[[Any], Awaitable[ModbusPDU]]) -> ModbusPDU:
        async with self._lock:
            client = await self._ready()
            whole = False
            self._awaiting = True
            try:
                async with asyncio.timeout(self.deadline):
                    reply = await request(client)
                whole = True
            except TimeoutError as error:
                raise OutcomeUnknown(f"no reply from {self.address} within {self.deadline:g} s", sent=what) from error
            except (_Lost, ModbusException, OSError) as error:
                raise OutcomeUnknown(f"no reply from {self.address}: {error}", sent=what) from error
            finally:
                self._awaiting = False
                if not whole:  # cancelled, too: its reply may still be on the way
                    self._distrust()
        if isinstance(reply, ExceptionResponse):
            name, kind = _EXCEPTIONS.get(reply.exception_code, ("unknown exception", Rejected))
            raise kind(f"{self.address} refused: {name} (exception code {reply.exception_code})", sent=what)
        if reply.function_code != function:
            self._distrust()
            raise OutcomeUnknown(f"{self.address} answered to function {reply.function_code}", sent=what)
        return reply

    async def _ready(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        """The connected client; a new one where the old is lost."""
        if self._client is not None and self._client.connected:
            return self._client
        self._drop()
        if self.address.kind == "serial":
            self._take_port()
        try:
            client = await self._connected()
        except BaseException:
            self._drop()  # the port's lock file, too: whoever mends the line may open it
            raise
        self._client = client
        if self.address.kind == "serial" and not is_pty(self.address.host):
            transport: Any = client.ctx.transport
            make_exclusive(transport.sync_serial.fileno(), parity=self.address.parity != "N")
        # a gateway that keeps one line for all connections may answer an old request on the new one
        client.ctx.next_tid = self._last_transaction
        if self._dirty and self.address.kind == "serial":
            await asyncio.sleep(self.drain)
        self._dirty = False
        return client

    async def _connected(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        """A new client with a connection."""
        client = self._made()
        # pymodbus says only that it failed; people want to know why
        create = client.ctx.call_create
        self._why = None

        async def noted() -> Any:
            try:
                made = await create()
            except OSError as error:
                self._why = error
                raise
            if self.address.kind != "serial":
                bound(made[0].get_extra_info("socket"))
            return made

        client.ctx.call_create = noted
        try:
            async with asyncio.timeout(self.deadline):
                connected = await client.connect()
        except TimeoutError as error:
            client.close()
            raise Unreachable(f"{self.address} did not take a connection within {self.deadline:g} s") from error
        except BaseException:
            client.close()
            raise
        if not connected:
            raise Unreachable(await self._reason())
        return client

    def _take_port(self) -> None:
        """The port's lock file. Raises Unreachable when another program has it."""
        try:
            self._port = None if is_pty(self.address.host) else PortLock(self.address.host)
        except PortTaken as error:
            raise Unreachable(f"{self.address} is in use: {error}; close it there first") from error

    async def _reason(self) -> str:
        """Why no connection came about."""
        if self.address.kind == "serial" and "lock" in str(self._why):
            owner = await asyncio.to_thread(holder, self.address.host)  # reads files
            return f"{self.address} is in use by {owner or 'another program'}; close it there first"
        return f"{self.address} cannot be reached: {self._why or 'no connection'}"

    def _made(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        at = self.address
        if at.kind == "serial":
            return AsyncModbusSerialClient(
                at.host,
                framer=FramerType.RTU,
                baudrate=at.baudrate,
                parity=at.parity,
                stopbits=at.stopbits,
                bytesize=at.bytesize,
                retries=0,
                reconnect_delay=0,
                timeout=_NEVER,
                trace_connect=self._connection,
                trace_pdu=self._trace,
            )
        return AsyncModbusTcpClient(
            at.host,
            port=at.port,
            framer=FramerType.SOCKET if at.kind == "tcp" else FramerType.RTU,
            retries=0,
            reconnect_delay=0,
            timeout=_NEVER,
            trace_connect=self._connection,
            trace_pdu=self._trace,
        )

    def _trace(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if self.tap is not None:
            raw = bytes([pdu.function_code]) + pdu.encode()
            self.tap("out" if sending else "in", raw.hex().encode())
        return pdu

    def _connection(self, made: bool) -> None:
        """A reply that is awaited over a connection that is gone will not come: do not wait for the deadline."""
        if made or not self._awaiting or self._client is None:
            return
        reply = self._client.ctx.response_future
        if not reply.done():
            reply.set_exception(_Lost("the connection was closed"))

    def _distrust(self) -> None:
        """What comes next on this connection may belong to a request that is given up."""
        self._drop()
        self._dirty = True

    def _drop(self) -> None:
        self._connection(made=False)
        client, self._client = self._client, None
        if client is not None:
            self._last_transaction = client.ctx.next_tid
            with contextlib.suppress(OSError):  # an unplugged adapter refuses even that
                client.close()
        port, self._port = self._port, None
        if port is not None:
            port.release()

    def _whole(self, values: Sequence[_T], count: int) -> list[_T]:
        if len(values) != count:
            self._distrust()
            raise OutcomeUnknown(f"{self.address} gave {len(values)} values where {count} were asked for")
        return list(values)
