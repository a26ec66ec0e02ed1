"""The OPC UA link against a server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.crypto import cert_gen
from cryptography.x509.oid import ExtendedKeyUsageOID

from labd import clock
from labd.io.opcua import Access, OpcUaLink, Value, checked_address
from labd.sdk import OutcomeUnknown, Rejected, Unreachable
from simulators._kit.opcua import UaServer

NAMESPACES = {"m": "urn:test:machine", "ml": "http://opcfoundation.org/UA/PackML/"}


class Bench:
    """A server with a few nodes."""

    def __init__(self, **options: Any) -> None:
        self.faults: dict[str, Any] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.server = UaServer(NAMESPACES, lambda: None, options, self.faults)

    async def start(self) -> str:
        server = self.server
        await server.prepare()
        await server.variable("Box/Level", 1.5, "Double")
        await server.variable("Box/ml:Status/0:Name", "Idle", "LocalizedText")
        await server.variable("Box/Setpoint", 0, "Int16", writable=True)
        await server.method("Box/Add", self._add, ["a: Int32", "b: Int32"], ["sum: Int32"])
        return await server.start("opc.tcp://127.0.0.1:0")

    async def _add(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        if len(arguments) != 2:
            return ua.StatusCode(ua.StatusCodes.BadArgumentsMissing)
        return [ua.Variant(sum(arguments), ua.VariantType.Int32)]


@contextlib.asynccontextmanager
async def opened(access: Access | None = None, **options: Any) -> AsyncIterator[tuple[OpcUaLink, Bench]]:
    bench = Bench(**options)
    link = OpcUaLink(await bench.start(), namespaces=NAMESPACES, access=access, deadline=3.0)
    try:
        await link.open()
        yield link, bench
    finally:
        await link.close()
        await bench.server.stop()


async def test_what_goes_over_it_is_told_in_words() -> None:
    async with opened() as (link, _):
        told: list[tuple[str, Any]] = []
        link.tap = lambda way, data: told.append((way, json.loads(data)))
        await link.read(["Box/Level", "Box/ml:Status/0:Name"])
        await link.write("Box/Setpoint", 7, "Int16")
        assert await link.call("Box/Add", [(2, "Int32"), (3, "Int32")]) == [5]
        with pytest.raises(Rejected):
            await link.write("Box/Level", 2.0)
        (_, (level, name)) = told.pop(1)
        assert (level["value"], level["status"], name["value"]) == (1.5, "Good", "Idle")
        assert datetime.fromisoformat(level["server"]).year > 2000
        assert told[:-1] == [
            ("out", {"read": ["Box/Level", "Box/ml:Status/0:Name"]}),
            ("out", {"write": ["Box/Setpoint", 7, "Int16"]}),
            ("in", None),
            ("out", {"call": ["Box/Add", [[2, "Int32"], [3, "Int32"]]]}),
            ("in", [5]),
            ("out", {"write": ["Box/Level", 2.0, None]}),
        ]
        assert "refused" in told[-1][1]["error"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("opc.tcp://10.0.0.7", "opc.tcp://10.0.0.7:4840"),
        ("opc.tcp://plc.lab:4841/box", "opc.tcp://plc.lab:4841/box"),
        ("opc.tcp://[fe80::1]:4840", "opc.tcp://[fe80::1]:4840"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert checked_address(text) == address


@pytest.mark.parametrize(
    "text", ["10.0.0.7:4840", "http://10.0.0.7", "opc.tcp://", "opc.tcp://a:b@c", "opc.tcp://a:99999"]
)
def test_what_is_no_address_is_told_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        checked_address(text)


def test_the_age_of_a_value_is_by_the_servers_own_two_stamps() -> None:
    at = datetime(2026, 11, 2, tzinfo=UTC)
    assert Value(1, "Good", at, at + timedelta(seconds=90)).age == 90
    assert Value(1, "Good", at, at - timedelta(seconds=1)).age == 0
    assert Value(1, "Good", None, at).age is None


async def test_nodes_are_found_by_path_and_by_id_and_read_in_one_request() -> None:
    async with opened() as (link, _):
        values = await link.read(["Box/Level", "m:Box/ml:Status/0:Name", "s=Box.Level", "ns=0;i=2259"])
        assert [one.value for one in values] == [1.5, "Idle", 1.5, 0]
        assert all(one.good for one in values)


async def test_a_node_that_is_not_there_is_rejected_by_path_and_bad_by_id() -> None:
    async with opened() as (link, _):
        with pytest.raises(Rejected, match="has no node 'Box/Lvel'"):
            await link.read(["Box/Lvel"])
        with pytest.raises(Rejected, match="'x' is no name of `namespaces`"):
            await link.read(["x:Box"])
        (value,) = await link.read(["s=Nothing"])
        assert (value.value, value.good, value.status) == (None, False, "BadNodeIdUnknown")


async def test_what_is_written_keeps_the_type_of_its_node() -> None:
    async with opened() as (link, _):
        await link.write("Box/Setpoint", 7)
        assert (await link.read(["Box/Setpoint"]))[0].value == 7
        with pytest.raises(Rejected, match="BadUserAccessDenied"):
            await link.write("Box/Level", 2.0)
        await link.write("Box/Setpoint", 8, "Int16")


async def test_a_method_gets_its_arguments_and_gives_its_result() -> None:
    async with opened() as (link, bench):
        assert await link.call("Box/Add", [(2, "Int32"), (3, "Int32")]) == [5]
        assert bench.calls == [(2, 3)]
        with pytest.raises(Rejected, match="BadArgumentsMissing"):
            await link.call("Box/Add")


async def test_a_call_whose_reply_is_lost_is_unknown_and_went_out_once() -> None:
    async with opened() as (link, bench):
        bench.faults["lost_replies"] = 1
        with pytest.raises(OutcomeUnknown, match="was lost"):
            await link.call("Box/Add", [(2, "Int32"), (3, "Int32")])
        assert bench.calls == [(2, 3)]
        assert (await link.read(["Box/Level"]))[0].good


async def test_a_cancelled_request_leaves_no_answer_behind() -> None:
    async with opened() as (link, bench):
        bench.faults["silent"] = True
        task = asyncio.ensure_future(link.read(["Box/Level"]))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bench.faults["silent"] = False
        assert (await link.read(["Box/Setpoint"]))[0].value == 0


async def test_nobody_there_is_unreachable_at_once_and_a_silent_one_within_the_deadline() -> None:
    link = OpcUaLink("opc.tcp://127.0.0.1:9", deadline=3.0)
    with pytest.raises(Unreachable, match="cannot be reached"):
        await link.open()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    link = OpcUaLink(f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", deadline=3.0)
    start = clock.monotonic()
    with pytest.raises(Unreachable, match="gave no session within 3 s"):
        await link.read(["i=2259"])
    assert clock.monotonic() - start == pytest.approx(3, abs=0.1)
    await link.close()
    await asyncio.sleep(1)
    server.close()


async def test_something_else_behind_the_port_is_unreachable() -> None:
    async def ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(ssh, "127.0.0.1", 0)
    link = OpcUaLink(f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", deadline=3.0)
    with pytest.raises(Unreachable):
        await link.open()
    await asyncio.sleep(1)  # the other side sees that it was left
    server.close()


async def _pair(folder: Path, name: str, uri: str) -> tuple[Path, Path]:
    key, certificate = folder / f"{name}.pem", folder / f"{name}.der"
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    await cert_gen.setup_self_signed_certificate(key, certificate, uri, "localhost", uses, {})
    return certificate, key


async def test_an_encrypted_channel_by_certificates(tmp_path: Path) -> None:
    theirs, their_key = await _pair(tmp_path, "server", "urn:freeopcua:python:server")
    ours, our_key = await _pair(tmp_path, "labd", "urn:lab:labd")
    options = {"certificate": theirs, "private_key": their_key, "users": {"labd": "geheim"}}
    for sign_only in (False, True):
        access = Access("labd", "geheim", "basic256sha256", sign_only, ours, our_key, None if sign_only else theirs)
        async with opened(access, **options) as (link, _):
            assert (await link.read(["Box/Level"]))[0].value == 1.5
            await asyncio.sleep(3000)  # beyond three quarters of the channel's life
            assert (await link.read(["Box/Level"]))[0].value == 1.5
    with pytest.raises(Unreachable, match="certificate"):
        async with opened(
            Access(policy="basic256sha256", certificate=ours, private_key=our_key, server_certificate=ours), **options
        ):
            pass
