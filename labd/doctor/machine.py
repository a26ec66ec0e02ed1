"""The machine: its clock, what a process may open, and the systemd unit."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labd.doctor.finding import Finding, ok, problem, warning
from labd.run.performer import LEAVE_LIMIT

# adjtimex(2)
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
OFF = 1.0  # s; a clock that may be further off is told: events of devices and daemon would change their order

FILES_FOR_A_DEVICE = 8  # open files; links, their locks, a spare
FILES = 256  # open files of a daemon without devices

STOP_LIMIT = LEAVE_LIMIT + 30.0  # s; what acts comes to its end, then devices are made safe and links closed
ASK_LIMIT = 10.0  # s; for systemctl


class _Timex(ctypes.Structure):
    """struct timex as adjtimex(2) has it; the rest of it is room that the kernel may write into."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True, slots=True)
class Discipline:
    """How the kernel says that its clock is kept: whether by NTP or the like, and how far off it may be, s."""

    synchronised: bool
    error: float


def discipline() -> Discipline | None:
    """Asks the kernel, without changing anything; None where it does not tell."""
    timex = _Timex()
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return Discipline(state != _TIME_ERROR and not timex.status & _STA_UNSYNC, timex.maxerror / 1e6)


def examine_clock(found: Discipline | None) -> list[Finding]:
    """Whether the machine's clock is kept right."""
    mend = "sudo timedatectl set-ntp true; where that fails: sudo apt install chrony. `timedatectl` then says so"
    if found is None:
        return [warning("clock", "the kernel does not tell whether its clock is kept by NTP", "timedatectl status")]
    if not found.synchronised:
        return [warning("clock", "the machine's clock is not synchronised: times in the journal may be wrong", mend)]
    if found.error > OFF:
        return [warning("clock", f"the machine's clock may be off by {found.error:.1f} s", "chronyc tracking")]
    return [ok("clock", f"synchronised, off by {found.error * 1e3:.0f} ms at most")]


def examine_limits(devices: int, files: int | None = None) -> list[Finding]:
    """Whether the daemon may open as many files as its devices take."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if files is None else files
    needed = FILES + FILES_FOR_A_DEVICE * devices
    if 0 <= limit < needed:
        mend = (
            f"ulimit -n {needed}; for the service: sudo systemctl edit labd, and write [Service] LimitNOFILE={needed}"
        )
        return [warning("limits", f"a process may open {limit} files, and this lab may need {needed}", mend)]
    return [ok("limits", f"a process may open {limit} files")]


# ── systemd ──────────────────────────────────────────────────────────────────────────────────────────────────────
_SHOWN = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "UnitFileState",
    "TimeoutStopUSec",
    "WatchdogUSec",
    "NeedDaemonReload",
    "User",
    "SupplementaryGroups",
)
_SPANS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def service(unit: str = "labd.service") -> dict[str, str] | None:
    """What systemd says of the unit; None without systemd."""
    program = shutil.which("systemctl")
    if program is None or not Path("/run/systemd/system").exists():
        return None
    command = [program, "show", unit, f"--property={','.join(_SHOWN)}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_LIMIT)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    pairs = (line.partition("=") for line in said.stdout.splitlines())
    return {name: value for name, sign, value in pairs if sign} or None


def examine_service(said: Mapping[str, str] | None) -> list[Finding]:
    """The unit's state and its time limits."""
    if said is None:
        return [ok("service", "systemd does not run here")]
    if said.get("LoadState") != "loaded":
        return [ok("service", "there is no unit labd.service; deploy/systemd/labd.service is one")]
    found: list[Finding] = []
    state = said.get("ActiveState", "")
    if state == "failed":
        found.append(problem("service", f"labd.service has failed ({said.get('Result')})", "journalctl -u labd -n 100"))
    elif state == "active":
        found.append(ok("service", "labd.service is active"))
    else:
        found.append(warning("service", f"labd.service is {state or 'unknown'}", "sudo systemctl start labd"))
    if said.get("UnitFileState") == "disabled":
        mend = "sudo systemctl enable labd"
        found.append(warning("service", "labd.service is not started when the machine starts", mend))
    restarts = said.get("NRestarts", "0")
    if restarts not in ("", "0"):
        found.append(
            warning("service", f"systemd has restarted it {restarts} times", "journalctl -u labd | grep error")
        )
    if said.get("NeedDaemonReload") == "yes":
        found.append(warning("service", "its unit file was changed since", "sudo systemctl daemon-reload"))
    return found + _limits_of(said)


def _limits_of(said: Mapping[str, str]) -> list[Finding]:
    found: list[Finding] = []
    stop = seconds(said.get("TimeoutStopUSec", ""))
    if stop is not None and stop < STOP_LIMIT:
        mend = "sudo systemctl edit labd, and write [Service] TimeoutStopSec=180"
        text = f"systemd kills it {stop:g} s after a stop, and an action may take {LEAVE_LIMIT:g} s to its end"
        found.append(problem("service", text, mend))
    watchdog = seconds(said.get("WatchdogUSec", ""))
    if watchdog == 0:
        mend = "sudo systemctl edit labd, and write [Service] WatchdogSec=30"
        found.append(warning("service", "no watchdog: a daemon that hangs stays so", mend))
    return found


def seconds(text: str) -> float | None:
    """Systemd's `1min 30s` in s; None for `infinity` and what is no time."""
    total = 0.0
    for word in text.split():
        number = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        span = _SPANS.get(word[len(number) :])
        try:
            total += float(number) * (span if span is not None else float("nan"))
        except ValueError:
            return None
    return total if text and total == total else None  # noqa: PLR0124 - not a number


def user_name() -> str:
    """Who runs this."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
