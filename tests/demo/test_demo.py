"""The demo's edges: folders that are somebody's, a page within its terminal, and the pace of a lab that is watched."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from labd.demo import DemoError, demo
from labd.demo.pace import keep_pace
from labd.demo.show import Show, elapsed
from labd.lab.background import background
from labd.lab.bus import DeviceState, RunState

NOW = "2026-01-01T08:00:00.000000Z"


def test_a_folder_that_holds_anything_is_left_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "lab.yaml"
    mine.write_text("lab: real")
    with pytest.raises(DemoError, match="not empty; name a new folder"):
        demo(directory=tmp_path, cells=1, plain=True)
    assert list(tmp_path.iterdir()) == [mine]
    assert mine.read_text() == "lab: real"


def test_a_folder_that_cannot_be_made_is_told_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoError, match="cannot be written: Not a directory; name a folder with --directory"):
        demo(directory=tmp_path / "file" / "x", cells=1, plain=True)


def test_more_cells_than_the_trays_hold_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="hold 1 to 8 cells, not 9"):
        demo(directory=tmp_path / "new", cells=9)
    assert not (tmp_path / "new").exists()


def test_a_missing_extra_is_told_before_the_demo_and_not_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.demo.main.NEEDS", ("no_such_library",))
    with pytest.raises(DemoError, match=r"needs no_such_library: pip install 'labd\[all\]'"):
        demo(directory=tmp_path / "new", cells=1)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (140, 24), (140, 60)])
async def test_the_page_never_outgrows_its_terminal(width: int, height: int) -> None:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True)
    show = Show(console, live=True)
    for number in range(11):
        show.hear(DeviceState(f"stat{number}", "ok", None, NOW, ("run-0001",)))
    for number in range(8):
        state = RunState(
            run=f"run-000{number}",
            protocol="form",
            version="1.0.0",
            sample=f"cell-{number}",
            state="Held",
            protocol_state="crimp",
            since=NOW,
            progress=0.5,
            expected_end=None,
            outcome=None,
            cause="a cause that is a good deal longer than the column that it stands in " * 2,
            question=None,
            started=NOW,
            ended=None,
        )
        show.hear(state)
        show.say("what happened, told at such length that it would run over the edge of any terminal " * 3)
    lines = console.render_lines(show.page(), pad=False)
    assert len(lines) < height
    assert all(sum(segment.cell_length for segment in line) <= width for line in lines)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, " 0:00:00"), (82.4, " 0:01:22"), (100_000, "27:46:40"), (-1, " 0:00:00")]
)
def test_time_since_the_beginning(seconds: float, told: str) -> None:
    assert elapsed(seconds) == told


async def test_virtual_time_keeps_the_pace_that_it_is_given() -> None:
    real = time.perf_counter()
    async with background(keep_pace(100.0), "pace"):
        await asyncio.sleep(30.0)
    assert time.perf_counter() - real > 0.15  # 30 s at 100-fold are 0.3 s; at full speed they are no time at all
