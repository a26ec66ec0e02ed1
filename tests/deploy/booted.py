"""The systemd unit for real: a Debian that is booted in a container, with labd killed, and stopped in its tracks.

`make systemd-test`. Needs root, mmdebstrap and systemd-nspawn (apt-get install mmdebstrap systemd-container) and a
mirror of Debian; a machine that lacks one of them is told so by name, and nothing is tested. Takes some minutes the
first time; the system that it makes is kept in `build/booted` for the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NEEDED = ("mmdebstrap", "systemd-nspawn", "nsenter")
PACKAGES = "python3,systemd,systemd-sysv,dbus,procps"
LAB = {
    "labd": 1,
    "lab": "booted",
    "store": "/var/lib/labd",
    "clock": "real",
    "devices": {
        "press": {
            "driver": "plc_crimper",
            "settings": {"address": "modbus://127.0.0.1:15020"},
            "poll": {"idle": "1 s", "busy": "1 s"},
            "simulator": {},
        }
    },
}
PROTOCOL = """\
labd: 1
protocol: long_stroke
version: 1.0.0
summary: Press for a minute.
roles: {press: crimper}
start: press
states:
  press:
    summary: Press.
    do: press.crimp
    with: {force: 7.8 kN, dwell: 60 s}
    next: done
  done: {end: complete}
"""
SIMULATORS = """\
[Service]
ExecStart=/opt/labd/bin/labd-sim /etc/labd/lab.yaml
WorkingDirectory=/tmp
"""
WITHOUT_SIMULATORS = """\
[Service]
ExecStart=
ExecStart=/usr/bin/env labd serve --lab /etc/labd/lab.yaml --log json --without-simulators
"""
PROGRAM = """\
#!/usr/bin/python3
import sys
sys.path.insert(0, "/opt/labd/site")
from {module} import main
sys.exit(main())
"""


def main() -> int:
    """Gives the exit status: 0, also where a thing is missing; 1 where the unit does not do what it says."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(f"skipped: {', '.join(missing) or 'root'} is missing")  # noqa: T201
        return 0
    system = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "booted"
    if not (system / "usr/bin/python3").exists():
        command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(system)]
        subprocess.run(command, check=True)
    install(system)
    with booted(system) as inside:
        return test(inside)


def install(system: Path) -> None:
    """Puts labd, its unit and its lab into the system, as the head of the unit's file says."""
    site = system / "opt/labd/site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), "--upgrade"]
    if not site.exists():
        locked = ["--require-hashes", "--only-binary=:all:", "--python-version", "3.11"]
        subprocess.run([*pip, *locked, "-r", str(ROOT / "requirements/service.txt")], check=True)
    subprocess.run([*pip, "--no-build-isolation", str(ROOT)], check=True)
    for name, module in (("labd", "labd.cli"), ("labd-sim", "simulators._kit.host")):
        write(system / "opt/labd/bin" / name, PROGRAM.format(module=module), 0o755)
    for source, target in (
        ("labd.sysusers", "usr/lib/sysusers.d/labd.conf"),
        ("labd.service", "etc/systemd/system/labd.service"),
    ):
        write(system / target, (ROOT / "deploy/systemd" / source).read_text())
    units = system / "etc/systemd/system"
    write(units / "labd.service.d/test.conf", WITHOUT_SIMULATORS)
    write(units / "labd-sim.service", SIMULATORS)
    write(system / "etc/labd/lab.yaml", json.dumps(LAB))
    write(system / "etc/labd/stroke.yaml", PROTOCOL)
    for kept in ("var/lib/labd", "var/lib/private/labd", "var/log/journal"):  # of the last time
        shutil.rmtree(system / kept, ignore_errors=True)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


class Inside:
    """The booted system, by its first process."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def run(self, *command: str, check: bool = True) -> str:
        answer = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "--", *command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={"PATH": "/opt/labd/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
        if check and answer.returncode:
            raise RuntimeError(f"{' '.join(command)}: {answer.returncode}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def unit(self, key: str) -> str:
        return self.run("systemctl", "show", "labd", "--value", "-p", key).strip()

    def log(self) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", "labd", check=False)

    def labd(self, *arguments: str) -> Any:
        return json.loads(self.run("labd", *arguments, "--lab", "/etc/labd/lab.yaml", "--json"))

    def until(self, what: str, holds: Callable[[], Any], limit: float = 120.0) -> Any:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError, ValueError):
                if found := holds():
                    return found
            time.sleep(0.5)
        raise RuntimeError(f"{what} did not come within {limit:g} s\n{self.log()[-4000:]}")


@contextlib.contextmanager
def booted(system: Path) -> Iterator[Inside]:
    """Boots it for the time of a block."""
    options = ["--register=no", "--keep-unit", "--private-network", "--quiet", "--console=pipe"]
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    command = ["systemd-nspawn", *options, "-D", str(system), "-b"]
    with (
        (system.parent / "booted.log").open("w") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment) as container,
    ):
        try:
            yield Inside(leader_of(container))
        finally:
            container.send_signal(signal.SIGTERM)
            try:
                container.wait(60)
            except subprocess.TimeoutExpired:
                container.kill()


def leader_of(container: subprocess.Popen[bytes], limit: float = 30.0) -> int:
    """The container's first process, once it is systemd."""
    end = time.monotonic() + limit
    while time.monotonic() < end and container.poll() is None:
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        time.sleep(0.2)
    raise RuntimeError("the container does not boot; see booted.log beside its system")


def test(inside: Inside) -> int:
    """Kills labd, and stops it in its tracks; tells what systemd did."""
    inside.until("the system", lambda: inside.run("systemctl", "is-system-running", check=False).strip() in BOOTED)
    inside.run("systemctl", "start", "labd-sim")
    inside.run("systemctl", "start", "labd")
    tell("started", inside.unit("ActiveState") == "active", inside.unit("StatusText") or "READY=1 was waited for")
    inside.until("the press", lambda: inside.labd("devices")[0]["health"] == "ok")
    run = inside.labd("run", "/etc/labd/stroke.yaml")["run"]
    inside.until("the stroke", lambda: inside.labd("show", run)["run"]["protocol_state"] == "press")
    time.sleep(5)
    os_kill(inside, "KILL")
    inside.until("a restart", lambda: inside.unit("NRestarts") == "1" and inside.unit("ActiveState") == "active")
    log = inside.log()
    made_safe = [line for line in log.splitlines() if line.startswith("press: made safe, crimp of")]
    tell("kill.safe_state", bool(made_safe), made_safe[0] if made_safe else log[-2000:])
    tell("kill.restart", inside.labd("show", run)["run"]["ended"] is None, f"{run} goes on or asks")
    os_kill(inside, "STOP")
    began = time.monotonic()
    inside.until("the watchdog", lambda: "Watchdog timeout" in inside.log())
    tell("watchdog.kills", True, f"after {time.monotonic() - began:.0f} s")
    inside.until("a restart", lambda: inside.unit("NRestarts") == "2" and inside.unit("ActiveState") == "active")
    tell("watchdog.restart", True, "active again")
    inside.run("systemctl", "stop", "labd")
    tell("stop", inside.unit("Result") == "success", inside.unit("Result"))
    return 0 if all(PASSED) else 1


BOOTED = ("running", "degraded")
PASSED: list[bool] = []


def os_kill(inside: Inside, name: str) -> None:
    inside.run("kill", f"-{name}", inside.unit("MainPID"))


def tell(what: str, passed: bool, why: str) -> None:
    PASSED.append(passed)
    print(f"booted.{what} {'ok' if passed else 'FAILED'}: {why}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
