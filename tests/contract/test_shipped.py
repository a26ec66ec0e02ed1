"""Every driver that is installed holds the contract: found by themselves, each with the simulator of its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labd.lab.equipment import known_drivers
from labd.testing import CHECKS, Check, Subject, soak, subject
from labd.testing.subject import NoSubject
from tests.whole import some

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
POLLS = some(1500, soak.POLLS)


def cases() -> Iterator[Any]:
    """Each driver with each clause; one whose library is not installed is skipped by name."""
    for kind in known_drivers():
        try:
            one = subject(kind, transcripts=TRANSCRIPTS)
        except NoSubject as lacking:
            yield pytest.param(None, None, id=kind, marks=pytest.mark.skip(str(lacking)))
            continue
        yield from (pytest.param(one, check, id=f"{kind}-{check}") for check in CHECKS if check.concerns(one))


@pytest.mark.parametrize(("driver", "check"), list(cases()))
def test_contract(driver: Subject, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "POLLS", POLLS)
    check.hold(driver, tmp_path)
