"""What a dry run is made of: one lab of simulators, whatever the lab of lab.yaml is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.lab.models import LabConfig

IDLE = 1800.0  # s between two polls of a device that nobody uses or watches, when nothing can happen to it

_SECRETS = frozenset({"password_file", "security", "certificate", "private_key", "server_certificate"})
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.]*://)?[^/:?]*(:\d+)?(?P<rest>[/?].*)?")


class DryRunError(Exception):
    """A dry run that cannot be made; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class Dry:
    """One dry run, as it goes to the process that makes it.

    Args:
        lab: lab.yaml.
        source, name, called: the protocol, and those that it calls.
        parameters: values by name, as typed.
        position: where the sample is at the start; None leaves it to the engine.
        roles: how many units of each kind of device the protocol needs.
        able: by kind, devices that can do what it asks of them, where not all can.
        seed: of this run's simulators and of its operator.
        faults: what goes wrong with its devices (`simulators.faults.model.Faults`).
    """

    lab: Path
    source: str
    name: str
    called: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    position: str | None = None
    roles: Mapping[str, int] = field(default_factory=dict)
    seed: int = 1
    able: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    faults: Any = None


def needed(config: LabConfig, roles_of: Mapping[str, str], dry: Dry) -> frozenset[str]:
    """The devices that one run can meet: of each role the preferred ones, and those whose places it names.

    The others would only cost time: a run alone in its lab always gets the first that serves.
    """
    named = " ".join((dry.source, *dry.called.values(), *map(str, dry.parameters.values()), dry.position or ""))
    found = {name for name in config.devices if f"{name}/" in named}
    for role, count in dry.roles.items():
        serving = (
            dry.able.get(role) or config.roles.get(role) or [name for name, its in roles_of.items() if its == role]
        )
        found |= set(serving[:count])
    return frozenset(found)


def dry_lab(config: LabConfig, directory: Path, seed: int, keep: frozenset[str], *, calm: bool = True) -> LabConfig:
    """The same lab with every device simulated, on virtual time, in a folder of its own, with nobody looking on.

    Args:
        config: the lab.
        directory: the folder.
        seed: of all that is random in it.
        keep: the devices that are needed.
        calm: whether idle devices may be polled seldom. Where faults happen a lost poll is to be made good as fast as
            in the lab itself.
    """
    devices = {
        name: device.model_copy(
            update={
                "simulator": device.simulator if device.simulator is not None else {},
                "settings": _on_this_machine(name, device.settings, directory),
                "poll": device.poll.model_copy(
                    update={"idle": max(device.poll.idle, IDLE) if calm else device.poll.idle}
                ),
            }
        )
        for name, device in config.devices.items()
        if name in keep
    }
    return config.model_copy(
        update={
            "store": directory,
            "clock": "virtual",
            "seed": seed,
            "mqtt": None,
            "api": type(config.api)(),
            "devices": devices,
            "roles": {role: [name for name in names if name in keep] for role, names in config.roles.items()},
        }
    )


def _on_this_machine(name: str, settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Settings whose addresses and ports lead to a simulator: no dry run ever speaks to a real device."""
    # a simulator has the factory's password and no secrets; the files of the real one's may not be here
    found = {key: value for key, value in settings.items() if key not in _SECRETS}
    if isinstance(found.get("port"), str):
        found["port"] = str(directory / "ports" / name)
    if isinstance(found.get("directory"), str):  # where files are handed over
        found["directory"] = str(directory / "files" / name)
    address = found.get("address")
    if isinstance(address, str) and "::" in address:  # a VISA resource
        found["address"] = "tcp://127.0.0.1:0"
        return found
    if isinstance(address, str):
        if address.startswith(("/", "serial://")) or ("://" not in address and not re.search(r"[.:]", address)):
            found["address"] = str(directory / "ports" / name)
        else:
            parts = _URL.fullmatch(address)
            scheme = parts["scheme"] or "" if parts else ""
            rest = parts["rest"] or "" if parts else ""
            found["address"] = f"{scheme}127.0.0.1:0{rest}"
    return found
