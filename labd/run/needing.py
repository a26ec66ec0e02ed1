"""What a run needs of a lab's stock when all goes well: what is reserved for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labd.protocol.facts import LabFacts
from labd.protocol.program import Program
from labd.protocol.proofs.material import SAMPLE, Key, needs


def needed(program: Program, facts: LabFacts, values: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Materials in µL by name or by place, tips by the µL that they take, parts by name.

    Args:
        program: compiled, with all that it calls.
        facts: of the lab.
        values: of its parameters, as `ready` gave them.
    """
    found = needs(program, facts, values)
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
