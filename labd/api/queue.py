"""The queue over /api/v1: batches, jobs, and what is ordered of them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from labd.api.models import ByRequest
from labd.api.queue_models import (
    BatchModel,
    BatchRequest,
    CancelledModel,
    CancelRequest,
    JobModel,
    MoveRequest,
    PauseRequest,
    PriorityRequest,
    QueueModel,
    ReleasedModel,
)
from labd.run.queue import Queue


def queue_routes(api: APIRouter, queue: Queue) -> None:
    """Adds the routes."""
    _line_routes(api, queue)
    _job_routes(api, queue)


def _shown(queue: Queue, *, ended: bool = False) -> QueueModel:
    jobs = [JobModel.of(job) for job in queue.jobs(ended=ended)]
    return QueueModel(paused=queue.paused, most_runs=queue.most_runs, jobs=jobs)


async def _cancel(queue: Queue, what: str, request: CancelRequest) -> CancelledModel:
    cancelled = await queue.cancel(what, by=request.by, why=request.why)
    return CancelledModel(cancelled=[job.id for job in cancelled], running=queue.running_of(what))


def _line_routes(api: APIRouter, queue: Queue) -> None:
    @api.post("/batches", status_code=201)
    async def submit(request: BatchRequest, response: Response) -> BatchModel:
        """Queues a table, all of it or nothing; it is durable when this answers. 200 where it is only checked."""
        found = await queue.submit(request.submission())
        if found.batch is None:
            response.status_code = 200
        jobs = [JobModel.of(job) for job in found.jobs]
        return BatchModel(batch=found.batch, rows=found.rows, jobs=jobs, paused=queue.paused)

    @api.get("/queue")
    async def show(*, ended: bool = False) -> QueueModel:
        """The jobs that have not ended; with `ended` all."""
        return _shown(queue, ended=ended)

    @api.post("/queue/commands/pause")
    async def pause(request: PauseRequest) -> QueueModel:
        """Starts no job from now on, over restarts; durable when this answers. Runs at work go on."""
        await queue.pause(by=request.by, why=request.why)
        return _shown(queue)

    @api.post("/queue/commands/resume")
    async def resume(request: ByRequest) -> QueueModel:
        """Starts jobs again."""
        await queue.resume(by=request.by)
        return _shown(queue)


def _job_routes(api: APIRouter, queue: Queue) -> None:
    @api.get("/jobs/{job_id}")
    async def job(job_id: str) -> JobModel:
        return JobModel.of(queue.job(job_id))

    @api.post("/jobs/{job_id}/commands/cancel")
    async def cancel(job_id: str, request: CancelRequest) -> CancelledModel:
        """Cancels a job that was not started; durable when this answers."""
        queue.job(job_id)
        return await _cancel(queue, job_id, request)

    @api.post("/batches/{batch_id}/commands/cancel")
    async def cancel_batch(batch_id: str, request: CancelRequest) -> CancelledModel:
        """Cancels what waits of a batch; durable when this answers. Runs at work go on."""
        return await _cancel(queue, batch_id, request)

    @api.post("/batches/{batch_id}/commands/release")
    async def release_batch(batch_id: str, request: ByRequest) -> ReleasedModel:
        """Lets all held jobs of a batch wait for their start again."""
        jobs = await queue.release_batch(batch_id, by=request.by)
        return ReleasedModel(released=[job.id for job in jobs])

    @api.post("/jobs/{job_id}/commands/move")
    async def move(job_id: str, request: MoveRequest) -> JobModel:
        """Moves a job in line; it takes the priority that stands there."""
        first = request.to == "first"
        return JobModel.of(await queue.move(job_id, before=request.before, first=first, by=request.by))

    @api.post("/jobs/{job_id}/commands/priority")
    async def priority(job_id: str, request: PriorityRequest) -> JobModel:
        """Gives a job another priority."""
        return JobModel.of(await queue.prioritise(job_id, request.priority, by=request.by))

    @api.post("/jobs/{job_id}/commands/release")
    async def release(job_id: str, request: ByRequest) -> JobModel:
        """Lets a held job wait for its start again."""
        return JobModel.of(await queue.release(job_id, by=request.by))
