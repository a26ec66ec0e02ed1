"""The demo: a simulated lab builds and measures coin cells, and shows what came out."""

from __future__ import annotations

import asyncio
import importlib.resources
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from rich.console import Console

from labd import clock
from labd.daemon import Daemon
from labd.demo.pace import keep_pace
from labd.demo.show import Show, table_of
from labd.lab.background import background
from labd.lab.bus import RunState
from labd.lab.config import load_lab
from labd.records.export import export
from labd.records.results import CellRow, cell_rows, profiles
from labd.run.attention import Attention
from labd.run.lifecycle import Command
from labd.run.shipped import find_protocol

PROTOCOL = "cr2032_dose_crimp_form"
DOSES = (35, 20, 45, 25, 40, 30, 60, 50)  # µL
FORCES = (7.8, 7.8, 7.0, 7.8, 8.4, 7.8, 7.8, 7.4)  # kN
WATCH_FACTOR = 60.0  # lab seconds a machine second, while the lab stays alive to be looked at
LOOKS = 180.0  # s of lab time that the demo's operator needs to look at a cell
READY_LIMIT = 300.0  # s of lab time for all devices to be there


@dataclass(frozen=True, slots=True)
class Played:
    """What a demo was: for its own last lines, and for the benchmark."""

    lab_seconds: float
    machine_seconds: float
    rows: Sequence[CellRow]
    runs: Sequence[RunState]
    files: Sequence[Path]


