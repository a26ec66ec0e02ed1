"""Serial ports: whether they are there, may be opened, stay the same when cables are replugged, and are free."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path

from labd.doctor.finding import Finding, ok, problem, warning
from labd.doctor.machine import user_name
from labd.io.portlock import FOLDER, program
from labd.io.serial import holder, is_pty, ports_now

BY_ID = Path("/dev/serial/by-id")
NEXT_LOGIN = "then log in again"
PROBERS = {"ModemManager": "sudo systemctl mask --now ModemManager", "brltty": "sudo apt remove brltty"}
"""Programs that open every new serial port and talk to it, and what ends that."""


def port_of(settings: dict[str, object]) -> Path | None:
    """The serial port that a device's settings name, or None."""
    said = settings.get("port") or settings.get("address")
    if not isinstance(said, str):
        return None
    scheme, _, rest = said.rpartition("://")
    place = rest.partition("?")[0]
    return Path(place) if place.startswith("/") and scheme in ("", "serial", "modbus+rtu") else None


def examine_port(device: str, port: Path, allowed: Collection[int] = (), user: str | None = None) -> list[Finding]:
    """One port.

    Args:
        device: whose it is.
        port: its path.
        allowed: processes that may have it: the lab's own daemon.
        user: who is to open it, where that is not who asks: the service's user.
    """
    if not port.exists():
        mend = f"plug the instrument in and switch it on; `labd scan` lists the ports. {ports_now()}"
        return [problem(device, f"{port} is not there", mend)]
    if not stat.S_ISCHR(port.stat().st_mode):
        return [problem(device, f"{port} is no port", "`labd scan` lists the ports")]
    found = _rights(device, port, user)
    found += _name(device, port)
    found += _taken(device, port, allowed)
    return found or [ok(device, f"{port} is there, may be opened, and is free")]


def _rights(device: str, port: Path, user: str | None) -> list[Finding]:
    group = _group(port)
    if user is None:
        if os.access(port, os.R_OK | os.W_OK):
            return []
        who = user_name()
    else:
        who = user
        if may_open(user, port):
            return []
    if group in ("root", ""):
        mend = f'a udev rule gives it a group: echo \'KERNEL=="{port.resolve().name}", GROUP="dialout", MODE="0660"\' '
        mend += "| sudo tee /etc/udev/rules.d/60-labd.rules && sudo udevadm control --reload && sudo udevadm trigger"
    else:
        mend = f"sudo usermod -aG {group} {who}, {NEXT_LOGIN}"
    return [problem(device, f"{who} may not open {port}, which belongs to the group {group or 'of nobody'}", mend)]


def may_open(user: str, port: Path) -> bool:
    """Whether a user of this machine may read and write a port, by its owner and group."""
    found = port.stat()
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return False
    if entry.pw_uid == 0:
        return True
    groups = {one.gr_gid for one in grp.getgrall() if user in one.gr_mem} | {entry.pw_gid}
    if found.st_uid == entry.pw_uid:
        return found.st_mode & 0o600 == 0o600
    if found.st_gid in groups:
        return found.st_mode & 0o060 == 0o060
    return found.st_mode & 0o006 == 0o006


def _group(port: Path) -> str:
    try:
        return grp.getgrgid(port.stat().st_gid).gr_name
    except KeyError:
        return ""


def _name(device: str, port: Path) -> list[Finding]:
    """A name that another instrument may have after the next start."""
    if is_pty(str(port)) or port.parent == BY_ID or not port.resolve().name.startswith(("ttyUSB", "ttyACM")):
        return []
    same = by_id(port)
    if same is not None:
        text = f"{port} may be another instrument after cables are replugged"
        return [warning(device, text, f"write {same} in lab.yaml")]
    return []


def by_id(port: Path) -> Path | None:
    """The name of a port that stays the same, or None."""
    links = sorted(BY_ID.glob("*")) if BY_ID.is_dir() else []
    return next((link for link in links if link.resolve() == port.resolve()), None)


def _taken(device: str, port: Path, allowed: Collection[int]) -> list[Finding]:
    lock = FOLDER / f"LCK..{port.resolve().name}"
    pid = _locker(lock)
    if pid is not None and pid not in allowed:
        return [problem(device, f"{program(pid)} has locked {port} by {lock}", "close it there")]
    who = holder(str(port))
    if who is not None and not any(f"(pid {one})" in who for one in (*allowed, os.getpid())):
        return [problem(device, f"{port} is in use by {who}", "close it there")]
    return []


def _locker(lock: Path) -> int | None:
    try:
        digits = lock.read_bytes().strip()
    except OSError:
        return None
    pid = int(digits) if digits.isdigit() else 0
    return pid if pid > 0 and Path(f"/proc/{pid}").exists() else None


def examine_probers() -> list[Finding]:
    """Programs that talk to serial ports unasked; an instrument may take that for an order."""
    running = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            running.add(path.read_text().strip())
        except OSError:
            continue  # it has ended meanwhile
    found = [name for name in PROBERS if name in running]
    return [
        warning("ports", f"{name} runs, and talks to every serial port that appears", PROBERS[name]) for name in found
    ]
