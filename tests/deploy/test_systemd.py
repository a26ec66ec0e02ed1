"""The systemd unit, as systemd itself reads it."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "labd.service"


def test_systemd_finds_nothing_to_complain_about() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    answer = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    about_us = [line for line in (answer.stdout + answer.stderr).splitlines() if "labd" in line]
    assert (answer.returncode, about_us) == (0, [])


def test_a_lab_file_that_cannot_be_used_is_not_tried_again_and_a_crash_is() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStopPost"] == "/usr/bin/env labd safe-state --lab /etc/labd/lab.yaml"
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "2")


def test_systemd_never_gives_up_so_that_safe_mode_is_reached_and_stays() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(UNIT)
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
