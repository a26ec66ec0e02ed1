"""Campaigns in the words of the bus, of programs outside and of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labd.campaign.outlook import Outlook
from labd.campaign.plan import Plan
from labd.campaign.problem import Choice, Mixture, Observation, Prediction, Proposal, Range
from labd.campaign.state import Experiment, Record
from labd.lab.bus import CampaignAsk, CampaignState

if TYPE_CHECKING:
    from labd.campaign.inverse import Candidate


def state_told(record: Record, plan: Plan | None) -> CampaignState:
    """Where a campaign is."""
    outlook = Outlook(plan, record) if plan is not None else None
    best = outlook.best() if outlook is not None else None
    return CampaignState(
        campaign=record.id,
        name=record.name,
        version=str(record.data["version"]),
        state=record.state,
        why=record.ended or record.paused,
        by=record.by,
        since=record.since,
        started=record.started,
        optimiser=str(record.data["optimiser"]),
        rounds=record.asks,
        experiments=dict(Counter(one.status for one in record.all)),
        best=None if best is None or plan is None else best_told(best, plan),
        budget=budget_told(outlook) if outlook is not None else {},
        ended=record.ended_at,
    )


def best_told(one: Experiment, plan: Plan) -> dict[str, Any]:
    """The best experiment: who it is, its point, and its values with their units."""
    return {
        "proposal": one.id,
        "sample": one.sample,
        "run": one.run,
        "point": point_told(one, plan),
        "units": {name: unit for name, unit in plan.dimensions.items() if unit},
        "values": quantities(one.values, plan),
    }


def point_told(one: Experiment, plan: Plan | None) -> dict[str, float | str]:
    """A point in the order of the file: the journal's is the alphabet's."""
    names = plan.dimensions if plan is not None else one.point
    return {name: one.point[name] for name in names if name in one.point}


def quantities(values: Mapping[str, float], plan: Plan) -> dict[str, Any]:
    """Values of objectives with their units."""
    units = {one.name: one.unit for one in plan.objectives}
    return {name: {"v": value, "u": units[name]} for name, value in values.items()}


def budget_told(outlook: Outlook) -> dict[str, dict[str, Any]]:
    """What is used of what is bounded; of costs also what is not bounded."""
    budget, spent, costs = outlook.plan.budget, outlook.spent(), outlook.plan.costs
    rows = (
        ("cells", spent.cells, budget.cells, "", True),
        ("time", spent.time, budget.time, "s", budget.time is not None),
        ("money", spent.money, budget.money, budget.currency, "money" in costs),
        ("mass", spent.mass, budget.mass, "g", "mass" in costs),
    )
    return {name: {"used": round(used, 6), "of": most, "unit": unit} for name, used, most, unit, shown in rows if shown}


def problem_told(plan: Plan) -> dict[str, Any]:
    """The space and what is wanted, for optimisers outside: constraints as texts, numbers in the units named."""
    space: list[dict[str, Any]] = []
    for one in plan.space.dimensions:
        match one:
            case Range():
                told: dict[str, Any] = {"low": one.low, "high": one.high, "unit": one.unit, "step": one.step}
            case Choice():
                told = {"levels": list(one.levels), "descriptors": {k: list(v) for k, v in one.descriptors.items()}}
            case Mixture():
                bounds = zip(one.parts, one.low, one.high, strict=True)
                parts = {part: {"low": low, "high": high} for part, low, high in bounds}
                told = {"parts": parts, "total": one.total, "step": one.step, "least": one.least}
        space.append({"name": one.name, "type": type(one).__name__.lower(), **told})
    objectives = [
        {
            "name": one.name,
            "goal": one.goal,
            "unit": one.unit,
            "target": one.target,
            "low": one.low,
            "high": one.high,
            "weight": one.weight,
        }
        for one in plan.objectives
    ]
    constraints = [one.text.strip() for one in plan.constraints]
    return {"space": space, "constraints": constraints, "objectives": objectives, "combine": plan.combine}


def observation_told(one: Observation) -> dict[str, Any]:
    return {
        "point": dict(one.point),
        "values": dict(one.values),
        "failed": one.failed,
        "cause": one.cause,
        "fidelity": one.fidelity,
    }


def ask_told(record: Record, plan: Plan) -> CampaignAsk:
    """What is asked of an optimiser outside now; ask 0 where nothing is."""
    outlook = Outlook(plan, record)
    count = outlook.wanted() if record.state == "working" and plan.external else 0
    if outlook.enough() is not None or count <= 0:
        return CampaignAsk(record.id, 0, 0, {}, (), ())
    told = tuple(observation_told(one) for one in outlook.told())
    pending = tuple(dict(point) for point in record.pending())
    problem = problem_told(plan) | {"avoid": [dict(point) for point in outlook.avoid()]}
    return CampaignAsk(record.id, record.asks + 1, count, problem, told, pending)


def proposal_told(one: Proposal) -> dict[str, Any]:
    """A proposal that nobody has taken yet."""
    return {"point": dict(one.point), "predicted": predictions(one.predicted), "why": one.why, "chance": None}


def candidate_told(one: Candidate) -> dict[str, Any]:
    """The same of a candidate for a wish, with its chance to meet it."""
    told = {"point": dict(one.point), "predicted": predictions(one.predicted)}
    return {**told, "why": "; ".join(one.why), "chance": one.chance}


def predictions(predicted: Mapping[str, Prediction]) -> dict[str, Any]:
    return {name: {"mean": one.mean, "std": one.std} for name, one in predicted.items()}


def experiment_told(one: Experiment, plan: Plan | None) -> dict[str, Any]:
    """One proposal with its whole story."""
    return {
        "proposal": one.id,
        "sample": one.sample,
        "status": one.status,
        "ask": one.ask,
        "point": point_told(one, plan),
        "predicted": {name: dict(told) for name, told in one.predicted.items()},
        "why": one.why,
        "by": one.by,
        "at": one.at,
        "job": one.job,
        "run": one.run,
        "values": quantities(one.values, plan) if plan is not None else {},
        "cause": one.cause or None,
        "notes": [{"at": note.at, "by": note.by, "word": note.word, "why": note.why} for note in one.notes],
    }


def detail_told(record: Record, plan: Plan | None) -> dict[str, Any]:
    """A campaign with all its proposals, and how the best came on."""
    units = dict(plan.dimensions) if plan is not None else {}
    return {
        "units": units,
        "problem": problem_told(plan) if plan is not None else {},
        "summary": plan.summary if plan is not None else "",
        "proposals": [experiment_told(one, plan) for one in record.all],
        "course": course_told(Outlook(plan, record)) if plan is not None else [],
        "front": [one.id for one in Outlook(plan, record).front()] if plan is not None else [],
    }


def course_told(outlook: Outlook) -> list[dict[str, Any]]:
    """Experiment by experiment, as they ended: which was the best until then."""
    course: list[dict[str, Any]] = []
    best: Experiment | None = None
    scores = outlook.scores()
    for number, one in enumerate(outlook.ended_in_order(), 1):
        if one.id in scores and (best is None or scores[one.id] > scores[best.id]):
            best = one
        values = quantities(best.values, outlook.plan) if best is not None else None
        course.append({"number": number, "proposal": one.id, "best": best.id if best else None, "values": values})
    return course
