"""The campaign of the demo: its lab, its truth, and what chance would need."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from labd import clock
from labd.campaign.checker import plan_of
from labd.campaign.shipped import find_campaign
from labd.cli import main
from labd.demo.discovering import CAMPAIGN, discover, furnish
from labd.demo.show import Show
from labd.demo.truth import by_chance, truth, worth
from labd.records.crate import check
from simulators.meca500.kinematics import frame, joints_for

GOOD = {"rich": 0.4, "lp30": 0.34, "thin": 0.2, "coat": 0.06}
BAD = {"rich": 0.14, "lp30": 0.06, "thin": 0.4, "coat": 0.4}


def test_the_campaign_holds_in_its_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = furnish(tmp_path, seed=3)
    assert "seed: 3" in lab.read_text()
    monkeypatch.setattr("sys.argv", ["labd", "check", str(find_campaign(CAMPAIGN)), "--lab", str(lab)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, capsys.readouterr()


def test_the_arm_reaches_every_place_of_it_from_above(tmp_path: Path) -> None:
    furnish(tmp_path, seed=3)
    found = re.findall(r"pose: \[(-?\d+), (-?\d+), (-?\d+)", (tmp_path / "arm.yaml").read_text())
    assert len(found) == 2 + 2 * 44 + 8
    for x, y, z in found:
        for height in (0, 30):
            joints_for(frame((float(x), float(y), float(z) + height, 180, 0, 180)), (0.0,) * 6)  # raises OutOfReach


def test_it_makes_what_it_proposes_and_tells_it_with_report_and_crate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.demo.discovering.BATCH", 2)
    monkeypatch.setattr("labd.demo.truth.DRAWS", 30)
    text = io.StringIO()
    console = Console(file=text, width=120)
    lab = furnish(tmp_path, seed=3)
    found = clock.run(discover(lab, 1, Show(console, live=False), console), clock.timeline_of("virtual", tmp_path))
    assert (len(found.rounds), found.rounds[0].cells, found.why) == (1, 2, "all 2 cells are made")
    assert found.best is not None
    assert found.rounds[0].best == pytest.approx(found.rounds[0].truth, abs=0.1)
    assert check(tmp_path / "cr2032_electrolyte.crate.zip") == []
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert "cells saved" in text.getvalue()


def test_the_truth_has_a_value_for_each_objective_and_tells_good_from_bad() -> None:
    good, bad = truth(GOOD), truth(BAD)
    assert good.keys() == {"lasts", "conducts"}
    assert good["lasts"] > bad["lasts"]
    assert good["conducts"] > bad["conducts"]
    assert truth(GOOD) == good


def test_what_is_rare_takes_blind_choice_more_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labd.demo.truth.DRAWS", 60)
    plan = plan_of(find_campaign(CAMPAIGN))
    easy, hard = by_chance(plan, worth(plan, BAD), 1), by_chance(plan, 0.99, 1)
    assert (easy.cells, easy.share > 0.5) == (8, True)
    assert (hard.cells, hard.share) == (None, 0.0)
