"""Whether stop is always heard: from a request to the bytes at the device, with a busy lab in processes of its own.

100 devices are polled at 10 Hz over TCP and 20 runs work. Each figure is over all requests: of an order to one run the
bytes of its device, of an order to all those of every device.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks._figures import Figures
from benchmarks._lines import KIND

GOAL = 250.0  # ms
READY = 60.0  # s
QUIET = 0.5  # s; so long no device hears a stop before the next order is given
PROTOCOL = """\
labd: 1
protocol: working
version: 1.0.0
summary: Work.
roles: {device: worker}
start: work
states:
  work:
    do: device.work
    with: {duration: 1 h}
    next: done
  done: {end: complete}
"""


def long_protocol(states: int) -> str:
    """One whose reading takes a while."""
    lines = "".join(
        f"  s{number}:\n    do: device.work\n    with: {{duration: {number + 1} s}}\n    as: r{number}\n    next:\n"
        f"      - {{if: r{number}.done, go: {after}}}\n      - {{go: done}}\n"
        for number, after in enumerate([*(f"s{number}" for number in range(1, states)), "done"])
    )
    head = "labd: 1\nprotocol: long\nversion: 1.0.0\nsummary: Long.\nroles: {device: worker}\nstart: s0\nstates:\n"
    return f"{head}{lines}  done: {{end: complete}}\n"


class Bench:
    """A daemon, its devices, and this process as whoever stops them."""

    def __init__(self, folder: Path, devices: int, runs: int) -> None:
        self.folder, self.devices, self.runs = folder, devices, runs
        self.heard: queue.SimpleQueue[tuple[str, str, float]] = queue.SimpleQueue()
        self.working: list[str] = []
        self.daemon: subprocess.Popen[bytes]
        self.mqtt = 0

    def request(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("labd")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(READY)
        connection.sock.connect(str(self.folder / "store" / "labd.sock"))
        with contextlib.closing(connection):
            headers = {"content-type": "application/json"}
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            found = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {found}")
        return found

    def fill(self) -> None:
        """Lets as many runs work as there should be."""
        missing = self.runs - len(self.working)
        with ThreadPoolExecutor(max(1, missing)) as pool:
            started = pool.map(
                lambda _: self.request("POST", "/runs", {"protocol": PROTOCOL, "by": "bench"}), range(missing)
            )
            self.working += [run["run"] for run in started]
        self.until(lambda: sum(bool(one["busy_with"]) for one in self.request("GET", "/devices")) == self.runs)

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + READY
        while not holds():
            if time.monotonic() > end or self.daemon.poll() is not None:
                raise RuntimeError(f"the lab did not come so far:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)

    def measure(self, order: Callable[[], Any], word: str, wanted: Collection[str]) -> list[float]:
        """ms from before the order until each of these devices has heard it; what others hear is not counted."""
        self.drain()
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            ordered = pool.submit(order)
            found: dict[str, float] = {}
            while len(found) < len(wanted):
                said, device, at = self.heard.get(timeout=READY)
                if said == word and device in wanted and at >= begun:
                    found.setdefault(device, (at - begun) * 1e3)
            ordered.result()
        return list(found.values())

    def drain(self) -> None:
        """Waits until no device hears anything more of the round before: a second order may come late."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.heard.get(timeout=QUIET)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def names(self) -> list[str]:
        """All devices that answer."""
        return [f"d{number:03d}" for number in range(self.devices)]

    def one(self, verb: str, order: Callable[[str], Any]) -> list[float]:
        """An order to one run: that run's device must hear it."""
        run = self.working.pop(0)
        device = next(one["device"] for one in self.request("GET", "/devices") if run in one["busy_with"])
        return self.measure(lambda: order(run), "STOP" if verb == "abort" else "CANCEL", {device})

    def one_by_rest(self, verb: str) -> list[float]:
        return self.one(verb, lambda run: self.request("POST", f"/runs/{run}/commands/{verb}", {"by": "bench"}))

    def one_by_mqtt(self, client: Paho, verb: str) -> list[float]:
        return self.one(verb, lambda run: self._publish(client, verb, {"run": run}))

    def all_by_rest(self) -> list[float]:
        self.working.clear()
        return self.measure(lambda: self.request("POST", "/commands/abort", {"by": "bench"}), "STOP", self.names)

    def all_by_signal(self) -> list[float]:
        self.working.clear()
        return self.measure(lambda: os.kill(self.daemon.pid, signal.SIGUSR1), "STOP", self.names)

    def all_by_mqtt(self, client: Paho) -> list[float]:
        self.working.clear()
        return self.measure(lambda: self._publish(client, "abort", {"all": True}), "STOP", self.names)

    @staticmethod
    def _publish(client: Paho, verb: str, arguments: dict[str, Any]) -> None:
        now = datetime.now(UTC)
        command = {
            "command_id": uuid.uuid4().hex,
            "issued_at": now.isoformat(),
            "expires_at": (now + timedelta(seconds=20)).isoformat(),
            "verb": verb,
            "arguments": arguments,
        }
        client.publish(f"labd/1/bench/cmd/bench/{verb}", json.dumps(command), qos=1)


