"""What the queue knows and tells, and what people order of it: cancel, move, priority, pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labd import clock
from labd.journal import NewEvent
from labd.lab.bus import QueueState
from labd.run.lifecycle import CommandRefusedError
from labd.run.queue.jobs import OVER, Job, JobState, Line
from labd.run.queue.telling import as_job_stands, told

if TYPE_CHECKING:
    from labd.run.engine import Engine

Order = Callable[[Sequence[Job]], Sequence[Job]]


class UnknownJobError(Exception):
    """There is no such job, or no such batch."""


def by_priority(jobs: Sequence[Job]) -> Sequence[Job]:
    """Higher priorities first; among equal ones, who stands first in line."""
    return sorted(jobs, key=lambda job: -job.priority)


class Orders:
    """The line of one engine's jobs, and the orders of people about it. What is acknowledged is durable.

    Args:
        engine: which starts their runs.

    Attributes:
        order: which job is looked at first.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lab = engine.lab
        self._journal = engine.journal
        self.order: Order = by_priority
        self.line = Line()
        self._again = asyncio.Event()
        self._changing = asyncio.Lock()  # one start, or one change of the line
        self._pausing = 0  # pauses that hold, and are not durable yet: no earlier word of going on undoes them
        self._last = QueueState((), 0, None)

    def reconsider(self) -> None:
        """Looks again, soon, which jobs may be started. Never waits."""
        self._again.set()

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def cancel(self, what: str, *, by: str, why: str | None = None) -> list[Job]:
        """Cancels a job, or all jobs of a batch that were not started; durable when this returns.

        Raises:
            UnknownJobError: no such job or batch.
            CommandRefusedError: it was started, has ended, or was cancelled before.
        """
        async with self._changing:
            if what in self.line.batches:
                jobs = [job for name in self.line.batches[what].jobs if (job := self.line.jobs[name]).pending]
                if not jobs:
                    running = [f"{job} as {run}" for job, run in self.running_of(what).items()]
                    said = f"; at work: {', '.join(running)}. Stop or abort those runs" if running else ""
                    raise CommandRefusedError(f"no job of {what} waits any more{said}")
            else:
                jobs = [self._pending(what)]
            for job in jobs:
                self._lab.inventory.release(job.id)
            await self._journal.append(
                *(NewEvent("job.cancelled", {"job": job.id, "by": by, "why": why}) for job in jobs)
            )
        return [self.line.jobs[job.id] for job in jobs]

    async def move(self, job_id: str, *, before: str | None = None, first: bool = False, by: str) -> Job:
        """Moves a job before another one, to the front, or to the end; it takes the priority that stands there.

        Raises:
            UnknownJobError: no such job.
            CommandRefusedError: one of them does not wait.
        """
        async with self._changing:
            job = self._pending(job_id)
            if before == job_id:
                raise CommandRefusedError(f"{job_id} cannot stand before itself; name another job")
            line = [other for other in by_priority(self.line.pending) if other.id != job_id]
            behind: Job | None = None
            if before is not None:
                behind = self._pending(before)
                priority = behind.priority
            elif first and line:
                behind = line[0]
                priority = max(job.priority, behind.priority)
            else:
                priority = min([job.priority, *(other.priority for other in line)])
            events = [NewEvent("job.moved", {"job": job_id, "before": behind.id if behind else None, "by": by})]
            if priority != job.priority:
                events.append(NewEvent("job.changed", {"job": job_id, "priority": priority, "by": by}))
            await self._journal.append(*events)
        return self.job(job_id)

    async def prioritise(self, job_id: str, priority: int, *, by: str) -> Job:
        """Gives a job another priority. Raises as `move`."""
        async with self._changing:
            self._pending(job_id)
            await self._journal.append(NewEvent("job.changed", {"job": job_id, "priority": priority, "by": by}))
        return self.job(job_id)

    async def release(self, job_id: str, *, by: str) -> Job:
        """Lets a held job wait for its start again. Raises as `move`."""
        async with self._changing:
            if self._pending(job_id).state is not JobState.HELD:
                raise CommandRefusedError(f"{job_id} is not held; it waits for its start")
            await self._journal.append(NewEvent("job.released", {"job": job_id, "by": by}))
        return self.job(job_id)

    async def release_batch(self, batch: str, *, by: str) -> list[Job]:
        """The same for all held jobs of a batch.

        Raises:
            UnknownJobError: no such batch.
            CommandRefusedError: none of its jobs is held.
        """
        async with self._changing:
            if batch not in self.line.batches:
                raise UnknownJobError(f"there is no batch {batch!r}")
            jobs = [job for job in self._of(batch) if job.pending and job.state is JobState.HELD]
            if not jobs:
                raise CommandRefusedError(f"no job of {batch} is held without a run")
            await self._journal.append(*(NewEvent("job.released", {"job": job.id, "by": by}) for job in jobs))
        return [self.job(job.id) for job in jobs]

    async def pause(self, *, by: str, why: str | None = None) -> None:
        """Starts no job from now on, over restarts, until `resume`; durable when this returns."""
        event = self.stop_starting(by=by, why=why)
        async with self._changing:  # a start that is under way is over when this returns
            await self._journal.append(event)

    def stop_starting(self, *, by: str, why: str | None) -> NewEvent:
        """The same at once, without waiting; what is given is to be written by the caller."""
        event = NewEvent("queue.paused", {"by": by, "why": why})
        self._pausing += 1
        self.line.apply(event.kind, event.data, clock.stamp())
        self.reconsider()
        return event

    async def resume(self, *, by: str) -> None:
        """Starts jobs again. Raises CommandRefusedError where it is not paused."""
        async with self._changing:
            if self.line.paused is None:
                raise CommandRefusedError("the queue is not paused")
            await self._journal.append(NewEvent("queue.resumed", {"by": by}))

    def _pending(self, job_id: str) -> Job:
        job = self.job(job_id)
        if job.pending:
            return job
        if job.state not in OVER:
            way = f"`labd stop {job.run}` or `labd abort {job.run}` ends it"
            raise CommandRefusedError(f"{job_id} is at work as {job.run}; {way}")
        raise CommandRefusedError(f"{job_id} is {job.state}{f' ({job.why})' if job.why else ''}")

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────
    def job(self, job_id: str) -> Job:
        """One job as it stands. Raises UnknownJobError."""
        if job_id not in self.line.jobs:
            kind = "batch" if job_id.startswith("batch-") else "job"
            raise UnknownJobError(f"there is no {kind} {job_id!r}")
        return as_job_stands(self.line.jobs[job_id], self._engine)

    def jobs(self, *, ended: bool = False) -> list[Job]:
        """Jobs at work, then those that wait, in the order of their turn; with `ended` the others before them."""
        at_work = [as_job_stands(self.line.jobs[job], self._engine) for job in self.line.working.values()]
        past = [job for job in self.line.jobs.values() if job.state in OVER] if ended else []
        return [*past, *at_work, *self.order(self.line.pending)]

    def running_of(self, batch: str) -> dict[str, str]:
        """The runs at work of a batch, by job; empty for any other name."""
        if batch not in self.line.batches:
            return {}
        return {job.id: job.run for job in self._of(batch) if job.run is not None and job.state not in OVER}

    def _of(self, batch: str) -> list[Job]:
        return [self.job(job) for job in self.line.batches[batch].jobs]

    @property
    def paused(self) -> str | None:
        """Why no job is started, or None."""
        return self.line.paused

    def told(self) -> QueueState:
        """The queue for the bus."""
        return told(self.jobs(), self.line.paused)

    def _tell(self) -> None:
        state = self.told()
        if state != self._last:
            self._last = state
            self._lab.bus.tell(state)
