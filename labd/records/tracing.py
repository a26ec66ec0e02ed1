"""Samples asked for by id or barcode: which there are, and the genealogy of one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labd.expr.spelling import did_you_mean
from labd.journal import Event, Journal
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.lab.samples import UnknownSampleError
from labd.records.genealogy import KINDS, genealogy
from labd.records.trace import Stocked
from labd.run.queue import Job


def summaries(lab: Lab, runs: Sequence[RunState]) -> list[dict[str, Any]]:
    """A row a sample: those that were registered, then the others in the order of their first runs."""
    last: dict[str, RunState] = {}
    counts: dict[str, int] = {}
    for state in runs:
        last[state.sample] = state
        counts[state.sample] = counts.get(state.sample, 0) + 1
    names = dict.fromkeys((*lab.samples.every(), *last))
    return [_summary(lab, name, counts.get(name, 0), last.get(name)) for name in names]


def _summary(lab: Lab, sample: str, runs: int, last: RunState | None) -> dict[str, Any]:
    known = lab.samples.registered(sample)
    mass = known.active_mass if known is not None else None
    return {
        "sample": sample,
        "barcode": known.barcode if known is not None else None,
        "active_mass": None if mass is None else {"v": mass, "u": "g"},
        "about": dict(known.about) if known is not None else {},
        "registered": None if known is None else {"at": known.at, "by": known.by},
        "place": lab.places.place_of(sample),
        "runs": runs,
        "run": last.run if last is not None else None,
        "state": None if last is None else last.outcome or last.state,
    }


async def traced(
    text: str, lab: Lab, journal: Journal, runs: Sequence[RunState], jobs: Iterable[Job] = ()
) -> dict[str, Any]:
    """The genealogy of the sample that an id or a barcode means.

    It reads the events of the sample's own runs, by the journal's index, and single ones by their numbers: nothing is
    searched for in the rest of the journal.

    Args:
        text: the id or the barcode.
        lab: where it is.
        journal: what is written of it.
        runs: all runs of the journal, oldest first.
        jobs: of the queue; those of the sample that wait are told.

    Raises:
        UnknownSampleError: there is none.
    """
    sample = lab.samples.called(text)
    own = [state for state in runs if state.sample == sample]
    if not own and lab.samples.registered(sample) is None:
        known = [row["sample"] for row in summaries(lab, runs)]
        mend = did_you_mean(sample, known, "there are") if known else "there is none yet"
        raise UnknownSampleError(f"there is no sample {text!r}, nor is it a barcode; {mend}")
    events: list[Event] = []
    for state in own:
        events += await journal.events(run=state.run, kinds=KINDS)
    beside = lab.samples.beside(sample)
    if beside:
        events += await journal.events(seqs=beside)
    events.sort(key=lambda event: event.seq)
    found = await asyncio.to_thread(genealogy, sample, events, _stocked(lab))
    summary = _summary(lab, sample, len(own), own[-1] if own else None)
    keep = ("barcode", "active_mass", "about", "registered", "place", "state")
    waiting = [_waits(job) for job in jobs if job.sample == sample and job.run is None]
    return {**found, **{name: summary[name] for name in keep}, "jobs": waiting}


def _waits(job: Job) -> dict[str, Any]:
    told = {"job": job.id, "batch": job.batch, "protocol": job.protocol, "version": job.version}
    return {**told, "state": job.state.value, "why": job.why, "submitted": job.submitted, "by": job.by}


def _stocked(lab: Lab) -> Mapping[str, Stocked]:
    """What lab.yaml says of places: parts on trays, liquids in wells; a material stands for its first place."""
    found: dict[str, Stocked] = {}
    for entry in lab.config.deck:
        found |= {place: Stocked(part) for place, part in entry.parts.items()}
        found |= {place: Stocked(liquid.material, liquid.lot) for place, liquid in entry.liquids}
    return found
