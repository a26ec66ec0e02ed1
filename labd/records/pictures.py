"""What is drawn of a run: its data gathered, the plots that they allow, and these as files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.journal import Journal, SignalStore
from labd.records import charts
from labd.records.analysis import SMOOTHING, AnalysisError, Curve, Curves, Slope, curves
from labd.records.analyst import Analyst
from labd.records.drawing import save
from labd.records.joined import stepped
from labd.records.outcome import cycle_rows, outcome, spectra


@dataclass(frozen=True, slots=True)
class Read:
    """What a report needs of a run: its results (see `labd.records.outcome`), its curves, and measured spectra."""

    told: Mapping[str, Any]
    profiles: tuple[Curve, ...] = ()
    incremental: tuple[Slope, ...] = ()
    spectra: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)


async def gather(runs: Sequence[str], journal: Journal, store: SignalStore, analyst: Analyst) -> list[Read]:
    """Reads what a report on these runs needs.

    Raises:
        SignalError, JournalError: a store cannot be read.
    """
    return [await _gathered(run, journal, store, analyst) for run in runs]


async def _gathered(run: str, journal: Journal, store: SignalStore, analyst: Analyst) -> Read:
    told = await outcome(run, journal, store, analyst)
    measured, drawn, cycle = {}, Curves(), 0
    joined = await stepped(await store.series(run=run), store)
    if joined is not None:
        drawn = await asyncio.to_thread(_curves, joined, 0)
    for one in told["series"]:
        analysis = one["analysis"]
        if analysis["kind"] == "impedance":
            columns = await store.read(one["series"])
            measured[one["series"]] = (list(columns["z_real"]), list(columns["z_imag"]))
        elif one["action"] == "cycle" and analysis.get("cycles"):
            columns = await store.read(one["series"])
            more = await asyncio.to_thread(_curves, columns, cycle)
            drawn = Curves(drawn.profiles + more.profiles, drawn.incremental + more.incremental)
            cycle += len(analysis["cycles"])
    return Read(told, drawn.profiles, drawn.incremental, measured)


def plots_of(read: Read) -> dict[str, tuple[str, charts.Draw]]:
    """The plots of a run: what each shows in words, and what draws it, by a name that may be a file's."""
    found: dict[str, tuple[str, charts.Draw]] = {}
    rows = cycle_rows(read.told)
    if rows:
        found["capacity"] = ("Capacity and coulombic efficiency by cycle", charts.capacity_by_cycle(rows))
    if read.profiles:
        found["voltage_profiles"] = ("Voltage profiles", charts.voltage_profile(read.profiles))
    if read.incremental:
        found["dqdv"] = (f"Incremental capacity; {SMOOTHING}", charts.incremental(read.incremental))
    for series, analysis in spectra(read.told):
        title = f"{series}; Kramers-Kronig: {verdict(analysis)}"
        drawn = charts.nyquist(read.spectra[series], analysis.get("fitted"), title)
        found[f"impedance_{series}"] = (f"Impedance, {title}", drawn)
    return found


def verdict(analysis: Mapping[str, Any]) -> str:
    test = analysis.get("test") or {"verdict": "not tested", "rms": None}
    return str(test["verdict"]) + (f", {test['rms']:.2%} of |Z|" if test["rms"] is not None else "")


def _curves(columns: Mapping[str, Sequence[float]], after: int) -> Curves:
    try:
        return curves(columns, after)
    except AnalysisError:  # the analysis of the series says so already
        return Curves()


def save_plots(read: Read, directory: Path) -> list[Path]:
    """Writes the plots of a run, `<run>_<plot>.png` and `.svg`; gives the files. Nothing to draw gives none.

    Raises:
        PlotError: matplotlib is missing.
        OSError: the directory cannot be written.
    """
    stem = read.told["run"]
    return [file for name, (_, draw) in plots_of(read).items() for file in save(draw, directory / f"{stem}_{name}")]
