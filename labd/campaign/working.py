"""One campaign at work: asks, queues what is proposed, and tells what came of it; the journal is all that it knows.

Whatever is decided is durable before anything follows from it, and what follows has a name by which it is done once:
a batch of the queue has the campaign and the ask as its request. So a daemon that is killed anywhere goes on where it
was: an ask whose answer was not durable is asked again, with the same seed, and gives the same proposals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from labd.campaign.asking import asked
from labd.campaign.modelled import Modelled, simulated
from labd.campaign.outcomes import came_of
from labd.campaign.outlook import Outlook
from labd.campaign.problem import CampaignError, Point, Proposal
from labd.campaign.state import Experiment, Record
from labd.expr import ExpressionError
from labd.files import InputErrors
from labd.files.tables import Row
from labd.journal import NewEvent, SignalError
from labd.run.engine import EngineError
from labd.run.lifecycle import CommandRefusedError
from labd.run.queue import Submission, UnknownJobError

if TYPE_CHECKING:
    from labd.campaign.plan import Plan
    from labd.run.engine import Engine

log = structlog.get_logger(__name__)


class Working:
    """What a campaign of an engine's lab does by itself.

    Args:
        record: what the journal says of it.
        plan: its file, checked; None: it does not hold in this lab any more.
        engine: which makes its experiments.
    """

    def __init__(self, record: Record, plan: Plan | None, engine: Engine) -> None:
        self.record = record
        self.plan = plan
        self._engine = engine
        self._journal = engine.journal
        self.changing = asyncio.Lock()  # one step, or one order of a person

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def over(self) -> bool:
        """Whether it has ended, and all of it is known."""
        return self.record.ended is not None and not self.record.open

    @property
    def outlook(self) -> Outlook | None:
        """What is known, spent and wanted now; None without a plan."""
        return None if self.plan is None else Outlook(self.plan, self.record)

    # ── its steps ────────────────────────────────────────────────────────────────────────────────────────────────
    async def step(self) -> None:
        """Does all that can be done now. What is proposed is worked out in a thread, while orders are taken."""
        while True:
            async with self.changing:
                await self._settle()
                if self.plan is None or self.record.state != "working":
                    return
                await self._queue()
                if self.record.state != "working" or await self._over():
                    return
                count = self._wanted()
                missing = next((one for one in self.plan.virtual if one.name not in self.record.simulated), None)
                if count <= 0 or (self.plan.external and missing is None):
                    return
                version, number = self.record.version, self.record.asks + 1
                outlook, pending = Outlook(self.plan, self.record), self.record.pending()
                told, avoid = outlook.told(), outlook.avoid()
            if missing is not None:
                await self._simulate(missing)
                continue
            proposals = await self._ask(told, pending, count, number, avoid)
            async with self.changing:
                if self.record.version != version:
                    continue  # somebody changed something meanwhile: it is asked anew, knowing that
                if proposals is None or not await self._propose(proposals, f"{self.plan.optimiser}", number):
                    return

    async def _settle(self) -> None:
        """Takes in what became of what was proposed, and does what people's words ask of the queue."""
        for one in self.record.all:
            if one.status in ("vetoed", "proposed") and one.jobs:
                await self._withdraw(one)
            if one.status == "running" and one.run is not None:
                await self._observe(one)

    async def _withdraw(self, one: Experiment) -> None:
        """Cancels the jobs of what is not wanted any more; one that began already is kept as it was."""
        for revision, job in one.jobs.items():
            if one.status == "proposed" and revision == one.revision:
                continue
            note = one.notes[-1] if one.notes else None
            why = f"{note.word}: {note.why}" if note is not None else None
            try:
                if self._engine.queue.job(job).pending:
                    await self._engine.queue.cancel(job, by=note.by if note is not None else self.id, why=why)
            except (CommandRefusedError, UnknownJobError):
                pass  # it was started or cancelled meanwhile
        if one.run is not None:
            await self._append("campaign.kept", one, by="labd", why=f"its run had begun already: {one.run}")

    async def _observe(self, one: Experiment) -> None:
        """Tells what came of a run that has ended, once."""
        assert one.run is not None
        state = self._engine.find(one.run)
        if state is None or state.ended is None or self.plan is None:
            return
        try:
            came = await came_of(self.plan, one, state, self._engine)
        except SignalError as error:
            if self.record.state == "working":
                await self.pause(by="labd", why=f"what {one.run} measured cannot be read: {error}")
            return
        told = {"status": came.status, "values": came.values, "cause": came.cause, "outcome": state.outcome}
        await self._append("campaign.observed", one, run=one.run, **told)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _wanted(self) -> int:
        """How many proposals are wanted now."""
        assert self.plan is not None
        return Outlook(self.plan, self.record).wanted()

    async def _ask(
        self, told: Any, pending: list[Point], count: int, number: int, avoid: list[Point]
    ) -> list[Proposal] | None:
        """What the optimiser proposes; None where it cannot, and the campaign is paused for it."""
        assert self.plan is not None
        plan = self.plan
        try:
            return await asyncio.to_thread(asked, plan, told, pending, count, plan.seed_of(number), avoid)
        except CampaignError as error:
            why = str(error)
        except Exception as error:
            log.exception("an optimiser failed", campaign=self.id)
            why = f"the optimiser {plan.optimiser} failed: {error!r}; labd's log says where"
        await self.pause(by="labd", why=why)
        return None

    async def _simulate(self, one: Modelled) -> None:
        """Lets virtual cells answer, and keeps what they say; a campaign whose model fails is paused for it."""
        assert self.plan is not None
        try:
            found = await asyncio.to_thread(simulated, self.plan, one)
        except CampaignError as error:
            await self.pause(by="labd", why=str(error))
            return
        except Exception as error:
            log.exception("virtual cells failed", campaign=self.id)
            await self.pause(by="labd", why=f"virtual cells {one.name} failed: {error!r}; labd's log says where")
            return
        told = [
            {"point": dict(seen.point), "values": dict(seen.values), "failed": seen.failed, "cause": seen.cause}
            for seen in found
        ]
        data = {"campaign": self.id, "fidelity": one.name, "observations": told}
        await self._journal.append(NewEvent("campaign.simulated", data))

    async def _propose(self, proposals: Sequence[Proposal], by: str, number: int) -> list[Experiment]:
        """Makes proposals durable, as far as the budget goes; ends it where it goes no further and nothing is open."""
        assert self.plan is not None
        outlook = Outlook(self.plan, self.record)
        taken = outlook.affordable(proposals)
        if not taken and self.record.open:
            return []  # what waits is paid, and is made; then it is looked at again
        if not taken:
            why = (
                "the space has no further point"
                if not proposals
                else f"the budget is spent: {outlook.short(proposals)}"
            )
            await self.end(why, by="labd")
            return []
        return await self._write(taken, by, number)

    async def _write(
        self, proposals: Sequence[Proposal], by: str, ask: int | None, request: str | None = None
    ) -> list[Experiment]:
        record, made = self.record, []
        assert self.plan is not None
        free = Outlook(self.plan, record).free_places(len(proposals))
        first = len(record.experiments) + 1
        for number, (proposal, place) in enumerate(zip(proposals, free, strict=True), first):
            predicted = {name: {"mean": one.mean, "std": one.std} for name, one in proposal.predicted.items()}
            told = {"proposal": f"p{number:04d}", "point": dict(proposal.point), "place": place}
            made.append({**told, "why": proposal.why, "predicted": predicted})
        data = {"campaign": self.id, "ask": ask, "by": by, "proposals": made}
        more = {"request": request} if request is not None else {}
        await self._journal.append(NewEvent("campaign.proposed", data | more))
        return [record.experiments[str(one["proposal"])] for one in made]

    # ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────
    async def _queue(self) -> None:
        """Queues what was proposed and is not queued yet, ask by ask."""
        groups: dict[str, list[Experiment]] = {}
        for one in self.record.of("proposed"):
            groups.setdefault(one.request, []).append(one)
        for request, ones in groups.items():
            left = ones
            while left and self.record.state == "working":
                left = await self._submit(request, left)

    async def _submit(self, request: str, ones: list[Experiment]) -> list[Experiment]:
        """Queues them together; gives those that are to be tried again without the ones that the lab cannot make."""
        assert self.plan is not None
        plan, data = self.plan, self.record.data
        rows: list[Row] = []
        for number, one in enumerate(ones, 2):
            try:
                cells = plan.cells_of(one.point, one.place)
            except ExpressionError as error:
                await self._append("campaign.refused", one, by="labd", why=str(error))
                return [other for other in ones if other is not one]
            rows.append(Row(number, {"sample": one.sample, **cells, "# campaign": self.id, "# proposal": one.id}))
        asked = Submission(
            data["protocol"],
            data["protocol_name"],
            self.id,
            rows,
            called=data["called"],
            table=self.id,
            request=request,
        )
        try:
            await self._engine.queue.submit(asked)
        except InputErrors as errors:
            return await self._refused(ones, errors)
        except EngineError as error:
            await self.pause(by="labd", why=str(error))
        return []

    async def _refused(self, ones: list[Experiment], errors: InputErrors) -> list[Experiment]:
        """What the lab cannot make is refused one by one; what is wrong with all of it pauses the campaign."""
        by_row: dict[int, str] = {}
        whole: list[str] = []
        for problem in errors.problems:
            if problem.severity == "warning":
                continue
            told = f"{problem.message}; {problem.mend}" if problem.mend else problem.message
            if problem.code in ("T103", "T106") and 2 <= problem.line < 2 + len(ones):
                by_row.setdefault(problem.line - 2, told)
            else:
                whole.append(told)
        if whole or not by_row:
            why = "; ".join(dict.fromkeys(whole)) or str(errors)
            await self.pause(by="labd", why=f"the lab does not take it: {why}. Mend that, then resume the campaign")
            return []
        for index, why in by_row.items():
            await self._append("campaign.refused", ones[index], by="labd", why=why)
        return [one for index, one in enumerate(ones) if index not in by_row]

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def _over(self) -> bool:
        """Whether it is enough; then its end is durable, and told."""
        assert self.plan is not None
        outlook = Outlook(self.plan, self.record)
        why = outlook.enough()
        if why is not None:
            await self.end(why, by="labd")
            return True
        troubled = outlook.troubled()
        if troubled is not None:
            await self.pause(by="labd", why=troubled)
            return True
        return False

    async def end(self, why: str, *, by: str) -> None:
        """Ends it: what has not begun is vetoed, what is at work goes on and is told."""
        best = self.outlook.best() if self.outlook is not None else None
        events = [
            NewEvent(
                "campaign.vetoed",
                {"campaign": self.id, "proposal": one.id, "by": by, "why": f"the campaign has ended: {why}"},
            )
            for one in self.record.of("proposed", "queued")
        ]
        told = {"campaign": self.id, "why": why, "by": by, "best": best.id if best is not None else None}
        await self._journal.append(*events, NewEvent("campaign.ended", told))
        await self._settle()

    async def pause(self, *, by: str, why: str) -> None:
        """Proposes and queues nothing more, until it is resumed."""
        await self._journal.append(NewEvent("campaign.paused", {"campaign": self.id, "by": by, "why": why}))

    async def _append(self, kind: str, one: Experiment, **data: Any) -> None:
        await self._journal.append(NewEvent(kind, {"campaign": self.id, "proposal": one.id, **data}))
