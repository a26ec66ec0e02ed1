"""Simulated devices whose simulators run in another process (`labd-sim`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from labd.lab.models import LabConfig

_PORT = re.compile(r"(?P<scheme>serial://|modbus\+rtu://|)(?P<path>[^/:?][^:?]*)(?P<rest>\?.*|)")
"""A serial port by a relative path; with a `/` in it, since without one it may be the name of a host."""


def ports_beside(config: LabConfig) -> dict[str, dict[str, str]]:
    """The settings of devices whose serial port lab.yaml names by a relative path: where `labd-sim` puts its link.

    Args:
        config: lab.yaml, of which both processes are.
    """
    folder = config.directory / "simulators"
    found = {
        name: _ports(device.settings, folder) for name, device in config.devices.items() if device.simulator is not None
    }
    return {name: ports for name, ports in found.items() if ports}


def _ports(settings: Mapping[str, object], folder: Path) -> dict[str, str]:
    ports = {}
    for key in ("address", "port"):
        port = _PORT.fullmatch(str(settings.get(key) or ""))
        if port is not None and "/" in port["path"]:
            ports[key] = f"{port['scheme']}{folder / port['path']}{port['rest']}"
    return ports