def furnish(directory: Path, seed: int, *, scaled: float | None = None) -> Path:
    """Writes the demo's lab.yaml and taught positions into a folder; gives lab.yaml's path.

    Args:
        directory: the folder.
        seed: of the simulators' spread.
        scaled: for a lab that `labd serve` shall keep: lab seconds a machine second, in place of virtual time.
    """
    directory.mkdir(parents=True, exist_ok=True)
    own = importlib.resources.files("labd.demo")
    text = own.joinpath("lab.yaml").read_text(encoding="utf-8").replace("seed: 7", f"seed: {seed}")
    if scaled is not None:
        text = text.replace("clock: virtual", f"clock: {{scaled: {scaled:g}}}")
    lab = directory / "lab.yaml"
    lab.write_text(text, encoding="utf-8")
    (directory / "arm.yaml").write_text(own.joinpath("arm.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return lab


async def play(lab: Path, cells: int, show: Show, *, watch: bool, console: Console) -> Played:
    """Runs the lab, starts a run a cell, answers what is asked, and writes the results down.

    Raises:
        LabError: devices that are not there in time.
    """
    config = load_lab(lab)
    daemon = Daemon(config)
    real = time.perf_counter()
    async with daemon.open():
        began = clock.monotonic()
        daemon.lab.bus.subscribe(show.hear)
        daemon.journal.on_commit(show.read)
        for device in daemon.lab.devices.values():
            show.hear(device.state())
        with show:
            operator = Operator(daemon)
            await daemon.lab.wait_ready(READY_LIMIT)
            if watch:
                await tell_where(daemon, console)
            runs = [await start(daemon, number) for number in range(cells)]
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(operator.answer_all())
                await asyncio.gather(*(daemon.engine.wait(run) for run in runs))
                answering.cancel()
        lab_seconds = clock.monotonic() - began
        states = [await daemon.engine.state(run) for run in runs]
        rows = cell_rows(await daemon.journal.events())
        files = await write_results(daemon, runs, rows, lab.parent)
        played = Played(lab_seconds, time.perf_counter() - real, rows, states, files)
        tell_result(played, lab.parent, console)
        if watch:
            await stay(console)
    return played


def tell_result(played: Played, directory: Path, console: Console) -> None:
    """The table, and where everything lies."""
    console.print(table_of(played.rows))
    for row in played.rows:
        if row.note:
            console.print(f"{row.sample}: {row.note}")
    here = near(directory)
    pages = {path.stem: path.parent.name for path in played.files if path.suffix == ".png"}
    console.print("\nWhere everything lies:")
    for stem, folder in pages.items():
        console.print(f"  {here}/{folder}/{stem}.png, .svg", soft_wrap=True)
    console.print(
        f"  {here}/data/  a folder a run: a CSV file a measurement, and run.json with the run's record", soft_wrap=True
    )
    console.print(f"  {here}/journal.sqlite, signals.sqlite, lab.yaml, labd.log", soft_wrap=True)
    hours, seconds = played.lab_seconds / 3600, played.machine_seconds
    console.print(f"{hours:.1f} h of lab time in {seconds:.1f} s: {hours * 3600 / seconds:,.0f}-fold.")


def near(path: Path) -> str:
    """A path as one would type it from here."""
    return os.path.relpath(path)


async def start(daemon: Daemon, number: int) -> str:
    """Starts the run of one cell; gives its id."""
    well = f"{'AB'[number % 2]}{number // 2 + 1}"
    parameters = {
        "volume": f"{DOSES[number % len(DOSES)]} µL",
        "force": f"{FORCES[number % len(FORCES)]} kN",
        "lid": f"tray/lids/{well}",
        "store_at": f"tray/cells/{well}",
    }
    source = find_protocol(PROTOCOL)
    text = source.read_text(encoding="utf-8")
    run = await daemon.engine.start(
        text, source.name, parameters, sample=f"cell-{number + 1}", position=f"ot2/3/{well}", by="demo"
    )
    return run.id


class Operator:
    """Answers questions as a person would: after a look."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._attention = Attention(daemon.lab.bus)

    async def answer_all(self) -> None:
        while True:
            state = await self._attention.next()
            await asyncio.sleep(LOOKS)
            if state.question is not None:
                choice = state.question["choices"][-1]  # a cell that is in doubt is not worth a channel
                await self._daemon.engine.answer(state.run, choice, by="demo's operator")
            else:
                # nothing in the demo's script holds a run: whatever did, its cell is given up, and the table says so
                await self._daemon.engine.command(state.run, Command.STOP, by="demo's operator", cause=state.cause)


async def write_results(daemon: Daemon, runs: Sequence[str], rows: Sequence[CellRow], directory: Path) -> list[Path]:
    """Writes each run's data as CSV and the plots as PNG and SVG; gives the folders and files to look at."""
    from labd.records.plots import capacity_against_dose, voltage_profiles

    data = directory / "data"
    for run in runs:
        await export(run, "csv", data / run, daemon.signals, daemon.journal)
    plots = directory / "plots"
    plots.mkdir(exist_ok=True)
    found = await profiles(daemon.signals, rows)
    files = await asyncio.to_thread(voltage_profiles, found, plots / "voltage_profiles")
    files += await asyncio.to_thread(capacity_against_dose, rows, plots / "capacity_against_dose")
    return [*files, data, directory / "journal.sqlite", directory / "signals.sqlite", directory / "lab.yaml"]


async def tell_where(daemon: Daemon, console: Console) -> None:
    """How to look at the lab from another terminal, once its broker is there."""
    async with asyncio.timeout(READY_LIMIT):
        while daemon.broker is None:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.1)
    host, _, port = daemon.broker.partition(":")
    console.print("Look at it from another terminal:")
    console.print(f"  mosquitto_sub -h {host} -p {port} -t 'labd/1/{daemon.config.lab}/#' -v", soft_wrap=True)
    console.print(f"  labd status --socket {quote(str(daemon.config.socket))}", soft_wrap=True)


async def stay(console: Console) -> None:
    """Keeps the lab alive until Ctrl-C or SIGTERM, at a pace at which one can look at it."""
    console.print(f"\nThe lab stays alive, {WATCH_FACTOR:g} times as fast as a clock. End it with Ctrl-C.")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with background(keep_pace(WATCH_FACTOR), "pace"):
        await ended.wait()
    console.print("The lab ends in order.")
