"""Events a second that the journal makes durable, against bare SQLite with the same settings in the same run."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks._figures import RESULTS, Figures
from labd import clock
from labd.journal import Journal, NewEvent
from labd.journal.events import encode
from labd.journal.schema import JOURNAL, transaction

DATA = {
    "action_id": "run-0001-003",
    "state": "crimp",
    "step": "crimp.1",
    "role": "press",
    "device": "press",
    "unit": "",
    "action": "crimp",
    "effect": "once",
    "parameters": {"force": {"v": 7.8, "u": "kN"}, "dwell": {"v": 2.0, "u": "s"}},
    "attempt": 1,
    "baseline": {"cycles": 1207},
}


async def appended(path: Path, events: int, waiters: int) -> tuple[float, list[float]]:
    """Events a second and the seconds that each waited, with so many that wait at a time."""
    journal = await Journal.open(path)
    waits: list[float] = []

    async def waiter() -> None:
        for _ in range(events // waiters):
            start = time.perf_counter()
            await journal.append(NewEvent("action.intended", DATA, "run-0001"))
            waits.append(time.perf_counter() - start)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(waiters):
            group.create_task(waiter())
    seconds = time.perf_counter() - start
    await journal.close()
    return len(waits) / seconds, waits


def bare(path: Path, events: int, a_commit: int) -> float:
    """Events a second of bare SQLite: the same table and settings, so many rows a commit, nothing else done."""
    data = encode("action.intended", DATA)
    with contextlib.closing(JOURNAL.connect(path)) as connection:
        start = time.perf_counter()
        for first in range(0, events, a_commit):
            with transaction(connection):
                rows = [
                    (seq, "2026-01-01T08:00:00.000000Z", "run-0001", "action.intended", data, "0" * 64)
                    for seq in range(first + 1, first + a_commit + 1)
                ]
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
        return events / (time.perf_counter() - start)


def run(smoke: bool, figures: Figures) -> None:
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as directory:  # /tmp may be memory, where a sync costs nothing
        for waiters, events in ((1, 200 if smoke else 5_000), (100, 2_000 if smoke else 100_000)):
            reference = bare(Path(directory) / f"bare-{waiters}.sqlite", events, waiters)
            ours, waits = clock.run(appended(Path(directory) / f"journal-{waiters}.sqlite", events, waiters))
            figures.add(f"events_{waiters}", ours, "1/s")
            figures.add(f"bare_sqlite_{waiters}", reference, "1/s")
            # Bare SQLite neither encodes nor hashes. With 100, a sync an event would be below 0.02.
            goal = 0.4 if waiters == 1 else 0.05
            figures.add(f"events_over_bare_{waiters}", ours / reference, "ratio", goal=goal)
            goal = 1.0 if waiters == 1 else 10.0
            figures.add(f"ack_p50_{waiters}", statistics.median(waits) * 1e3, "ms", goal=goal, better="lower")
