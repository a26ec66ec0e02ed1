"""`labd safe-state` as systemd runs it: its words and its exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from labd import clock
from labd.cli.app import app
from labd.journal import Journal, NewEvent

LAB = """\
labd: 1
lab: bench
store: store
devices:
  arm: {driver: meca500, settings: {address: "127.0.0.1:9"}SIMULATED}
"""


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """The command configures the log of its process, which here is that of the tests."""
    yield
    structlog.reset_defaults()


def lab(directory: Path, simulated: str = "") -> Path:
    path = directory / "lab.yaml"
    path.write_text(LAB.replace("SIMULATED", simulated))
    return path


def under_way(directory: Path) -> None:
    data = {"action_id": "r-001", "device": "arm", "unit": "", "action": "pick", "on_loss": "stop"}

    async def write() -> None:
        journal = await Journal.open(directory / "store" / "journal.sqlite")
        await journal.append(NewEvent("action.intended", data, "r"))
        await journal.close()

    clock.run(write())


def test_a_lab_in_which_nothing_was_under_way_is_left_alone(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["safe-state", "--lab", str(lab(tmp_path))])
    assert (answer.exit_code, answer.stdout) == (0, "arm: left alone, nothing was under way\n")
    assert not (tmp_path / "store").exists()


def test_what_is_not_safe_ends_with_one(tmp_path: Path) -> None:
    path = lab(tmp_path)
    under_way(tmp_path)
    answer = CliRunner().invoke(app, ["safe-state", "--lab", str(path), "--json"])
    assert answer.exit_code == 1
    (told,) = json.loads(answer.stdout)
    assert (told["device"], told["safe"], "nobody listens" in told["text"]) == ("arm", False, True)


def test_what_was_simulated_in_the_daemon_ends_with_zero(tmp_path: Path) -> None:
    path = lab(tmp_path, ", simulator: {}")
    under_way(tmp_path)
    answer = CliRunner().invoke(app, ["safe-state", "--lab", str(path)])
    assert answer.exit_code == 0, answer.output
    assert "gone with it" in answer.stdout


def test_a_lab_that_cannot_be_read_ends_with_two(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["safe-state", "--lab", str(tmp_path / "lab.yaml")])
    assert answer.exit_code == 2
    path = tmp_path / "lab.yaml"
    path.write_text("labd: 1\nlab: x\n")
    assert CliRunner().invoke(app, ["safe-state", "--lab", str(path)]).exit_code == 2
