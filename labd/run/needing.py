"""What a run needs of a lab's stock when all goes well: what is reserved for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labd.protocol.facts import LabFacts
from labd.protocol.proofs.material import SAMPLE, Key, Needs


def needed(found: Needs) -> dict[str, dict[str, float]]:
    """Materials in µL by name or by place, tips by the µL that they take, parts by name.

    Args:
        found: what was counted, with the values of the run's parameters.
    """
    materials: dict[str, float] = {}
    tips: dict[str, float] = {}
    for key, amount in found.amounts.items():
        if amount.expected <= 0 or key.name == SAMPLE or key.name.startswith("="):
            continue
        if key.kind in ("material", "place") and Key("into", key.name) not in found.amounts:
            materials[key.name] = amount.expected
        elif key.kind == "tip":
            tips[key.name] = amount.expected
    parts = {name: amount.expected for name, amount in found.parts.items() if amount.expected > 0}
    return {"materials": materials, "tips": tips, "parts": parts}


def places_named(found: Needs, facts: LabFacts, values: Mapping[str, Any]) -> list[str]:
    """The places of trays, of those that a run's parameters name, where it takes a part or puts something down.

    Args:
        found: what was counted of it.
        facts: of the lab.
        values: of its parameters.
    """
    named = [value for value in values.values() if isinstance(value, str) and value in facts.trays]
    used = {key.name for key in found.amounts if key.kind in ("pick", "put")}
    return [place for place in dict.fromkeys(named) if place in used]
