"""The plan over /api/v1: what runs and jobs follow, as numbers and as a picture."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from labd.run.planning.gantt import gantt
from labd.run.planning.table import lines_of, told
from labd.run.scheduling.scheduler import Scheduler


class PlannedRowModel(BaseModel):
    """One state of a run or a job; times in seconds from `at`."""

    model_config = ConfigDict(extra="forbid")

    work: str
    state: str
    units: dict[str, list[str]]
    start: float
    end: float
    begun: bool


class PlanModel(BaseModel):
    """The plan as of now: `makespan` and `bound` in seconds; `work` is a job, or a run that was none."""

    model_config = ConfigDict(extra="forbid")

    makespan: float
    bound: float
    ratio: float
    solver: str
    broken: list[str]
    unplanned: dict[str, str]
    rows: list[PlannedRowModel]
    utilisation: dict[str, float]
    windows: dict[str, Any]
    text: list[str]
    svg: str | None = None


def plan_routes(api: APIRouter, scheduler: Scheduler) -> None:
    """Adds the routes."""

    @api.get("/plan")
    async def plan(*, picture: bool = False) -> PlanModel:
        """What is planned for the runs at work and the jobs that wait; with `picture` its Gantt chart too."""
        found, works = await scheduler.as_of_now()
        svg = gantt(found, works) if picture else None
        return PlanModel.model_validate({**told(found, works), "text": list(lines_of(found, works)), "svg": svg})

    @api.get("/plan.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
    async def picture(title: Annotated[str, Query(max_length=200)] = "") -> Response:
        """The same as a Gantt chart."""
        found, works = await scheduler.as_of_now()
        return Response(gantt(found, works, title=title), media_type="image/svg+xml")
