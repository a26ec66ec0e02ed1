"""All that a doctor looks at, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.doctor.broker import examine_broker
from labd.doctor.devices import examine_all, examine_packages, examine_told
from labd.doctor.disk import examine_disk
from labd.doctor.finding import Finding, ok, problem, warning
from labd.doctor.machine import discipline, examine_clock, examine_limits, examine_service, service
from labd.doctor.ports import examine_port, examine_probers, port_of
from labd.files import Problem
from labd.journal import JournalError
from labd.lab.check import CheckedLab, check_lab
from labd.lab.equipment import Find
from labd.lab.lab import Lab
from labd.run.salvage import in_flight
from labd.sdk import Driver


@dataclass(frozen=True, slots=True)
class Answers:
    """What the lab's daemon says, where one runs: it has the devices, and nobody else may open them.

    Args:
        status: of /status.
        devices: of /devices/{id}, by id.
        offsets: s that devices' clocks are ahead, by id.
    """

    status: Mapping[str, Any]
    devices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    offsets: Mapping[str, float | None] = field(default_factory=dict)


async def examine(
    path: Path, answers: Answers | None, *, connect: bool = True, find: Find | None = None
) -> list[Finding]:
    """Looks at a lab and its machine.

    Args:
        path: lab.yaml.
        answers: what its daemon says; None: none runs.
        connect: whether devices are opened where no daemon has them.
        find: how a driver is found by its name.
    """
    checked = check_lab(path, find)
    found = _lab_yaml(path, checked)
    found += _daemon(answers)
    found += examine_clock(discipline())
    said = service()
    found += examine_service(said)
    lab = checked.lab
    if lab is None:
        return found
    config = lab.config
    found += examine_disk(config.directory, config.disk.hold_below)
    found += examine_limits(len(config.devices))
    found += await examine_broker(config.lab, config.telemetry, running=answers is not None)
    if answers is not None:
        found += _broker_of(answers)
    found += examine_probers() if any(port_of(one.settings) for one in config.devices.values()) else []
    found += _before_devices(lab, answers, _service_user(said))
    if answers is not None:
        drivers = {name: type(device.driver) for name, device in lab.devices.items()}
        found += _told_devices(answers, drivers)
    elif connect:
        broken = {finding.about for finding in found if finding.level == "problem"}
        acting = _acting(config.directory / "journal.sqlite")
        found += [ok(name, f"left alone: {what} when the daemon ended") for name, what in acting.items()]
        real = [one for one in lab.devices.values() if config.devices[one.id].simulator is None]
        found += await examine_all([device for device in real if device.id not in {*broken, *acting}])
    return found


def _lab_yaml(path: Path, checked: CheckedLab) -> list[Finding]:
    found = [_of_problem(one) for one in checked.problems]
    if checked.lab is not None:
        found.append(
            ok("lab", f"{path} holds: {len(checked.lab.devices)} device{'s' * (len(checked.lab.devices) != 1)}")
        )
    return found


def _of_problem(one: Problem) -> Finding:
    kind = warning if one.severity == "warning" else problem
    mend = one.mend
    if one.code == "L201" and "needs the package" in one.message:
        package = one.message.split("'")[3] if one.message.count("'") >= 4 else "its package"
        mend = f"pip install {package}"
    return kind("lab", f"{one.where}: {one.code} {one.message}" if one.where else f"{one.code} {one.message}", mend)


def _daemon(answers: Answers | None) -> list[Finding]:
    if answers is None:
        return [ok("daemon", "no daemon of this lab runs; its devices are asked directly")]
    told = answers.status["daemon"]
    found = [ok("daemon", f"runs (pid {told.get('pid')}, labd {told.get('version')}), and is asked for its devices")]
    if told.get("safe_mode"):
        found.append(problem("daemon", str(told["safe_mode"]), "mend the cause, then labd resume"))
    for alarm in answers.status.get("alarms", ()):
        kind = warning if alarm["severity"] == "warning" else problem
        found.append(kind("daemon", f"alarm {alarm['id']}: {alarm['text']}", "labd status"))
    return found


def _broker_of(answers: Answers) -> list[Finding]:
    told = answers.status["daemon"].get("mqtt")
    if told is None or told.get("connected"):
        return []
    return [problem("broker", f"the daemon is not connected: {told.get('problem')}", "what the message says")]


def _before_devices(lab: Lab, answers: Answers | None, user: str | None) -> list[Finding]:
    """Packages and ports: what must be so before a device can be asked at all."""
    found: list[Finding] = []
    pid = (answers.status["daemon"].get("pid"),) if answers is not None else ()
    for name, device in lab.devices.items():
        entry = lab.config.devices[name]
        found += examine_packages(name, type(device.driver))
        port = port_of(dict(entry.settings))
        if entry.simulator is not None:
            found += [] if answers is not None else [ok(name, "is simulated")]
        elif port is not None:
            found += examine_port(name, port, [one for one in pid if isinstance(one, int)])
            found += examine_port(name, port, user=user)[:1] if user is not None and port.exists() else []
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _acting(journal: Path) -> dict[str, str]:
    """What was under way when the daemon ended, by device: connecting to such a one is for the next daemon."""
    try:
        return {one.device: f"{one} was under way" for one in in_flight(journal)}
    except JournalError:
        return {}


def _service_user(said: Mapping[str, str] | None) -> str | None:
    """Whom systemd starts the daemon as, where it does."""
    return (said or {}).get("User") or None


def _told_devices(answers: Answers, drivers: Mapping[str, type[Driver]]) -> Sequence[Finding]:
    found: list[Finding] = []
    for name, told in answers.devices.items():
        found += examine_told(told, drivers.get(name), answers.offsets.get(name))
    return found
