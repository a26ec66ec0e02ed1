"""What a sample costs in the signal store, with 1,000 rows in its series and with 5 million."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks._figures import RESULTS, Figures
from labd import clock
from labd.journal import SeriesInfo, SignalStore

COLUMNS = (("time", "s"), ("voltage", "V"), ("current", "A"), ("cycle", ""))
CHUNK = 1_000  # rows between two looks at the clock; what they cost includes writing them


async def cost(store: SignalStore, series: str, first: int, rows: int) -> float:
    """Seconds that a point costs, on the disk, over the next rows."""
    start = time.perf_counter()
    for row in range(first, first + rows):
        store.append(series, (row * 0.1, 3.7, 1e-4, 1.0))
        if row % CHUNK == CHUNK - 1:
            await store.flush(series)
    await store.flush(series)
    return (time.perf_counter() - start) / rows


async def measure(path: Path, many: int, figures: Figures) -> int:
    store = await SignalStore.open(path)
    store.create(SeriesInfo("run-0001-004", "stat1", "", "run-0001", "cycle", clock.stamp(), COLUMNS))
    window = min(20_000, many // 10)
    await cost(store, "run-0001-004", 0, 1_000)
    few = await cost(store, "run-0001-004", 1_000, window)
    filling = await cost(store, "run-0001-004", 1_000 + window, many - 1_000 - window)
    late = await cost(store, "run-0001-004", many, window)
    figures.add("points", 1 / filling, "1/s", goal=100_000)
    figures.add("point_at_1000_rows", few * 1e6, "µs")
    figures.add(f"point_at_{many}_rows", late * 1e6, "µs")
    figures.add("point_late_over_early", late / few, "ratio", goal=2.0, better="lower")
    start = time.perf_counter()
    tail = await store.tail("run-0001-004", 1_000)
    figures.add("tail_of_1000_rows", (time.perf_counter() - start) * 1e3, "ms", goal=20.0, better="lower")
    assert tail["time"][-1] == (many + window - 1) * 0.1
    await store.finish("run-0001-004")
    await store.close()
    return many + window


def run(smoke: bool, figures: Figures) -> None:
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as directory:
        path = Path(directory) / "signals.sqlite"
        points = clock.run(measure(path, 50_000 if smoke else 5_000_000, figures))
        figures.add("bytes_a_point", path.stat().st_size / points, "B", goal=48.0, better="lower")
