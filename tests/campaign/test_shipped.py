"""The campaign that ships, on the simulated lab: mixed, weighed, learnt from, on virtual time over the real wires."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.campaign.shipped import shipped_campaigns
from labd.campaign.checker import check_campaign, plan_of
from labd.campaign.engine import Campaigns
from labd.daemon import Daemon
from labd.lab.check import check_lab
from labd.run.facts import facts_of
from tests.protocols.bench import LAB, bench


@pytest.mark.parametrize("path", shipped_campaigns().values(), ids=lambda path: path.stem)
def test_a_shipped_campaign_holds_in_the_simulated_lab(path: Path) -> None:
    lab = check_lab(LAB / "lab.yaml").lab
    assert lab is not None
    plan, problems = check_campaign(path, path.name, facts_of(lab))
    assert problems == ()
    assert plan is not None
    assert plan.name == path.stem
