"""`labd device` and `labd doctor` as a person meets them: real command line, real daemon, simulators on their wires."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import labd
from labd.cli.app import app
from labd.cli.connection import Client, login_name
from labd.io.transcript import Transcript

LAB = """\
labd: 1
lab: bench
store: store
seed: 5
clock: {scaled: 20}
devices:
  arm:
    driver: meca500
    settings: {address: "127.0.0.1:0"}
    positions: arm.yaml
    poll: {idle: 10 s, busy: 5 s}
    simulator: {}
  bath:
    driver: julabo
    settings: {address: ports/bath}
    poll: {idle: 10 s, busy: 5 s}
    simulator: {}
  press:
    driver: plc_crimper
    settings: {address: "modbus://127.0.0.1:0", profile: handshake}
    limits: {crimp.force: {max: 9 kN}}
    poll: {idle: 10 s, busy: 5 s}
    simulator: {heartbeat_limit: 600}
"""
ROOT = str(Path(labd.__file__).parents[1])
LABD = [sys.executable, "-c", "from labd.cli import main; main()"]
LIMIT = 120.0  # s


@dataclass
class Bench:
    folder: Path
    process: subprocess.Popen[str]

    def labd(self, *arguments: str, status: int = 0) -> str:
        """Runs a command; gives its stdout, or what it said on stderr when it was to be refused."""
        ended = CliRunner().invoke(app, list(arguments))
        assert ended.exit_code == status, f"{arguments}: {ended.exit_code}\n{ended.output}\n{ended.stderr}"
        return ended.stdout if status == 0 else ended.stdout + ended.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.labd(*arguments, "--json"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "lab.yaml").write_text(LAB)
    (folder / "arm.yaml").write_text("home: {pose: [190, 0, 180, 180, 0, 180]} # where it waits\n")
    environment = {**os.environ, "PYTHONPATH": ROOT}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*LABD, "serve"], cwd=folder, env=environment, stderr=log, text=True)
    bench = Bench(folder, process)
    try:
        _until_all_are_there(bench)
        yield bench
    finally:
        process.terminate()
        assert process.wait(LIMIT) == 0, (folder / "log").read_text()


def _until_all_are_there(bench: Bench) -> None:
    end = time.monotonic() + LIMIT
    said = ""
    while time.monotonic() < end:
        assert bench.process.poll() is None, (bench.folder / "log").read_text()
        asked = CliRunner().invoke(app, ["devices", "--socket", str(bench.folder / "store" / "labd.sock"), "--json"])
        said = asked.output
        if asked.exit_code == 0 and all(one["health"] == "ok" for one in json.loads(asked.stdout)):
            return
        time.sleep(0.05)
    raise AssertionError(f"not all devices came up: {said}")


@pytest.fixture
def bench(served: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(served.folder)
    monkeypatch.delenv("LABD_SOCKET", raising=False)
    return served


def test_a_devices_state_is_shown_with_options_before_and_after_its_name(bench: Bench) -> None:
    shown = bench.labd("device", "bath")
    assert "set_temperature" in shown
    assert "temperature" in shown
    assert bench.json("device", "bath")["by_hand"] == []
    assert bench.json("device", "--lab", "lab.yaml", "bath")["driver"] == "julabo"
    assert "there is no device" in bench.labd("device", "bth", status=2)


def test_an_action_is_done_and_its_author_stands_in_the_journal(bench: Bench) -> None:
    act = bench.json("device", "bath", "call", "set_temperature", "temperature=25 degC")
    assert (act["state"], act["by"]) == ("done", login_name())
    crimped = bench.labd("device", "press", "call", "crimp", "force=7.8 kN")
    assert "done: peak_force" in crimped


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("bath", "call", "set_temperatur"), 2, "did you mean `set_temperature`"),
        (("bath", "call", "set_temperature", "temperature=25"), 2, "°C"),
        (("bath", "call", "set_temperature", "25"), 2, "name=value"),
        (("press", "call", "crimp", "force=9.5 kN"), 2, "that lab.yaml allows"),
        (("press", "call", "crimp", "force=50 kN"), 2, "force: 50 kN is above the greatest, 15 kN"),
        (("press", "call", "crimp"), 2, "press.crimp: `force` is missing"),
        (("bath", "record", "x.jsonl", "--for", "soon"), 2, "such as `35 s`"),
        (("bath", "record", "x.jsonl", "--for", "0"), 2, "0.1 s to 24 h"),
        (("bath", "answer", "perhaps"), 2, "is none of"),
        (("bath", "answer", "done"), 1, "no action by hand"),
        (("bath", "cancel"), 1, "no action by hand"),
        (("bath", "teach", "x"), 1, "cannot tell where it stands"),
        (("press", "calibrate", "force=1", "--valid", "soon"), 1, "90 day"),
        (("bath", "record", "nowhere/x.jsonl"), 2, "there is no folder"),
        (("bath", "record", "lab.yaml"), 2, "--overwrite"),
        (("bath", "halt"), 2, "halt"),
    ],
)
def test_what_cannot_be_is_refused_in_words(bench: Bench, arguments: tuple[str, ...], status: int, said: str) -> None:
    assert said in bench.labd("device", *arguments, status=status)


def test_where_the_arm_stands_is_taught_and_the_file_still_holds(bench: Bench) -> None:
    assert "not homed" in bench.labd("device", "arm", "teach", "press/nest", status=1)
    assert bench.json("device", "arm", "call", "home")["state"] == "done"
    taught = bench.json("device", "arm", "teach", "press/nest", "--valid", "90 day")[0]
    assert taught["value"][:3] == [190.0, 0.0, 180.0]
    assert (taught["by"], taught["named"]) == (login_name(), True)
    first, second = (bench.folder / "arm.yaml").read_text().splitlines()
    assert first.endswith("# where it waits")
    assert second.startswith("press/nest: {pose: [190, 0, 180, ")
    bench.labd("check", "--lab", "lab.yaml")
    moved = bench.json("device", "arm", "call", "move", "position=press/nest")  # its driver knows it at once
    assert moved["state"] == "done"


def test_a_calibration_is_kept_and_lab_yaml_is_to_name_its_file(bench: Bench) -> None:
    said = bench.labd("device", "press", "calibrate", "force=1.003", "--valid", "365 day")
    assert "press: force is 1.003, good until " in said
    assert "calibrations: calibrations/press.yaml" in said
    assert "force: {value: 1.003, calibrated: " in (bench.folder / "calibrations" / "press.yaml").read_text()


@pytest.mark.parametrize(
    ("device", "begins"), [("bath", ("status", "in_")), ("press", ("0",)), ("arm", ("GetStatus",))]
)
def test_what_goes_over_a_link_is_written_as_a_transcript(bench: Bench, device: str, begins: tuple[str, ...]) -> None:
    file = bench.folder / f"{device}.jsonl"
    for seconds in (2, 8, 30):  # a poll is every half second, on a machine that has the time
        told = bench.json("device", device, "record", str(file), "--for", f"{seconds} s", "--overwrite")
        if {entry.dir for entry in Transcript.read(file).entries} >= {"out", "in"}:
            break
    assert told["files"] == [str(file)]
    transcript = Transcript.read(file)
    assert login_name() in transcript.origin.source
    assert not transcript.origin.recorded  # it is a simulator that speaks
    assert {"out", "in"} <= {entry.dir for entry in transcript.entries}
    assert next(entry for entry in transcript.entries if entry.dir == "out").data.startswith(begins)


def test_ctrl_c_ends_a_recording(bench: Bench) -> None:
    file = bench.folder / "until.jsonl"
    environment = {**os.environ, "PYTHONPATH": ROOT}
    command = [*LABD, "device", "bath", "record", str(file)]
    with subprocess.Popen(command, cwd=bench.folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "records bath; Ctrl-C ends it" in process.stderr.readline()
        end = time.monotonic() + LIMIT
        while not Client(bench.folder / "store" / "labd.sock").get("/devices/bath/recording")["entries"]:
            assert time.monotonic() < end, "nothing was recorded"
            time.sleep(0.1)  # another process: there is nothing to wait on but what it tells
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
    assert Transcript.read(file).entries


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_doctor_asks_the_daemon_and_leaves_its_devices_to_it(bench: Bench) -> None:
    ended = CliRunner().invoke(app, ["doctor", "--json"])
    told = json.loads(ended.stdout)
    assert ended.exit_code == told["status"]
    texts = [f"{one['level']} {one['about']}: {one['text']}" for one in told["findings"]]
    assert any(f"daemon: runs (pid {bench.process.pid}" in text for text in texts)
    for name in ("arm", "bath", "press"):
        assert any(text.startswith(f"ok {name}: answers") for text in texts), texts


def test_the_doctor_without_a_daemon_and_without_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABD_SOCKET", raising=False)
    runner = CliRunner()
    ended = runner.invoke(app, ["doctor"])
    assert ended.exit_code == 2
    assert "there is no lab.yaml here" in ended.stderr
    bath = "  bath: {driver: julabo, settings: {address: /dev/serial/by-id/usb-none}}\n"
    (tmp_path / "lab.yaml").write_text(f"labd: 1\nlab: bench\nstore: store\ndevices:\n{bath}")
    ended = runner.invoke(app, ["doctor", "--quiet"])
    assert ended.exit_code == 2
    assert "bath: /dev/serial/by-id/usb-none is not there" in ended.stdout
    assert "→ plug the instrument in" in ended.stdout
    (tmp_path / "lab.yaml").write_text("labd: 1\nlab: bench\ndevices: {}\n")
    ended = runner.invoke(app, ["doctor", "--json"])
    assert ended.exit_code == 2
    assert any("`store` is missing" in one["text"] for one in json.loads(ended.stdout)["findings"])
