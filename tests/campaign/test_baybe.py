"""BayBE behind the same interface; without it, how to get it."""

from __future__ import annotations

import importlib.util

import pytest

from labd.campaign import points
from labd.campaign.optimisers import optimiser
from labd.campaign.problem import CampaignError, Choice, Mixture, Objective, Observation, Problem, Range, Space

SPACE = Space(
    (
        Mixture("m", ("EC", "EMC"), (0, 0), (1, 1), step=0.25),
        Range("molality", 0.5, 1.5, step=0.5),
        Choice("salt", ("LiPF6", "LiFSI"), {"LiPF6": (2.54,), "LiFSI": (2.64,)}),
    )
)


@pytest.mark.skipif(importlib.util.find_spec("baybe") is not None, reason="BayBE is installed")
def test_without_baybe_its_extra_is_named() -> None:
    with pytest.raises(CampaignError, match=r"labd\[bo\]"):
        optimiser("baybe")


@pytest.mark.parametrize("combine", ["desirability", "pareto"])
def test_baybe_proposes_what_is_neither_tried_failed_nor_pending(combine: str) -> None:
    pytest.importorskip("baybe", reason="BayBE is not installed: pip install 'labd[bo]'")
    objectives = (Objective("fast", "maximise"), Objective("cheap", "target", target=0.5))
    problem = Problem(SPACE, objectives, combine=combine)  # type: ignore[arg-type]
    whole = points.every(SPACE, 100) or []
    told = [Observation(point, {"fast": float(point["EC"]), "cheap": 0.1 * at}) for at, point in enumerate(whole[:8])]
    told.append(Observation(whole[8], failed=True))
    first, again = (optimiser("baybe").ask(problem, told, whole[9:11], 3, 5) for _ in range(2))
    assert [one.point for one in first] == [one.point for one in again]
    keys = {points.key(SPACE, one.point) for one in first}
    assert len(keys) == 3
    assert keys <= {points.key(SPACE, point) for point in whole[11:]}
