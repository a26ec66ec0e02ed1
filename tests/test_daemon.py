"""The daemon: it says when it is ready, tells systemd that its loop turns, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labd import clock
from labd.daemon import Daemon, notify, watchdog
from labd.journal import Journal
from labd.lab.background import background
from labd.lab.config import LabError, load_lab

LAB = """\
labd: 1
lab: bench
store: store
clock: {clock}
devices:
  stat1:
    driver: methodscript
    settings: {{port: stat1, model: emstat4_hr}}
    simulator: {{}}
"""
REST = """\
labd: 1
protocol: rest
version: 1.0.0
summary: Watch a voltage.
roles: {stat: potentiostat}
start: rest
states:
  rest:
    summary: Watch it.
    do: stat.open_circuit
    with: {duration: 10 h, interval: 60 s}
    next: done
  done: {end: complete}
"""


def write_lab(directory: Path, kind: str = "virtual") -> Path:
    path = directory / "lab.yaml"
    path.write_text(LAB.format(clock=kind))
    return path


def listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "notify"))
    sock.settimeout(30)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return sock


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


async def test_a_lab_comes_up_and_goes_down_in_order(tmp_path: Path) -> None:
    daemon = Daemon(load_lab(write_lab(tmp_path)))
    async with daemon.open():
        await daemon.lab.devices["stat1"].wait_ready()
        assert daemon.info()["state"] == "online"
        run = await daemon.engine.start(REST, "rest.yaml", {}, by="test")
        await asyncio.sleep(600)
    journal = await Journal.open(tmp_path / "store" / "journal.sqlite")
    events = await journal.events()
    await journal.close()
    kinds = [event.kind for event in events]
    assert kinds[0] == "daemon.started"
    assert kinds[-1] == "daemon.stopped"
    states = [event.data["to"] for event in events if event.kind == "run.state" and event.run == run.id]
    assert states[-2:] == ["Stopping", "Stopped"]
    assert "device.safe_state" in kinds
    assert not (tmp_path / "store" / "labd.sock").exists()


async def test_a_second_daemon_of_the_same_lab_is_refused(tmp_path: Path) -> None:
    config = load_lab(write_lab(tmp_path))
    async with Daemon(config).open():
        with pytest.raises(Exception, match=str(os.getpid())):
            async with Daemon(config).open():
                pass


async def test_a_driver_that_does_not_exist_is_told_in_words(tmp_path: Path) -> None:
    path = write_lab(tmp_path)
    path.write_text(path.read_text().replace("driver: methodscript", "driver: methodskript"))
    with pytest.raises(LabError, match="methodskript"):
        async with Daemon(load_lab(path)).open():
            pass


def test_systemd_hears_ready_and_stopping_and_the_end_is_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = write_lab(tmp_path, "{scaled: 60}")
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with listen(tmp_path, monkeypatch) as sock:
        command = [str(Path(sys.executable).with_name("labd")), "serve", "--lab", str(lab), "--log", "json"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
            told = [sock.recv(64).decode()]
            while told[-1] != "READY=1":
                told.append(sock.recv(64).decode())
            assert sock.recv(64) == b"WATCHDOG=1"
            daemon.send_signal(signal.SIGTERM)
            while told[-1] != "STOPPING=1":
                told.append(sock.recv(64).decode())
            _, log = daemon.communicate(timeout=60)
            assert daemon.returncode == 0, log
    lines = [json.loads(line) for line in log.splitlines()]
    assert "online" in [line["event"] for line in lines]


def test_a_loop_that_is_blocked_does_not_tell_the_watchdog_that_it_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its construction: the loop itself waits for the notification that only it could send."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000")

    async def main(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with background(watchdog(), "watchdog"):
            for _ in range(3):
                assert await loop.run_in_executor(None, sock.recv, 64) == b"WATCHDOG=1"
            sock.settimeout(0.0)
            with contextlib.suppress(BlockingIOError):
                while sock.recv(64):
                    pass
            sock.settimeout(0.3)  # ten times what systemd would wait
            with pytest.raises(TimeoutError):
                sock.recv(64)
            sock.settimeout(30)
            assert await loop.run_in_executor(None, sock.recv, 64) == b"WATCHDOG=1"

    with listen(tmp_path, monkeypatch) as sock:
        clock.run(main(sock))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("labd: 1\nlab: x\nstore: s\ndevices: {a: {drver: b}}\n", "drver"),
        ("labd: [", "lab.yaml:"),
        (LAB.format(clock="virtual"), "lab.yaml:4:8: L207 virtual time is for demo and tests"),
    ],
)
def test_a_bad_lab_ends_with_two_and_no_traceback(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    command = [str(Path(sys.executable).with_name("labd")), "serve", "--lab", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_start_up_is_not_slow_by_accident() -> None:
    """The command line alone imports nothing heavy; speeds themselves are in benchmarks/."""
    heavy = "{'pint', 'fastapi', 'pymodbus', 'matplotlib', 'pyarrow'}"
    code = f"import labd.cli, sys; print(*sorted({heavy} & set(sys.modules)))"
    start = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "", f"imported at once, in {time.monotonic() - start:.1f} s"
