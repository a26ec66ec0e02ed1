"""Jobs: what the queue knows of each run that is still to be, and their line as the fold of the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from labd.journal import Event

QUEUED = frozenset(
    {
        "batch.submitted",
        "sample.registered",
        "job.changed",
        "job.moved",
        "job.cancelled",
        "job.started",
        "job.held",
        "job.released",
        "queue.paused",
        "queue.resumed",
    }
)
"""The kinds of events that the fold below reads."""


class JobState(StrEnum):
    """ISA-95's states of a job."""

    WAITING = "Waiting"
    READY = "Ready"
    RUNNING = "Running"
    HELD = "Held"
    COMPLETED = "Completed"
    ABORTED = "Aborted"


OVER = frozenset({JobState.COMPLETED, JobState.ABORTED})


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be, is, or was.

    Args:
        id: `job-0001`.
        batch: all jobs of one submit, `batch-0001`.
        sample: what it is for.
        protocol, version: what the protocol calls itself.
        name: the protocol's file, for messages.
        source, called: its text, and those of the protocols that it calls, by name.
        parameters: values by name, quantities with their unit.
        position: where the sample is, where that was said.
        priority: higher ones go first.
        needs: what it is expected to use up: `materials` µL by name or place, `tips` by their µL, `parts` by name.
        by: who submitted it.
        submitted: when.
        why: why it waits or is held, or what became of it, in words.
        run: its run, once it was started.
    """

    id: str
    batch: str
    sample: str
    protocol: str
    version: str
    name: str
    source: str
    called: Mapping[str, str]
    parameters: Mapping[str, Any]
    position: str | None
    priority: int
    needs: Mapping[str, Any]
    by: str
    submitted: str
    state: JobState = JobState.WAITING
    why: str | None = None
    run: str | None = None

    @property
    def pending(self) -> bool:
        """Whether it may still be started."""
        return self.run is None and self.state not in OVER

    @property
    def number(self) -> int:
        return int(self.id.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class Batch:
    """All jobs of one submit; `request` is what its sender called it, so that sending it twice queues it once."""

    id: str
    jobs: tuple[str, ...]
    request: str | None = None


@dataclass(slots=True)
class Line:
    """All jobs, and the order in which those stand that were not started. Changed by events and nothing else."""

    jobs: dict[str, Job] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)  # batch by request
    registered: set[str] = field(default_factory=set)  # samples
    waiting: list[str] = field(default_factory=list)  # jobs that were not started, in line
    working: dict[str, str] = field(default_factory=dict)  # job by its run, of runs that have not ended
    paused: str | None = None
    """Why no job is started, in words, or None."""

    def apply(self, kind: str, data: Mapping[str, Any], at: str) -> None:
        """Takes one event in."""
        match kind:
            case "batch.submitted":
                self._submitted(data, at)
            case "sample.registered":
                self.registered.add(data["sample"])
            case "queue.paused":
                self.paused = f"the queue is paused by {data['by']}{': ' + data['why'] if data['why'] else ''}"
            case "queue.resumed":
                self.paused = None
            case _:
                self._job(kind, data)

    def _job(self, kind: str, data: Mapping[str, Any]) -> None:
        """Takes in what happened to one job."""
        match kind:
            case "job.changed":
                self._change(data["job"], priority=data["priority"])
            case "job.moved":
                self._move(data["job"], data["before"])
            case "job.cancelled":
                cause = f": {data['why']}" if data["why"] else ""
                self._change(data["job"], state=JobState.ABORTED, why=f"cancelled by {data['by']}{cause}")
                self._leave(data["job"])
            case "job.started":
                self._change(data["job"], state=JobState.RUNNING, run=data["run"], why=None)
                self.working[data["run"]] = data["job"]
                self._leave(data["job"])
            case "job.held":
                self._change(data["job"], state=JobState.HELD, why=data["why"])
            case "job.released":
                self._change(data["job"], state=JobState.WAITING, why=None)

    def ended(self, run: str, outcome: str | None, cause: str | None) -> None:
        """A job's run has ended."""
        done = outcome in ("complete", "scrapped")
        state = JobState.COMPLETED if done else JobState.ABORTED
        told = None if outcome == "complete" else f"{outcome}: {cause}" if cause else outcome
        self._change(self.working.pop(run), state=state, why=told)

    def mark(self, job: str, state: JobState, why: str | None) -> None:
        """Says how a job stands that was not started."""
        self._change(job, state=state, why=why)

    @property
    def pending(self) -> list[Job]:
        """Those that were not started, in line: the first at the front."""
        return [self.jobs[job] for job in self.waiting]

    def _submitted(self, data: Mapping[str, Any], at: str) -> None:
        shared = {name: data[name] for name in ("protocol", "version", "name", "source", "called", "by")}
        for one in data["jobs"]:
            own = {name: one[name] for name in ("sample", "position", "parameters", "priority", "needs")}
            self.jobs[one["job"]] = Job(id=one["job"], batch=data["batch"], submitted=at, **shared, **own)
            self.waiting.append(one["job"])
        request = data.get("request")
        self.batches[data["batch"]] = Batch(data["batch"], tuple(one["job"] for one in data["jobs"]), request)
        if request is not None:
            self.requests[request] = data["batch"]

    def _move(self, job: str, before: str | None) -> None:
        if job not in self.waiting:
            return
        self.waiting.remove(job)
        at = self.waiting.index(before) if before in self.waiting else len(self.waiting)
        self.waiting.insert(at, job)

    def _leave(self, job: str) -> None:
        if job in self.waiting:
            self.waiting.remove(job)

    def _change(self, job: str, **changes: Any) -> None:
        self.jobs[job] = replace(self.jobs[job], **changes)


def line_of(events: Iterable[Event]) -> Line:
    """Folds events, oldest first."""
    line = Line()
    for event in events:
        line.apply(event.kind, event.data, event.at)
    return line
