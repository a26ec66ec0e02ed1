"""What is drawn of a run: its data gathered, the plots that they allow, and these as files."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.journal import Journal, SeriesInfo, SignalStore
from labd.records import charts
from labd.records.analysis import SMOOTHING, AnalysisError, Curve, Curves, Slope, curves
from labd.records.analyst import Analyst
from labd.records.drawing import save
from labd.records.joined import steps_joined, steps_of
from labd.records.outcome import cycle_rows, outcome, spectra

Columns = Mapping[str, "array[float]"]


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
    series = await store.series(run=run)
    columns = {name: await store.read(name) for name in drawn_from(told, series)}
    return await asyncio.to_thread(read_of, told, series, columns)


def drawn_from(told: Mapping[str, Any], series: Sequence[SeriesInfo]) -> list[str]:
    """The series of a run whose rows are drawn."""
    names = [one["series"] for one in told["series"] if _is_spectrum(one) or _is_cycled(one)]
    return list(dict.fromkeys([*names, *(one.id for one in steps_of(series))]))


def read_of(told: Mapping[str, Any], series: Sequence[SeriesInfo], columns: Mapping[str, Columns]) -> Read:
    """What is drawn of a run, from its results and the rows of the series that `drawn_from` names."""
    measured, drawn, cycle = {}, Curves(), 0
    own = [(one, columns[one.id]) for one in steps_of(series)]
    if own:
        drawn = _curves(steps_joined(own), 0)
    for one in told["series"]:
        if _is_spectrum(one):
            rows = columns[one["series"]]
            measured[one["series"]] = (list(rows["z_real"]), list(rows["z_imag"]))
        elif _is_cycled(one):
            more = _curves(columns[one["series"]], cycle)
            drawn = Curves(drawn.profiles + more.profiles, drawn.incremental + more.incremental)
            cycle += len(one["analysis"]["cycles"])
    return Read(told, drawn.profiles, drawn.incremental, measured)


def _is_spectrum(one: Mapping[str, Any]) -> bool:
    return bool(one["analysis"]["kind"] == "impedance")


def _is_cycled(one: Mapping[str, Any]) -> bool:
    return one["action"] == "cycle" and not _is_spectrum(one) and bool(one["analysis"].get("cycles"))


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
