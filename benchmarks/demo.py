"""How many lab hours the demo lives through a machine second, and what starting the daemon costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks._asking import ask
from benchmarks._figures import Figures
from labd import clock
from labd.demo.play import furnish, play
from labd.demo.show import Show
from labd.lab.config import load_lab

LABD = str(Path(sys.executable).with_name("labd"))


def run(smoke: bool, figures: Figures) -> None:
    with tempfile.TemporaryDirectory() as directory:
        lab = furnish(Path(directory), seed=7)
        console = Console(quiet=True)
        timeline = clock.timeline_of("virtual")
        demo = play(lab, 2 if smoke else 8, Show(console, live=False), watch=False, console=console)
        played = clock.run(demo, timeline)
    hours = played.lab_seconds / 3600
    figures.add("wall_time", played.machine_seconds, "s", goal=60.0, better="lower")
    figures.add("lab_time", hours, "h", goal=10.0)
    figures.add("lab_hours_a_second", hours / played.machine_seconds, "h/s")
    with tempfile.TemporaryDirectory() as directory:
        started = start_up(furnish(Path(directory), seed=7, scaled=60))
    figures.add("serve_start_up", started.seconds, "s", goal=3.0, better="lower")
    figures.add("serve_rss", started.rss, "MB", goal=160.0, better="lower")


@dataclass(frozen=True, slots=True)
class Started:
    """Seconds from the command to the answer, those of the processor that the daemon had of them, and MB then."""

    seconds: float
    cpu: float
    rss: float


def start_up(lab: Path, *options: str, whole: bool = False) -> Started:
    """Starts a daemon with its lab, and ends it when it answers on its socket.

    Args:
        lab: its lab.yaml.
        options: more of `labd serve`.
        whole: not before all devices are well.
    """
    socket = load_lab(lab).socket
    start = time.perf_counter()
    command = [LABD, "serve", "--lab", str(lab), "--log", "json", *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
        try:
            while not _answers(socket, whole=whole):
                if daemon.poll() is not None or time.perf_counter() - start > 60:
                    raise RuntimeError("labd serve did not start")
                time.sleep(0.005)
            seconds = time.perf_counter() - start
            pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1])
            had = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=60)
            except subprocess.TimeoutExpired:
                daemon.kill()
                raise
    cpu = (int(had[11]) + int(had[12])) / os.sysconf("SC_CLK_TCK")
    return Started(seconds, cpu, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def _answers(socket: Path, *, whole: bool) -> bool:
    """Whether a daemon answers there, and (`whole`) has all its devices. `labd status` would take longer."""
    try:
        found = ask(socket, "GET", "/devices" if whole else "/status", limit=30.0)
    except (OSError, RuntimeError):
        return False
    return not whole or all(one["health"] == "ok" for one in found)
