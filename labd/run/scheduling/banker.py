"""The banker of one lab: which runs are under way, and whether one of them may have what it asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labd.lab.lab import Lab
from labd.run.scheduling.claims import Claim, Need, UnitKey, Units, stuck

Bindings = Mapping[str, Sequence[UnitKey]]


@dataclass(frozen=True, slots=True)
class _Customer:
    """A run: in a state with `bound` units, or on its way into it."""

    run: str
    sample: str
    need: Need
    bound: Bindings | None = None


class Banker:
    """Knows what every run has and may yet ask for."""

    def __init__(self, lab: Lab) -> None:
        self._units = Units(lab)
        self._customers: dict[str, _Customer] = {}

    def asked(self, run: str, sample: str, need: Need) -> None:
        """A run has left its state and asks for what the next one needs."""
        self._customers[run] = _Customer(run, sample, need)

    def granted(self, run: str, bound: Bindings) -> None:
        """It has it."""
        if run in self._customers:
            self._customers[run] = replace(self._customers[run], bound=bound)

    def ended(self, run: str) -> None:
        """It asks for nothing any more."""
        self._customers.pop(run, None)

    def objection(self, run: str, bound: Bindings) -> str | None:
        """Why a run that asked must not have these units yet, in words, or None."""
        if not any(self._units.of(kind) for kind in self._customers[run].need.own):
            return None  # nothing can stay in what it asks for
        after = stuck(self._claims(run, bound), self._units)
        if not after:
            return None
        before = {claim.run for claim in stuck(self._claims(), self._units)}
        after = tuple(claim for claim in after if claim.run not in before)
        if not after:
            return None
        names = sorted({claim.run for claim in after} - {run})
        return f"lets {', '.join(names) or 'others'} go first: each would wait for what the other has"

    def _claims(self, run: str = "", bound: Bindings | None = None) -> list[Claim]:
        """Of all runs, as if one of them had these units."""
        return [
            self._claim(replace(customer, bound=bound) if customer.run == run else customer)
            for customer in self._customers.values()
        ]

    def _claim(self, customer: _Customer) -> Claim:
        need = customer.need
        if customer.bound is None:
            later = Counter(need.own) | Counter(need.later)
            return Claim(customer.run, self._units.blocked(customer.sample), later)
        return Claim(customer.run, self._units.left(customer.sample, need.change, customer.bound), need.later)
