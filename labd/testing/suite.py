"""What `pytest --labd-driver` runs: each clause of the contract a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.testing.contract import CHECKS, Check
from labd.testing.plugin import SUBJECTS
from labd.testing.subject import Subject


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each driver and each clause that concerns it."""
    subjects = metafunc.config.stash[SUBJECTS]
    cases = [(one, check) for one in subjects for check in CHECKS if check.concerns(one)]
    metafunc.parametrize(("driver", "check"), cases, ids=[f"{one}-{check}" for one, check in cases])


def test_contract(driver: Subject, check: Check, tmp_path: Path) -> None:
    """See the clause's own words."""
    check.hold(driver, tmp_path)
