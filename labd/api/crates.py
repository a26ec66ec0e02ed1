"""Crates over /api/v1: a run, a batch or a campaign with all that is known of it, as one file."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from labd.api.outlets import outlet, writing
from labd.api.results import meant
from labd.campaign.engine import Campaigns
from labd.lab.bus import RunState
from labd.records import Analyst
from labd.run.engine import Engine


class CrateRequest(BaseModel):
    """Writes a crate on the daemon's machine; `to` is a folder, or a file that ends in `.zip`.

    `what` is a run, a batch, a campaign, or a sample with all of its runs. The
    default of `to` is `exports/<what>.crate.zip` of the daemon's store. `licence` is that of the data, an address or
    a text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Annotated[str, Field(min_length=1, max_length=200)]
    to: Path | None = None
    licence: Annotated[str, Field(max_length=500)] | None = None


class CrateModel(BaseModel):
    """What was written, of which runs, and what could not be: texts that the crate has as well."""

    path: Path
    kind: str
    runs: list[str]
    lacks: list[str]


def crate_routes(api: APIRouter, engine: Engine, analyst: Analyst, campaigns: Campaigns | None = None) -> None:
    """Adds the routes."""

    @api.post("/crates")
    async def crate(request: CrateRequest, caller: Request) -> CrateModel:
        """Writes an RO-Crate 1.2."""
        from labd.campaign.crating import belongs
        from labd.records.crate import write
        from labd.records.crate.gathering import gather
        from labd.records.crate.writing import UNFIT

        directory = engine.lab.config.directory
        own_place = directory / "exports" / f"{UNFIT.sub('_', request.what)}.crate.zip"
        to = outlet(request.to, own_place, caller, key="to", word="place")
        every = await engine.states()
        more: dict[str, Any] = {"every": every, "licence": request.licence}
        kind, runs = "campaign", list[RunState]()
        campaign = next((one for one in campaigns.all() if one.id == request.what), None) if campaigns else None
        if campaign is not None:
            own = await belongs(campaign.record, every, engine.journal)
            runs, more = own.runs, more | {"files": own.files, "seqs": own.seqs}
        else:
            found = await meant(engine, request.what)
            kind, runs = found.kind, [state for state in every if state.run in found.runs]
        with tempfile.TemporaryDirectory(prefix="crate.", dir=directory) as folder:
            stores = engine.journal, engine.signals, analyst, Path(folder)
            with writing(to):
                contents = await gather(request.what, kind, runs, engine.lab, *stores, **more)
                await asyncio.to_thread(write, contents, to)
        return CrateModel(path=to, kind=kind, runs=[state.run for state in runs], lacks=contents.lacks())
