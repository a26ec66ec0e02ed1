"""What came of an experiment: values in the objectives' units, or why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labd.campaign.measures import in_default_units
from labd.campaign.plan import Plan
from labd.campaign.state import Experiment, Status
from labd.lab.bus import RunState
from labd.records.figures import Figures, figures

if TYPE_CHECKING:
    from labd.run.engine import Engine

LOST = ("stopped", "aborted")
"""Outcomes of a run that say nothing of its point: a person or the lab ended it."""


@dataclass(frozen=True, slots=True)
class Came:
    """What is told of an experiment. `values` may hold some of a failed one: those that could be measured."""

    status: Status
    values: dict[str, float] = field(default_factory=dict)
    cause: str = ""


async def came_of(plan: Plan, one: Experiment, state: RunState, engine: Engine) -> Came:
    """What came of a run that has ended. A failed cell is a failure, with why; never a zero.

    Raises:
        SignalError: what was measured cannot be read.
    """
    if state.outcome in LOST:
        return Came("lost", {}, f"{state.outcome}: {state.cause or 'nobody says why'}")
    events = await engine.journal.events(run=state.run)
    ended = next((event.data for event in reversed(events) if event.kind == "protocol.ended"), {})
    if state.outcome != "complete":
        return Came("failed", {}, f"{state.outcome}: {state.cause or ended.get('because') or 'nobody says why'}")
    seen = await figures(events, engine.signals) if plan.needs_figures else None
    told = in_default_units(seen) if seen is not None else {}
    values: dict[str, float] = {}
    missing: list[str] = []
    for objective in plan.objectives:
        value = plan.value(objective.name, one.point, ended.get("results", {}), told)
        if value is None:
            missing += [objective.name, *_whys(plan, objective.name, seen)]
        else:
            values[objective.name] = value
    if missing:
        return Came("failed", values, f"the run is complete and gives no {'; '.join(missing)}")
    return Came("observed", values)


def _whys(plan: Plan, objective: str, seen: Figures | None) -> Iterator[str]:
    """Why the figures are not there that an objective is made of."""
    for parts in sorted(plan.measured[objective].expression.names):
        if seen is not None and parts[0] == "figures" and (why := seen.why(parts[1])) is not None:
            yield why
