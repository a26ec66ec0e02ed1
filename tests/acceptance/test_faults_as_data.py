"""Runs in a whole simulated lab with faults from a file: each ends as it should, and the same seed ends the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from labd.cli.app import app
from labd.faults import load_faults
from labd.lab.config import load_lab
from labd.simulate import Dry, Story
from labd.simulate.runs import one_run
from tests.acceptance.test_weighing import LAB, PROTOCOL

ROLES = {"pipetting_robot": 1, "balance": 1, "thermostat": 1}


def meet(folder: Path, *faults: dict[str, Any], seed: int = 1) -> Story:
    """One run of the weighing lab, whose robot speaks HTTP, its balance TCP and its bath a serial line."""
    (folder / "lab.yaml").write_text(LAB, encoding="utf-8")
    YAML().dump({"labd": 1, "faults": list(faults)}, folder / "faults.yaml")
    wrong = load_faults(folder / "faults.yaml", load_lab(folder / "lab.yaml"))
    return one_run(Dry(folder / "lab.yaml", PROTOCOL, "weigh.yaml", roles=ROLES, seed=seed, faults=wrong))


def fault(device: str, name: str, given: dict[str, Any] | None = None, **when: Any) -> dict[str, Any]:
    return {"device": device, "fault": name, **({"with": given} if given else {}), **when}


@pytest.mark.parametrize(
    "wrong",
    [
        fault("ot2", "drop", times=1, after={"count": 30}),
        fault("balance", "drop", times=2, after={"count": 8}),
        fault("bath", "drop", {"way": "requests"}, times=3, at="70 s"),
        fault("ot2", "delay", {"delay": "2 s"}, chance=0.1),
        fault("balance", "delay", {"delay": "20 s"}, at="70 s", times=2),
        fault("bath", "corrupt", times=2, after={"count": 10}),
        fault("balance", "corrupt", {"bits": 3}, times=2, at="70 s"),
        fault("balance", "duplicate", chance=0.2),
        fault("bath", "duplicate", times=5, at="70 s"),
        fault("ot2", "half_open", at="70 s"),
        fault("balance", "half_open", {"kept": "1 min"}, at="70 s"),
        fault("bath", "half_open", at="70 s"),
        fault("ot2", "cut", at="70 s", **{"for": "1 min"}),
        fault("balance", "cut", after={"count": 12}),
        fault("bath", "cut", at="70 s", **{"for": "1 min"}),
        fault("bath", "reply_lost", {"matching": "in_pv"}, times=2),
        fault("balance", "power_cycle", {"off": "20 s"}, at="70 s"),
    ],
    ids=lambda wrong: f"{wrong['device']} {wrong['fault']}",
)
def test_what_goes_wrong_with_a_wire_is_borne(tmp_path: Path, wrong: dict[str, Any]) -> None:
    story = meet(tmp_path, wrong)
    assert story.faults[f"{wrong['device']}.{wrong['fault']}"] >= 1
    assert (story.outcome, story.cause) == ("complete", None)
    assert story.actions["robot.transfer"] == 1
    assert story.volumes == {"water": 100.0}


@pytest.mark.parametrize("matching", ["aspirate", "dispense"])
def test_a_dose_whose_reply_is_lost_is_given_once(tmp_path: Path, matching: str) -> None:
    story = meet(tmp_path, fault("ot2", "reply_lost", {"command": matching}, times=1))
    assert story.faults == {"ot2.reply_lost": 1}
    assert story.outcome == "complete"
    assert (story.actions["robot.transfer"], story.volumes) == (1, {"water": 100.0})


def test_a_draught_at_the_balance_ends_the_run_as_its_protocol_says(tmp_path: Path) -> None:
    story = meet(tmp_path, fault("balance", "unstable", after={"count": 1, "of": "requests", "matching": "^T"}))
    assert story.faults == {"balance.unstable": 1}
    assert story.outcome in ("held", "scrapped")
    assert "done" not in story.states


def test_a_tip_that_never_comes_on_makes_no_dose(tmp_path: Path) -> None:
    story = meet(tmp_path, fault("ot2", "fail", {"command": "pickUpTip"}))
    assert story.faults == {"ot2.fail": 1}
    assert story.outcome != "complete"


def test_chance_tells_the_same_story_twice(tmp_path: Path) -> None:
    many = [
        fault("*", "drop", chance=0.02),
        fault("ot2", "delay", {"delay": "3 s"}, chance=0.05),
        fault("bath", "corrupt", chance=0.02),
        fault("balance", "overload", chance=0.05, **{"for": "10 s"}),
    ]
    first, second, other = (meet(tmp_path, *many, seed=seed) for seed in (5, 5, 6))
    assert first == second
    assert sum(first.faults.values()) > 3
    assert other.faults != first.faults


def test_labd_simulate_takes_a_file_of_faults(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        LAB.replace("tcp://127.0.0.1:0", "tcp://10.0.0.7:4001").replace("127.0.0.1:0", "10.0.0.6:31950"),
        encoding="utf-8",
    )
    (tmp_path / "weigh.yaml").write_text(PROTOCOL, encoding="utf-8")
    faults = tmp_path / "faults.yaml"
    faults.write_text("labd: 1\nfaults:\n  - {device: balance, fault: drop, after: {count: 3}, times: 1}\n")
    command = ["simulate", str(tmp_path / "weigh.yaml"), "--lab", str(tmp_path / "lab.yaml"), "--runs", "2"]
    command += ["--jobs", "1", "--faults", str(faults)]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["faults"] == {"balance.drop": 2}
    faults.write_text("labd: 1\nfaults:\n  - {device: balanse, fault: drop}\n")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "did you mean `balance`?" in result.output
