"""All results of one run in one mapping of JSON values: what `labd results` tells and a report is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from labd.journal import Event, Journal, SignalStore
from labd.records.analyst import Analyst
from labd.records.figures import RunRead, figures_of, read_run
from labd.records.record import run_record

_ABOUT = ("run", "sample", "protocol", "version", "parameters", "by", "started", "ended", "outcome")


async def outcome(run: str, journal: Journal, store: SignalStore, analyst: Analyst) -> dict[str, Any]:
    """The results of a run that the journal has.

    Gives what was run; `failed` and `missing`: what came to nothing, with why; `figures` by name (see
    `labd.records.figures`); and `series`: each with its `analysis` (see `labd.records.analysis.analyse`), the `version`
    of the methods and the hash of the rows that it was made of.

    Raises:
        SignalError, JournalError: a store cannot be read.
    """
    events = await journal.events(run=run)
    return await asyncio.to_thread(_told, events, await read_run(run, store, analyst))


def _told(events: Sequence[Event], read: RunRead) -> dict[str, Any]:
    record = run_record(events)
    found = figures_of(events, read)
    series = []
    for info, kept in read.series:
        about = {"series": info.id, "device": info.device, "unit": info.unit, "action": info.action}
        more = {"started": info.started, "ended": info.ended, "analysed": kept.at}
        series.append({**about, **more, "version": kept.version, "input": kept.input, "analysis": kept.result})
    return {
        **{name: record[name] for name in _ABOUT},
        "failed": found.failed,
        "figures": {name: figure.told() for name, figure in found.items()},
        "missing": {name: found.why(name) for name in found.causes() if name not in found},
        "series": series,
    }


def value(told: Mapping[str, Any], name: str) -> float | None:
    """The number of a figure of what `outcome` gives, or None."""
    figure = told["figures"].get(name)
    return None if figure is None else float(figure["v"])


def cycle_rows(told: Mapping[str, Any]) -> list[dict[str, float | None]]:
    """A row a cycle, by the names of the figures without their number; None for what is not there."""
    names = ("charge", "capacity", "ce", "energy", "energy_efficiency", "retention", "rest_charged", "rest_discharged")
    last = max((int(name[9:]) for name in told["figures"] if name[:9] == "capacity_"), default=0)
    return [
        {"cycle": float(cycle), **{name: value(told, f"{name}_{cycle}") for name in names}}
        for cycle in range(1, last + 1)
        if f"capacity_{cycle}" in told["figures"]
    ]


def spectra(told: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The spectra of a run, in their order: series and analysis."""
    return [(one["series"], one["analysis"]) for one in told["series"] if one["analysis"]["kind"] == "impedance"]
