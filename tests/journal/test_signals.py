"""The signal store over a real SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import sqlite3
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd import clock
from labd.journal import Analysis, SeriesInfo, SignalError, SignalStore
from labd.journal.samples import BATCH_ROWS
from labd.journal.signals import FLUSH_SECONDS
from labd.sdk.roles import CrimperSignals, PotentiostatSignals

STARTED = "2026-01-01T08:00:00.000000Z"
COLUMNS = (("time", "s"), ("voltage", "V"), ("current", "A"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signals.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SignalStore]:
    store = await SignalStore.open(path)
    yield store
    await store.close()


def series(name: str = "run-1-001", **other: str | None) -> SeriesInfo:
    return SeriesInfo(
        id=name,
        device=other.get("device") or "stat1",
        unit="",
        run=other.get("run", "run-1"),
        action="cycle",
        started=other.get("started") or STARTED,
        columns=COLUMNS,
    )


def fill(store: SignalStore, name: str, rows: range) -> None:
    for number in rows:
        store.append(name, (float(number), 3.0 + number / 1000, None))


def crashed(path: Path, into: Path) -> Path:
    """The files as a crash at this moment would leave them."""
    into.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, into / file.name)
    return into / path.name


async def test_rows_are_read_back_before_and_after_they_are_written(store: SignalStore) -> None:
    store.create(series())
    fill(store, "run-1-001", range(3))
    for _ in range(2):
        columns = await store.read("run-1-001")
        assert list(columns) == ["time", "voltage", "current"]
        assert columns["time"] == array("d", [0, 1, 2])
        assert all(math.isnan(value) for value in columns["current"])
        await store.flush()


async def test_any_part_of_a_long_series_can_be_read(store: SignalStore) -> None:
    store.create(series())
    for start in range(0, 3000, 700):  # batches that are not yet full are written again
        fill(store, "run-1-001", range(start, min(start + 700, 3000)))
        await store.flush()
    everything = await store.read("run-1-001")
    assert everything["time"] == array("d", range(3000))
    for start, stop in ((0, 1), (511, 513), (512, 1024), (700, 2999), (2990, None), (3000, None), (5, 5)):
        part = await store.read("run-1-001", start, stop)
        assert part["time"] == everything["time"][start:stop]
    assert (await store.tail("run-1-001", 3))["time"] == array("d", [2997, 2998, 2999])
    assert len((await store.tail("run-1-001", 9999))["time"]) == 3000


async def test_a_slow_series_fills_its_batches(store: SignalStore, path: Path) -> None:
    store.create(series())
    for number in range(BATCH_ROWS + 10):
        fill(store, "run-1-001", range(number, number + 1))
        await asyncio.sleep(2 * FLUSH_SECONDS)
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT start, rows FROM batches ORDER BY start").fetchall()
    connection.close()
    assert rows == [(0, BATCH_ROWS), (BATCH_ROWS, 10)]


async def test_a_series_outlives_the_store_and_goes_on(path: Path) -> None:
    for start in (0, 600, 1300):
        store = await SignalStore.open(path)
        store.create(series())
        fill(store, "run-1-001", range(start, start + 700))
        if start == 600:
            await store.finish("run-1-001")
        await store.close()
    store = await SignalStore.open(path)
    columns = await store.read("run-1-001")
    expected = [*range(700), *range(600, 1300), *range(1300, 2000)]
    assert columns["time"] == array("d", expected)
    assert (await store.read("run-1-001", 650, 750))["time"] == array("d", expected[650:750])
    assert (await store.series())[0].ended is None
    await store.close()


async def test_an_older_series_of_the_same_name_is_kept_apart(store: SignalStore) -> None:
    for started, rows in ((STARTED, range(5)), ("2026-02-02T08:00:00.000000Z", range(7))):
        store.create(series(started=started))
        fill(store, "run-1-001", rows)
        await store.finish("run-1-001")
    older, newer = await store.series()
    assert older.id.startswith(f"run-1-001@{STARTED}")
    assert len((await store.read(older.id))["time"]) == 5
    assert newer.id == "run-1-001"
    assert len((await store.read(newer.id))["time"]) == 7


async def test_a_crash_loses_at_most_what_came_since_the_last_interval(
    store: SignalStore, path: Path, tmp_path: Path
) -> None:
    store.create(series())
    for number in range(97):
        fill(store, "run-1-001", range(number, number + 1))
        await asyncio.sleep(1)
    left = await SignalStore.open(crashed(path, tmp_path / "crash"))
    kept = len((await left.read("run-1-001"))["time"])
    await left.close()
    assert 97 - FLUSH_SECONDS - 1 <= kept < 97


async def test_a_torn_write_leaves_the_older_batches_whole(store: SignalStore, path: Path, tmp_path: Path) -> None:
    store.create(series())
    sizes = []
    for start in range(0, 5 * BATCH_ROWS, BATCH_ROWS):
        fill(store, "run-1-001", range(start, start + BATCH_ROWS))
        await store.flush()
        sizes.append(path.with_name(path.name + "-wal").stat().st_size)
    copy = crashed(path, tmp_path / "crash")
    copy.with_name(copy.name + "-shm").unlink()
    with copy.with_name(copy.name + "-wal").open("r+b") as wal:
        wal.truncate((sizes[3] + sizes[4]) // 2)
    left = await SignalStore.open(copy)
    columns = await left.read("run-1-001")
    assert columns["time"] == array("d", range(4 * BATCH_ROWS))
    left.create(series())
    fill(left, "run-1-001", range(2048, 2050))
    assert (await left.tail("run-1-001", 3))["time"] == array("d", [2047, 2048, 2049])
    await left.close()


async def test_a_full_disk_keeps_samples_in_memory_until_there_is_room(store: SignalStore) -> None:
    store.create(series())
    fill(store, "run-1-001", range(10))
    await store.flush()
    connection = store._file._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    fill(store, "run-1-001", range(10, 3000))
    await asyncio.sleep(3 * FLUSH_SECONDS)  # the store's own attempts fail, and it lives on
    with pytest.raises(SignalError, match="full"):
        await store.finish("run-1-001")
    connection.execute("PRAGMA max_page_count = 1000000")
    await store.finish("run-1-001")
    assert (await store.read("run-1-001"))["time"] == array("d", range(3000))


async def test_series_are_found_by_run_and_device(store: SignalStore) -> None:
    store.create(series("a", run="run-1", device="stat1"))
    store.create(series("b", run="run-2", device="stat1"))
    store.create(series("c", run="run-2", device="stat2"))
    assert [info.id for info in await store.series(run="run-2")] == ["b", "c"]
    assert [info.id for info in await store.series(device="stat1")] == ["a", "b"]
    assert (await store.series(run="run-1"))[0] == series("a")
    await store.finish("a")
    assert (await store.series(run="run-1"))[0].ended == clock.stamp()


async def test_polls_are_kept_as_numbers_with_units(store: SignalStore) -> None:
    assert store.create_polls("press", "press", "", CrimperSignals) == (
        "force",
        "ram",
        "guard_closed",
        "estop",
        "cycles",
    )
    assert store.create_polls("stat1", "stat1", "", PotentiostatSignals) == ("voltage", "current", "overload")
    press, stat = await store.series()
    assert press.columns[:3] == (("time", "s"), ("force", "kN"), ("ram", "mm"))
    assert stat.columns == (("time", "s"), ("voltage", "V"), ("current", "A"), ("overload", ""))


async def test_mistakes_are_told_where_they_are_made(store: SignalStore) -> None:
    with pytest.raises(SignalError, match="create it first"):
        store.append("nobody", (1.0,))
    with pytest.raises(SignalError, match="no series"):
        await store.read("nobody")
    store.create(series())
    store.create(series())
    with pytest.raises(SignalError, match="2 values for 3 columns"):
        store.append("run-1-001", (1.0, 2.0))
    with pytest.raises(SignalError, match="columns"):
        store.create(SeriesInfo("run-1-001", "stat1", "", None, None, STARTED, (("time", "s"),)))
    with pytest.raises(SignalError, match="names of their own"):
        store.create(SeriesInfo("x", "stat1", "", None, None, STARTED, (("time", "s"), ("time", "s"))))


async def test_the_rows_of_a_series_are_counted_over_a_restart(tmp_path: Path) -> None:
    series = SeriesInfo("a1", "cycler", "", "run-1", "cycle", "2026-11-02T10:00:00Z", (("time", "s"),))
    store = await SignalStore.open(tmp_path / "signals.sqlite")
    store.create(series)
    for number in range(3):
        store.append("a1", (float(number),))
    assert await store.count("a1") == 3
    await store.close()
    store = await SignalStore.open(tmp_path / "signals.sqlite")
    store.create(series)
    assert await store.count("a1") == 3
    store.append("a1", (3.0,))
    assert await store.count("a1") == 4
    await store.flush()
    assert await store.count("a1") == 4
    with pytest.raises(SignalError, match="not open"):
        await store.count("a2")
    await store.close()


async def test_a_store_from_before_analyses_were_kept_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "signals.sqlite"
    await (await SignalStore.open(path)).close()
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript("DROP TABLE analyses; PRAGMA user_version = 1;")
    store = await SignalStore.open(path)
    store.create(SeriesInfo("s", "stat1", "", "run-0001", "cycle", "2026-01-01T08:00:00.000000Z", (("time", "s"),)))
    store.append("s", (1.0,))
    kept = Analysis("1", await store.digest("s"), "2026-01-01T09:00:00.000000Z", {"kind": "none"})
    await store.keep_analysis("s", kept)
    assert await store.analysis("s") == kept
    await store.close()


async def test_a_digest_changes_with_each_row(tmp_path: Path) -> None:
    store = await SignalStore.open(tmp_path / "signals.sqlite")
    store.create(SeriesInfo("s", "stat1", "", None, None, "2026-01-01T08:00:00.000000Z", (("time", "s"),)))
    empty = await store.digest("s")
    store.append("s", (1.0,))
    assert await store.digest("s") != empty
    with pytest.raises(SignalError, match="no series 'other'"):
        await store.digest("other")
    await store.close()
