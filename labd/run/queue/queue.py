"""The queue of one lab: takes batches of jobs, and starts one when nothing is against it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from labd.files import InputErrors
from labd.files.tables import Row
from labd.journal import Event, JournalError, NewEvent
from labd.lab.bus import Happening, RunState
from labd.lab.samples import SAMPLES
from labd.run.homes import EngineError, asks_where
from labd.run.queue.jobs import QUEUED, Job, JobState, line_of
from labd.run.queue.orders import Orders, UnknownJobError, by_priority
from labd.run.queue.rows import Known
from labd.run.queue.shortages import Shortages, of_supply
from labd.run.queue.submitting import Checked, batch_events, check_submission

if TYPE_CHECKING:
    from labd.run.engine import Engine

log = structlog.get_logger(__name__)

Gate = Callable[[Job], str | None]


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody asks to be queued.

    Args:
        source: the protocol's YAML text.
        name: its file, for messages.
        called: texts of the protocols that it calls, by name.
        rows: one a sample; without a table, as many empty ones as samples are wanted.
        table: what the table is called in messages; empty where there is none.
        parameters: values for all rows.
        priority: of rows that say none.
        again: whether samples that the lab has already may be meant.
        request: what the sender calls this submission: sent twice, it is queued once.
        dry_run: whether it is only checked.
        by: who submits it.
    """

    source: str
    name: str
    by: str
    rows: Sequence[Row]
    called: Mapping[str, str] = field(default_factory=dict)
    table: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    again: bool = False
    request: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of a submission: its batch and jobs; without a batch, it was checked and holds."""

    batch: str | None
    jobs: tuple[Job, ...]
    rows: int


class Queue(Orders):
    """The jobs of one engine. `run()` is its task.

    Args:
        engine: which starts their runs.

    Attributes:
        gates: each gives why a job may not be started now, or None; the first reason is told.
        turns: those of them that only say whose turn it is.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.most_runs = engine.lab.config.queue.most_runs
        self.gates: list[Gate] = []
        self.turns: list[Gate] = []  # those of them that only say whose turn it is
        self._submitting = asyncio.Lock()
        self._submissions: set[asyncio.Task[Submitted]] = set()
        self._refused: dict[str, str] = {}  # starts that the engine refused since the last look
        self._told: dict[str, str] = {}  # and before: what is told of a job while its next turn is worked out
        self._short = Shortages(engine.lab.inventory)
        self._seen: dict[str, str] = {}  # how runs of jobs stood when that was told last
        self._early: list[Event] = []  # of the journal, before it was taken up
        self._taken_up = False
        self._lab.places.on_change(self.reconsider)
        self._lab.barriers.on_change(self.reconsider)

    # ── its task ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def take_up(self) -> Callable[[], None]:
        """Takes the journal's jobs up as they stood, and follows it until what is given is called."""
        forget = self._journal.on_commit(self._committed)
        before = await self._journal.events(kinds=QUEUED)
        line = line_of(before)
        last = before[-1].seq if before else 0
        for event in self._early:
            if event.seq > last:
                line.apply(event.kind, event.data, event.at)
        line.paused = line.paused or self.line.paused  # the whole lab was stopped meanwhile
        self.line = line
        for run in list(line.working):
            self._look_at_run(self._engine.find(run))
        self._taken_up = True
        return forget

    def _committed(self, events: Sequence[Event]) -> None:
        """Takes in what is durable now, whoever waits for it."""
        found = [event for event in events if event.kind in QUEUED]
        said = any(event.kind in SAMPLES for event in events)  # a mass that a job waits for may be among it
        if not self._taken_up:
            self._early += found
            return
        for event in found:
            self.line.apply(event.kind, event.data, event.at)
        if found or said:
            self.reconsider()

    async def run(self) -> None:
        """Starts jobs as they may be started, until cancelled."""
        forget = self._lab.bus.subscribe(self._heard)
        try:
            while True:
                self._again.clear()
                self._refused.clear()
                while (job := self._judge()) is not None:
                    await self._start(job)
                await self._again.wait()
        finally:
            forget()
            for task in self._submissions:
                task.cancel()

    def _heard(self, happening: Happening) -> None:
        """A run of a job that stands otherwise than before is told with the queue."""
        if not isinstance(happening, RunState):
            return
        if happening.ended is not None:
            self._look_at_run(happening)
            self.reconsider()
        elif happening.run in self.line.working and self._seen.get(happening.run) != happening.state:
            self._seen[happening.run] = happening.state
            self.reconsider()

    def _look_at_run(self, state: RunState | None) -> None:
        """Takes a run's end in."""
        if state is None or state.ended is None or state.run not in self.line.working:
            return
        self.line.ended(state.run, state.outcome, state.cause)
        self._seen.pop(state.run, None)

    # ── which one is next ────────────────────────────────────────────────────────────────────────────────────────
    def _judge(self) -> Job | None:
        """Says of each job whether it may be started, or why not; gives the first that may."""
        first: Job | None = None
        promised = {job.position for job in self.line.pending if job.position is not None}
        for job in self.order(self.line.pending):
            if job.state is JobState.HELD:
                continue
            try:
                why = self._reason(job, promised)
            except Exception as error:
                log.exception("nobody knows whether a job may start", job=job.id)
                why = f"labd failed as it looked whether it may start: {error!r}; its log says where"
            self._mark(job, JobState.READY if why is None else JobState.WAITING, why)
            if why is None and first is None:
                first = job
        self._tell()
        return first

    def _mark(self, job: Job, state: JobState, why: str | None) -> None:
        if (job.state, job.why) != (state, why):
            self.line.mark(job.id, state, why)

    def _reason(self, job: Job, promised: set[str]) -> str | None:
        """Why a job may not be started now, in words, or None."""
        if self.line.paused is not None:
            return f"{self.line.paused}; `labd queue resume` lets it go on"
        why = self._lab.barriers.reason_for() or self._refused.get(job.id) or self._short.reason(job.id)
        if why is not None:
            return why
        try:
            self._home(job, promised)
        except EngineError as error:
            return str(error)
        for gate in (self._too_many, *(gate for gate in self.gates if gate not in self.turns)):
            why = gate(job)
            if why is not None:
                return why
        for gate in self.turns:  # these come last: what lacks something has no turn
            why = gate(job)
            if why is not None:
                return self._told.get(job.id, why)
        return None

    def startable(self) -> list[Job]:
        """The jobs that nothing keeps back but their turn, in line; none while the queue is paused."""
        if self.line.paused is not None or self._lab.barriers.reason_for() is not None:
            return []
        room = max(0, self.most_runs - len(self._engine.working))
        promised = {job.position for job in self.line.pending if job.position is not None}
        found: list[Job] = []
        for job in by_priority(self.line.pending):
            if len(found) >= room:
                break
            if job.state is not JobState.HELD and self._is_ready(job, promised):
                found.append(job)
        return found

    def _is_ready(self, job: Job, promised: set[str]) -> bool:
        """Whether it lacks neither place nor material, and was not refused."""
        try:
            self._home(job, promised)
        except EngineError:
            return False
        refused = self._refused.get(job.id) or self._short.reason(job.id)
        return refused is None and all(gate(job) is None for gate in self.gates if gate not in self.turns)

    def _too_many(self, _: Job) -> str | None:
        working = len(self._engine.working)
        if working < self.most_runs:
            return None
        return f"{working} runs are at work, and lab.yaml allows {self.most_runs} at a time (`queue: most_runs`)"

    def _home(self, job: Job, promised: set[str]) -> str:
        """Where its sample will be; "" where that does not matter. Raises EngineError: it cannot be there now."""
        placed = asks_where((job.source, *job.called.values()))
        home = self._engine.homes.home_of(job.sample, job.position, promised, taken=placed)
        if not home and placed and self._engine.homes.trays:
            trays = ", ".join(self._engine.homes.trays)
            raise EngineError(f"no unused well is left in {trays}; say where its sample stands with a `position`")
        return home

    async def _start(self, job: Job) -> None:
        """Starts a job, unless something came between."""
        async with self._changing:
            if not self.line.jobs[job.id].pending or self.line.paused is not None:
                return
            promised = {other.position for other in self.line.pending if other.position is not None}
            self._short.forget(job.id)
            try:
                position = self._home(job, promised) or None
                await self._engine.start(
                    job.source,
                    job.name,
                    job.parameters,
                    sample=job.sample,
                    position=position,
                    called=job.called,
                    by=job.by,
                    job=job,
                )
            except EngineError as error:
                self._refused[job.id] = self._told[job.id] = str(error)
            except InputErrors as errors:
                if of_supply(errors.problems):
                    self._short.add(job.id, errors.problems)
                    return
                await self._hold(job, f"it does not hold in this lab any more: {errors}")
            except JournalError:
                raise
            except Exception as error:
                log.exception("a job could not be started", job=job.id)
                await self._hold(job, f"labd failed as it was started: {error!r}; its log says where")
            else:
                self._told.pop(job.id, None)

    async def _hold(self, job: Job, why: str) -> None:
        way = f"mend that, then `labd queue release {job.id}`, or `labd cancel {job.id}`"
        await self._journal.append(NewEvent("job.held", {"job": job.id, "why": f"{why}\n{way}"}))

    # ── taking batches ───────────────────────────────────────────────────────────────────────────────────────────
    async def submit(self, asked: Submission) -> Submitted:
        """Checks a table and queues all of it, or nothing; it is durable when this returns.

        Raises:
            InputErrors: something does not hold; all of it, row by row.
            EngineError: the daemon is not ready for it.
        """
        if not self._taken_up:
            raise EngineError("the daemon is starting; submit it in a moment")
        # Whoever asks may leave: should they ask again, this one is over, or queued.
        task = asyncio.ensure_future(self._submit(asked))
        self._submissions.add(task)
        task.add_done_callback(self._submissions.discard)
        return await asyncio.shield(task)

    async def _submit(self, asked: Submission) -> Submitted:
        async with self._submitting:
            before = self.line.requests.get(asked.request) if asked.request is not None else None
            if before is not None:
                return self._submitted(before)
            checked = await check_submission(asked, self._lab, self._known())
            if asked.dry_run:
                return Submitted(None, (), len(checked.entries))
            return await self._queue(asked, checked)

    async def _queue(self, asked: Submission, checked: Checked) -> Submitted:
        batch = f"batch-{len(self.line.batches) + 1:04d}"
        numbers = range(len(self.line.jobs) + 1, len(self.line.jobs) + len(checked.entries) + 1)
        taken = {job.sample for job in self.line.jobs.values()} | self.line.registered
        events = batch_events(asked, checked, batch, [f"job-{number:04d}" for number in numbers], taken)
        jobs: list[Mapping[str, Any]] = events[0].data["jobs"]
        for one in jobs:
            self._lab.inventory.reserve(one["job"], one["needs"])
        try:
            await self._journal.append(*events)
        except JournalError:
            for one in jobs:
                self._lab.inventory.release(one["job"])
            raise
        return self._submitted(batch)

    def _submitted(self, batch: str) -> Submitted:
        self._judge()  # so that the answer says why each waits
        jobs = tuple(self.job(job) for job in self.line.batches[batch].jobs)
        return Submitted(batch, jobs, len(jobs))

    def _known(self) -> Known:
        """What the lab has already."""
        samples = dict.fromkeys(self.line.registered, "it was registered")
        samples |= {state.sample: f"{state.run} was for it" for state in self._engine.known()}
        samples |= {job.sample: f"{job.id} is for it" for job in self.line.pending}
        inventory = self._lab.inventory
        return Known(samples, self._lab.samples.by_barcode, inventory.no_cell, inventory.kept)


__all__ = ["Queue", "Submission", "Submitted", "UnknownJobError"]
