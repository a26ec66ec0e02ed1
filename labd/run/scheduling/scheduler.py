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
from labd.run.queue.orders import by_priority
from labd.run.reservations import Reservations
from labd.run.run import Run
from labd.run.scheduling.following import EARLY, PLANNING, Aims, Following, at_time
from labd.run.scheduling.visits import Visits
from labd.run.scheduling.works import Planned, Works

log = structlog.get_logger(__name__)

PLANNED = frozenset(
    {
        "batch.submitted",
        "job.changed",
        "job.moved",
        "job.cancelled",
        "job.held",
        "job.released",
        "queue.paused",
        "queue.resumed",
    }
)
"""What changes the jobs that are planned."""

TURNED = frozenset({"job.changed", "job.moved"})
"""After which it has another order."""

SOLVER_LIMIT = 1.5  # s of the machine's
PACE = 0.25  # s of the machine's; least time between two plans
SETTLED = 0.4  # s of the machine's; so long a plan must stand before it is worth a solver
GOOD = 1.02  # over its bound: a plan that is followed is kept
PLAN = "plan"
"""Of its alarm."""

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
        self._turned = False  # its order was changed by a person: the plan of before does not do any more
        self._solves = False
        self._asked: set[str] = set()  # jobs that were missing in a plan, since runs or jobs have changed
        self._good = GOOD  # what the order that is followed comes to, over its bound: so long that is so, it is kept
        self._unreadable: frozenset[str] = frozenset()  # jobs that do not hold here any more: their start tells why
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
            queue.turns.append(self.gate)
            queue.order = self.order

    @property
    def plan(self) -> Plan | None:
        """The one that is followed; None before the first one, and where planning failed."""
        return self._following.plan

    def surprise(self) -> None:
        """Something comes otherwise than planned: it is planned anew, soon. Never waits."""
        self._again.set()

    # ── its task ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def take_up(self) -> Callable[[], None]:
        """Learns from the journal how long states take, and goes on to until what is given is called."""
        early: list[Event] = []
        forget = self._journal.on_commit(early.extend)
        past = await self._journal.events(kinds=KINDS)
        self.durations.fold(past)
        forget()
        forget = self._journal.on_commit(self._learn)
        self._learn([event for event in early if not past or event.seq > past[-1].seq])
        return forget

    async def run(self) -> None:
        """Plans whenever there is reason to, until cancelled."""
        forget = self._lab.bus.subscribe(self._heard, DeviceState, RunState)
        self._lab.barriers.on_change(self.surprise)
        # on virtual time no solver is asked
        self._solves = available() and not clock.is_virtual()
        try:
            while True:
                await self._again.wait()
                self._again.clear()
                if not self._lab.config.queue.plan:
                    continue
                began = clock.monotonic()
                try:
                    await self._plan()
                except Exception as error:  # noqa: BLE001 - told in full, and the lab goes on
                    self._do_without(error)
                if not clock.is_virtual():  # where surprises come by the dozen, one plan answers several
                    took = clock.monotonic() - began
                    least, most = clock.of_machine(PACE), clock.of_machine(4 * PACE)
                    await asyncio.sleep(min(most, max(least, 2 * took)))
        finally:
            forget()
            self._following.close()
            if self._better is not None:
                self._better.cancel()

    async def _warm_up(self) -> bool:
        """Loads the solver where it is asked first: a lab whose plans are good never needs it, nor its 100 MB."""
        try:
            self._solves = await asyncio.to_thread(warm_up)
        except Exception as error:
            self._solves = False
            log.exception("the solver cannot be loaded; labd plans by its own means", problem=repr(error))
        return self._solves

    def _do_without(self, error: Exception) -> None:
        """No plan is better than no lab: everybody goes in line, until something else has it tried anew."""
        log.error("planning failed", exc_info=error)
        text = f"planning failed ({error!r}): jobs go in line, and windows are not looked after; the log says where"
        self._lab.alarms.tell(PLAN, "warning", "lab", text)
        self._following.do_without()
        self._look()

    async def as_of_now(self) -> tuple[Plan, tuple[Work, ...]]:
        """The plan that is followed, as of now, and what it was made of; here with all jobs that wait."""
        planned, now = await self._present(by_priority(self._queue.line.pending))
        plan, _ = await asyncio.to_thread(_planned, self.plan, planned, now, self._good)
        return plan, planned.works

    async def _present(self, jobs: Sequence[Job]) -> tuple[Planned, float]:
        """The runs at work and some jobs as works, and the time at which that is so."""
        now = clock.monotonic()
        return await self._works.of(list(self._runs.values()), jobs, now, self._name), now

    async def _plan(self) -> None:
        if self._changed:
            self._asked.clear()
        self._changed = False
        planned, now = await self._present(self._queue.startable())
        if self._better is not None:
            self._better.cancel()
        before, self._turned = None if self._turned else self.plan, False
        plan, looked = await asyncio.to_thread(_planned, before, planned, now, self._good)
        if looked:
            self._good = max(GOOD, plan.ratio * (1 + WORTH))
        self._follow(plan, planned)
        self._lab.alarms.end(PLAN)
        if plan.ratio > GOOD and self._solves:
            self._better = asyncio.create_task(self._improve(planned, plan), name="solver")

    async def _improve(self, planned: Planned, plan: Plan) -> None:
        """Looks for a better plan while this one is followed; it is of use while its order still does."""
        await asyncio.sleep(clock.of_machine(SETTLED))
        if not await self._warm_up():
            return
        if self._solver is not None and not self._solver.done():
            await asyncio.wait([self._solver])  # one at a time: a thread goes on when who waits for it is cancelled
        solving = asyncio.to_thread(solve, planned.works, planned.bench, plan.now, SOLVER_LIMIT, plan)
        self._solver = asyncio.ensure_future(solving)
        try:
            found = await asyncio.shield(self._solver)
            present, now = await self._present(self._queue.startable())
            ours, theirs = (retimed(one, present.works, present.bench, now) for one in (plan, found))
        except Exception:
            log.exception("the solver failed; the plan without it is followed")
            return
        if self.plan is plan and theirs is not None and (ours is None or _better(theirs, ours)):
            self._follow(theirs, present)

    def _follow(self, plan: Plan | None, planned: Planned) -> None:
        self._unreadable = planned.unreadable
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
        if self._following.is_free or job.id in self._unreadable:
            return None
        row = self._following.due(job.id)
        if row is None:
            return self._left_out(job)
        why = self._shut.get(job.id) or self._following.hopeless_windows(job.id)
        if why or clock.monotonic() >= row.start - EARLY:
            return why or None
        self._following.look_at(row.start - EARLY)
        return f"its turn comes at {at_time(row.start)}"

    def _left_out(self, job: Job) -> str:
        """Why a job is not in the plan. One that nothing kept back but its turn is planned soon."""
        why = self.plan.unplanned.get(job.id) if self.plan is not None else None
        if why is not None:
            return self._shut.get(job.id) or why
        if job.id not in self._asked:
            self._asked.add(job.id)
            self.surprise()
        return PLANNING

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
                self._asked.clear()

    def _learn(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind in KINDS:
                self.durations.apply(event)
            elif event.kind in PLANNED:
                self._changed = True
                self._turned = self._turned or event.kind in TURNED
                self.surprise()

    # ── of runs ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _name(self, run: str) -> str:
        """What plans call a run: the job that it was, if it was one."""
        return self._queue.line.working.get(run, run)

    def _begun(self) -> dict[str, int]:
        return {self._name(run): len(self.visits.of(run)) for run in self._runs}

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
