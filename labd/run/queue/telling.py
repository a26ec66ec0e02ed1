"""The queue in the words of the bus: how each job stands, few enough for one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from labd.lab.bus import QueuedJob, QueueState
from labd.run.lifecycle import State
from labd.run.queue.jobs import OVER, Job, JobState

if TYPE_CHECKING:
    from labd.run.engine import Engine

MOST_TOLD = 100  # jobs in one message
LONGEST = 300  # characters of a reason in it

_RUNNING = frozenset(
    {State.IDLE, State.STARTING, State.EXECUTE, State.COMPLETING, State.STOPPING, State.ABORTING, State.UNHOLDING}
)


def as_job_stands(job: Job, engine: Engine) -> Job:
    """A job with the state of its run, if that has not ended."""
    if job.run is None or job.state in OVER:
        return job
    run = engine.find(job.run)
    if run is None:
        return job
    if run.state in {state.value for state in _RUNNING} and not engine.is_parked(job.run):
        return replace(job, state=JobState.RUNNING, why=None)
    return replace(job, state=JobState.HELD, why=run.cause)


def told(jobs: Sequence[Job], paused: str | None) -> QueueState:
    """The jobs that have not ended, the first ones of them; `more` says how many were left out."""
    shown = tuple(
        QueuedJob(job.id, job.batch, job.state.value, job.protocol, job.sample, job.priority, job.run, _short(job.why))
        for job in jobs[:MOST_TOLD]
    )
    return QueueState(shown, max(0, len(jobs) - MOST_TOLD), _short(paused))


def _short(why: str | None) -> str | None:
    return why if why is None or len(why) <= LONGEST else f"{why[: LONGEST - 1]}…"
