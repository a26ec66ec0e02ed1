"""`labd-sim`: the simulators of a lab as a process of their own, for a daemon or for anybody's tools to be tried on."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labd import clock
from simulators._kit.host import HostError, SimulatorHost, kinds_of, read_yaml
from simulators._kit.simulator import Simulator
from simulators.faults.control import SOCKET, Control
from simulators.faults.model import Faults
from simulators.faults.reading import BadFaultsError, read_faults

BY_HAND = {
    "modbus": "mbpoll -m tcp -a 1 -t 4 -0 -r 0 -c 4 -1 -p {port} {host}",
    "http": "curl -s http://{host}:{port}/health",
    "tcp": "nc {host} {port}",
    "serial": "python -m serial.tools.miniterm {path}",
    "opc.tcp": "uals -u opc.tcp://{host}:{port}{path}",
}
"""By the kind of address; a simulator may know a better one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """`labd-sim LAB.yaml [--only dev,…] [--faults FILE] [--control HOST:PORT]` until SIGTERM, or a client's command."""
    from simulators.faults import client

    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in client.COMMANDS:
        sys.exit(client.main(given))
    parser = argparse.ArgumentParser(
        prog="labd-sim",
        description="Runs a lab's simulators, on its own clock, for a daemon in another process or any other client.",
        epilog="While it runs: "
        + "; ".join(f"`labd-sim {name}`: {about}" for name, about in client.COMMANDS.items())
        + ". `labd-sim fault --help` tells more.",
    )
    parser.add_argument("lab", type=Path, metavar="LAB.yaml")
    parser.add_argument("--only", metavar="DEVICE,…", help="only these devices")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="what goes wrong, and when")
    parser.add_argument(
        "--control", metavar="HOST:PORT", help="switch faults over REST there too, beside the Unix socket"
    )
    options = parser.parse_args(given)
    only = None if options.only is None else [name for name in options.only.split(",") if name]
    try:
        _run(options.lab, only, options.faults, _listen(options.control))
    except (HostError, BadFaultsError) as error:
        sys.stderr.write(f"labd-sim: {error}\n")
        sys.exit(2)


def _listen(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise HostError(f"--control {text}: is no address; write `--control 127.0.0.1:8041`")
    return host, int(port)


def _run(path: Path, only: Collection[str] | None, faults: Path | None, listen: tuple[str, int] | None) -> None:
    lab = read_yaml(path)
    base = path.resolve().parent
    for key in ("store", "devices"):
        if not lab.get(key):
            raise HostError(f"{path}: `{key}` is missing")
    store = (base / str(lab["store"])).resolve()
    kind = lab.get("clock", "real")
    if kind == "virtual":
        raise HostError(
            f"{path}: clock: virtual time cannot be shared between processes; let the daemon start the simulators, "
            "or write `clock: {scaled: 60}`"
        )
    try:
        timeline = clock.timeline_of(kind, store)
    except (ValueError, TypeError) as error:
        raise HostError(f"{path}: {error}") from error
    except OSError as error:
        raise HostError(f"{store}: cannot be written: {error.strerror}") from error
    directory = store / "simulators"
    host = SimulatorHost(lab, base, directory, only, _faults(lab, faults))
    clock.run(_serve(host, lab, Control(host, directory / SOCKET), listen), timeline)


def _faults(lab: Mapping[str, Any], path: Path | None) -> Faults | None:
    if path is None:
        return None
    simulated = {name: one for name, one in lab["devices"].items() if one.get("simulator") is not None}
    return read_faults(path, kinds_of({name: str(one.get("driver")) for name, one in simulated.items()}))


async def _serve(host: SimulatorHost, lab: Mapping[str, Any], control: Control, listen: tuple[str, int] | None) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    overrides = await host.start()
    try:
        try:
            port = await control.start(listen)
        except OSError as error:
            raise HostError(f"the control cannot listen: {error.strerror or error}") from error
        for line in table(host.simulators, overrides, lab, host.directory):
            sys.stdout.write(f"{line}\n")
        if port is not None and listen is not None:
            sys.stdout.write(f"control: curl -s http://{listen[0]}:{port}/v1/devices\n")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await ended.wait()
    finally:
        await control.stop()
        await host.stop()


def table(
    simulators: Mapping[str, Simulator],
    overrides: Mapping[str, Mapping[str, Any]],
    lab: Mapping[str, Any],
    directory: Path,
) -> list[str]:
    """What listens where, and a line with which a person reaches it."""
    rows = []
    for name, settings in overrides.items():
        address = str(settings.get("address") or settings.get("port") or "")
        simulator = simulators[name]
        rows.append((f"{name}:", type(simulator).__name__, "at", address, by_hand(simulator, address)))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    for name, settings in overrides.items():
        said = (lab["devices"][name].get("settings")) or {}
        lines += [
            f"{name}: lab.yaml says {key} {said.get(key)!r}: a daemon needs {value!r} there"
            for key, value in settings.items()
            if said.get(key) != value and not _as_said(said.get(key), value, directory)
        ]
    return [line.rstrip() for line in lines]


def _as_said(said: object, value: object, directory: Path) -> bool:
    """Whether a daemon of the same lab.yaml finds a port by its relative path (`labd serve --without-simulators`)."""
    return (
        isinstance(said, str) and "/" in said and str(value) == said.replace(path := _path(said), str(directory / path))
    )


def _path(address: str) -> str:
    return address.rpartition("://")[2].partition("?")[0]


def by_hand(simulator: Simulator, address: str) -> str:
    """A line that reaches it; empty when nobody knows one."""
    visa = re.fullmatch(r"TCPIP\d*::(?P<host>[^:]+)::(?P<port>\d+)::SOCKET", address, re.IGNORECASE)
    if visa:
        address = f"tcp://{visa['host']}:{visa['port']}"
    scheme, _, rest = address.rpartition("://")
    if scheme == "serial" or (not scheme and rest.startswith("/")):
        kind, values = "serial", {"path": rest.partition("?")[0], "host": "", "port": ""}
    else:
        kind, parts = scheme or "tcp", urlsplit(f"//{rest}")
        values = {"path": parts.path, "host": parts.hostname or "", "port": str(parts.port or "")}
    line = simulator.BY_HAND.get(kind) or BY_HAND.get(kind, "")
    return line.format(**values)
