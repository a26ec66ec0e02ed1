"""What a thread works out for a campaign: the proposals of its optimiser, and the points that are wished for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labd.campaign.problem import CampaignError, Point, Proposal

if TYPE_CHECKING:
    from labd.campaign.inverse import Answer
    from labd.campaign.plan import Plan


def asked(
    plan: Plan, told: Any, pending: list[Point], count: int, seed: int, avoid: Sequence[Point] = ()
) -> list[Proposal]:
    """In a thread: the optimiser's proposals."""
    from labd.campaign.optimisers import optimiser

    return optimiser(plan.optimiser, **plan.optimiser_settings).ask(plan.problem(avoid), told, pending, count, seed)


def wished(plan: Plan, told: Any, want: str, count: int) -> Answer:
    """In a thread: the points that have the properties which are wished for. Raises CampaignError."""
    try:
        from labd.campaign.inverse import propose
    except ImportError as error:
        raise CampaignError(f"wishes need {error.name}: pip install 'labd[data]'") from error
    return propose(plan.problem(), told, want, count, plan.seed)
