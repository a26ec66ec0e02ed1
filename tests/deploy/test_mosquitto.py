"""The broker's files of deploy/: those that `labd mqtt setup` writes for the lab beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from labd.cli.app import app
from labd.lab.check import check_lab

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize("name", ["mosquitto.conf", "acl"])
def test_they_are_what_is_written(tmp_path: Path, name: str) -> None:
    """`make docs` writes them anew."""
    lab = DEPLOY / "mosquitto" / "lab.yaml"
    ended = CliRunner().invoke(app, ["mqtt", "setup", str(tmp_path / "mqtt"), "--lab", str(lab)])
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "mqtt" / "broker" / name).read_text() == (DEPLOY / "mosquitto" / name).read_text()


def test_the_lab_beside_them_holds() -> None:
    checked = check_lab(DEPLOY / "mosquitto" / "lab.yaml")
    assert checked.lab is not None
    assert {problem.code for problem in checked.problems} <= {"L218"}  # its files are not on this machine


def test_the_units_line_for_the_password_is_the_one_that_labd_looks_for() -> None:
    unit = (DEPLOY / "systemd" / "labd.service").read_text()
    assert "#LoadCredential=mqtt-password:/etc/labd/mqtt-password\n" in unit
