"""Daemon, simulators and broker as three processes on one scaled clock; a simulator is killed and comes back."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
PROTOCOL = """\
labd: 1
protocol: rest_a_cell
version: 1.0.0
summary: Carry a cell to a channel and watch its voltage.
roles: {arm: arm, stat: potentiostat}
start: carry
states:
  carry:
    summary: Carry it to a channel.
    steps:
      - {do: arm.home}
      - {do: arm.pick, with: {place: =sample.position}, as: picked}
      - {do: arm.place, with: {place: =stat.place}}
    next: rest
  rest:
    summary: Watch its voltage.
    do: stat.open_circuit
    with: {duration: 10 min, interval: 10 s}
    as: ocv
    next: done
  done: {end: complete}
"""


def free_port(*, pair: bool = False) -> int:
    """A port that nobody has; with `pair` the next one is free too.

    Below the range from which the kernel gives ports away by itself, so that no other test's connection takes it.
    """
    for port in random.sample(range(20_000, 32_000, 2), 200):
        with socket.socket() as sock, socket.socket() as second:
            try:
                sock.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1 if pair else 0))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 32000")


class Bench:
    """A lab of an arm and a potentiostat, each part a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mqtt = free_port()
        self.processes: list[subprocess.Popen[str]] = []
        self.lab = directory / "lab.yaml"
        self.lab.write_text(
            f"""\
labd: 1
lab: bench
store: store
seed: 5
clock: {{scaled: 60}}
mqtt: {{broker: {{host: 127.0.0.1, port: {self.mqtt}}}}}
devices:
  arm:
    driver: meca500
    settings: {{address: "127.0.0.1:{free_port(pair=True)}"}}
    positions: arm.yaml
    poll: {{idle: 60 s, busy: 30 s}}
    simulator: {{}}
  stat1:
    driver: methodscript
    settings: {{port: {directory}/stat1, model: emstat4_hr}}
    poll: {{idle: 60 s, busy: 60 s}}
    simulator: {{}}
deck:
  - {{place: tray/cells, labware: cell_tray_8, fill: half_cell}}
"""
        )
        (directory / "arm.yaml").write_text(
            "home: {pose: [190, 0, 180, 180, 0, 180]}\n"
            "tray/cells/A1: {pose: [140, 0, 50, 180, 0, 180]}\n"
            "stat1/cell: {pose: [130, -100, 40, 180, 0, 180]}\n"
        )
        (directory / "rest.yaml").write_text(PROTOCOL)

    def spawn(self, name: str, *command: str | Path) -> subprocess.Popen[str]:
        log = (self.directory / f"{name}.log").open("a")
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, text=True)
        log.close()
        self.processes.append(process)
        return process

    def simulators(self) -> subprocess.Popen[str]:
        return self.spawn("labd-sim", BIN / "labd-sim", self.lab)

    def labd(self, *arguments: str, code: int = 0) -> Any:
        """Runs a command of the CLI; gives its JSON."""
        command = [str(BIN / "labd"), *arguments, "--lab", str(self.lab), "--json"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == code, result.stdout + result.stderr + self.logs()
        return json.loads(result.stdout if code == 0 else result.stderr)

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.directory.glob("*.log"))

    def until(self, what: str, holds: Any, limit: float = 60.0) -> Any:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            found = holds()
            if found:
                return found
            time.sleep(0.2)  # other processes, other clocks: there is nothing to wait on but what they tell
        pytest.fail(f"{what} did not come\n{self.logs()}")

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=30)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    lab = Bench(tmp_path)
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(f"listener {lab.mqtt} 127.0.0.1\nallow_anonymous true\n")
    lab.spawn("mosquitto", shutil.which("mosquitto") or "", "-c", configuration)
    yield lab
    lab.stop()


def shown(bench: Bench, run: str) -> dict[str, Any]:
    """Where a run is."""
    found: dict[str, Any] = bench.labd("show", run)["run"]
    return found


