"""Virtual cells as a campaign's file names them: their function, and what it is called with at a point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from labd.campaign.compiling import Compiler
from labd.campaign.plan import Plan, in_default_units
from labd.campaign.problem import CampaignError, Observation, Point
from labd.expr import ANYTHING, Expression, ExpressionError, Type
from labd.files import Path
from labd.lab.findings import Findings
from labd.protocol.values import expression_of

if TYPE_CHECKING:
    from labd.campaign.model import VirtualSpec

GROUP = "labd.virtual"
"""Entry points by which other packages offer virtual cells."""
_OWN = re.compile(r"simulators\.cells\.[a-z_.]+:[a-z_]+")
Filled = Mapping[str, Any]
"""Values, expressions, and mappings of these."""


@dataclass(frozen=True, slots=True)
class Modelled:
    """One fidelity of virtual cells."""

    name: str
    function: str
    arguments: Filled
    figures: Mapping[str, str]
    count: int
    processes: int
    cluster: str


def read(name: str, spec: VirtualSpec, types: Mapping[str, Type], compiler: Compiler, findings: Findings) -> Modelled:
    """One entry of the file; what is wrong with it goes to the findings.

    A file comes from people, also over the network: only labd's own models and installed entry points are called.
    """
    at: Path = ("virtual", name)
    function = spec.function
    for point in entry_points(group=GROUP, name=function):
        function = point.value
    if not _OWN.fullmatch(function) and function == spec.function:
        mend = f"write `simulators.cells.virtual:outcome`, or install one as an entry point of `{GROUP}`"
        findings.tell(
            "C119", f"`{function[:60]}` is no model of virtual cells that labd knows", (*at, "function"), mend
        )
    if name == "lab":
        findings.tell("C106", "`lab` is what real cells are", at, "choose another name", key=True)
    filled = {key: _filled(raw, types, compiler, (*at, "with", key)) for key, raw in spec.with_.items()}
    return Modelled(name, function, filled, dict(spec.figures), spec.count, spec.processes, spec.cluster)


def _filled(raw: Any, types: Mapping[str, Type], compiler: Compiler, path: Path) -> Any:
    if isinstance(raw, dict):
        return {str(key): _filled(one, types, compiler, (*path, key)) for key, one in raw.items()}
    text = expression_of(raw)
    if text is not None:
        return compiler.compile(text, types, ANYTHING, path, 1)
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return raw
    return int(raw) if isinstance(raw, int) else float(raw)


def simulated(plan: Plan, one: Modelled) -> list[Observation]:
    """In a thread: what virtual cells say, at points that fill the space. Raises CampaignError."""
    from labd.campaign.optimisers import optimiser
    from labd.campaign.virtual import Virtual

    def arguments(point: Point) -> Filled:
        try:
            return _worked_out(one.arguments, in_default_units(point, plan.dimensions))
        except ExpressionError as error:
            raise CampaignError(f"virtual cells {one.name}: {error}") from error

    asked = optimiser("latin").ask(plan.problem(), [], [], one.count, plan.seed_of(0))
    points: Sequence[Point] = [proposal.point for proposal in asked]
    virtual = Virtual(one.name, one.function, arguments, one.figures, one.processes, one.cluster)
    found = virtual.observe(points, [objective.name for objective in plan.objectives])
    if found and all(seen.failed for seen in found):
        raise CampaignError(
            f"all {len(found)} virtual cells {one.name} failed, so they teach nothing: {found[0].cause}; "
            "mend their `with` in the file and start that, or leave them out"
        )
    return found


def _worked_out(filled: Filled, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: one(values) if isinstance(one, Expression) else _worked_out(one, values) if isinstance(one, dict) else one
        for key, one in filled.items()
    }
