"""Many polls."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

from labd.testing.stage import stage
from labd.testing.subject import Subject

POLLS = 10_000
WARM = 500  # polls after which caches are full
PERIOD = 1.0  # s between two, as while it acts
BLOCKS = 0.2  # of memory that a poll may leave behind, on the average: less than one object in five polls


async def many_polls_leave_nothing_behind(subject: Subject, directory: Path) -> None:
    """After 10,000 polls there are no more files, tasks and objects than after the first hundreds."""
    async with stage(subject, directory, wired=False) as bench:
        for _ in range(WARM):
            await bench.driver.read_state()
            await asyncio.sleep(PERIOD)
        files, tasks, blocks = _held()
        for _ in range(POLLS - WARM):
            await bench.driver.read_state()
            await asyncio.sleep(PERIOD)
        more_files, more_tasks, more_blocks = _held()
        assert more_files <= files, f"{POLLS} polls left {more_files - files} files open"
        assert more_tasks <= tasks, f"{POLLS} polls left {more_tasks - tasks} tasks"
        left = (more_blocks - blocks) / (POLLS - WARM)
        assert left < BLOCKS, f"each poll leaves {left:.2f} blocks of memory behind"


def _held() -> tuple[int, int, int]:
    """Open files, tasks, blocks of memory."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks()), sys.getallocatedblocks()
