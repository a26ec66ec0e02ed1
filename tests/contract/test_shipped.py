"""Every driver that is installed holds the contract: found by themselves, each with the simulator of its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.testing import CHECKS, Check, Subject, shipped

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
CASES = [(one, check) for one in shipped(TRANSCRIPTS) for check in CHECKS if check.concerns(one)]


@pytest.mark.parametrize(("driver", "check"), CASES, ids=[f"{one}-{check}" for one, check in CASES])
def test_contract(driver: Subject, check: Check, tmp_path: Path) -> None:
    check.hold(driver, tmp_path)
