"""The samples of a lab over /api/v1: which there are, where each comes from, and what people say of them.

A sample is named by its id, or by its barcode as one part of the path with `/` as `%2F`.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from labd.api.models import NoteRequest
from labd.lab.samples import Noted
from labd.records import summaries, traced
from labd.run.engine import Engine


def sample_routes(api: APIRouter, engine: Engine) -> None:
    """Adds the routes."""
    lab, journal = engine.lab, engine.journal

    @api.get("/samples")
    async def samples() -> list[dict[str, Any]]:
        """All samples: those that were registered, then those that only runs know."""
        return summaries(lab, await engine.states())

    @api.get("/samples/{code:path}")
    async def sample(code: str) -> dict[str, Any]:
        """The genealogy of a sample, by id or barcode, over all of its runs."""
        return await traced(code, lab, journal, await engine.states(), engine.queue.jobs())

    @api.post("/samples/{code:path}")
    async def note(code: str, request: NoteRequest) -> dict[str, Any]:
        """Registers a sample, or corrects what was said of it; it is durable when this answers."""
        known = lab.samples.called(code)
        await lab.samples.note(known, Noted(request.changes(), request.note), by=request.by)
        return await traced(known, lab, journal, await engine.states(), engine.queue.jobs())
