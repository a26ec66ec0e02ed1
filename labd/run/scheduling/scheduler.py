"""Makes the plan that runs and jobs follow, and makes it anew whenever something comes otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from labd import clock
from labd.journal import Event, Journal
from labd.lab.bus import DeviceState, Happening, RunState
from labd.lab.lab import Lab
from labd.protocol.program import Program
from labd.run.lifecycle import PAUSED
from labd.run.planning import Plan, Work, available, greedy, retimed, solve, warm_up
from labd.run.planning.durations import KINDS, Durations
from labd.run.planning.tasks import Recipes
from labd.run.queue import Job, Queue
from labd.run.reservations import Reservations
from labd.run.run import Run
from labd.run.scheduling.following import EARLY, PLANNING, Aims, Following, at_time
from labd.run.scheduling.visits import Visits
from labd.run.scheduling.works import Planned, Works

log = structlog.get_logger(__name__)

PLANNED = frozenset({"batch.submitted", "job.changed", "job.moved", "job.cancelled", "job.held", "job.released"})
"""What changes the jobs that are planned."""

SOLVER_LIMIT = 1.5  # s of the machine's
PACE = 0.25  # s of the machine's; least time between two plans
SETTLED = 0.4  # s of the machine's; so long a plan must stand before it is worth a solver
GOOD = 1.02  # over its bound: a plan that is followed is kept
WORTH = 0.01  # by so much of its makespan a plan must be shorter to be taken instead of the one that is followed


class Scheduler:
    """The plan of one lab. `run()` is its task.

    Args:
        lab, journal: whose.
        reservations: which follow it.
        queue: whose jobs it places.
        runs: all that are at work.
    """

    def __init__(
        self, lab: Lab, journal: Journal, reservations: Reservations, queue: Queue, runs: Mapping[str, Run]
    ) -> None:
        self.visits = Visits()
        self.durations = Durations()
        self._lab = lab
        self._journal = journal
        self._reservations = reservations
        self._queue = queue
        self._runs = runs
        self._works = Works(lab, reservations, self.visits, Recipes(self.durations))
        self._again = asyncio.Event()
        self._changed = False  # the queue, since it was planned
        self._good = GOOD  # what the order that is followed comes to, over its bound: so long that is so, it is kept
        self._shut: dict[str, str] = {}  # by work: what it needs and nobody can have, in words
        self._better: asyncio.Task[None] | None = None
        self._solver: asyncio.Future[Plan] | None = None
        self._packml: dict[str, bool] = {}  # of runs: whether they stand
        self._health: dict[str, str] = {}  # of devices
        self._following = Following(
            Aims(self._name, self._program, self._begun), self.visits, self.surprise, self._look
        )
        if lab.config.queue.plan:
            reservations.policy = self._following
            queue.gates.append(self.gate)
            queue.order = self.order

    @property
    def plan(self) -> Plan | None:
        """The one that is followed; None while there are not two works to plan."""
        return self._following.plan

    def surprise(self) -> None:
        """Something comes otherwise than planned: it is planned anew, soon. Never waits."""
        self._again.set()

    # ── its task ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def take_up(self) -> Callable[[], None]:
        """Learns from the journal how long states take, and goes on to until what is given is called."""
        self.durations.fold(await self._journal.events(kinds=KINDS))
        return self._journal.on_commit(self._learn)

    async def run(self) -> None:
        """Plans whenever there is reason to, until cancelled."""
        forget = self._lab.bus.subscribe(self._heard, DeviceState, RunState)
        self._lab.barriers.on_change(self.surprise)
        try:
            if not clock.is_virtual():
                await asyncio.to_thread(warm_up)
            while True:
                await self._again.wait()
                self._again.clear()
                if not self._lab.config.queue.plan:
                    continue
                began = clock.monotonic()
                await self._plan()
                if not clock.is_virtual():  # where surprises come by the dozen, one plan answers several
                    took = clock.monotonic() - began
                    least, most = clock.of_machine(PACE), clock.of_machine(4 * PACE)
                    await asyncio.sleep(min(most, max(least, 2 * took)))
        finally:
            forget()
            self._following.close()
            if self._better is not None:
                self._better.cancel()

    async def as_of_now(self) -> tuple[Plan, tuple[Work, ...]]:
        """The plan that is followed, as of now, and what it was made of; also where one work is all there is."""
        planned, now = await self._present()
        plan, _ = await asyncio.to_thread(_planned, self.plan, planned, now, self._good)
        return plan, planned.works

    async def _present(self) -> tuple[Planned, float]:
        """What is to be planned, and the time at which that is so."""
        now = clock.monotonic()
        runs, jobs = list(self._runs.values()), self._queue.order(self._queue.line.pending)
        return await self._works.of(runs, jobs, now, self._name), now

    async def _plan(self) -> None:
        self._changed = False
        planned, now = await self._present()
        if self._better is not None:
            self._better.cancel()
        if len(planned.works) < 2:
            self._follow(None, planned)
            return
        plan, looked = await asyncio.to_thread(_planned, self.plan, planned, now, self._good)
        if looked:
            self._good = max(GOOD, plan.ratio * (1 + WORTH))
        self._follow(plan, planned)
        if plan.ratio > GOOD and available() and not clock.is_virtual():
            self._better = asyncio.create_task(self._improve(planned, plan), name="solver")

    async def _improve(self, planned: Planned, plan: Plan) -> None:
        """Looks for a better plan while this one is followed; it is of use while nothing has come otherwise."""
        await asyncio.sleep(clock.of_machine(SETTLED))
        if self._solver is not None and not self._solver.done():
            await asyncio.wait([self._solver])  # one at a time: a thread goes on when who waits for it is cancelled
        solving = asyncio.to_thread(solve, planned.works, planned.bench, plan.now, SOLVER_LIMIT, plan)
        self._solver = asyncio.ensure_future(solving)
        found = _close(await asyncio.shield(self._solver), planned)
        if self.plan is plan and _better(found, plan):
            self._follow(found, planned)

    def _follow(self, plan: Plan | None, planned: Planned) -> None:
        self._shut = {work.id: "; ".join(planned.shut_for(work)) for work in planned.works}
        self._following.follow(plan, planned.works)
        self._look()

    def _look(self) -> None:
        self._reservations.reconsider()
        self._queue.reconsider()

    # ── what the queue asks ──────────────────────────────────────────────────────────────────────────────────────
    def gate(self, job: Job) -> str | None:
        """Why a job may not be started yet, in words, or None: its turn comes later, or its windows cannot be kept."""
        if self._changed:
            return PLANNING
        if self._following.is_free(job.id):
            return None
        row = self._following.due(job.id)
        if row is None:
            why = self.plan.unplanned.get(job.id) if self.plan is not None else None
            return PLANNING if why is None else self._shut.get(job.id) or why
        if clock.monotonic() >= row.start - EARLY:
            return None
        self._following.look_at(row.start - EARLY)
        return f"its turn comes at {at_time(row.start)}"

    def order(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs as the plan has them; what it does not know comes last, higher priorities first."""
        known = {job.id: row.start for job in jobs if (row := self._following.due(job.id)) is not None}
        return sorted(jobs, key=lambda job: (known.get(job.id, float("inf")), -job.priority))

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────
    def _heard(self, happening: Happening) -> None:
        """A device that comes or goes, and a run that is held or goes on, change the plan."""
        if isinstance(happening, DeviceState):
            if self._health.get(happening.device) != happening.health:
                self._health[happening.device] = happening.health
                self.surprise()
        elif isinstance(happening, RunState):
            stands = happening.state in PAUSED
            if self._packml.get(happening.run, False) != stands:
                self._packml[happening.run] = stands
                self.surprise()
            if happening.ended is not None:
                self._packml.pop(happening.run, None)

    def _learn(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind in KINDS:
                self.durations.apply(event)
            elif event.kind in PLANNED:
                self._changed = True
                self.surprise()

    # ── of runs ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _name(self, run: str) -> str:
        """What plans call a run: the job that it was, if it was one."""
        return self._queue.line.working.get(run, run)

    def _begun(self, name: str) -> int:
        run = next((run for run, job in self._queue.line.working.items() if job == name), name)
        return len(self.visits.of(run))

    def _program(self, run: str) -> Program | None:
        return self._runs[run].machine.program if run in self._runs else None


def _planned(before: Plan | None, planned: Planned, now: float, good: float) -> tuple[Plan, bool]:
    """The plan of before as of now, or a new one; and whether a new one was looked for.

    Args:
        before: the plan that is followed.
        planned: what there is to do.
        now: as of when.
        good: what it may come to over its bound without another one being looked for.
    """
    kept = retimed(before, planned.works, planned.bench, now) if before is not None else None
    if before is not None and kept is not None and kept.ratio <= good and len(kept.broken) <= len(before.broken):
        return kept, False
    found = _close(greedy(planned.works, planned.bench, now), planned)
    return (found if kept is None or _better(found, kept) else kept), True


def _close(found: Plan, planned: Planned) -> Plan:
    """The same plan with its time windows opened as late as nobody has to wait for it."""
    return retimed(found, planned.works, planned.bench, found.now) or found


def _better(found: Plan, plan: Plan) -> bool:
    ours = len(plan.broken), len(plan.unplanned)
    theirs = len(found.broken), len(found.unplanned)
    return theirs < ours or (theirs == ours and found.makespan < plan.makespan * (1 - WORTH))
