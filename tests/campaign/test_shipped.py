"""The campaign that ships, on the simulated lab: mixed, weighed, learnt from, on virtual time over the real wires."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.campaign.checker import check_campaign, plan_of
from labd.campaign.engine import Campaigns
from labd.campaign.shipped import shipped_campaigns
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


@pytest.mark.parametrize("optimiser", ["latin", "gp"])
async def test_the_shipped_campaign_finds_its_mixture(tmp_path: Path, optimiser: str) -> None:
    path = shipped_campaigns()["carbonate_screening"]
    text = path.read_text(encoding="utf-8").replace("optimiser: gp", f"optimiser: {optimiser}")
    protocol = plan_of(path).protocol
    async with bench(tmp_path) as lab:
        campaigns: Campaigns = lab.daemon.campaigns
        name, called = "electrolyte_mixing.yaml", protocol.texts
        campaign = await campaigns.start(text, path.name, protocol.text, name, called, by="test")
        async with asyncio.timeout(48 * 3600):
            while campaign.record.state == "working":
                await asyncio.sleep(60)
    record = campaign.record
    assert record.state == "ended", record.paused
    assert {one.status for one in record.all} == {"observed"}
    assert campaign.outlook is not None
    best = campaign.outlook.best()
    assert best is not None
    assert abs(best.values["mass"] - 0.9) < 0.15
    assert best.run is not None
