"""What a driver and its link cost beside the bare library, and what polling and starting many devices costs.

Simulators are a process of their own. Driver and library ask the same device the same in turns, a slice of time each:
what else the machine does meets both. A hundred devices on plain TCP are read ten times a second by a daemon;
how late it asks is measured at the devices.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks._figures import RESULTS, Figures
from benchmarks._wires import DRIVERS, LAB, OTHERS, Bare, Side, bare, driven, simulated
from benchmarks.daemon_cost import MODULE, Bench, equipment, lab
from benchmarks.demo import start_up

SLICE = 0.15  # s
PERIOD = 0.1  # s
DEVICES = 100
SETTLE = 2.0  # s; the daemon's start is not measured
LIBRARIES = "fastapi, h11, httpx, lark, pydantic, ruamel.yaml, structlog, transitions, typer, uvicorn"

Way = Callable[[], AbstractAsyncContextManager[Side]]


def run(smoke: bool, figures: Figures) -> None:
    asyncio.run(_exchanges(3 if smoke else 25, figures))
    _polls(DEVICES, 1.0 if smoke else 8.0, 1 if smoke else 3, figures)
    _start_up(1 if smoke else 5, figures)


# ── exchanges ────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Rate:
    """Exchanges a second, and seconds of the processor each of them takes here."""

    rate: float
    cost: float


async def _measured(side: Side) -> Rate:
    """One slice of time."""
    count, used, began = 0, _used(), time.perf_counter()
    while (took := time.perf_counter() - began) < SLICE:
        await side.ask()
        count += side.exchanges
    return Rate(count / took, (_used() - used) / count)


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _exchanges(pairs: int, figures: Figures) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lab.yaml"
        file.write_text(LAB, encoding="utf-8")
        with simulated(file) as addresses:
            for kind in DRIVERS:
                address = addresses[kind]
                async with driven(kind, address) as (_, sent):
                    pass
                ways: dict[str, Bare] = {"bare": partial(bare, kind), **OTHERS.get(kind, {})}
                await _beside(
                    kind, address, {name: partial(way, address, sent) for name, way in ways.items()}, pairs, figures
                )


async def _beside(kind: str, address: str, others: dict[str, Way], pairs: int, figures: Figures) -> None:
    """Takes turns, and tells what came of it; a serial port has one program, so each turn opens it anew."""
    mine: list[Rate] = []
    theirs: dict[str, list[Rate]] = {name: [] for name in others}
    for _ in range(pairs):
        async with driven(kind, address) as (side, _):
            mine.append(await _measured(side))
        for name, other in others.items():
            async with other() as side:
                await side.ask()
                theirs[name].append(await _measured(side))
    figures.add(f"{kind}_exchanges", statistics.median(one.rate for one in mine), "1/s")
    figures.add(f"{kind}_exchange", statistics.median(one.cost for one in mine) * 1e6, "µs of the processor")
    for name, rates in theirs.items():
        figures.add(f"{kind}_exchanges_{name}", statistics.median(one.rate for one in rates), "1/s")
        ratio = statistics.median(one.rate / other.rate for one, other in zip(mine, rates, strict=True))
        figures.add(f"{kind}_over_{name}", ratio, "ratio", 0.8 if name == "bare" else None)
        cost = statistics.median(other.cost / one.cost for one, other in zip(mine, rates, strict=True))
        figures.add(
            f"{kind}_cost_over_{name}", cost, "ratio"
        )  # of the processor: what else the machine does is not in it


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Polls:
    """Readings a second, the processor's share, and s by which each reading came late, sorted."""

    rate: float
    cpu: float
    late: list[float]

    def quantile(self, part: float) -> float:
        """ms."""
        return self.late[math.ceil(len(self.late) * part) - 1] * 1e3


def _polls(devices: int, seconds: float, pairs: int, figures: Figures) -> None:
    """Reads all of them over TCP, by the daemon and by hand in turns."""
    daemons, hands = [], []
    for _ in range(pairs):
        with lab(devices, PERIOD) as bench:
            daemons.append(_watched(bench, seconds))
        with tempfile.TemporaryDirectory() as folder, equipment() as port:
            bench = Bench(Path(folder), devices, port)
            bench.daemon = subprocess.Popen([*MODULE, "by_hand", str(port), str(devices), str(PERIOD)])
            try:
                hands.append(_watched(bench, seconds))
            finally:
                bench.daemon.kill()
                bench.daemon.wait()
    name = f"polls_{devices}"
    figures.add(f"{name}_load", os.getloadavg()[0], "processes")  # of the machine: it makes polls late, too
    figures.add(f"{name}_rate", statistics.median(one.rate for one in daemons), "1/s", devices / PERIOD * 0.95)
    figures.add(f"{name}_cpu", statistics.median(one.cpu for one in daemons), "% of a core", 50.0, "lower")
    figures.add(f"{name}_cpu_by_hand", statistics.median(one.cpu for one in hands), "% of a core")
    figures.add(f"{name}_late_p50", statistics.median(one.quantile(0.5) for one in daemons), "ms")
    figures.add(f"{name}_late_p99", statistics.median(one.quantile(0.99) for one in daemons), "ms", 10.0, "lower")
    figures.add(f"{name}_late_p50_by_hand", statistics.median(one.quantile(0.5) for one in hands), "ms")
    figures.add(f"{name}_late_p99_by_hand", statistics.median(one.quantile(0.99) for one in hands), "ms")


