"""Three young deaths by SIGKILL: the next start makes outputs safe, resumes nothing, and says why. Real processes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from labd.run.engine import NOT_YET
from tests import typed
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PROTOCOL = """\
labd: 1
protocol: hold_it_down
version: 1.0.0
summary: Drive the ram down, and wait.
roles: {press: crimper}
start: down
states:
  down:
    summary: Drive it down.
    steps:
      - {do: press.close}
      - {wait: 10 h}
    next: done
  done: {end: complete}
"""


class Site:
    """A press whose PLC outlives the daemon, as it does in a lab."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lab = directory / "lab.yaml"
        address = f"modbus://127.0.0.1:{free_port()}"
        device = {"driver": "plc_crimper", "settings": {"address": address}, "poll": {"idle": "1 s", "busy": "1 s"}}
        lab = {"labd": 1, "lab": "bench", "store": "store", "clock": "real"}
        self.lab.write_text(json.dumps({**lab, "devices": {"press": {**device, "simulator": {}}}}))
        (directory / "down.yaml").write_text(PROTOCOL)
        self.processes: list[subprocess.Popen[bytes]] = []

    def spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{program}.log").open("ab") as log:
            command = [str(Path(sys.executable).parent / program), *arguments]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        daemon = self.spawn("labd", "serve", "--lab", str(self.lab), "--without-simulators", "--log", "json")
        self.until("the daemon", lambda: (told := self.status()) and told["daemon"]["pid"] == daemon.pid)
        return daemon

    def labd(self, *arguments: str) -> Result:
        """In this process: a young death is one within a minute of the machine, and new processes take their time."""
        return typed.labd(*arguments, "--lab", self.lab, "--json")

    def told(self, *arguments: str) -> Any:
        answer = self.labd(*arguments)
        assert answer.exit_code == 0, answer.stderr + self.logs()
        return json.loads(answer.stdout)

    def status(self) -> Any:
        answer = self.labd("status")
        return json.loads(answer.stdout) if answer.exit_code == 0 else None

    def until(self, what: str, holds: Callable[[], Any], limit: float = 90.0) -> Any:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if found := holds():
                return found
            time.sleep(0.2)  # other processes: there is nothing to wait on but what they tell
        pytest.fail(f"{what} did not come\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.directory.glob("*.log"))

    def ram(self) -> float:
        """Where the press says that its ram is, mm; nan while a new daemon has not heard it yet."""
        signals = self.told("devices", "press")["signals"]
        return float(signals["ram"]["v"]) if "ram" in signals else math.nan


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    for process in reversed(site.processes):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def test_after_three_young_deaths_by_sigkill_outputs_are_safe_and_nothing_is_resumed(site: Site) -> None:
    site.spawn("labd-sim", str(site.lab))
    daemon = site.serve()
    site.until("the press", lambda: site.told("devices")[0]["health"] == "ok")
    site.until("the ram's place", lambda: not math.isnan(site.ram()))
    up = site.ram()
    run = site.told("run", str(site.directory / "down.yaml"))["run"]
    site.until("the ram", lambda: abs(site.ram() - up) > 1)
    for _ in range(2):
        daemon.kill()
        daemon.wait()
        daemon = site.serve()
        site.until("the run again", lambda: site.told("show", run)["run"]["state"] == "Execute")
    assert site.status()["daemon"]["safe_mode"] is None
    site.until("the ram, still down", lambda: abs(site.ram() - up) > 1)
    daemon.kill()
    daemon.wait()
    site.serve()
    info = site.status()["daemon"]
    assert info["state"] == "safe mode"
    assert "labd died 3 times in a row" in info["safe_mode"]
    site.until("a safe press", lambda: abs(site.ram() - up) < 0.1)
    state = site.told("show", run)["run"]
    assert (state["ended"], state["cause"]) == (None, NOT_YET)
    assert site.labd("run", str(site.directory / "down.yaml")).exit_code == 1  # nothing new either
    site.told("resume")
    site.until("the run again", lambda: site.told("show", run)["run"]["cause"] != NOT_YET)
    assert site.status()["daemon"]["safe_mode"] is None