def _lab_yaml(port: int, mqtt: int, devices: int, *, silent: bool) -> str:
    names = [f"d{number:03d}" for number in range(devices)] + (["silent"] if silent else [])
    lines = "".join(
        f"  {name}: {{driver: {KIND}, settings: {{address: '127.0.0.1:{port}'}}, poll: {{idle: 0.1 s, busy: 0.1 s}}}}\n"
        for name in names
    )
    return f"labd: 1\nlab: bench\nstore: store\nmqtt: {{broker: embedded, port: {mqtt}}}\ndevices:\n{lines}"


@contextlib.contextmanager
def lab(devices: int, runs: int, *, slow_disk: float = 0.0, silent: bool = False) -> Iterator[Bench]:
    """A lab at work, with so many runs going."""
    module = [sys.executable, "-m", "benchmarks._lines"]
    with contextlib.ExitStack() as stack:
        bench = Bench(Path(stack.enter_context(tempfile.TemporaryDirectory())), devices, runs)
        equipment = stack.enter_context(subprocess.Popen([*module, "devices"], stdout=subprocess.PIPE, text=True))
        stack.callback(equipment.kill)
        assert equipment.stdout is not None
        port = int(equipment.stdout.readline())
        lines = equipment.stdout

        def listen() -> None:
            for line in lines:
                word, device, at = line.split()
                bench.heard.put((word, device, float(at)))

        threading.Thread(target=listen, daemon=True).start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            bench.mqtt = probe.getsockname()[1]
        path = bench.folder / "lab.yaml"
        path.write_text(_lab_yaml(port, bench.mqtt, devices, silent=silent))
        log = stack.enter_context((bench.folder / "log").open("wb"))
        bench.daemon = stack.enter_context(
            subprocess.Popen([*module, "daemon", str(path), str(slow_disk)], stdout=log, stderr=log)
        )
        stack.callback(bench.daemon.kill)
        bench.until((bench.folder / "store" / "labd.sock").exists)
        bench.until(lambda: sum(one["health"] == "ok" for one in bench.request("GET", "/devices")) >= devices)
        bench.fill()
        yield bench


def _tell(figures: Figures, name: str, found: list[float]) -> None:
    ordered = sorted(found)
    figures.add(f"{name}_p50", ordered[len(ordered) // 2], "ms")
    figures.add(f"{name}_p99", ordered[math.ceil(len(ordered) * 0.99) - 1], "ms", GOAL, "lower")


def _rounds(bench: Bench, number: int, order: Callable[[], list[float]]) -> list[float]:
    found: list[float] = []
    for _ in range(number):
        bench.fill()
        time.sleep(0.2)  # the polls of the time in between
        found += order()
    return found


def _quiet(bench: Bench, number: int, figures: Figures) -> None:
    for verb in ("abort", "stop"):
        _tell(figures, f"rest_{verb}", _rounds(bench, number * 5, lambda verb=verb: bench.one_by_rest(verb)))
    _tell(figures, "rest_abort_all", _rounds(bench, number, bench.all_by_rest))
    _tell(figures, "signal_abort_all", _rounds(bench, number, bench.all_by_signal))
    client = Paho(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", bench.mqtt)
    client.loop_start()
    try:
        for verb in ("abort", "stop"):
            found = _rounds(bench, number * 2, lambda verb=verb: bench.one_by_mqtt(client, verb))
            _tell(figures, f"mqtt_{verb}", found)
        _tell(figures, "mqtt_abort_all", _rounds(bench, number, lambda: bench.all_by_mqtt(client)))
    finally:
        client.disconnect()
        client.loop_stop()


def _while_reading(bench: Bench, number: int, figures: Figures) -> None:
    """A long protocol is being read, and a run's journal is asked for, while the order comes."""
    source = long_protocol(200)

    def disturb() -> None:
        with contextlib.suppress(RuntimeError):  # it is told that all was aborted meanwhile
            bench.request("POST", "/runs", {"protocol": source, "by": "bench"})
        bench.request("GET", "/runs/run-0001/events?limit=10000")

    def order() -> list[float]:
        with ThreadPoolExecutor(1) as pool:
            disturbing = pool.submit(disturb)
            time.sleep(0.3)
            found = bench.all_by_rest()
            disturbing.result()
        bench.request("POST", "/commands/abort", {"by": "bench"})  # what came of the long one
        return found

    _tell(figures, "rest_abort_all_while_a_protocol_is_read", _rounds(bench, number, order))


def run(smoke: bool, figures: Figures) -> None:
    devices, runs, number = (12, 4, 1) if smoke else (100, 20, 20)
    with lab(devices, runs) as bench:
        _quiet(bench, number, figures)
        _while_reading(bench, max(2, number // 2), figures)
    with lab(devices, runs, silent=True) as bench:
        found = _rounds(bench, max(2, number // 4), bench.all_by_rest)
        _tell(figures, "rest_abort_all_beside_a_silent_device", found)
    with lab(devices, runs, slow_disk=2.0) as bench:
        found = _rounds(bench, max(2, number // 10), bench.all_by_rest)
        _tell(figures, "rest_abort_all_on_a_disk_of_2_s", found)
