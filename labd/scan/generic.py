"""What a server says of itself to anybody: Modbus device identification, OPC UA's hello and endpoints, HTTP's head.

Each asks and changes nothing: function 43/14 reads names, HEL opens no session, HEAD fetches nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

ASK_LIMIT = 3.0  # s
SIZE = 4096  # bytes of an answer that are read at most

MODBUS, OPC_UA = 502, 4840
HTTP = (80, 8080)
GENERIC = (MODBUS, OPC_UA, *HTTP)

_SAYS_NOTHING = (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, struct.error, IndexError)
_MBAP = struct.Struct(">HHHB")


async def describe(host: str, port: int) -> tuple[str, str]:
    """What is there: the scheme of its addresses (`modbus`, `opc.tcp`, `http`; empty: not known), and in words."""
    asked = {"http": http, "modbus": modbus, "opc.tcp": opc_ua}
    usual = {MODBUS: "modbus", OPC_UA: "opc.tcp", **dict.fromkeys(HTTP, "http")}
    for scheme in [usual[port]] if port in usual else asked:  # at another port any of them may be
        with contextlib.suppress(*_SAYS_NOTHING):
            async with asyncio.timeout(ASK_LIMIT):
                if told := await asked[scheme](host, port):
                    return scheme, told
    return "", "something listens, and does not say what it is"


async def _exchange(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        return await reader.read(SIZE)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def modbus(host: str, port: int = MODBUS) -> str:
    """Reads the basic names (vendor, product, version) that a Modbus server keeps of itself."""
    request = bytes([0x2B, 0x0E, 0x01, 0x00])
    raw = await _exchange(host, port, _MBAP.pack(1, 0, len(request) + 1, 1) + request)
    transaction, protocol, length, _ = _MBAP.unpack_from(raw)
    if (transaction, protocol) != (1, 0) or length < 2:
        return ""
    pdu = raw[_MBAP.size :]
    if pdu[0] == 0xAB:
        return "a Modbus server that does not say what it is"
    if pdu[0] != 0x2B:
        return ""
    names, at = [], 7
    while at + 2 <= len(pdu):
        size = pdu[at + 1]
        names.append(pdu[at + 2 : at + 2 + size].decode("ascii", "replace").strip())
        at += 2 + size
    return f"a Modbus server: {', '.join(name for name in names if name)}"


async def opc_ua(host: str, port: int = OPC_UA) -> str:
    """Says hello, which opens neither a channel nor a session; with asyncua, asks for the server's names, too."""
    url = f"opc.tcp://{host}:{port}".encode()
    body = struct.pack("<IIIIII", 0, 65536, 65536, 0, 0, len(url)) + url
    raw = await _exchange(host, port, b"HELF" + struct.pack("<I", 8 + len(body)) + body)
    if raw[:3] not in (b"ACK", b"ERR"):
        return ""
    names = await _opc_ua_names(url.decode())
    return f"an OPC UA server: {names}" if names else "an OPC UA server"


async def _opc_ua_names(url: str) -> str:
    try:
        from asyncua import Client  # type: ignore[attr-defined,import-not-found,unused-ignore]
    except ImportError:
        return ""
    try:
        endpoints = await Client(url, timeout=ASK_LIMIT).connect_and_get_server_endpoints()
    except Exception:  # noqa: BLE001 - whatever it does not like: the hello has said enough
        return ""
    server = endpoints[0].Server if endpoints else None
    if server is None:
        return ""
    return f"{server.ApplicationName.Text} ({server.ApplicationUri})"


async def http(host: str, port: int) -> str:
    """Asks for the head of the first page."""
    raw = await _exchange(host, port, f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head = raw.decode("latin-1")
    if not head.startswith("HTTP/"):
        return ""
    server = next((line[7:].strip() for line in head.splitlines() if line.lower().startswith("server:")), "")
    return f"an HTTP server: {server}" if server else "an HTTP server"
