"""`labd demo --campaign`: the closed loop in the simulated lab. It proposes, mixes, builds, cycles and learns."""

from __future__ import annotations

import asyncio
import importlib.resources
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from labd import clock
from labd.campaign.campaign import Campaign
from labd.campaign.crating import belongs
from labd.campaign.shipped import find_campaign
from labd.campaign.state import Experiment
from labd.daemon import Daemon
from labd.demo.play import READY_LIMIT, Operator, near
from labd.demo.show import Show
from labd.demo.truth import DRAWS, SIZES, Chance, by_chance, truth, worth
from labd.lab.bus import CampaignState, Happening
from labd.lab.config import load_lab
from labd.records import Analyst
from labd.records.crate import write
from labd.records.crate.gathering import PAGE, gather
from labd.run.shipped import find_protocol

CAMPAIGN, PROTOCOL = "cr2032_electrolyte", "mix_and_form_cr2032"
BATCH = 8
SEED = 7
_TRAY, _LIDS = ("ot2/3", -60, 100, 6, 6), ("tray/lids", -60, -200, 6, 6)
_MORE_CELLS, _MORE_LIDS = ("ot2/5", 60, 100, 2, 4), ("tray/more", 60, -120, 2, 4)
_PITCH = 20  # mm


@dataclass(frozen=True, slots=True)
class Round:
    """What one round proposed, and what came of it.

    Args:
        cells: how many were made, and how many of them gave no value.
        failed: the latter.
        best: of all so far as measured, from 0 to 1.
        truth: how good the best measured one really is.
        error: of the model's predictions for this round against the truth, by objective, as a mean of absolute values.
    """

    cells: int
    failed: int
    best: float
    truth: float
    error: dict[str, float]


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a campaign was: for its own last lines, and for the benchmark."""

    rounds: tuple[Round, ...]
    best: Experiment | None
    until: int
    chance: Chance | None
    why: str
    lab_seconds: float
    machine_seconds: float
    files: tuple[Path, ...]


def furnish(directory: Path, seed: int) -> Path:
    """Writes lab.yaml, the arm's taught positions and the campaign into a folder; gives lab.yaml's path."""
    directory.mkdir(parents=True, exist_ok=True)
    text = importlib.resources.files("labd.demo").joinpath("discovery.yaml").read_text(encoding="utf-8")
    lab = directory / "lab.yaml"
    lab.write_text(text.replace("seed: 7", f"seed: {seed}"), encoding="utf-8")
    (directory / "arm.yaml").write_text("\n".join(_taught()) + "\n", encoding="utf-8")
    return lab


def _taught() -> list[str]:
    """A line a position: mm and degrees, in the arm's base frame."""
    poses = {"home": (190, 0, 180), "press/nest": (240, -50, 62)}
    for place, x, y, rows, columns in (_TRAY, _MORE_CELLS, _LIDS, _MORE_LIDS):
        for column in range(columns):
            for row in range(rows):
                poses[f"{place}/{'ABCDEF'[row]}{column + 1}"] = (x + _PITCH * column, y + _PITCH * row, 50)
    poses |= {f"cycler/21-1-{n + 1}": (140 + 22 * (n % 4), 30 + 30 * (n // 4), 40) for n in range(BATCH)}
    taught = "180, 0, 180], taught: 2026-11-20, by: mk}"
    return [f"{place}: {{pose: [{x}, {y}, {z}, {taught}" for place, (x, y, z) in poses.items()]


async def discover(lab: Path, rounds: int, show: Show, console: Console) -> Discovered:
    """Runs the campaign to its end, and writes down what it found.

    Raises:
        LabError: devices that are not there in time.
        InputErrors: the campaign does not hold in this lab.
    """
    daemon = Daemon(load_lab(lab))
    real = time.perf_counter()
    async with daemon.open():
        began = clock.monotonic()
        daemon.lab.bus.subscribe(show.hear)
        with show:
            await daemon.lab.wait_ready(READY_LIMIT)
            campaign = await _started(daemon, rounds)
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(Operator(daemon).answer_all())
                await _ended(daemon, campaign, show)
                answering.cancel()
        lab_seconds = clock.monotonic() - began
        files = await _written(daemon, campaign, lab.parent)
        found = _judged(campaign, lab_seconds, time.perf_counter() - real, files)
        tell(found, campaign, lab.parent, console)
    return found


async def _started(daemon: Daemon, rounds: int) -> Campaign:
    file, protocol = find_campaign(CAMPAIGN), find_protocol(PROTOCOL)
    text = file.read_text(encoding="utf-8").replace("cells: 40", f"cells: {rounds * BATCH}")
    text = text.replace("batch: 8", f"batch: {BATCH}")
    source = protocol.read_text(encoding="utf-8")
    called = {"carry": find_protocol("carry").read_text(encoding="utf-8")}
    return await daemon.campaigns.start(text, file.name, source, protocol.name, called, by="demo")


async def _ended(daemon: Daemon, campaign: Campaign, show: Show) -> None:
    """Waits for the campaign's end, and says what each round brought."""
    over, told = asyncio.Event(), 0

    def hear(happening: Happening) -> None:
        nonlocal told
        assert isinstance(happening, CampaignState)
        if happening.state != "working":  # paused: nobody is there who would look, and resume it
            over.set()
        waiting = sum(happening.experiments.get(word, 0) for word in ("proposed", "queued", "running"))
        if happening.rounds > told and waiting:
            told = happening.rounds
            best = happening.best
            values = ", ".join(f"{v['v']:.4g} {v['u']}" for v in best["values"].values()) if best else "nothing yet"
            show.say(f"round {told}: {waiting} formulations proposed; best so far {values}", "bold")

    forget = daemon.lab.bus.subscribe(hear, CampaignState)
    try:
        if campaign.record.state == "working":
            await over.wait()
    finally:
        forget()


# ── what came out ────────────────────────────────────────────────────────────────────────────────────────────────────
def _judged(campaign: Campaign, lab_seconds: float, machine_seconds: float, files: Sequence[Path]) -> Discovered:
    plan, outlook = campaign.plan, campaign.outlook
    assert plan is not None
    assert outlook is not None
    rounds: list[Round] = []
    scores = outlook.scores()
    for ask in range(1, campaign.record.asks + 1):
        own = [one for one in campaign.record.all if one.ask == ask]
        so_far = [one for one in campaign.record.all if one.ask is not None and one.ask <= ask]
        best = max((one for one in so_far if one.id in scores), key=lambda one: scores[one.id], default=None)
        good = (scores[best.id], worth(plan, best.point)) if best is not None else (0.0, 0.0)
        rounds.append(Round(len(own), sum(one.status != "observed" for one in own), *good, _errors(own)))
    best = outlook.best()
    until = 1 + next((at for at, one in enumerate(outlook.ended_in_order()) if one is best), 0)
    chance = by_chance(plan, worth(plan, best.point), SEED) if best is not None else None
    why = campaign.record.ended or f"paused: {campaign.record.paused}"
    return Discovered(tuple(rounds), best, until, chance, why, lab_seconds, machine_seconds, tuple(files))


def _errors(ones: Sequence[Experiment]) -> dict[str, float]:
    """How far the model was from the truth when it proposed these; empty where it predicted nothing."""
    off: dict[str, list[float]] = {}
    for one in ones:
        real = truth(one.point)
        for name, predicted in one.predicted.items():
            if name in real:
                off.setdefault(name, []).append(abs(float(predicted["mean"]) - real[name]))
    return {name: mean(values) for name, values in off.items()}


async def _written(daemon: Daemon, campaign: Campaign, directory: Path) -> list[Path]:
    """The report and the crate."""
    record = campaign.record
    every = await daemon.engine.states()
    found = await belongs(record, every, daemon.journal)
    analyst = Analyst(daemon.signals)
    stores = daemon.journal, daemon.signals, analyst
    crate = directory / f"{record.id}.crate.zip"
    with tempfile.TemporaryDirectory(prefix="crate.", dir=directory) as folder:
        contents = await gather(
            record.id,
            "campaign",
            found.runs,
            daemon.lab,
            *stores,
            Path(folder),
            every=every,
            files=found.files,
            seqs=found.seqs,
        )
        await asyncio.to_thread(write, contents, crate)
        report = directory / PAGE
        await asyncio.to_thread(Path(folder, PAGE).replace, report)
    return [report, crate]


def tell(found: Discovered, campaign: Campaign, directory: Path, console: Console) -> None:
    """The rounds, the best, what it would have taken without, and where everything lies."""
    table = Table(
        "round", "cells", "failed", "best so far", "its truth", "model against truth", box=None, pad_edge=False
    )
    units = {one.name: one.unit for one in campaign.plan.objectives} if campaign.plan is not None else {}
    for number, one in enumerate(found.rounds, 1):
        off = ", ".join(f"{name} ±{value:.2g} {units.get(name, '')}" for name, value in one.error.items())
        table.add_row(
            str(number),
            str(one.cells),
            str(one.failed),
            f"{one.best:.3f}",
            f"{one.truth:.3f}",
            off or "nothing known yet",
        )
    console.print(table)
    if found.best is not None:
        best = found.best
        shares = ", ".join(f"{share:.0%} {name}" for name, share in best.point.items() if float(share) > 0)
        values = ", ".join(f"{name} {value:.4g} {units.get(name, '')}" for name, value in best.values.items())
        console.print(f"best: {best.sample} ({best.run}): {values}, of {shares}", soft_wrap=True)
    if found.chance is not None:
        console.print(_against_chance(found.until, found.chance), soft_wrap=True)
    console.print("\nWhere everything lies:")
    for file in found.files:
        console.print(f"  {near(file)}", soft_wrap=True)
    console.print(f"  {near(directory)}/journal.sqlite, signals.sqlite, lab.yaml, labd.log", soft_wrap=True)
    hours, seconds = found.lab_seconds / 3600, found.machine_seconds
    console.print(f"{hours:.1f} h of lab time in {seconds:.1f} s: {hours * 3600 / seconds:,.0f}-fold.")


def _against_chance(until: int, chance: Chance) -> str:
    rare = f"one mixture in {1 / chance.share:.0f} is" if chance.share else f"none of {DRAWS} mixtures by chance is"
    if chance.cells is None:
        needs, saved = f"more than {SIZES[-1]}", f"more than {SIZES[-1] - until}"
    else:
        needs, saved = str(chance.cells), str(max(0, chance.cells - until))
    return f"found after {until} cells; {rare} as good, and blind choice needs {needs} cells: {saved} cells saved"
