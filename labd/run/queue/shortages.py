"""Jobs that waited in vain for their start because the stock was too small, until more is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from labd.files import Problem
from labd.lab.inventory import Inventory

SUPPLY = frozenset({"P502", "P503", "P504"})
"""What the checker says of a stock that is too small: it may be filled up."""


def of_supply(problems: Iterable[Problem]) -> bool:
    """Whether all that is wrong is mended by filling up."""
    return {problem.code for problem in problems if problem.severity == "error"} <= SUPPLY


@dataclass(slots=True)
class Shortages:
    """Which jobs were too much for the stock, and what was there then: it takes a second to look at one again.

    Args:
        inventory: of the lab.
    """

    inventory: Inventory
    _of: dict[str, tuple[str, dict[str, float]]] = field(default_factory=dict)

    def add(self, job: str, problems: Iterable[Problem]) -> None:
        """A job cannot be started with what there is."""
        said = "; ".join(f"{one.message}: {one.mend}" if one.mend else one.message for one in problems)
        self._of[job] = said, self._there()

    def forget(self, job: str) -> None:
        """It was looked at again, or waits no more."""
        self._of.pop(job, None)

    def reason(self, job: str) -> str | None:
        """Why it waits, as long as no more of anything has come since."""
        if job not in self._of:
            return None
        why, before = self._of[job]
        return None if _more(self._there(), before) else why

    def _there(self) -> dict[str, float]:
        """All that is there and that runs do not need, and each part by its place."""
        free = self.inventory.left_by_runs.told()
        amounts = {f"{kind} {name}": amount for kind, named in free.items() for name, amount in named.items()}
        return amounts | {f"at {place}": 1.0 for place in self.inventory.stock.parts}


def _more(now: Mapping[str, float], before: Mapping[str, float]) -> bool:
    return any(amount > before.get(name, 0.0) for name, amount in now.items())
