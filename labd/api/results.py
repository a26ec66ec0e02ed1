"""Results over /api/v1: the figures of runs, of a sample's or of a batch's, and their report as one page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from labd import clock
from labd.api.errors import RefusedError
from labd.records import Analyst, outcome
from labd.run.engine import Engine


@dataclass(frozen=True, slots=True)
class Meant:
    """What a name means: a run, a sample or a batch; its runs, oldest first; and its jobs that have none."""

    kind: str
    runs: tuple[str, ...]
    waiting: tuple[str, ...] = ()


async def meant(engine: Engine, code: str) -> Meant:
    """The runs that a run's or batch's id, or a sample's id or barcode means. Raises RefusedError."""
    states = await engine.states()
    if any(state.run == code for state in states):
        return Meant("run", (code,))
    batch = engine.queue.line.batches.get(code)
    if batch is not None:
        jobs = [engine.queue.job(job) for job in batch.jobs]
        runs = tuple(sorted(job.run for job in jobs if job.run is not None))
        return Meant("batch", runs, tuple(job.id for job in jobs if job.run is None))
    sample = engine.lab.samples.called(code)
    runs = tuple(state.run for state in states if state.sample == sample)
    if not runs and engine.lab.samples.registered(sample) is None:
        said = "`labd status --all` lists runs, `labd queue --all` jobs with their batches, `labd sample` samples"
        raise RefusedError(404, "unknown_result", f"there is no run, batch or sample {code!r}; {said}")
    return Meant("sample", runs)


def result_routes(api: APIRouter, engine: Engine, analyst: Analyst) -> None:
    """Adds the routes."""

    @api.get("/results/{code:path}")
    async def results(code: str) -> dict[str, Any]:
        """The results of a run, a batch or a sample: `runs`, each with its figures, and why others are missing."""
        found = await meant(engine, code)
        runs = [await outcome(run, engine.journal, engine.signals, analyst) for run in found.runs]
        return {"name": code, "kind": found.kind, "runs": runs, "waiting": list(found.waiting)}

    @api.get("/reports/{code:path}", response_class=HTMLResponse)
    async def report(code: str) -> HTMLResponse:
        """The report of a run, a batch or a sample as one page that needs nothing else."""
        from labd.records.report import gather, page

        found = await meant(engine, code)
        read = await gather(found.runs, engine.journal, engine.signals, analyst)
        told = {"lab": engine.lab.config.lab, "at": clock.stamp(), "waiting": found.waiting}
        return HTMLResponse(await asyncio.to_thread(page, code, found.kind, read, told))
