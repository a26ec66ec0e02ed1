"""Whole shifts on virtual time: 36 and 64 cells at the pace of AutoBASS and Aurora, with and without hiccups.

Queue, stock, plan, runs and journal are labd's own; the machines take the time that theirs took (`_shift`). `of_bound`
is the makespan over the busiest machine's work: the time for which states had it in the shift without hiccups. The plan
is made by labd's own planner, which takes no lab time here: on a real clock a solver looks for better ones beside it.
`of_serial` is the same over one cell at a time. With hiccups a person answers after two minutes; every window that
broke is counted, and its cell's fate is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks._figures import Figures
from benchmarks._shift import AURORA, AUTOBASS, MACHINES, Machine, Pace
from labd import clock
from labd.journal import Event, Journal, SignalStore
from labd.lab.background import background
from labd.lab.config import LabConfig
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.queue import Submission, rows_of
from labd.run.shipped import find_protocol

SEEDS = (1, 2, 3)
A_PERSON = 120.0  # s until somebody answers
WELLS = [f"{row}{column}" for column in range(1, 7) for row in "ABCDEF"]
STATIONS = 2  # trays of 36 of each part


@dataclass(frozen=True, slots=True)
class Kind:
    """A protocol with its parts, its pace, and where a cell goes on whose crimp a person vouches for."""

    protocol: str
    parts: Mapping[str, str]  # part by parameter
    pace: Mapping[str, float]
    crimped: str


KINDS = {
    "autobass": Kind(
        "autobass_cr2032",
        {
            "anode_case": "anode_case",
            "anode_spacer": "spacer",
            "anode": "anode",
            "separator": "separator",
            "cathode": "cathode",
            "cathode_spacer": "spacer",
            "spring": "spring",
            "cathode_case": "cathode_case",
        },
        AUTOBASS,
        "retrieve",
    ),
    "aurora": Kind(
        "aurora_cr2032",
        {
            "bottom": "cr2032_bottom",
            "lower_spacer": "spacer",
            "electrode": "electrode",
            "separator": "separator",
            "counter_electrode": "counter_electrode",
            "upper_spacer": "spacer",
            "spring": "spring",
            "top": "cr2032_top",
        },
        AURORA,
        "return",
    ),
}


@dataclass(slots=True)
class Shift:
    """What came of one shift; times in lab seconds."""

    makespan: float = 0.0
    ends: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # first dose's end to crimp's begin
    stored: int = 0
    fates: Counter[str] = field(default_factory=Counter)  # of cells that were not stored, by why
    broken: int = 0
    missed: int = 0
    stuck: int = 0
    busy: Mapping[str, float] = field(default_factory=dict)  # s by device, in which it moved
    work: Counter[str] = field(default_factory=Counter)  # s by device, for which states had it


def lab_of(kind: Kind, most_runs: int, path: Path) -> LabConfig:
    trays = [
        {"place": f"tray/{name}{number}", "labware": "part_tray_36", "fill": part}
        for name, part in kind.parts.items()
        for number in range(1, STATIONS + 1)
    ]
    cells = [
        {"place": f"tray/{name}{number}", "labware": "cell_tray_36"}
        for name in ("post", "rack")
        for number in range(1, STATIONS + 1)
    ]
    racks = [{"place": f"robot/{slot}", "labware": "opentrons_96_tiprack_300ul"} for slot in (1, 3)]
    liquid = {"A1": {"material": "LP57", "lot": "L-1", "volume": "18 mL", "dead": "1 mL"}}
    vials = {"place": "robot/2", "labware": "vials_8x20ml", "contents": liquid}
    return LabConfig.model_validate(
        {
            "labd": 1,
            "lab": "shift",
            "store": path,
            "devices": {
                name: {"driver": name, "poll": {"idle": "1 h", "busy": "1 h"}, "simulator": {}} for name in MACHINES
            },
            "deck": [*trays, *cells, *racks, vials],
            "queue": {"most_runs": most_runs},
        }
    )


def table(kind: Kind, cells: int) -> list[dict[str, Any]]:
    """A row a cell: where each part of it lies, where it is built, and where it goes."""
    rows = []
    for number in range(cells):
        tray, well = number // 36 + 1, WELLS[number % 36]
        row: dict[str, Any] = {name: f"tray/{name}{tray}/{well}" for name in kind.parts}
        rows.append({**row, "store_at": f"tray/rack{tray}/{well}", "position": f"tray/post{tray}/{well}"})
    return rows


@contextlib.asynccontextmanager
async def at_work(config: LabConfig, path: Path) -> AsyncIterator[Engine]:
    async with contextlib.AsyncExitStack() as stack:
        lab = Lab(config, find=MACHINES.__getitem__)
        journal = await Journal.open(path / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(path / "signals.sqlite")
        stack.push_async_callback(signals.close)
        for device in lab.devices.values():
            await stack.enter_async_context(background(device.run(), device.id))
            await device.wait_ready()
        engine = Engine(lab, journal, signals)
        await stack.enter_async_context(background(engine.run(), "engine"))
        await engine.ready.wait()
        yield engine


async def person(engine: Engine, crimped: str) -> None:
    """Looks every two minutes: says that what is asked about was done, keeps cells, and lets runs go on."""
    while True:
        await asyncio.sleep(A_PERSON)
        for run in engine.working:
            state = await engine.state(run)
            with contextlib.suppress(CommandRefusedError):
                if state.question is not None:
                    choice = "done" if state.question["kind"] == "outcome" else next(iter(state.question["choices"]))
                    await engine.answer(run, choice, by="person")
            state = await engine.state(run)
            if state.state == "Held":
                # a crimp that a person vouches for has no result that `next` could look at: the cell goes on behind it
                at = crimped if "has no value" in str(state.cause) else None
                with contextlib.suppress(CommandRefusedError):
                    await engine.command(run, Command.UNHOLD, by="person", at=at)


async def shift(name: str, cells: int, seed: int, *, hiccups: bool, serial: bool) -> Shift:
    """One shift of so many cells."""
    kind = KINDS[name]
    Machine.pace = pace = Pace(kind.pace, random.Random(f"{name}:{seed}"), hiccups)
    with tempfile.TemporaryDirectory(prefix="labd-shift-") as folder:
        path = Path(folder)
        async with at_work(lab_of(kind, 1 if serial else cells, path), path) as engine:
            helper = asyncio.create_task(person(engine, kind.crimped))
            began = clock.monotonic()
            source = find_protocol(kind.protocol).read_text(encoding="utf-8")
            rows = rows_of(table(kind, cells), range(1, cells + 1))
            await engine.queue.submit(
                Submission(source, rows=rows, table="cells.csv", name=kind.protocol, by="benchmark")
            )
            while engine.queue.jobs() and not helper.done():  # noqa: ASYNC110 - of lab time, which costs nothing
                await asyncio.sleep(1.0)
            found = Shift(clock.monotonic() - began, missed=pace.missed, stuck=pace.stuck, busy=dict(pace.busy))
            if helper.done():
                await helper  # it has failed: nobody answers any more
            helper.cancel()
            _read(found, await engine.journal.events())
    return found


def _read(found: Shift, events: Sequence[Event]) -> None:
    """What the journal says of each cell."""
    inside: dict[str, tuple[float, Sequence[str]]] = {}  # by run: since when it is in a state, with which devices
    dosed: dict[str, float] = {}
    crimps: dict[str, str] = {}
    for event in events:
        run, data, at = event.run or "", event.data, datetime.fromisoformat(event.at).timestamp()
        if event.kind in ("protocol.entered", "protocol.ended"):
            since, devices = inside.pop(run, (at, ()))
            found.work.update(dict.fromkeys(devices, at - float(data.get("waited") or 0.0) - since))
            inside[run] = at, tuple(data.get("bindings", {}).values())
        if event.kind == "action.intended" and data["action"] == "crimp":
            found.waits.append(at - dosed.pop(run)) if run in dosed else None
        elif event.kind == "action.intended" and data["action"] == "transfer":
            crimps[data["action_id"]] = run
        elif event.kind == "action.done" and data["action_id"] in crimps:
            dosed.setdefault(run, at)
        elif event.kind == "protocol.ended":
            found.ends.append(at)
            if data["outcome"] == "complete":
                found.stored += 1
            else:
                found.fates[str(data["because"])] += 1
                found.broken += "window" in str(data["because"]) or "within" in str(data["because"])


def tell(figures: Figures, label: str, cells: int, found: Shift, serial: Shift, plain: Shift) -> None:
    busiest = max(plain.work.values())
    steps = [later - sooner for sooner, later in zip(sorted(found.ends), sorted(found.ends)[1:], strict=False)]
    figures.add(f"{label}.stored", found.stored, "cells", None if found.missed + found.stuck else cells)
    figures.add(f"{label}.of_bound", found.makespan / busiest, "ratio", None if found.missed else 1.1, "lower")
    figures.add(f"{label}.of_serial", found.makespan / serial.makespan, "ratio", 1.0, "lower")
    figures.add(f"{label}.cell", statistics.median(steps), "s a cell")
    figures.add(f"{label}.electrolyte_to_crimp.median", statistics.median(found.waits), "s")
    figures.add(f"{label}.electrolyte_to_crimp.worst", max(found.waits), "s")
    figures.add(f"{label}.windows_broken", found.broken, "cells", None if found.missed + found.stuck else 0, "lower")
    for fate, count in sorted(found.fates.items()):
        print(f"# {label}: {count} cells ended otherwise: {fate}")
    if found.missed + found.stuck:
        print(f"# {label}: {found.missed} picks missed, {found.stuck} presses stuck")
    for device, seconds in sorted(found.busy.items()):
        figures.add(f"{label}.busy.{device}", 100 * seconds / found.makespan, "%")


def one(name: str, cells: int, seed: int = 0, *, hiccups: bool = False, serial: bool = False) -> Shift:
    return clock.run(shift(name, cells, seed, hiccups=hiccups, serial=serial), clock.VirtualTimeline())


def run(smoke: bool, figures: Figures) -> None:
    for name in KINDS:
        for cells in (6,) if smoke else (36, 64):
            serial, plain = one(name, cells, serial=True), one(name, cells)
            tell(figures, f"{name}.{cells}", cells, plain, serial, plain)
            for seed in SEEDS[:1] if smoke else SEEDS:
                hit = one(name, cells, seed, hiccups=True)
                tell(figures, f"{name}.{cells}.hiccups.{seed}", cells, hit, serial, plain)
