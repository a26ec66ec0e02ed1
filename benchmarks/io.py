"""What a driver and its link cost beside the bare library, and what polling and starting many devices costs.

Simulators are a process of their own. Driver and library ask the same device the same in turns, a slice of time each:
what else the machine does meets both. A hundred devices on plain TCP are read ten times a second by a daemon that has
one core; how late it asks is measured at the devices.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks._figures import RESULTS, Figures
from benchmarks._wires import DRIVERS, LAB, Side, bare, driven, kept, simulated
from benchmarks.daemon_cost import Bench, lab
from benchmarks.demo import start_up
from benchmarks.mqtt.brokers import free_port

SLICE = 0.15  # s
PERIOD = 0.1  # s
DEVICES = 100
SETTLE = 2.0  # s; the daemon's start is not measured

Bare = Callable[[], AbstractAsyncContextManager[Side]]


def run(smoke: bool, figures: Figures) -> None:
    asyncio.run(_exchanges(3 if smoke else 25, figures))
    _polls(DEVICES, 2.0 if smoke else 20.0, figures)
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
                others: dict[str, Bare] = {"bare": lambda: bare(kind, address, sent)}  # noqa: B023 - used within
                if kind == "http":
                    others["bare_kept"] = lambda: kept(address, sent)  # noqa: B023
                await _beside(kind, address, others, pairs, figures)


async def _beside(kind: str, address: str, others: dict[str, Bare], pairs: int, figures: Figures) -> None:
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
        # a kept connection is another thing: labd makes one a request, so that a late answer dies with its own
        figures.add(f"{kind}_over_{name}", ratio, "ratio", 0.8 if name == "bare" else None)


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _polls(devices: int, seconds: float, figures: Figures) -> None:
    """Reads all of them over TCP; a reading is late by what passed since the last one beyond its period."""
    with lab(devices, PERIOD) as bench:
        _pin(bench)
        time.sleep(min(SETTLE, seconds))
        bench.report()
        used, began = bench.used, time.monotonic()
        time.sleep(seconds)
        used, took = bench.used - used, time.monotonic() - began
        late = sorted(max(0.0, pause - PERIOD) for pause in bench.report()["pauses"])
    if not late:
        raise RuntimeError(f"{devices} devices were not read in {seconds:g} s")
    name = f"polls_{devices}"
    figures.add(f"{name}_load", os.getloadavg()[0], "processes")  # of the machine: it makes polls late, too
    figures.add(f"{name}_rate", len(late) / took, "1/s", devices / PERIOD * 0.9)
    figures.add(f"{name}_cpu", used / took * 100, "% of a core", 50.0, "lower")
    figures.add(f"{name}_late_p50", late[len(late) // 2] * 1e3, "ms")
    figures.add(f"{name}_late_p99", late[math.ceil(len(late) * 0.99) - 1] * 1e3, "ms", 10.0, "lower")


def _pin(bench: Bench) -> None:
    """Leaves the daemon, all of its threads, one core: the last that this process may use."""
    core = max(os.sched_getaffinity(0))
    for thread in Path(f"/proc/{bench.daemon.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


# ── start-up ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _ten(folder: Path) -> str:
    """A lab of ten devices of nine kinds, on ports that the simulators and the daemon agree on."""
    ports = [free_port() for _ in range(4)]
    entries = {
        "ot2": ("opentrons", f"address: 'http://127.0.0.1:{ports[0]}', pipettes: {{left: p20_single_gen2}}"),
        "arm": ("meca500", f"address: '127.0.0.1:{ports[1]}'"),
        "press": ("plc_crimper", f"address: 'modbus://127.0.0.1:{ports[2]}', profile: relay"),
        "meter": ("keithley", f"address: 'tcp://127.0.0.1:{ports[3]}', max_current: 10 mA"),
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


def _start_up(times: int, figures: Figures) -> None:
    """How long after the command it answers on its socket, and has all its devices; and what it keeps in memory."""
    RESULTS.mkdir(exist_ok=True)
    answers, wholes, sizes = [], [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory(dir=RESULTS) as name:
            folder = Path(name).resolve()
            file = folder / "lab.yaml"
            file.write_text(_ten(folder), encoding="utf-8")
            with simulated(file):
                answers.append(start_up(file, "--without-simulators")[0])
                whole, size = start_up(file, "--without-simulators", whole=True)
            wholes.append(whole)
            sizes.append(size)
    figures.add("serve_10_start_up", statistics.median(answers), "s", 1.5, "lower")
    figures.add("serve_10_devices_well", statistics.median(wholes), "s")
    figures.add("serve_10_rss", statistics.median(sizes), "MB", 120.0, "lower")
