"""A lab as configured: limits and roles that lab.yaml gives to its devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labd.files import InputErrors
from labd.lab.lab import Lab
from tests.toys import TOYS, LabConfig, toy_lab


def limited(tmp_path: Path, **limits: Any) -> Lab:
    press = {
        "driver": "press",
        "simulator": {},
        "limits": {key.replace("__", "."): told for key, told in limits.items()},
    }
    raw = {"labd": 1, "lab": "toys", "store": tmp_path, "devices": {"press": press}}
    return Lab(LabConfig.model_validate(raw), find=TOYS.__getitem__)


def problem(lab: Lab, **values: str) -> str | None:
    crimp = lab.devices["press"].driver.actions["crimp"]
    return lab.check_limits("press", crimp, crimp.parameters.model_validate(values))


def test_a_limit_is_read_with_its_unit(tmp_path: Path) -> None:
    lab = limited(tmp_path, crimp__force={"max": "9000 N"})
    assert problem(lab, force="9 kN") is None
    assert "9 kN that lab.yaml allows" in str(problem(lab, force="9.5 kN"))


def test_zero_is_a_value_as_any_other(tmp_path: Path) -> None:
    lab = limited(tmp_path, crimp__dwell={"min": "1 s"})
    assert "below the least" in str(problem(lab, force="5 kN", dwell="0 s"))


def test_a_limit_of_another_dimension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputErrors, match=r"crimp\.force.*V is a voltage"):
        limited(tmp_path, crimp__force={"max": "9 V"})


def test_a_device_serves_its_own_role_only(tmp_path: Path) -> None:
    with pytest.raises(InputErrors, match=r"roles\.crimper\.0: `arm` is of the role arm, no crimper"):
        toy_lab(tmp_path, {"arm": "arm"}, roles={"crimper": ["arm"]})
