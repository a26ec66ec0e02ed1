"""The contract of drivers as a suite of tests, for drivers in this repository and everywhere else.

`pytest --labd-driver mypackage:DRIVER` holds one driver to it. From a test of one's own:

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_contract(check: Check, tmp_path: Path) -> None:
        check.hold(subject("mypackage:DRIVER"), tmp_path)
"""

from labd.testing.contract import CHECKS, Check
from labd.testing.stage import Stage, stage
from labd.testing.subject import Subject, shipped, subject

__all__ = ["CHECKS", "Check", "Stage", "Subject", "shipped", "stage", "subject"]
