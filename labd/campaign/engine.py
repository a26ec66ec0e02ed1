"""All campaigns of one lab: started by people, taken up from the journal, each at work beside the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from labd.campaign.problem import Point, Proposal
from labd.campaign.state import KINDS, OPEN, Record, Records
from labd.files import InputErrors
from labd.journal import Event, JournalError, NewEvent
from labd.lab.bus import CampaignAsk, CampaignState, Happening, RunState
from labd.run.engine import EngineError
from labd.run.facts import facts_of
from labd.run.lifecycle import CommandRefusedError

if TYPE_CHECKING:
    from labd.campaign.campaign import Campaign
    from labd.campaign.inverse import Answer
    from labd.campaign.plan import Plan
    from labd.run.engine import Engine

log = structlog.get_logger(__name__)


class UnknownCampaignError(CommandRefusedError):
    """There is no such campaign."""


class Campaigns:
    """The campaigns of one engine's lab. `run()` is its task; everything else may be called once it is `ready`.

    Args:
        engine: which makes their experiments.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._journal = engine.journal
        self._bus = engine.lab.bus
        self._records = Records()
        self._campaigns: dict[str, Campaign] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._told: dict[str, CampaignState] = {}
        self._asked: dict[str, tuple[int, int]] = {}
        self._early: list[Event] | None = []  # of the journal, before it was taken up
        self._starting = asyncio.Lock()
        self._reading = asyncio.Lock()  # one file at a time
        self._group: asyncio.TaskGroup | None = None
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Takes the journal's campaigns up and keeps all at work until cancelled."""
        forget = [self._journal.on_commit(self._committed)]
        try:
            await self._engine.ready.wait()
            forget.append(await self._take_up())
            async with asyncio.TaskGroup() as self._group:
                for campaign in sorted(self._campaigns.values(), key=lambda one: one.over):
                    self._begin(campaign)
                self.ready.set()
                await asyncio.Event().wait()
        finally:
            self.ready.clear()
            self._group = None
            for stop in forget:
                stop()

    async def _take_up(self) -> Callable[[], None]:
        before = await self._journal.events(kinds=KINDS)
        last = before[-1].seq if before else 0
        early, self._early = self._early or [], None
        for event in [*before, *(event for event in early if event.seq > last)]:
            self._records.apply(event)
        for record in self._records.records.values():
            self._campaigns[record.id] = self._made(record, None)
        self._engine.lab.barriers.on_change(self._wake_all)
        return self._bus.subscribe(self._heard, RunState)

    def _made(self, record: Record, plan: Plan | None) -> Campaign:
        """A campaign at work. What it needs is loaded with the first one: most starts of a daemon have none."""
        from labd.campaign.campaign import Campaign

        return Campaign(record, plan, self._engine)

    async def _plan(self, record: Record) -> Plan | None:
        """A campaign's file, checked anew against the lab; one at work that does not hold any more is paused."""
        data = record.data
        try:
            return await self._checked(
                data["source"], data["file"], data["protocol"], data["protocol_name"], data["called"]
            )
        except InputErrors as errors:
            if record.state == "working":
                why = f"it does not hold in this lab any more: {errors}. Mend that, start labd again, and resume it"
                await self._journal.append(
                    NewEvent("campaign.paused", {"campaign": record.id, "by": "labd", "why": why})
                )
            return None

    async def _checked(self, source: str, file: str, protocol: str, name: str, called: Mapping[str, str]) -> Plan:
        from labd.campaign.checker import plan_of
        from labd.campaign.making import Texts

        facts = facts_of(self._engine.lab, only=())
        return await asyncio.to_thread(plan_of, source, file, facts, Texts(protocol, name, called))

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────
    def _committed(self, events: Sequence[Event]) -> None:
        """Takes in what is durable now, whoever waits for it."""
        for event in events:
            if event.kind not in KINDS:
                continue
            if self._early is not None:
                self._early.append(event)
                continue
            about = self._records.apply(event)
            if about in self._wakes:
                self._wakes[about].set()
                self._tell(about)

    def _heard(self, happening: Happening) -> None:
        """A run that has ended may be an experiment."""
        if isinstance(happening, RunState) and happening.ended is not None:
            for campaign in self._campaigns.values():
                if any(one.run == happening.run and one.status in OPEN for one in campaign.record.all):
                    self._wakes[campaign.id].set()

    def _wake_all(self) -> None:
        for wake in self._wakes.values():
            wake.set()

    def _begin(self, campaign: Campaign) -> None:
        assert self._group is not None
        self._wakes[campaign.id] = asyncio.Event()
        self._wakes[campaign.id].set()
        self._group.create_task(self._live(campaign), name=f"campaign {campaign.id}")
        self._tell(campaign.id)

    async def _live(self, campaign: Campaign) -> None:
        """Steps whenever something has happened, or its time is over; until it is over, and all of it is known."""
        wake = self._wakes[campaign.id]
        if campaign.plan is None:  # it takes up to a second: the daemon's start does not wait for it
            async with self._reading, self._contained(campaign):
                campaign.plan = await self._plan(campaign.record)
            self._tell(campaign.id)
        while True:
            barred = self._engine.lab.barriers.reason_for() is not None
            try:
                async with asyncio.timeout(None if barred else self._left(campaign)):
                    await wake.wait()
            except TimeoutError:
                pass
            wake.clear()
            if self._engine.lab.barriers.reason_for() is not None:
                continue  # nothing is started now, and its end wakes this again
            async with self._contained(campaign):
                await campaign.step()
            self._tell(campaign.id)
            if campaign.over:  # and what it had queued is cancelled
                return

    @contextlib.asynccontextmanager
    async def _contained(self, campaign: Campaign) -> AsyncIterator[None]:
        """What one campaign's file or optimiser breaks pauses that one; it must not end the daemon at each start."""
        try:
            yield
        except JournalError:
            raise
        except Exception as error:
            log.exception("a campaign failed", campaign=campaign.id)
            if campaign.record.state == "working":
                await campaign.pause(by="labd", why=f"labd failed: {error!r}; its log says where")

    def _left(self, campaign: Campaign) -> float | None:
        """Seconds of lab time until its time is over; None: it has no end, or stands still."""
        outlook = campaign.outlook
        if outlook is None or campaign.record.state != "working" or outlook.plan.budget.time is None:
            return None
        return max(0.0, outlook.plan.budget.time - outlook.spent().time)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────
    def told(self) -> Iterator[Happening]:
        """What holds now, of all campaigns."""
        from labd.campaign.telling import ask_told, state_told

        for campaign in self._campaigns.values():
            yield state_told(campaign.record, campaign.plan)
            if campaign.plan is not None and campaign.plan.external:
                yield ask_told(campaign.record, campaign.plan)

    def _tell(self, campaign_id: str) -> None:
        from labd.campaign.telling import ask_told, state_told

        campaign = self._campaigns.get(campaign_id)
        if campaign is None:
            return
        state = state_told(campaign.record, campaign.plan)
        if self._told.get(campaign_id) != state:
            self._told[campaign_id] = state
            self._bus.tell(state)
        if campaign.plan is not None and campaign.plan.external and not campaign.changing.locked():
            ask = ask_told(campaign.record, campaign.plan)
            if self._asked.get(campaign_id) != (ask.ask, ask.count):
                self._asked[campaign_id] = ask.ask, ask.count
                self._bus.tell(ask)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    def all(self) -> list[Campaign]:
        """All, oldest first."""
        return list(self._campaigns.values())

    def find(self, name: str) -> Campaign:
        """A campaign by its id. Raises UnknownCampaignError."""
        if name in self._campaigns:
            return self._campaigns[name]
        known = f"; there are: {', '.join(self._campaigns)}" if self._campaigns else ""
        raise UnknownCampaignError(f"there is no campaign {name!r}{known}")

    async def start(
        self,
        source: str,
        file: str,
        protocol: str,
        name: str,
        called: Mapping[str, str],
        *,
        by: str,
        request: str | None = None,
    ) -> Campaign:
        """Starts a campaign; it is durable when this returns. The same file once more is the one that is at work.

        Args:
            source: the campaign's YAML text.
            file: what messages call it.
            protocol: its protocol's YAML text.
            name: what messages call that.
            called: texts of the protocols that the latter calls, by name.
            by: who starts it.
            request: what its sender calls this start: sent twice, it is started once.

        Raises:
            InputErrors: the file does not hold in this lab; all problems at once.
            CommandRefusedError: another one of its name is at work.
            EngineError: the daemon is not ready for it.
        """
        if self._group is None or not self.ready.is_set():
            raise EngineError("the daemon is starting or stopping; start it in a moment")
        plan = await self._checked(source, file, protocol, name, called)
        async with self._starting:
            before = [one for one in self._campaigns.values() if request and one.record.data.get("request") == request]
            if before:
                return before[0]
            same = [one for one in self._campaigns.values() if one.record.name == plan.name]
            for one in same:
                if one.record.state == "ended":
                    continue
                if one.record.data["source"] == source:
                    return one
                way = f"`labd campaign stop {one.id}` ends it, and another name lets both be"
                raise CommandRefusedError(
                    f"{one.id} is {one.record.state}, and its file is another than this one: {way}"
                )
            campaign_id = plan.name if not same else f"{plan.name}-{len(same) + 1}"
            if campaign_id in self._campaigns:
                raise CommandRefusedError(f"{campaign_id} is another campaign; give this one another name")
            told: dict[str, Any] = {
                "campaign": campaign_id,
                "name": plan.name,
                "version": plan.version,
                "by": by,
                "source": source,
            }
            told |= {"file": file, "protocol": protocol, "protocol_name": name, "called": dict(plan.protocol.texts)}
            told |= {"optimiser": plan.optimiser, "seed": plan.seed, "request": request}
            await self._journal.append(NewEvent("campaign.started", told))
            campaign = self._made(self._records.records[campaign_id], plan)
            self._campaigns[campaign_id] = campaign
            self._begin(campaign)
            return campaign

    async def resume(self, name: str, *, by: str, refilled: bool = False) -> Campaign:
        """Lets a paused campaign go on; its file is checked anew. Raises CommandRefusedError."""
        campaign = self.find(name)
        if campaign.plan is None:
            plan = await self._plan(campaign.record)
            if plan is None:
                raise CommandRefusedError(f"{campaign.id}: {campaign.record.paused}")
            campaign.plan = plan
        await campaign.resume(by=by, refilled=refilled)
        return campaign

    async def candidates(self, name: str, count: int) -> list[Proposal]:
        """What its optimiser would propose now; nothing is queued. Raises CampaignError, CommandRefusedError."""
        from labd.campaign.asking import asked

        campaign = self.find(name)
        plan, outlook = campaign.plan, campaign.outlook
        if plan is None or outlook is None or plan.external:
            raise CommandRefusedError(f"{campaign.id} has no optimiser of its own that could be asked")
        work = partial(
            asked,
            plan,
            outlook.told(),
            campaign.record.pending(),
            count,
            plan.seed_of(campaign.record.asks + 1),
            outlook.avoid(),
        )
        return await asyncio.to_thread(work)

    async def wish(self, name: str, want: str, count: int) -> Answer:
        """Which points have the properties that are wished for. Raises CampaignError, CommandRefusedError."""
        from labd.campaign.asking import wished

        campaign = self.find(name)
        plan, outlook = campaign.plan, campaign.outlook
        if plan is None or outlook is None:
            raise CommandRefusedError(campaign.unread)
        return await asyncio.to_thread(wished, plan, outlook.told(), want, count)

    def ask(self, name: str) -> CampaignAsk:
        """What a campaign asks of an optimiser outside now. Raises UnknownCampaignError, CommandRefusedError."""
        from labd.campaign.telling import ask_told

        campaign = self.find(name)
        if campaign.plan is None or not campaign.plan.external:
            raise CommandRefusedError(
                f"{campaign.id} asks its own optimiser; write `optimiser: external` for one outside"
            )
        return ask_told(campaign.record, campaign.plan)

    async def answer(
        self, name: str, ask: int, points: Sequence[Point], *, by: str, why: Sequence[str] = ()
    ) -> list[Any]:
        """An optimiser's answer from outside. Raises UnknownCampaignError, CommandRefusedError."""
        whys = [*why, *[""] * (len(points) - len(why))]
        proposals = [Proposal(point, {}, told) for point, told in zip(points, whys, strict=False)]
        return await self.find(name).answer(ask, proposals, by=by)
