"""Orders to the whole lab over /api/v1: hold, stop or abort everything, and the way out of safe mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter

from labd.api.models import OrderedModel, OrderRequest, ResumedModel, ResumeRequest
from labd.run.engine import Engine
from labd.run.lifecycle import Command
from labd.run.urgent import order_all

Resume = Callable[[str], Awaitable[list[str]]]


def urgent_routes(api: APIRouter, engine: Engine, resume: Resume) -> None:
    """Adds the routes."""

    @api.post("/commands/{verb}")
    async def command_all(verb: Literal["hold", "stop", "abort"], request: OrderRequest) -> OrderedModel:
        """Gives every run a command that it can take; an abort makes all devices safe. Durable when this answers."""
        ordered = await order_all(engine, Command(verb), by=request.by, cause=request.cause)
        return OrderedModel(command=verb, runs=list(ordered.runs), safe=dict(ordered.safe), left=dict(ordered.left))

    @api.post("/resume")
    async def resume_lab(request: ResumeRequest) -> ResumedModel:
        """Ends safe mode: the runs that it left alone are taken up, and new ones are taken."""
        return ResumedModel(runs=await resume(request.by))
