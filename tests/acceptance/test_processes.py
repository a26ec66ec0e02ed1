"""Daemon, simulators and broker as three processes on one scaled clock; a simulator is killed and comes back."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import typed
from tests.ports import free_port

BIN = Path(sys.executable).parent
LIMIT = 120.0  # s for what takes a few, on a machine that does other things too
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
        """Runs a command of the CLI; gives its JSON, or what it says when it is to be refused."""
        ended = typed.labd(*arguments, "--lab", self.lab, "--json")
        assert ended.exit_code == code, ended.output + self.logs()
        return json.loads(ended.stdout) if code == 0 else ended.stderr

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.directory.glob("*.log"))

    def serve(self) -> subprocess.Popen[str]:
        """Once it answers, and both devices do."""
        command = ("serve", "--lab", self.lab, "--without-simulators", "--log", "json")
        daemon = self.spawn("labd", BIN / "labd", *command)
        self.until("the daemon", lambda: typed.labd("status", "--lab", self.lab).exit_code == 0)
        self.until_both()
        return daemon

    def heard(self, topic: str) -> Any:
        """The next message that mosquitto_sub prints of a topic."""
        program = shutil.which("mosquitto_sub") or ""
        command = [program, "-p", str(self.mqtt), "-t", f"labd/1/bench/{topic}", "-C", "1", "-W", f"{LIMIT:g}"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def until_both(self) -> None:
        self.until("both devices", lambda: all(d["health"] == "ok" for d in self.labd("devices")))

    def until(self, what: str, holds: Any, limit: float = LIMIT) -> Any:
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
            process.wait(timeout=LIMIT)


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


def measures(bench: Bench, run: str) -> bool:
    """Whether the potentiostat has taken the run's measurement."""
    events = [(event["kind"], event["data"]) for event in bench.labd("show", run)["events"]]
    its = {data["action_id"] for kind, data in events if kind == "action.intended" and data["device"] == "stat1"}
    return any(kind == "action.accepted" and data["action_id"] in its for kind, data in events)


def test_a_killed_simulator_holds_the_run_and_the_run_goes_on_after_its_return(bench: Bench) -> None:
    simulators = bench.simulators()
    daemon = bench.serve()
    run = bench.labd("run", str(bench.directory / "rest.yaml"), "--position", "tray/cells/A1")["run"]
    bench.until("the measurement", lambda: measures(bench, run))
    simulators.kill()
    simulators.wait()

    state = bench.until("the question", lambda: (s := shown(bench, run))["question"] and s)
    bench.until("Held", lambda: shown(bench, run)["state"] == "Held")
    assert "stat1" in state["question"]["text"]
    assert state["question"]["choices"] == ["done", "not done", "scrap"]
    assert "answer first" in bench.labd("unhold", run, code=1)

    bench.simulators()
    bench.until_both()
    bench.labd("answer", run, "not done")
    bench.labd("unhold", run)
    ended = bench.until("the end", lambda: (s := shown(bench, run))["outcome"] and s)
    assert ended["outcome"] == "complete"

    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(timeout=LIMIT) == 0
    assert not (bench.directory / "store/labd.sock").exists()


def test_after_a_kill_of_the_daemon_a_measurement_goes_on_and_its_arm_can_be_made_safe(bench: Bench) -> None:
    bench.simulators()
    daemon = bench.serve()
    run = bench.labd("run", str(bench.directory / "rest.yaml"), "--position", "tray/cells/A1")["run"]
    bench.until("the measurement", lambda: measures(bench, run))
    assert str(daemon.pid) in bench.labd("safe-state", code=1)  # it lives, and has the devices
    daemon.kill()
    daemon.wait()
    told = {one["device"]: one for one in bench.labd("safe-state")}
    assert (told["arm"]["safe"], told["arm"]["text"]) == (None, "left alone, nothing was under way")
    assert told["stat1"]["text"] == f"left alone, open_circuit of {run} goes on by itself"
    everything = {one["device"]: one["safe"] for one in bench.labd("safe-state", "--all")}
    assert everything == {"arm": True, "stat1": None}


def test_mosquitto_sub_sees_the_lab(bench: Bench) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed: apt-get install mosquitto-clients")
    bench.simulators()
    bench.serve()
    for topic, holds in (
        ("status", lambda told: told["state"] == "online"),
        ("device/stat1/state", lambda told: told["health"] == "ok"),
        ("device/stat1/about", lambda told: "open_circuit" in told["actions"]),
    ):
        bench.until(topic, lambda topic=topic, holds=holds: holds(bench.heard(topic)))
