"""The campaign that ships, on the simulated lab: mixed, weighed, learnt from, on virtual time over the real wires."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.campaign.checker import check_campaign, plan_of
from labd.campaign.shipped import shipped_campaigns
from labd.demo.discovering import CAMPAIGN, furnish
from labd.lab.check import check_lab
from labd.run.facts import facts_of
from tests.protocols.bench import LAB, bench


@pytest.mark.parametrize("path", shipped_campaigns().values(), ids=lambda path: path.stem)
def test_a_shipped_campaign_holds_in_the_lab_that_it_is_for(path: Path, tmp_path: Path) -> None:
    lab = check_lab(furnish(tmp_path, 7) if path.stem == CAMPAIGN else LAB / "lab.yaml").lab
    assert lab is not None
    plan, problems = check_campaign(path, path.name, facts_of(lab))
    assert problems == ()
    assert plan is not None
    assert plan.name == path.stem


async def test_the_shipped_campaign_mixes_what_it_proposes_and_learns_what_it_weighs(tmp_path: Path) -> None:
    path = shipped_campaigns()["carbonate_screening"]
    text = path.read_text(encoding="utf-8").replace("batch: 4", "batch: 2").replace("cells: 8", "cells: 3")
    protocol = plan_of(path).protocol
    async with bench(tmp_path) as lab:
        name, called = "electrolyte_mixing.yaml", protocol.texts
        campaign = await lab.daemon.campaigns.start(text, path.name, protocol.text, name, called, by="test")
        async with asyncio.timeout(48 * 3600):
            while campaign.record.state == "working":
                await asyncio.sleep(60)
    assert campaign.record.ended == "all 3 cells are made"
    assert campaign.plan is not None
    for one in campaign.record.all:
        expected = campaign.plan.cost("mass", one.point)
        assert one.values["mass"] == pytest.approx(expected, rel=0.05), one
    assert campaign.record.experiments["p0003"].predicted["mass"]["std"] > 0
