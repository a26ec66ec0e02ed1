"""What goes over /api/v1 of the queue: batches and jobs, and what is ordered of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from labd.api.models import Who, Words, _Model
from labd.files.tables import MOST_ROWS
from labd.run.queue import Job, Submission, rows_of

Cell = Annotated[str, Field(max_length=2000)] | bool | int | float | None
"""What stands in a cell of a table."""


class BatchRequest(_Model):
    """Queues a protocol for many samples: a row each, or `count` of them with the same parameters.

    `protocol`, `name`, `called` as for a run. `rows` are the cells of a table by their headers, which are the
    parameters and `sample`, `barcode`, `position`, `priority`, `active_mass`; a header may say a unit, `volume [µL]`.
    `row_numbers` are what errors call the rows (default: 2, 3, …, as below one row of headers), `table` the file.
    `parameters` hold for all rows, `priority` for those that say none. `again`: samples that the lab has may be meant.
    `request` is what its sender calls it: sent once more, it is answered as before and not queued twice.
    """

    protocol: Annotated[str, Field(min_length=1, max_length=2_000_000)]
    name: Annotated[str, Field(max_length=1000)] = "protocol.yaml"
    called: Annotated[dict[str, Annotated[str, Field(max_length=2_000_000)]], Field(max_length=100)] = Field(
        default_factory=dict
    )
    rows: Annotated[list[dict[str, Cell]], Field(min_length=1, max_length=MOST_ROWS)] | None = None
    row_numbers: Annotated[list[int], Field(max_length=MOST_ROWS)] | None = None
    table: Annotated[str, Field(min_length=1, max_length=1000)] = "table"
    count: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    again: bool = False
    dry_run: bool = False
    request: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    by: Who

    @model_validator(mode="after")
    def _one_way(self) -> BatchRequest:
        if (self.rows is None) == (self.count is None):
            raise ValueError("give `rows`, or `count` for samples that differ in nothing")
        if self.row_numbers is not None and len(self.row_numbers) != len(self.rows or ()):
            raise ValueError("`row_numbers` has as many as `rows`")
        return self

    def submission(self) -> Submission:
        """The same for the queue."""
        return Submission(
            self.protocol,
            self.name,
            self.by,
            rows_of(self.rows, self.row_numbers, self.count),
            called=self.called,
            table=self.table if self.rows is not None else "",
            parameters=self.parameters,
            priority=self.priority,
            again=self.again,
            request=self.request,
            dry_run=self.dry_run,
        )


class CancelRequest(_Model):
    """Cancels a job, or what waits of a batch."""

    by: Who
    why: Words | None = None


class PauseRequest(_Model):
    """Keeps the queue from starting jobs."""

    by: Who
    why: Words | None = None


class MoveRequest(_Model):
    """Moves a job: before another one, or to the front or the end."""

    before: str | None = None
    to: Literal["first", "last"] | None = None
    by: Who

    @model_validator(mode="after")
    def _one_way(self) -> MoveRequest:
        if (self.before is None) == (self.to is None):
            raise ValueError('say the job that it goes before, or where to: "first" or "last"')
        return self


class PriorityRequest(_Model):
    """Gives a job another priority; higher ones go first."""

    priority: Annotated[int, Field(ge=-1000, le=1000)]
    by: Who


class JobModel(_Model):
    """A job of the queue. `state` is ISA-95's (Waiting, Ready, Running, Held, Completed, Aborted); `why` in words.

    `needs`: what it is expected to use up: materials in µL, tips by their µL, parts.
    """

    job: str
    batch: str
    sample: str
    protocol: str
    version: str
    priority: int
    state: str
    why: str | None
    run: str | None
    position: str | None
    parameters: dict[str, JsonValue]
    needs: dict[str, JsonValue]
    by: str
    submitted: str

    @classmethod
    def of(cls, job: Job) -> JobModel:
        fields = {name: getattr(job, name) for name in cls.model_fields if name != "job"}
        return cls.model_validate({"job": job.id, **fields, "state": job.state.value})


class QueueModel(_Model):
    """The queue: jobs at work, then those that wait, in the order of their turn. `paused` says why none is started."""

    paused: str | None
    most_runs: int
    jobs: list[JobModel]


class BatchModel(_Model):
    """What was queued; `batch` is null where it was only checked. `paused` says why nothing of it is started now."""

    batch: str | None
    rows: int
    jobs: list[JobModel]
    paused: str | None


class ReleasedModel(_Model):
    """The held jobs that wait for their start again."""

    released: list[str]


class CancelledModel(_Model):
    """The jobs that were cancelled; `running` are those of the batch that were not, with their runs."""

    cancelled: list[str]
    running: dict[str, str] = Field(default_factory=dict)
