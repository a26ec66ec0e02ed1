"""Laws from the literature: what is expected of a point before the first experiment.

A law's constants come from publications and stay as they are; what a campaign learns of them it keeps beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from labd.campaign.laws.conductivity import Conductivity
from labd.campaign.problem import CampaignError, Point

LAWS: Mapping[str, Callable[..., Law]] = {"conductivity": Conductivity}


@runtime_checkable
class Law(Protocol):
    """A law that says how sure it is of its own constants: these are learnt from the first results."""

    @property
    def doubts(self) -> Mapping[str, float]:
        """Standard deviation of each constant that may be off, as a relative change: 0.1 is 10 %."""
        ...

    def __call__(self, point: Point, **changed: float) -> float:
        """The expected value, with some constants changed by a relative amount."""
        ...


def law(name: str, **settings: Any) -> Law:
    """The law of a name, with its settings.

    Raises:
        CampaignError: there is none of this name, or it has no such setting.
    """
    if name not in LAWS:
        raise CampaignError(f"there is no law {name!r}: there are {', '.join(LAWS)}")
    try:
        return LAWS[name](**settings)
    except TypeError as error:
        raise CampaignError(f"law {name}: {error}") from error
