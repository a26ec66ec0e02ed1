"""One request, one frame on the wire, and no reply taken for another's."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from labd.io.modbus import ModbusAddress, ModbusLink, WordOrder, float32, from_float32, uint32
from labd.sdk import Fault, OutcomeUnknown, Rejected, Unreachable


def device() -> SimDevice:
    return SimDevice(
        id=1,
        simdata=(
            [SimData(0, values=[True, False, True], datatype=DataType.BITS)],
            [SimData(0, values=[False, True], datatype=DataType.BITS)],
            [SimData(0, values=[0] * 4, datatype=DataType.REGISTERS)],
            [SimData(0, values=[0x999A, 0x40F9], datatype=DataType.REGISTERS)],
        ),
    )


async def check(link: ModbusLink) -> None:
    assert await link.read_coils(0, 3) == [True, False, True]
    assert await link.read_discrete_inputs(0, 2) == [False, True]
    assert float32(await link.read_input_registers(0, 2)) == pytest.approx(7.8)
    await link.write_coil(1, on=True)
    assert await link.read_coils(1) == [True]
    await link.write_registers(2, from_float32(7.8))
    assert await link.read_holding_registers(2, 2) == [0x999A, 0x40F9]


@pytest.mark.parametrize(("framer", "scheme"), [(FramerType.SOCKET, "modbus"), (FramerType.RTU, "modbus+rtu")])
async def test_coils_inputs_and_registers_over_tcp(framer: FramerType, scheme: str) -> None:
    server = ModbusTcpServer(device(), framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    link = ModbusLink(f"{scheme}://127.0.0.1:{port}")
    try:
        await check(link)
    finally:
        await link.close()
        await server.shutdown()


async def test_coils_inputs_and_registers_over_a_serial_line() -> None:
    left, left_name = pty.openpty()
    right, right_name = pty.openpty()
    for end in (left, left_name, right, right_name):
        tty.setraw(end)
    loop = asyncio.get_running_loop()
    loop.add_reader(left, lambda: os.write(right, os.read(left, 512)))
    loop.add_reader(right, lambda: os.write(left, os.read(right, 512)))
    server = ModbusSerialServer(device(), framer=FramerType.RTU, port=os.ttyname(right_name), baudrate=19200)
    await server.serve_forever(background=True)
    link = ModbusLink(f"serial://{os.ttyname(left_name)}?baudrate=19200&parity=N")
    try:
        await check(link)
    finally:
        await link.close()
        await server.shutdown()
        loop.remove_reader(left)
        loop.remove_reader(right)
        for end in (left, left_name, right, right_name):
            os.close(end)


# ── a peer that misbehaves ───────────────────────────────────────────────────────────────────────────────────────
Play = Callable[[bytes, asyncio.StreamWriter], object]


@asynccontextmanager
async def peer(play: Play) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A Modbus TCP server that hands every frame to `play`, which gives the reply's PDU, None, or raw bytes."""
    frames: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(6)
                frame = head + await reader.readexactly(int.from_bytes(head[4:6], "big"))
                frames.append(frame)
                reply = play(frame[7:], writer)
                if asyncio.iscoroutine(reply):
                    reply = await reply
                if isinstance(reply, bytes):
                    writer.write(frame[:4] + (len(reply) + 1).to_bytes(2, "big") + frame[6:7] + reply)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"modbus://127.0.0.1:{server.sockets[0].getsockname()[1]}", frames
    finally:
        server.close()
        await server.wait_closed()


async def test_a_write_whose_reply_is_lost_is_on_the_wire_exactly_once() -> None:
    async with peer(lambda *_: None) as (address, frames):
        link = ModbusLink(address)
        with pytest.raises(OutcomeUnknown, match="within 2 s"):
            await link.write_coil(0, on=True)
        await asyncio.sleep(600)
        await link.close()
    assert [frame[7:] for frame in frames] == [b"\x05\x00\x00\xff\x00"]


async def test_a_late_reply_is_not_taken_for_the_next_answer() -> None:
    turn = iter((b"\x02\x01\x01", b"\x02\x01\x00"))

    async def play(_: bytes, __: asyncio.StreamWriter) -> bytes:
        reply = next(turn)
        if reply.endswith(b"\x01"):
            await asyncio.sleep(3)
        return reply

    async with peer(play) as (address, frames):
        link = ModbusLink(address)
        with pytest.raises(OutcomeUnknown):
            await link.read_discrete_inputs(0)
        assert await link.read_discrete_inputs(0) == [False]
        await asyncio.sleep(10)
        await link.close()
    assert len(frames) == 2


async def test_half_a_reply_is_no_reply() -> None:
    def play(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01\x00\x00\x00\x07\x01\x04\x04\x99")

    async with peer(play) as (address, frames):
        link = ModbusLink(address)
        with pytest.raises(OutcomeUnknown):
            await link.read_input_registers(0, 2)
        await link.close()
    assert len(frames) == 1


async def test_a_connection_closed_in_mid_exchange_is_told_at_once_and_opened_for_the_next() -> None:
    turn = iter((False, True))

    def play(_: bytes, writer: asyncio.StreamWriter) -> bytes | None:
        if next(turn):
            return b"\x05\x00\x00\xff\x00"
        writer.transport.abort()
        return None

    async with peer(play) as (address, frames):
        link = ModbusLink(address)
        start = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown, match="closed"):
            await link.write_coil(0, on=True)
        assert asyncio.get_running_loop().time() == start
        await link.write_coil(0, on=True)
        await link.close()
    assert len(frames) == 2


