"""A campaign as people and programs deal with it: they hold, resume and stop it, veto, edit and add proposals.

An order waits until the step that is at work has ended, and is durable when its method returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labd.campaign.outlook import Outlook
from labd.campaign.problem import Point, Proposal
from labd.campaign.state import MADE, UNMADE, Experiment
from labd.campaign.working import Working
from labd.journal import NewEvent
from labd.run.lifecycle import CommandRefusedError


class Campaign(Working):
    """One campaign of an engine's lab."""

    async def resume(self, *, by: str, refilled: bool) -> None:
        """Goes on. Raises CommandRefusedError where it is not paused."""
        async with self.changing:
            if self.record.state != "paused":
                raise CommandRefusedError(f"{self.id} is not paused: it is {self.record.state}")
            told = {"campaign": self.id, "by": by, "refilled": refilled}
            await self._journal.append(NewEvent("campaign.resumed", told))

    async def hold(self, *, by: str, why: str) -> None:
        """Pauses it for a person. Raises CommandRefusedError where it is not at work."""
        async with self.changing:
            if self.record.state != "working":
                raise CommandRefusedError(f"{self.id} is {self.record.state} already")
            await self.pause(by=by, why=why)

    async def stop(self, *, by: str, why: str) -> None:
        """Ends it for a person. Raises CommandRefusedError where it has ended."""
        async with self.changing:
            if self.record.state == "ended":
                raise CommandRefusedError(f"{self.id} has ended: {self.record.ended}")
            await self.end(f"stopped by {by}: {why}", by=by)

    async def veto(self, proposal: str, *, by: str, why: str) -> Experiment:
        """Takes a proposal back that was not begun. Raises CommandRefusedError where it was."""
        async with self.changing:
            one = self._not_begun(proposal)
            await self._append("campaign.vetoed", one, by=by, why=why)
            await self._settle()
            return self._unless_kept(one, "vetoed")

    async def edit(self, proposal: str, changes: Mapping[str, float | str], *, by: str, why: str) -> Experiment:
        """Changes the point of a proposal that was not begun. Raises CommandRefusedError."""
        async with self.changing:
            one = self._not_begun(proposal)
            point = {**one.point, **changes}
            self._check(point)
            short = self.outlook.overdrawn(one, point) if self.outlook is not None else None
            if short is not None:
                raise CommandRefusedError(f"the budget does not go so far: {short}")
            await self._append("campaign.edited", one, point=point, was=dict(one.point), by=by, why=why)
            await self._settle()
            return self._unless_kept(one, "edited")

    async def add(self, points: Sequence[Point], *, by: str, why: str, request: str | None = None) -> list[Experiment]:
        """Adds proposals of a person; those of the same `request` once only. Raises CommandRefusedError."""
        async with self.changing:
            if request is not None and request in self.record.added:
                before = self.record.added[request]
                if list(before.values()) != [dict(point) for point in points]:
                    raise CommandRefusedError(
                        f"{request!r} has added {', '.join(before)}, other points: name it otherwise"
                    )
                return [self.record.experiments[one] for one in before]
            self._taken([Proposal(point, {}, why) for point in points])
            return await self._write([Proposal(point, {}, why) for point in points], by, None, request)

    async def answer(self, ask: int, proposals: Sequence[Proposal], *, by: str) -> list[Experiment]:
        """Takes the answer of an optimiser outside to an ask; the same one again is answered as before.

        Raises:
            CommandRefusedError: it is another's turn, or a point does not hold; then none is taken.
        """
        async with self.changing:
            if 1 <= ask <= self.record.asks:
                return [one for one in self.record.all if one.ask == ask]
            if self.plan is not None and not self.plan.external:
                raise CommandRefusedError(
                    f"{self.id} asks its own optimiser, {self.plan.optimiser}; a person may add points"
                )
            if ask != self.record.asks + 1:
                raise CommandRefusedError(f"{self.id} is at ask {self.record.asks + 1}, not {ask}")
            self._taken(proposals)
            wanted = self._wanted() if self.record.state == "working" else 0
            if not 1 <= len(proposals) <= wanted:
                raise CommandRefusedError(f"{self.id} wants {wanted} proposals now, not {len(proposals)}")
            return await self._write(proposals, by, ask)

    def _taken(self, proposals: Sequence[Proposal]) -> None:
        """Raises CommandRefusedError for proposals that cannot be tried."""
        if self.record.state == "ended":
            raise CommandRefusedError(f"{self.id} has ended: {self.record.ended}")
        if self.plan is None:
            raise CommandRefusedError(self.unread)
        for proposal in proposals:
            self._check(proposal.point)
        outlook = Outlook(self.plan, self.record)
        if len(outlook.affordable(proposals)) < len(proposals):
            raise CommandRefusedError(f"the budget does not go so far: {outlook.short(proposals)}")

    def _check(self, point: Point) -> None:
        if self.plan is None:
            raise CommandRefusedError(self.unread)
        wrong = self.plan.wrong(point)
        if wrong is not None:
            raise CommandRefusedError(wrong)

    @property
    def unread(self) -> str:
        """Why it has no plan."""
        return f"{self.id}: {self.record.paused or 'its file is being read; give it again in a moment'}"

    def _not_begun(self, proposal: str) -> Experiment:
        one = self.record.experiments.get(proposal)
        if one is None:
            raise CommandRefusedError(
                f"{self.id} has no proposal {proposal!r}; `labd campaign status {self.id}` lists them"
            )
        if one.status in MADE:
            way = f": `labd stop {one.run}` ends its run" if one.status == "running" else ""
            raise CommandRefusedError(f"{proposal} is {one.status}{way}")
        if one.status in UNMADE:
            raise CommandRefusedError(f"{proposal} is {one.status} already: {one.cause}")
        return one

    def _unless_kept(self, one: Experiment, word: str) -> Experiment:
        if one.notes[-1].word == "kept":
            raise CommandRefusedError(f"{one.id} cannot be {word} any more: {one.notes[-1].why}")
        return one
