"""SIGKILL of the daemon at any instant: what was acknowledged is in the journal, and the next start tells what was cut.

Daemon and simulators are processes of their own on one scaled clock, so that what was ordered goes on without labd.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks._figures import Figures
from benchmarks.faults.lab import PROTOCOL, WELLS, lab_of
from labd import clock
from labd.journal import Event, Journal
from labd.run.history import fold

BIN = Path(sys.executable).parent
SCALE = 60  # lab seconds a machine second
READY = 30.0  # s until a process must answer
CELLS = 3
HELD = 0.2  # chance that a look at a run is followed by a hold and an unhold
OK, CREATED = 200, 201
LANES = 2  # labs at a time; the interpreter's lock keeps their counts apart
GOES_ON = 0.5  # s after the next start in which nothing of the old runs may be sent
STAYS = ("action.intended", "action.sent")


@dataclass(slots=True)
class Acknowledged:
    """What the daemon has said yes to, and what it has shown of its journal."""

    started: list[str] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)  # run, command
    events: dict[int, str] = field(default_factory=dict)  # seq -> hash

    def lost(self, journal: list[Event]) -> int:
        """How much of it the journal does not have."""
        began = {event.run for event in journal if event.kind == "run.started"}
        taken = [(event.run, event.data["command"]) for event in journal if event.kind == "command.accepted"]
        hashes = {event.seq: event.hash for event in journal}
        lost = sum(run not in began for run in self.started)
        lost += sum(max(0, self.commands.count(one) - taken.count(one)) for one in set(self.commands))
        return lost + sum(hashes.get(seq) != told for seq, told in self.events.items())


@dataclass(slots=True)
class Killed:
    """What was found out over all kills."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    broken_chains: int = 0
    not_up: int = 0
    cut: int = 0
    untold: int = 0
    misplaced: int = 0
    repeated: int = 0
    in_flight: int = 0

    def tell(self, figures: Figures) -> None:
        figures.add("kill.kills", self.kills, "kills")
        figures.add("kill.acknowledged", self.acknowledged, "answers")
        figures.add("kill.acknowledged_lost", self.lost, "answers", goal=0, better="lower")
        figures.add("kill.broken_journals", self.broken_chains, "journals", goal=0, better="lower")
        figures.add("kill.starts_failed", self.not_up, "starts", goal=0, better="lower")
        figures.add("kill.runs_cut", self.cut, "runs")
        figures.add("kill.actions_in_flight", self.in_flight, "actions")
        figures.add("kill.cut_untold", self.untold, "runs", goal=0, better="lower")
        figures.add("kill.samples_misplaced", self.misplaced, "samples", goal=0, better="lower")
        figures.add("kill.sent_again", self.repeated, "actions", goal=0, better="lower")


