"""What a campaign knows, has spent and wants now: worked out from its plan and the journal, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labd import clock
from labd.campaign.goals import desirability, front, gain, spans
from labd.campaign.plan import Plan
from labd.campaign.problem import Observation, Point, Proposal
from labd.campaign.state import UNMADE, Experiment, Record
from labd.expr import ExpressionError
from labd.sdk import units


@dataclass(frozen=True, slots=True)
class Spent:
    """What of the budget is used, by those that were made and those that wait. Money in its currency, g, s."""

    cells: int
    money: float
    mass: float
    time: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """A look at one campaign."""

    plan: Plan
    record: Record

    # ── what is known ────────────────────────────────────────────────────────────────────────────────────────────
    def told(self) -> list[Observation]:
        """What an optimiser is told: all results, and what virtual cells say."""
        virtual = [
            Observation(one["point"], one["values"], one["failed"], one["cause"], fidelity=fidelity)
            for fidelity, ones in self.record.simulated.items()
            for one in ones
        ]
        return [*self.results(), *virtual]

    def results(self) -> list[Observation]:
        """Values, and failures with their cause. What was lost says nothing."""
        return [self.observation(one) for one in self.record.of("observed", "failed")]

    def avoid(self) -> list[Point]:
        """Where not to go: what people vetoed, and what the lab has refused since it was last resumed."""
        since = self.record.since
        refused = [one for one in self.record.of("refused") if one.notes[-1].at >= since]
        return [one.point for one in [*self.record.of("vetoed"), *refused]]

    def observation(self, one: Experiment) -> Observation:
        return Observation(one.point, one.values, failed=one.status == "failed", cause=one.cause)

    def scores(self) -> dict[str, float]:
        """How good each one with values is, by proposal; greater is better."""
        problem, results = self.plan.problem(), self.results()
        between = spans(problem, results)
        found: dict[str, float] = {}
        for one in self.record.of("observed"):
            gains = {wanted.name: gain(wanted, one.values[wanted.name]) for wanted in problem.objectives}
            alone = len(gains) == 1
            found[one.id] = next(iter(gains.values())) if alone else desirability(problem, gains, between)
        return found

    def best(self) -> Experiment | None:
        """The best so far; of equal ones the first."""
        scores = self.scores()
        best = max(scores, key=lambda one: scores[one], default=None)
        return self.record.experiments[best] if best is not None else None

    def front(self) -> list[Experiment]:
        """Those that no other one beats in all objectives."""
        by_values = {id(told := self.observation(one)): (told, one) for one in self.record.of("observed")}
        kept = front(self.plan.problem(), [told for told, _ in by_values.values()])
        return [by_values[id(told)][1] for told in kept]

    def ended_in_order(self) -> list[Experiment]:
        """Those of which all is known, as they ended."""
        found = self.record.of("observed", "failed", "lost")
        return sorted(found, key=lambda one: (one.ended or "", one.id))

    # ── what is spent ────────────────────────────────────────────────────────────────────────────────────────────
    def spent(self) -> Spent:
        made = [one for one in self.record.all if one.status not in UNMADE]
        money = sum(self.plan.cost("money", one.point) for one in made)
        mass = sum(self.plan.cost("mass", one.point) for one in made)
        until = datetime.fromisoformat(self.record.ended_at) if self.record.ended_at is not None else clock.now()
        time = (until - datetime.fromisoformat(self.record.started)).total_seconds()
        return Spent(len(made), money, mass, time)

    def affordable(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """The first of them that the budget and what there is of the `each` lists go for."""
        budget, spent = self.plan.budget, self.spent()
        found: list[Proposal] = []
        money, mass = spent.money, spent.mass
        room = self.room()
        for proposal in proposals:
            money += self.plan.cost("money", proposal.point)
            mass += self.plan.cost("mass", proposal.point)
            too_much = (
                (room is not None and len(found) >= room)
                or (budget.money is not None and money > budget.money * (1 + 1e-9))
                or (budget.mass is not None and mass > budget.mass * (1 + 1e-9))
            )
            if too_much:
                break
            found.append(proposal)
        return found

    def overdrawn(self, one: Experiment, point: Point) -> str | None:
        """Why the budget does not go for one of the proposals at another point, in words, or None."""
        budget, spent = self.plan.budget, self.spent()
        for what, most, used, unit in (
            ("money", budget.money, spent.money, budget.currency),
            ("mass", budget.mass, spent.mass, "g"),
        ):
            if most is None:
                continue
            left, cost = most - used + self.plan.cost(what, one.point), self.plan.cost(what, point)
            if cost > left + most * 1e-9:
                return f"{max(0.0, left):.4g} {unit} are left for {one.id}, and it would cost {cost:.4g} {unit}"
        return None

    def short(self, proposals: Sequence[Proposal]) -> str:
        """Why the budget does not go for the first of them that is left out, in words."""
        budget, spent = self.plan.budget, self.spent()
        if budget.cells is not None and spent.cells + len(proposals) > budget.cells:
            return f"{spent.cells} of {budget.cells} cells are proposed or made"
        listed = self.listed()
        if listed is not None and len(self.record.places) + len(proposals) > listed:
            return f"{len(self.record.places)} of {listed} places of the `each` lists are used"
        left = []
        for what, most, used, unit in (
            ("money", budget.money, spent.money, budget.currency),
            ("mass", budget.mass, spent.mass, "g"),
        ):
            if most is not None:
                next_one = self.plan.cost(what, proposals[0].point) if proposals else 0.0
                left.append(f"{max(0.0, most - used):.4g} {unit} are left, and one more costs {next_one:.4g} {unit}")
        return "; ".join(left) or "nothing is left"

    def room(self) -> int | None:
        """How many more cells there may be; None: any number."""
        listed, cells = self.listed(), self.plan.budget.cells
        bounds = [] if cells is None else [cells - self.spent().cells]
        if listed is not None:
            bounds.append(listed - len(self.record.places))
        return min(bounds) if bounds else None

    def listed(self) -> int | None:
        """How many experiments the shortest `each` list goes for; None: there is none."""
        return min((len(one.each) for one in self.plan.settings.values() if one.each), default=None)

    def free_places(self, count: int) -> list[int]:
        """The next unused entries of the `each` lists; any numbers where there are none."""
        if self.listed() is None:
            return [0] * count
        used = self.record.places
        free: Iterator[int] = (place for place in range(len(used) + count + 1) if place not in used)
        return [next(free) for _ in range(count)]

    # ── what is wanted ───────────────────────────────────────────────────────────────────────────────────────────
    def wanted(self) -> int:
        """How many proposals are wanted now."""
        pending = len(self.record.open)
        if pending and not self.plan.rolling:
            return 0
        room = self.room()
        free = self.plan.batch - pending
        return max(0, free if room is None else min(free, room))

    def enough(self) -> str | None:
        """Why the campaign ends now, in words, or None."""
        budget, spent, stop = self.plan.budget, self.spent(), self.plan.stop
        reached = self._reached()
        if reached is not None:
            return reached
        if budget.time is not None and spent.time >= budget.time:
            return f"its time is over: {units.plain(budget.time, 's')}"
        if stop.unchanged is not None and (same := self._unchanged()) >= stop.unchanged:
            return f"the best is the same since {same} experiments"
        if self.record.open:
            return None
        if budget.cells is not None and spent.cells >= budget.cells:
            return f"all {budget.cells} cells are made"
        return None

    def _reached(self) -> str | None:
        when, best = self.plan.stop.when, self.best()
        if when is None or best is None:
            return None
        by_unit = {one.name: one.unit for one in self.plan.objectives}
        told = {name: _default(value, by_unit[name]) for name, value in best.values.items()}
        values: dict[str, Any] = {"best": told, "rounds": self.record.asks}
        values |= {"experiments": len(self.ended_in_order()), "failed": len(self.record.of("failed"))}
        try:
            return f"it is reached: {when.text.strip()} ({when.because(values)})" if when(values) else None
        except ExpressionError:
            return None

    def _unchanged(self) -> int:
        """How many experiments have ended since the best one did."""
        ended, best = self.ended_in_order(), self.best()
        return len(ended) - 1 - ended.index(best) if best is not None else 0

    def troubled(self) -> str | None:
        """Why a person should look before it goes on, in words, or None."""
        most = self.plan.stop.failures
        recent = self.ended_in_order()[-most:] if most is not None else []
        since = self.record.since
        if (
            most is not None
            and len(recent) == most
            and all(one.status != "observed" and (one.ended or "") > since for one in recent)
        ):
            causes = "; ".join(dict.fromkeys(one.cause for one in recent))
            return f"{most} experiments failed one after another: {causes}"
        return self._refused() or self._used_up()

    def _refused(self) -> str | None:
        """Whether the lab takes nothing of what is proposed: it would go on for ever, since that costs nothing."""
        last = self.record.all[-max(3, self.plan.batch) :]
        if len(last) < max(3, self.plan.batch):
            return None
        if any(one.status != "refused" or one.notes[-1].at < self.record.since for one in last):
            return None
        causes = "; ".join(dict.fromkeys(one.cause for one in last[-3:]))
        return f"the lab has refused {len(last)} proposals one after another: {causes}"

    def _used_up(self) -> str | None:
        """Whether there is nothing left of the `each` lists."""
        listed = self.listed()
        cells = self.plan.budget.cells
        spent = self.spent().cells
        if (
            listed is not None
            and not self.record.open
            and len(self.record.places) >= listed
            and (cells is None or spent < cells)
        ):
            names = ", ".join(name for name, one in self.plan.settings.items() if one.each)
            return (
                f"all {listed} of `{names}` are used: put new ones there, tell the stock, then "
                f"`labd campaign resume {self.record.id} --refilled`"
            )
        return None


def _default(value: float, unit: str) -> float:
    return units.convert(value, unit, units.unit(unit).default) if unit else value
