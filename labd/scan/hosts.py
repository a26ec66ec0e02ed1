"""Devices on hosts: only the ports that drivers know are tried, few at a time, each once and with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from labd.scan.found import Candidate, Found
from labd.scan.generic import GENERIC, describe
from labd.scan.kinds import Kinds

MOST = 256  # hosts of one scan
AT_ONCE = 16  # connections
REACH_LIMIT = 1.5  # s for a connection


class ScanError(ValueError):
    """What is to be scanned cannot be; the text says why."""


def hosts_of(words: Iterable[str]) -> list[str]:
    """Hosts by name, address, or network (`192.168.0.0/28`), each once.

    Raises:
        ScanError: no such network or host, or more hosts than one scan takes.
    """
    found: dict[str, None] = {}
    for word in words:
        if "/" in word:
            try:
                network = ipaddress.ip_network(word, strict=False)
            except ValueError as error:
                raise ScanError(f"{word!r} is no network: {error}; write one like 192.168.0.0/28") from error
            if network.num_addresses > MOST:
                raise ScanError(f"{word} has {network.num_addresses} addresses; one scan takes {MOST} hosts")
            found |= dict.fromkeys(str(host) for host in network.hosts())
        else:
            host = word[1:-1] if word.startswith("[") and word.endswith("]") else word
            _look_up(host)
            found[host] = None
    if len(found) > MOST:
        raise ScanError(f"these are {len(found)} hosts; one scan takes {MOST}")
    return list(found)


def _look_up(host: str) -> None:
    """Raises ScanError where there is no such host."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and ":" not in name:
        raise ScanError(f"{host!r}: a host stands without its port; write `{name} --port {port}`")
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise ScanError(f"{host!r} is no known host: {error}; write its address, such as 192.168.0.10") from error


async def scan_hosts(kinds: Kinds, hosts: Sequence[str], ports: Sequence[int] = ()) -> list[Found]:
    """What answers at hosts, in their order.

    Args:
        kinds: the drivers; their ports are tried, and those of Modbus, OPC UA and HTTP.
        hosts: as `hosts_of` gives them.
        ports: further ones.
    """
    room = asyncio.Semaphore(AT_ONCE)
    wanted = sorted({*kinds.ports, *GENERIC, *ports})

    async def one(host: str) -> list[Found]:
        found = []
        for port in wanted:  # one after another: no host is knocked at everywhere at once
            async with room:
                if await _listens(host, port):
                    found.append(await _identified(kinds, host, port))
        return found

    return [found for several in await asyncio.gather(*map(one, hosts)) for found in several]


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(REACH_LIMIT):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _identified(kinds: Kinds, host: str, port: int) -> Found:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    found = await _asked(kinds, where, kinds.at(host, port))
    if found.about is not None:
        return found
    scheme, words = await describe(host, port)
    if not found.candidates and scheme:  # a device at another port than the usual one of its kind
        found = await _asked(kinds, where, kinds.speaking(scheme, host, port))
    return found if found.about is not None else replace(found, what=words)


async def _asked(kinds: Kinds, where: str, addresses: Mapping[str, str]) -> Found:
    """The first driver that knows the device as its own; or all that it may be for."""
    candidates = tuple(Candidate(name, address) for name, address in addresses.items())
    for one in candidates:
        about = await kinds.ask(one.driver, one.address)
        if about is not None:
            return Found(where, f"{about.model or one.driver}", (one,), about)
    return Found(where, "", candidates)