def _watched(bench: Bench, seconds: float) -> Polls:
    time.sleep(min(SETTLE, seconds))
    bench.report()
    used, began = bench.used, time.monotonic()
    time.sleep(seconds)
    used, took = bench.used - used, time.monotonic() - began
    late = sorted(one for reads in bench.report()["reads"] for one in _late(reads))
    if not late:
        raise RuntimeError(f"nothing was read in {seconds:g} s")
    return Polls(len(late) / took, used / took * 100, late)


def _late(reads: list[float]) -> list[float]:
    """How late each reading of a device was: behind the earliest moment within the period at which it ever came."""
    moments = [at - round((at - reads[0]) / PERIOD) * PERIOD for at in reads]
    return [moment - min(moments) for moment in moments]


# ── start-up ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _ten(folder: Path, found: Mapping[str, str] | None = None) -> str:
    """A lab of ten devices of nine kinds; `found`: where their simulators are, which choose their ports themselves."""
    at = found or {"ot2": "http://127.0.0.1:0", "arm": "127.0.0.1:0", "press": "modbus://127.0.0.1:0"}
    entries = {
        "ot2": ("opentrons", f"address: '{at['ot2']}', pipettes: {{left: p20_single_gen2}}"),
        "arm": ("meca500", f"address: '{at['arm']}'"),
        "press": ("plc_crimper", f"address: '{at['press']}', profile: relay"),
        "meter": ("keithley", f"address: '{at.get('meter', 'tcp://127.0.0.1:0')}', max_current: 10 mA"),
        "stat1": ("methodscript", f"port: {folder}/ports/stat1, model: emstat4_hr"),
        "stat2": ("methodscript", f"port: {folder}/ports/stat2, model: emstat4_hr"),
        "pump": ("cavro", f"address: {folder}/ports/pump, syringe: 1 mL"),
        "balance": ("mt_sics", f"address: {folder}/ports/balance"),
        "bath": ("julabo", f"address: {folder}/ports/bath"),
        "gripper": ("robotiq", f"address: 'serial://{folder}/ports/gripper'"),
    }
    devices = "".join(
        f"  {name}: {{driver: {driver}, settings: {{{settings}}}, simulator: {{}}}}\n"
        for name, (driver, settings) in entries.items()
    )
    return f"labd: 1\nlab: ten\nstore: store\ndevices:\n{devices}"


def _loaded() -> float:
    """Seconds in which Python loads the libraries that the daemon stands on, and nothing else."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {LIBRARIES}"], check=True)
    return time.perf_counter() - start


def _start_up(times: int, figures: Figures) -> None:
    """How long after the command it answers on its socket, and has all its devices; and what it keeps in memory."""
    RESULTS.mkdir(exist_ok=True)
    answers, wholes, libraries = [], [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory(dir=RESULTS) as name:
            folder = Path(name).resolve()
            file = folder / "lab.yaml"
            file.write_text(_ten(folder), encoding="utf-8")
            with simulated(file) as found:
                file.write_text(_ten(folder, found), encoding="utf-8")
                libraries.append(_loaded())
                answers.append(start_up(file, "--without-simulators"))
                wholes.append(start_up(file, "--without-simulators", whole=True))
    bare = statistics.median(libraries)
    start = statistics.median(one.seconds for one in answers)
    figures.add("serve_10_load", os.getloadavg()[0], "processes")
    figures.add("serve_10_start_up", start, "s", 1.5, "lower")
    figures.add("serve_10_libraries", bare, "s")  # what the machine takes for them alone, in the same minutes
    figures.add("serve_10_start_up_over_libraries", start / bare, "ratio")
    figures.add("serve_10_start_up_cpu", statistics.median(one.cpu for one in answers), "s of the processor")
    figures.add("serve_10_devices_well", statistics.median(one.seconds for one in wholes), "s")
    figures.add("serve_10_rss", statistics.median(one.rss for one in wholes), "MB", 120.0, "lower")
