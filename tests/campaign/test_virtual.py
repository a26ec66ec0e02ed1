"""Virtual cells: named by path, called in processes of their own, told as a fidelity that is never the lab's."""

from __future__ import annotations

import math

import pytest

from labd.campaign.problem import CampaignError, Point
from labd.campaign.virtual import Virtual, find

POINTS: list[Point] = [{"a": 3.0, "b": 4.0}, {"a": 0.0, "b": 1.0}, {"a": 5.0, "b": 12.0}]


def outcome(a: float, b: float) -> dict[str, float]:
    """A model that knows two figures, and not all points."""
    if a == 0:
        raise ValueError("no cell without a")
    return {"size": math.hypot(a, b), "sum": a + b}


def test_points_become_observations_in_their_order_and_failures_have_their_cause() -> None:
    model = Virtual("light", f"{__name__}:outcome", figures={"length": "size"})
    found = model.observe(POINTS, ["length"])
    assert [one.values for one in found] == [{"length": 5.0}, {}, {"length": 13.0}]
    assert found[1].failed
    assert found[1].cause == "ValueError: no cell without a"
    assert {one.fidelity for one in found} == {"light"}


def test_a_figure_that_the_function_does_not_give_is_said() -> None:
    model = Virtual("light", "tests.campaign.test_virtual:outcome", lambda point: {"a": point["a"], "b": 1.0})
    with pytest.raises(CampaignError, match="gives no capacity, only size, sum"):
        model.observe(POINTS[:1], ["capacity"])


@pytest.mark.parametrize("path", ["nowhere.at.all:f", "math:nothing", "math", ":f", "math:pi"])
def test_a_path_without_a_function_is_said(path: str) -> None:
    with pytest.raises(CampaignError, match="virtual cells"):
        find(path)


def test_virtual_cells_are_never_called_lab() -> None:
    with pytest.raises(CampaignError, match="that is what real cells are"):
        Virtual("lab", "math:hypot").observe(POINTS, ["size"])


def test_a_cluster_without_dask_or_scheduler_is_said() -> None:
    model = Virtual("light", f"{__name__}:outcome", cluster="tcp://127.0.0.1:1")
    with pytest.raises(CampaignError, match=r"pip install distributed|no dask scheduler answers"):
        model.observe(POINTS, ["size"])
