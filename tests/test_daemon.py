"""The daemon: it says when it is ready, tells systemd that its loop turns, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.daemon import Daemon
from labd.journal import Journal, NewEvent
from labd.lab.background import background
from labd.lab.config import LabError, load_lab
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.starts import DEATHS, STARTS, STEADY, died
from labd.run.urgent import order_all
from labd.systemd import notify, watchdog
from tests import typed

LIMIT = 120.0  # s for a process to start, answer or end, on a machine that does other things too

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
    sock.settimeout(LIMIT)
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
    assert states == ["Starting", "Execute"]  # it is left for the next daemon
    assert not (tmp_path / "store" / "labd.sock").exists()


async def test_a_restart_in_order_forgets_no_run(tmp_path: Path) -> None:
    daemon = Daemon(load_lab(write_lab(tmp_path)))
    async with daemon.open():
        await daemon.lab.devices["stat1"].wait_ready()
        run = await daemon.engine.start(REST, "rest.yaml", {}, by="test")
        await asyncio.sleep(600)
    async with Daemon(load_lab(write_lab(tmp_path))).open() as again:
        (resumed,) = await again.journal.events(run=run.id, kinds={"run.resumed"})
        assert resumed.data["why"] == "the daemon was stopped"
        assert (await again.engine.state(run.id)).protocol_state == "rest"
        await order_all(again.engine, Command.STOP, by="test")
        async with asyncio.timeout(600):
            assert (await again.engine.wait(run.id)).outcome == "stopped"


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
            _, log = daemon.communicate(timeout=LIMIT)
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
            sock.settimeout(LIMIT)
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
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
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


# ── signals, and starts that die ─────────────────────────────────────────────────────────────────────────────────────
class Process:
    """`labd serve` of this lab as a process of its own, and the command line that speaks to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lab = write_lab(directory, "real")
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once the daemon answers."""
        code = "from labd.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", "--lab", str(self.lab), "--log", "json"]
        with (self.directory / "labd.log").open("ab") as log:
            self.daemon = subprocess.Popen(command, stderr=log)
        while not self.answers():
            assert self.daemon.poll() is None, (self.directory / "labd.log").read_text()
            time.sleep(0.05)  # another process: there is nothing to wait on but its socket

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.directory / "store" / "labd.sock")) == 0

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.daemon is not None
        self.daemon.send_signal(number)
        status = self.daemon.wait(timeout=LIMIT)
        self.daemon = None
        return status

    def labd(self, *arguments: str) -> str:
        return typed.labd(*arguments, "--lab", self.lab).output

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.labd("status", "--json"))
        return found

    def until(self, holds: Callable[[], Any]) -> Any:
        end = time.monotonic() + LIMIT
        while not (found := holds()):
            assert time.monotonic() < end, (self.directory / "labd.log").read_text()
            time.sleep(0.05)
        return found

    def journaled(self) -> list[tuple[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.directory / "store" / "journal.sqlite")) as journal:
            rows = journal.execute("SELECT kind, data FROM events ORDER BY seq").fetchall()
        return [(kind, json.loads(data)) for kind, data in rows]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    if made.daemon is not None:
        made.end(signal.SIGKILL)


def test_sigusr1_aborts_all_runs_makes_devices_safe_and_the_daemon_stays(process: Process) -> None:
    process.start()
    process.until(lambda: process.status()["devices"][0]["health"] == "ok")
    (process.directory / "rest.yaml").write_text(REST)
    process.labd("run", str(process.directory / "rest.yaml"))
    process.until(lambda: process.status()["devices"][0]["busy_with"])
    assert process.daemon is not None
    process.daemon.send_signal(signal.SIGUSR1)
    process.until(lambda: process.status()["ended"])
    (run,) = json.loads(process.labd("status", "--all", "--json"))["runs"]
    assert (run["outcome"], run["cause"].partition(";")[0]) == ("aborted", "SIGUSR1")
    process.daemon.send_signal(signal.SIGUSR1)  # and with no run at work
    process.until(lambda: [kind for kind, _ in process.journaled()].count("lab.ordered") == 2)
    assert process.status()["daemon"]["state"] == "online"
    assert process.end() == 0
    assert ("lab.ordered", {"command": "abort", "by": "signal", "cause": "SIGUSR1"}) in process.journaled()


def test_after_three_starts_that_died_the_lab_is_safe_says_why_and_waits_for_a_person(process: Process) -> None:
    process.start()
    process.until(lambda: process.status()["devices"][0]["health"] == "ok")
    (process.directory / "rest.yaml").write_text(REST)
    process.labd("run", str(process.directory / "rest.yaml"))
    process.until(lambda: process.status()["devices"][0]["busy_with"])
    process.end(signal.SIGKILL)
    for _ in range(2):
        process.start()
        process.end(signal.SIGKILL)
    process.start()
    status = process.status()
    assert status["daemon"]["state"] == "safe mode"
    assert "died 3 times in a row" in status["daemon"]["safe_mode"]
    told = process.labd("status")
    assert "SAFE MODE: labd died 3 times" in told
    assert "labd resume" in told
    assert "labd status` says why" in process.labd("run", str(process.directory / "rest.yaml"))
    process.until(lambda: process.status()["devices"][0]["health"] == "ok")
    assert "the lab is at work again" in process.labd("resume")
    status = process.status()
    assert (status["daemon"]["state"], status["daemon"]["safe_mode"]) == ("online", None)
    process.end(signal.SIGKILL)
    process.start()
    assert process.status()["daemon"]["state"] == "safe mode", "what was resumed may be what kills it"
    assert process.end() == 0
    process.start()
    assert process.status()["daemon"]["state"] == "safe mode", "no restart ends it"


async def test_safe_mode_stands_until_a_person_ends_it_and_what_is_resumed_has_to_live_a_minute(tmp_path: Path) -> None:
    config = load_lab(write_lab(tmp_path))
    config.directory.mkdir(parents=True)
    journal = await Journal.open(config.directory / "journal.sqlite")
    await journal.append(*(NewEvent("daemon.started", {"boot_id": str(number)}) for number in range(3)))
    await journal.close()
    async with Daemon(config).open() as daemon:
        assert daemon.info()["state"] == "safe mode"
        await asyncio.sleep(STEADY + 1)
        assert len(died(await daemon.journal.events(kinds=STARTS))) == DEATHS + 1
        assert await daemon.resume("eva") == []
        assert len(died(await daemon.journal.events(kinds=STARTS))) == DEATHS + 1
        await asyncio.sleep(STEADY + 1)
        assert died(await daemon.journal.events(kinds=STARTS)) == ()
        with pytest.raises(CommandRefusedError, match="not in safe mode"):
            await daemon.resume("eva")


async def test_what_a_person_loads_is_there_for_the_simulators_too(tmp_path: Path) -> None:
    path = write_lab(tmp_path)
    deck = "deck: [{place: tray/lids, labware: lid_tray_8, fill: lid}]\n"
    path.write_text(path.read_text() + deck)
    async with Daemon(load_lab(path)).open() as daemon:
        world = daemon.host.world
        world.take("tray/lids/A1")
        await daemon.lab.inventory.load_parts("tray/lids", "lid", by="eva")
        assert world.item("tray/lids/A1").name == "lid"
        await daemon.lab.inventory.unload("tray/lids/B1", by="eva")
        assert world.item("tray/lids/B1") is None


async def test_a_daemon_that_fails_has_died_although_it_says_so_in_the_journal(tmp_path: Path) -> None:
    config = load_lab(write_lab(tmp_path))
    with pytest.raises(BaseExceptionGroup):
        async with Daemon(config).open():
            raise RuntimeError("a bug")
    journal = await Journal.open(config.directory / "journal.sqlite")
    events = await journal.events(kinds=STARTS)
    await journal.close()
    assert [event.kind for event in events] == ["daemon.started", "daemon.failed"]
    assert "a bug" in str(events[-1].data["error"])
