"""The daemon's own cost: from a device's done to the next action's first byte, and the work of a transition.

Daemon and devices are processes of their own, on real time; a device is a quiet one over TCP that works for about a
second and tells when it is done. Every state of a run is one action, so between two of them lie: what came of the
first, made durable; the next state, entered with its device; and the intent of the second, made durable before its
first byte. The reference is the same two things bare: a round trip to such a device, and a commit of as many rows.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks._asking import ask
from benchmarks._figures import RESULTS, Figures
from benchmarks._lines import KIND
from labd.journal.schema import JOURNAL, transaction

MODULE = (sys.executable, "-m", "benchmarks._lines")
READY = 120.0  # s
TICKS = os.sysconf("SC_CLK_TCK")
ROWS = 4  # what a transition writes: done, entered, intended, sent
CHANNELS = 128


def protocol(states: int) -> str:
    lines = "".join(
        f"  s{number}: {{do: device.step, with: {{duration: =work}}, next: {after}}}\n"
        for number, after in enumerate([*(f"s{number}" for number in range(1, states)), "done"])
    )
    return (
        "labd: 1\nprotocol: steps\nversion: 1.0.0\nsummary: Step by step.\n"
        "parameters: {work: {type: quantity, default: 1 s, min: 1 ms}}\n"
        f"roles: {{device: worker}}\nstart: s0\nstates:\n{lines}  done: {{end: complete}}\n"
    )


class Bench:
    """A daemon, its devices, and this process that looks at both."""

    def __init__(self, folder: Path, devices: int, port: int) -> None:
        self.folder, self.devices, self.port = folder, devices, port
        self.daemon: subprocess.Popen[bytes]

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return ask(self.folder / "store" / "labd.sock", method, path, body, READY)

    def start(self, source: str, works: list[float]) -> list[str]:
        """A run for each time that its steps take; they begin one after the other."""
        return [
            self.request("POST", "/runs", {"protocol": source, "by": "bench", "parameters": {"work": f"{work:.3f} s"}})[
                "run"
            ]
            for work in works
        ]

    def ask(self, line: str) -> str:
        """One line of the devices' process."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection, connection.makefile("rw") as link:
            link.write(f"{line}\n")
            link.flush()
            return link.readline()

    def report(self) -> Any:
        return json.loads(self.ask("REPORT"))

    @property
    def used(self) -> float:
        """Seconds of the processor that the daemon has had."""
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def until(self, so: Any) -> None:
        end = time.monotonic() + READY
        while not so():
            if time.monotonic() > end or self.daemon.poll() is not None:
                raise TimeoutError((self.folder / "log").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.1)


@contextlib.contextmanager
def equipment() -> Iterator[int]:
    """The devices, by their port."""
    with subprocess.Popen([*MODULE, "devices"], stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            yield int(started.stdout.readline())
        finally:
            started.kill()


@contextlib.contextmanager
def lab(devices: int, period: float = 60.0) -> Iterator[Bench]:
    """A lab of quiet devices, all of them there, each read once in so many s."""
    RESULTS.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=RESULTS)))  # /tmp may be memory
        bench = Bench(folder, devices, stack.enter_context(equipment()))
        names = "".join(
            f"  d{number:03}: {{driver: {KIND}, settings: {{address: '127.0.0.1:{bench.port}'}}, "
            f"poll: {{idle: {period:g} s, busy: {period:g} s}}}}\n"
            for number in range(devices)
        )
        (folder / "lab.yaml").write_text(f"labd: 1\nlab: bench\nstore: store\ndevices:\n{names}", encoding="utf-8")
        log = stack.enter_context((folder / "log").open("wb"))
        command = [*MODULE, "daemon", str(folder / "lab.yaml"), "0"]
        bench.daemon = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
        stack.callback(bench.daemon.kill)
        bench.until((folder / "store" / "labd.sock").exists)
        bench.until(lambda: all(one["health"] == "ok" for one in bench.request("GET", "/devices")))
        yield bench