async def test_nothing_reconnects_behind_our_back() -> None:
    opened = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    link = ModbusLink(f"modbus://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await link.open()
    await asyncio.sleep(600)
    assert opened == 1
    await link.close()
    server.close()
    await server.wait_closed()
    with pytest.raises(Unreachable, match="cannot be reached"):
        await link.read_coils(0)


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (2, Rejected, "illegal data address"),
        (4, Fault, "server device failure"),
        (11, OutcomeUnknown, "gateway target"),
    ],
)
async def test_an_exception_code_is_told_by_its_name(code: int, kind: type[Exception], name: str) -> None:
    async with peer(lambda *_: bytes([0x85, code])) as (address, _):
        link = ModbusLink(address)
        with pytest.raises(kind, match=name):
            await link.write_coil(99, on=True)
        await link.close()


async def test_requests_of_two_tasks_take_turns() -> None:
    under_way = 0

    async def play(_: bytes, __: asyncio.StreamWriter) -> bytes:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await asyncio.sleep(0.5)
        under_way -= 1
        return b"\x01\x01\x01"

    async with peer(play) as (address, _):
        link = ModbusLink(address)
        assert await asyncio.gather(*(link.read_coils(0) for _ in range(3))) == [[True]] * 3
        await link.close()


async def test_a_late_reply_on_a_serial_line_passes_by_before_the_next_request() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    loop = asyncio.get_running_loop()
    asked = 0

    def serve() -> None:
        nonlocal asked
        os.read(ours, 512)
        asked += 1
        # input registers [1] late, then [2] in time; checksums by the specification's polynomial
        frame, delay = ((b"\x01\x04\x02\x00\x01", 2.2), (b"\x01\x04\x02\x00\x02", 0.5))[asked - 1]
        loop.call_later(delay, os.write, ours, frame + crc(frame))

    loop.add_reader(ours, serve)
    link = ModbusLink(f"serial://{os.ttyname(theirs)}", drain=0.5)
    try:
        with pytest.raises(OutcomeUnknown):
            await link.read_input_registers(0)
        assert await link.read_input_registers(0) == [2]
    finally:
        await link.close()
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)


def crc(frame: bytes) -> bytes:
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


async def test_a_port_that_is_not_there_is_named() -> None:
    link = ModbusLink("serial:///dev/ttyNONE")
    with pytest.raises(Unreachable, match="/dev/ttyNONE"):
        await link.open()


@pytest.mark.parametrize(
    ("order", "registers"),
    [
        (WordOrder.ABCD, [0x40F9, 0x999A]),
        (WordOrder.CDAB, [0x999A, 0x40F9]),
        (WordOrder.BADC, [0xF940, 0x9A99]),
        (WordOrder.DCBA, [0x9A99, 0xF940]),
    ],
)
def test_seven_point_eight_in_every_order(order: WordOrder, registers: list[int]) -> None:
    assert from_float32(7.8, order) == registers
    assert float32(registers, order) == pytest.approx(7.8)


def test_a_counter_beyond_sixteen_bits_is_word_swapped_too() -> None:
    assert uint32([0x0001, 0x0002]) == 0x0002_0001


def test_addresses() -> None:
    assert ModbusAddress.parse("modbus://10.0.0.7") == ModbusAddress("tcp", "10.0.0.7", 502)
    assert ModbusAddress.parse("modbus+rtu://plc:4001") == ModbusAddress("rtu over tcp", "plc", 4001)
    assert ModbusAddress.parse("serial:///dev/ttyUSB0?baudrate=9600&parity=E") == ModbusAddress(
        "serial", "/dev/ttyUSB0", baudrate=9600, parity="E"
    )


@pytest.mark.parametrize(
    "text", ["10.0.0.7:502", "modbus://", "modbus://plc:x", "serial://?baudrate=9600", "serial:///d?a=1"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no Modbus address"):
        ModbusAddress.parse(text)


# ── whose answer, whose port ─────────────────────────────────────────────────────────────────────────────────────
async def test_an_old_request_that_a_gateway_answers_on_the_new_connection_is_nobodys() -> None:
    late: list[bytes] = []

    def play(pdu: bytes, writer: asyncio.StreamWriter) -> bytes | None:
        if not late:
            late.append(frames[0][:4] + b"\0\4" + frames[0][6:7] + bytes([1, 1, 1]))  # the answer: on
            return None
        writer.write(late[0])
        return bytes([pdu[0], 1, 0])

    async with peer(play) as (address, frames):
        link = ModbusLink(address, deadline=0.5)
        with pytest.raises(OutcomeUnknown):
            await link.read_coils(0)
        assert await link.read_coils(0) == [False]
        await link.close()


async def test_a_reply_that_comes_twice_is_not_the_next_ones() -> None:
    def play(pdu: bytes, writer: asyncio.StreamWriter) -> bytes:
        reply = bytes([pdu[0], 1, len(frames) % 2])
        frame = frames[-1]
        writer.write(frame[:4] + (len(reply) + 1).to_bytes(2, "big") + frame[6:7] + reply)
        return reply

    async with peer(play) as (address, frames):
        link = ModbusLink(address)
        assert [await link.read_coils(0) for _ in range(6)] == [[True], [False]] * 3
        await link.close()


async def test_a_serial_port_in_use_names_the_program() -> None:
    master, slave = pty.openpty()
    port = os.ttyname(slave)
    first, second = ModbusLink(f"serial://{port}"), ModbusLink(f"serial://{port}")
    await first.open()
    with pytest.raises(Unreachable, match=r"in use by labd itself \(pid \d+\), for another device"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()
    os.close(master)
    os.close(slave)
