"""Serial ports of this machine, by the names that stay the same when cables are replugged."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from labd.doctor.ports import by_id
from labd.io.serial import holder
from labd.scan.found import Candidate, Found
from labd.scan.kinds import Kinds
from labd.sdk import About

_NO_PORT = "there is no such port"


@dataclass(frozen=True, slots=True)
class Port:
    """A port as the system tells of it; `usb` is `vid:pid:product`, or empty."""

    path: str
    usb: str
    words: str


def ports_now() -> list[Port]:
    """The ports that are there; those without anything behind them (`/dev/ttyS0` of most machines) are left out."""
    from serial.tools import list_ports

    found = []
    for one in sorted(list_ports.comports(), key=lambda port: port.device):
        if one.vid is None and one.hwid in (None, "n/a"):
            continue
        stays = by_id(Path(one.device))
        usb = f"{one.vid:04x}:{one.pid:04x}:{one.product or ''}" if one.vid is not None else ""
        words = [one.manufacturer, one.product, f"serial {one.serial_number}" if one.serial_number else None]
        told = " ".join(word for word in words if word) or one.description or "a serial port"
        found.append(Port(str(stays or one.device), usb, f"{told} ({usb[:9]})" if usb else told))
    return found


async def scan_ports(
    kinds: Kinds, ports: Iterable[Port], *, ask: Collection[str] = (), ask_all: bool = False
) -> list[Found]:
    """Looks at ports, one after another.

    A port is asked only by a driver whose USB interface it certainly is: to another device a question may mean
    anything.

    Args:
        kinds: the drivers.
        ports: those that are there.
        ask: paths of ports that every driver of serial devices may ask.
        ask_all: every port may be asked by every driver.
    """
    return [await _look(kinds, port, may_ask=ask_all or port.path in ask) for port in ports]


async def _look(kinds: Kinds, port: Port, *, may_ask: bool) -> Found:
    certain = kinds.certain(port.usb) if port.usb else ()
    addresses = kinds.serial(port.path)
    names = certain or tuple(addresses)
    candidates = tuple(Candidate(name, addresses.get(name, port.path)) for name in names)
    problem = await asyncio.to_thread(_problem, port.path)
    if problem == _NO_PORT:
        return Found(port.path, port.words, (), None, problem)
    about: About | None = None
    if problem is None and (certain or may_ask):
        for one in candidates:
            about = await kinds.ask(one.driver, one.address)
            if about is not None:
                return Found(port.path, port.words, (one,), about)
    return Found(port.path, port.words, candidates, None, problem)


def _problem(path: str) -> str | None:
    if not Path(path).exists():
        return _NO_PORT
    if not os.access(path, os.R_OK | os.W_OK):
        return "you may not open it; `labd doctor` tells the command that mends that"
    who = holder(path)
    return f"it is in use by {who}" if who is not None and f"pid {os.getpid()})" not in who else None
