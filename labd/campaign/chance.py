"""What points by chance tell of a campaign's plan: whether anything is allowed, can be made, and has a value."""

from __future__ import annotations

import math
from random import Random

from labd.campaign.model import CampaignFile
from labd.campaign.plan import Plan, in_default_units, unmakeable, unpriced
from labd.campaign.points import sample
from labd.campaign.problem import CampaignError, Point, Space
from labd.expr import ExpressionError
from labd.files import Path
from labd.lab.findings import Findings

SAMPLES = 400
"""Points by chance that are looked at before it is said that nothing is allowed."""


def try_points(plan: Plan, file: CampaignFile, findings: Findings) -> None:
    """Looks at points by chance: whether any is allowed, and whether the protocol takes all that are."""
    random = Random(0)
    bare = Space(plan.space.dimensions)
    points = [point for _ in range(SAMPLES) if (point := sample(bare, random)) is not None]
    within, refused = [], ""
    makeable: list[Point] = []
    for point in points:
        values = in_default_units(point, plan.dimensions)
        try:
            if not all(constraint(values) for constraint in plan.constraints):
                continue
        except ExpressionError:
            continue
        why = unmakeable(plan.settings, values) or unpriced(plan.costs, values)
        refused = refused or why or ""
        within.append(why is None)
        makeable += [point] if why is None else []
    _laws_hold(plan, makeable, findings)
    if not any(within):
        at: Path = ("constraints",) if file.constraints else ("space",)
        why = f": {refused}" if refused else ""
        mend = "widen the bounds or the constraints"
        findings.tell("C120", f"none of {len(points)} points by chance is allowed{why}", at, mend, key=True)
    elif not all(within):
        share = 100 * within.count(False) / len(within)
        message = f"{share:.0f} % of the allowed points cannot be made and are left out, such as {refused}"
        mend = "narrow the space, or add a constraint that says so"
        findings.tell("C122", message, ("parameters",), mend, key=True, warning=True)


def _laws_hold(plan: Plan, points: list[Point], findings: Findings) -> None:
    """Whether each prior has a value wherever an optimiser may look: one that has none breaks an ask."""
    for name, expected in plan.prior.items():
        without = ""
        for point in points:
            try:
                value = expected(point)
            except CampaignError as error:
                without = str(error)
                break
            if not math.isfinite(value):
                without = f"it is {value} at {', '.join(f'{key} {one}' for key, one in point.items())}"
                break
        if without:
            mend = "narrow the space, add a constraint, or write a law that holds everywhere in it"
            findings.tell("C123", f"the prior of `{name}` has no value: {without}", ("prior", name), mend)