def test_a_killed_simulator_holds_the_run_and_the_run_goes_on_after_its_return(bench: Bench) -> None:
    simulators = bench.simulators()
    daemon = bench.spawn("labd", BIN / "labd", "serve", "--lab", bench.lab, "--without-simulators", "--log", "json")
    bench.until("the socket", (bench.directory / "store/labd.sock").exists)
    bench.until("both devices", lambda: all(d["health"] == "ok" for d in bench.labd("devices")))
    run = bench.labd("run", str(bench.directory / "rest.yaml"), "--position", "tray/cells/A1")["run"]

    def resting() -> bool:
        return bool(shown(bench, run)["protocol_state"] == "rest")

    bench.until("the rest", resting)
    time.sleep(1)  # a minute of the lab: the measurement is under way
    simulators.kill()
    simulators.wait()

    state = bench.until("the question", lambda: (s := shown(bench, run))["question"] and s)
    bench.until("Held", lambda: shown(bench, run)["state"] == "Held")
    assert "stat1" in state["question"]["text"]
    assert state["question"]["choices"] == ["done", "not done", "scrap"]
    assert "answer first" in str(bench.labd("unhold", run, code=1))

    bench.simulators()
    bench.until("both devices again", lambda: all(d["health"] == "ok" for d in bench.labd("devices")))
    bench.labd("answer", run, "not done")
    bench.labd("unhold", run)
    ended = bench.until("the end", lambda: (s := shown(bench, run))["outcome"] and s)
    assert ended["outcome"] == "complete"

    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=30) == 0
    assert not (bench.directory / "store/labd.sock").exists()


def test_after_a_kill_of_the_daemon_a_measurement_goes_on_and_its_arm_can_be_made_safe(bench: Bench) -> None:
    bench.simulators()
    daemon = bench.spawn("labd", BIN / "labd", "serve", "--lab", bench.lab, "--without-simulators", "--log", "json")
    bench.until("the socket", (bench.directory / "store/labd.sock").exists)
    bench.until("both devices", lambda: all(d["health"] == "ok" for d in bench.labd("devices")))
    run = bench.labd("run", str(bench.directory / "rest.yaml"), "--position", "tray/cells/A1")["run"]
    bench.until("the rest", lambda: shown(bench, run)["protocol_state"] == "rest")
    time.sleep(1)  # a minute of the lab: the measurement is under way
    assert str(daemon.pid) in str(bench.labd("safe-state", code=1))  # it lives, and has the devices
    daemon.kill()
    daemon.wait()
    began = time.monotonic()
    told = {one["device"]: one for one in bench.labd("safe-state")}
    assert time.monotonic() - began < 30  # 10 s by itself, on a machine that does other things too
    assert (told["arm"]["safe"], told["arm"]["text"]) == (None, "left alone, nothing was under way")
    assert told["stat1"]["text"] == f"left alone, open_circuit of {run} goes on by itself"
    everything = {one["device"]: one["safe"] for one in bench.labd("safe-state", "--all")}
    assert everything == {"arm": True, "stat1": None}


def test_mosquitto_sub_sees_the_lab(bench: Bench) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed: apt-get install mosquitto-clients")
    bench.simulators()
    bench.spawn("labd", BIN / "labd", "serve", "--lab", bench.lab, "--without-simulators", "--log", "json")
    bench.until("the socket", (bench.directory / "store/labd.sock").exists)
    bench.until("both devices", lambda: all(d["health"] == "ok" for d in bench.labd("devices")))
    command = ["mosquitto_sub", "-p", str(bench.mqtt), "-t", "labd/1/bench/#", "-v", "-W", "3"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ}).stdout
    topics = dict(line.split(" ", 1) for line in told.splitlines())
    assert json.loads(topics["labd/1/bench/status"])["state"] == "online"
    assert json.loads(topics["labd/1/bench/device/stat1/state"])["health"] == "ok"
    assert "open_circuit" in json.loads(topics["labd/1/bench/device/stat1/about"])["actions"]
