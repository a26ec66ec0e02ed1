"""Crates over /api/v1: a run, a batch or a campaign with all that is known of it, as one file."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from labd.api.errors import RefusedError
from labd.api.results import meant
from labd.records import Analyst
from labd.records.crate import write
from labd.records.crate.gathering import gather
from labd.run.engine import Engine


class CrateRequest(BaseModel):
    """Writes a crate on the daemon's machine; `to` is a folder, or a file that ends in `.zip`.

    `what` is a run, a batch, or a sample with all of its runs. The
    default of `to` is `exports/<what>.crate.zip` of the daemon's store. `licence` is that of the data, an address or
    a text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Annotated[str, Field(min_length=1, max_length=200)]
    to: Path | None = None
    licence: Annotated[str, Field(max_length=500)] | None = None


class CrateModel(BaseModel):
    """What was written, and of which runs."""

    path: Path
    kind: str
    runs: list[str]


def crate_routes(api: APIRouter, engine: Engine, analyst: Analyst) -> None:
    """Adds the routes."""

    @api.post("/crates")
    async def crate(request: CrateRequest, caller: Request) -> CrateModel:
        """Writes an RO-Crate 1.2."""
        if request.to is not None and caller.client is not None:
            raise RefusedError(403, "refused", "a place can be named over the Unix socket only; leave it away")
        directory = engine.lab.config.directory
        to = request.to or directory / "exports" / f"{request.what}.crate.zip"
        if not to.is_absolute():
            raise RefusedError(422, "invalid_request", f"to: {to} is not absolute")
        found = await meant(engine, request.what)
        every = await engine.states()
        runs = [state for state in every if state.run in found.runs]
        more: dict[str, Any] = {"every": every, "licence": request.licence}
        with tempfile.TemporaryDirectory(prefix="crate.", dir=directory) as folder:
            stores = engine.journal, engine.signals, analyst, Path(folder)
            contents = await gather(request.what, found.kind, runs, engine.lab, *stores, **more)
            try:
                await asyncio.to_thread(write, contents, to)
            except OSError as error:
                said = f"{to} cannot be written: {error.strerror}; name another, or none for the daemon's own"
                raise RefusedError(409, "refused", said) from error
        return CrateModel(path=to, kind=found.kind, runs=[state.run for state in runs])