class Api:
    """The daemon's interface over its Unix socket, one connection a request. Nobody there: OSError or HTTPException."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer."""
        connection = http.client.HTTPConnection("labd", timeout=READY)
        with contextlib.closing(connection), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(READY)
            sock.connect(str(self._path))
            connection.sock = sock
            told = None if body is None else json.dumps(body)
            connection.request(method, f"/api/v1{path}", told, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


GONE = (OSError, http.client.HTTPException, ValueError)  # ValueError: an answer that was cut in its middle


class Bench:
    """Simulators and daemon of one lab, each a process."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.lab = directory / "lab.yaml"
        self.raw = lab_of(directory, seed) | {"clock": {"scaled": SCALE}}
        self._write()
        self._processes: list[subprocess.Popen[str]] = []

    def _write(self) -> None:
        with self.lab.open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(self.raw, file)

    def simulate(self) -> subprocess.Popen[str]:
        """Starts the simulators; the ports that they found free come into lab.yaml."""
        process = self._spawn("labd-sim", self.lab, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready":
                break
            device, _, where = line.strip().partition(": ")
            if " at address " in where:
                self.raw["devices"][device]["settings"]["address"] = where.partition(" at address ")[2]
        self._write()
        return process

    def serve(self) -> subprocess.Popen[str]:
        """Starts the daemon."""
        return self._spawn("labd", "serve", "--lab", self.lab, "--without-simulators", "--log", "json")

    def _spawn(self, program: str, *arguments: object, stdout: int | None = None) -> subprocess.Popen[str]:
        log = (self.directory / f"{program}.log").open("a")
        command = [str(BIN / program), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=stdout or log, stderr=log, text=True)
        log.close()
        self._processes.append(process)
        return process

    @property
    def api(self) -> Api:
        return Api(self.directory / "store" / "labd.sock")

    def is_up(self, daemon: subprocess.Popen[str]) -> bool:
        """Waits until the daemon answers and all devices are well; False when it ends or is late."""
        end = time.monotonic() + READY
        while time.monotonic() < end and daemon.poll() is None:
            with contextlib.suppress(*GONE):
                _, devices = self.api.ask("GET", "/devices")
                if all(device["health"] == "ok" for device in devices):
                    return True
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=60)
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def bench(directory: Path, seed: int) -> Iterator[Bench]:
    """A lab's processes, which end with the block."""
    processes = Bench(directory, seed)
    try:
        yield processes
    finally:
        processes.stop()


def command_until_it_dies(api: Api, rng: random.Random) -> Acknowledged:
    """Starts runs, holds and unholds them and reads along, until nobody answers; gives what was acknowledged."""
    yes = Acknowledged()
    with contextlib.suppress(*GONE):
        for well in WELLS[:CELLS]:
            start = _start(f"cell-{well.lower()}", f"ot2/3/{well}", well)
            status, told = api.ask("POST", "/runs", start)
            if status != CREATED:
                raise RuntimeError(f"a run was refused: {told}")
            yes.started.append(told["run"])
        while True:
            run = rng.choice(yes.started)
            last = max(yes.events, default=0)
            _, told = api.ask("GET", f"/runs/{run}/events?after={max(0, last - 50)}")
            yes.events.update((event["seq"], event["hash"]) for event in told["events"])
            if rng.random() < HELD:
                for verb in ("hold", "unhold"):
                    if api.ask("POST", f"/runs/{run}/commands/{verb}", {"by": "faults"})[0] == OK:
                        yes.commands.append((run, verb))
            time.sleep(rng.uniform(0.0, 0.05))
    return yes


def read(path: Path) -> tuple[list[Event], int | None]:
    """A journal that nobody has open: its events, and the first that breaks the chain."""

    async def reading() -> tuple[list[Event], int | None]:
        journal = await Journal.open(path)
        try:
            return await journal.events(), await journal.verify()
        finally:
            await journal.close()

    return clock.run(reading())


def kill_once(directory: Path, seed: int, after: float, found: Killed) -> None:
    """A daemon at work is killed after so many machine seconds, and started again."""
    path = directory / "store" / "journal.sqlite"
    with bench(directory, seed) as lab:
        simulators = lab.simulate()
        daemon = lab.serve()
        if not lab.is_up(daemon):
            raise RuntimeError((directory / "labd.log").read_text())
        killer = threading.Timer(after, daemon.kill)
        killer.start()
        yes = command_until_it_dies(lab.api, random.Random(f"kill/{seed}"))
        killer.join()
        daemon.wait()
        found.kills += 1
        found.acknowledged += len(yes.started) + len(yes.commands) + len(yes.events)
        before, broken = read(path)
        found.lost += yes.lost(before)
        found.broken_chains += broken is not None
        again = lab.serve()
        if not lab.is_up(again):
            found.not_up += 1
            return
        _look(lab.api, before, found)
        time.sleep(GOES_ON)
        again.terminate()
        again.wait(timeout=60)
        simulators.terminate()
        simulators.wait(timeout=60)
        after_all, broken = read(path)
        found.broken_chains += broken is not None
        found.repeated += sum(event.kind in STAYS for event in after_all[len(before) :])
        found.misplaced += _misplaced(directory, before, after_all)


def _look(api: Api, before: list[Event], found: Killed) -> None:
    """Whether the next start tells the cut runs as such, and knows where their samples are."""
    history = fold(before)
    found.in_flight += len(_in_flight(before))
    for state in history.unfinished:
        found.cut += 1
        _, now = api.ask("GET", f"/runs/{state.run}")
        cause = now["cause"] or ""
        found.untold += not (now["state"] == "Aborted" and now["outcome"] == "aborted" and "the daemon ended" in cause)
    for sample, place in history.places.items():
        # a start elsewhere is refused with the place where the sample is
        status, told = api.ask("POST", "/runs", _start(sample, "tray/cells/B4", "B4"))
        found.misplaced += status < 400 or f"{sample} is at {place}," not in str(told)


def _start(sample: str, position: str, well: str) -> dict[str, Any]:
    parameters = {"lid": f"tray/lids/{well}", "store_at": f"tray/cells/{well}"}
    return {"protocol": PROTOCOL, "parameters": parameters, "by": "faults", "sample": sample, "position": position}


def _in_flight(events: list[Event]) -> list[Event]:
    """The actions that were intended and have no outcome."""
    over = {e.data["action_id"] for e in events if e.kind in ("action.done", "action.failed", "action.reconciled")}
    return [e for e in events if e.kind == "action.intended" and e.data["action_id"] not in over]


def _misplaced(directory: Path, before: list[Event], after: list[Event]) -> int:
    """Samples that really are elsewhere than the journal says, with no action in flight that would explain it."""
    world = json.loads((directory / "store" / "simulators" / "world.json").read_text())
    really: dict[str, str] = {item["id"]: place for place, item in world["items"].items()}
    places, excused = fold(after).places, {event.data["sample"] for event in _in_flight(before)}
    homes: dict[str, Any] = {e.data["sample"]: e.data["home"] for e in before if e.kind == "run.started"}
    return sum(sample not in excused and really[f"cell:{home}"] != places[sample] for sample, home in homes.items())


def run(smoke: bool, figures: Figures) -> None:
    rng = random.Random("kills")
    instants = [rng.uniform(0.0, 6.0) for _ in range(2 if smoke else 16)]
    found = Killed()

    def kill(seed: int) -> None:
        with tempfile.TemporaryDirectory() as directory:
            kill_once(Path(directory), seed, instants[seed], found)

    with ThreadPoolExecutor(LANES) as lanes:
        for _ in lanes.map(kill, range(len(instants))):
            pass
    found.tell(figures)
