"""What a job or a run needs of a lab's stock, as long as it is not spent: what is reserved for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Needs:
    """Materials in µL by name or by place, tips by the µL that they take, parts by name.

    And places of trays that are for it alone, each with the sample that it is for.
    """

    materials: Mapping[str, float] = field(default_factory=dict)
    tips: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, dict[str, float]]:
        return {"materials": dict(self.materials), "tips": dict(self.tips), "parts": dict(self.parts)}

    def less(self, spent: Mapping[str, Any]) -> Needs:
        """What is still needed after something was spent, as the journal tells it."""
        match spent["thing"]:
            case "liquid":
                keys = (spent["place"], spent["name"])
                return replace(self, materials=_less(self.materials, keys, spent["amount"]))
            case "tips":
                return replace(self, tips=_less(self.tips, (spent["name"],), spent["amount"]))
            case _:
                # its sample's own place stays its own: there it may come back to
                taken = spent["wells"] if spent["action_id"] is not None else ()
                places = {place: sample for place, sample in self.places.items() if place not in taken}
                return replace(self, parts=_less(self.parts, (spent["name"],), spent["amount"]), places=places)


def needs_of(told: Mapping[str, Any] | None) -> Needs:
    """Needs as the journal has them; tips by their size, as text or number."""
    given = told or {}
    return Needs(
        {str(name): float(amount) for name, amount in (given.get("materials") or {}).items()},
        {str(size): float(amount) for size, amount in (given.get("tips") or {}).items()},
        {str(name): float(amount) for name, amount in (given.get("parts") or {}).items()},
        dict(given.get("places") or {}),
    )


def total(needs: Iterable[Needs]) -> Needs:
    """All of them together."""
    sums: tuple[dict[str, float], dict[str, float], dict[str, float]] = ({}, {}, {})
    for one in needs:
        for into, amounts in zip(sums, (one.materials, one.tips, one.parts), strict=True):
            for name, amount in amounts.items():
                into[name] = into.get(name, 0.0) + amount
    return Needs(*sums)


def _less(amounts: Mapping[str, float], keys: tuple[str, ...], spent: float) -> dict[str, float]:
    """Of the first of these names that is needed so much is needed no more."""
    key = next((key for key in keys if key in amounts), None)
    if key is None:
        return dict(amounts)
    left = amounts[key] - float(spent)
    rest = {name: amount for name, amount in amounts.items() if name != key}
    return {**rest, key: left} if left > NOTHING else rest