# ── the reference ────────────────────────────────────────────────────────────────────────────────────────────────────
def round_trip(bench: Bench, times: int) -> float:
    """Seconds of a question and an answer over TCP, in the middle."""
    found = []
    with socket.create_connection(("127.0.0.1", bench.port)) as connection, connection.makefile("rw") as link:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(times):
            start = time.perf_counter()
            link.write("READ\n")
            link.flush()
            link.readline()
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def commit(folder: Path, times: int) -> tuple[float, float]:
    """Seconds of a bare commit of ROWS rows, in the middle; and seconds of the processor that one takes."""
    found, data = [], json.dumps({"action_id": "run-0001-001", "result": {"done": True}, "because": "x" * 200})
    with contextlib.closing(JOURNAL.connect(folder / f"bare-{time.monotonic_ns()}.sqlite")) as connection:
        used = time.process_time()
        for first in range(0, times * ROWS, ROWS):
            start = time.perf_counter()
            with transaction(connection):
                rows = [
                    (seq, "2026-01-01T08:00:00.000000Z", "run-0001", "action.done", data, "0" * 64)
                    for seq in range(first + 1, first + ROWS + 1)
                ]
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
            found.append(time.perf_counter() - start)
        return statistics.median(found), (time.process_time() - used) / times


# ── the figures ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _transitions(runs: int, seconds: float, smoke: bool, figures: Figures) -> None:
    with lab(runs) as bench:
        trip, (durable, bare) = round_trip(bench, 200), commit(bench.folder, 50 if smoke else 300)
        source = protocol(10 + int(seconds))
        bench.start(source, [1.0 + 0.01 * (number % 50) for number in range(runs)])
        bench.report()
        used, since = bench.used, time.monotonic()
        time.sleep(seconds)
        between, used = sorted(bench.report()["between"]), bench.used - used
        since = time.monotonic() - since
        again = commit(bench.folder, 50 if smoke else 300)  # disks have better and worse minutes
        durable, bare = (durable + again[0]) / 2, (bare + again[1]) / 2
    if not between:
        raise RuntimeError(f"{runs} runs made no transition in {seconds:g} s")
    half, most = between[len(between) // 2], between[math.ceil(len(between) * 0.99) - 1]
    figures.add(f"done_to_next_p50_{runs}", half * 1e3, "ms")
    figures.add(f"done_to_next_p99_{runs}", most * 1e3, "ms")
    figures.add(f"bare_round_trip_and_commit_{runs}", (trip + durable) * 1e3, "ms")
    goal = 6.0 if runs <= 20 else 20.0  # with many, one waits for what the others have to do
    figures.add(f"done_to_next_over_bare_{runs}", half / (trip + durable), "ratio", goal, "lower")
    figures.add(f"transition_{runs}", used / len(between) * 1e6, "µs")
    figures.add(f"transition_over_bare_{runs}", used / len(between) / bare, "ratio", 30.0, "lower")
    figures.add(f"transitions_{runs}", len(between) / since, "1/s")


def _channels(channels: int, figures: Figures) -> None:
    """Runs that end in the same second: how long after its device each is complete, and whether all are."""
    with lab(channels) as bench:
        source = protocol(1)
        patience = time.monotonic() + 5.0 + channels * 0.15
        with ThreadPoolExecutor(1) as pool:
            runs = list(
                pool.map(lambda _: bench.start(source, [max(0.1, patience - time.monotonic())])[0], range(channels))
            )
        bench.until(lambda: not bench.request("GET", "/runs?active=true"))
        offset = time.time() - time.monotonic()
        states = {one["run"]: one for one in bench.request("GET", "/runs")}
        done = bench.report()["done"]
        served = {
            run: event["data"]["bindings"]["device"]
            for run in runs
            for event in bench.request("GET", f"/runs/{run}/events")["events"]
            if event["kind"] == "protocol.entered"
        }
    late = [
        datetime.fromisoformat(states[run]["ended"]).timestamp() - (done[device] + offset)
        for run, device in served.items()
    ]
    spread = max(done.values()) - min(done.values())
    figures.add(f"channels_{channels}_done_within", spread * 1e3, "ms")
    complete = sum(states[run]["outcome"] == "complete" for run in runs)
    figures.add(f"channels_{channels}_complete", complete, "runs", channels)
    figures.add(f"channels_{channels}_done_to_complete_worst", max(late) * 1e3, "ms", 1000.0, "lower")


def run(smoke: bool, figures: Figures) -> None:
    for runs in (1, 4) if smoke else (1, 20, 100):
        _transitions(runs, 4.0 if smoke else 40.0 if runs == 1 else 20.0, smoke, figures)
    _channels(8 if smoke else CHANNELS, figures)
