"""A part of the fault proofs that cannot mount its disk fails by name, unless it may be skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._figures import Figures
from benchmarks.faults.mounts import MountRefusedError, needed


def _ran(results: Path, error: Exception | None, *, may_skip: bool) -> bool | None:
    figures = Figures("faults", results=results)
    with needed(figures, "power", may_skip=may_skip):
        if error is not None:
            raise error
    (told,) = figures.figures
    assert told.name == "power.ran"
    assert told.value == (error is None)
    return told.ok


@pytest.mark.parametrize(("may_skip", "ok"), [(False, False), (True, None)])
def test_a_part_that_cannot_mount_fails_unless_it_may_be_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], may_skip: bool, ok: bool | None
) -> None:
    assert _ran(tmp_path, MountRefusedError("not for you"), may_skip=may_skip) is ok
    assert "power: nothing was tried, a disk cannot be mounted: not for you" in capsys.readouterr().err


def test_a_part_that_ran_says_so(tmp_path: Path) -> None:
    assert _ran(tmp_path, None, may_skip=False) is True
