"""The journal over a real SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.journal import Event, Journal, JournalError, NewEvent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(path)
    yield journal
    await journal.close()


@contextlib.contextmanager
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that has the same file open."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        yield connection


def on_disk(path: Path) -> list[str]:
    with other(path) as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM events ORDER BY seq")]


async def test_what_was_appended_is_on_the_disk_with_all_that_was_posted_before(journal: Journal, path: Path) -> None:
    journal.post(NewEvent("first", {}))
    journal.post(NewEvent("second", {}))
    written = await journal.append(NewEvent("third", {"force": 7.8}, "run-1"), NewEvent("fourth", {}))
    assert on_disk(path) == ["first", "second", "third", "fourth"]
    assert [event.seq for event in written] == [3, 4]
    assert written[0] == (await journal.events(run="run-1"))[0]


async def test_reading_sees_what_was_posted_just_before(journal: Journal) -> None:
    journal.post(NewEvent("posted", {}))
    assert [event.kind for event in await journal.events()] == ["posted"]


async def test_all_that_waits_shares_one_commit(journal: Journal, path: Path) -> None:
    commits: list[list[str]] = []
    journal.on_commit(lambda events: commits.append([event.kind for event in events]))
    with other(path) as connection:
        connection.execute("BEGIN IMMEDIATE")  # holds the writer up in its first commit
        waiters = [asyncio.ensure_future(journal.append(NewEvent(f"e{number}", {}))) for number in range(100)]
        await asyncio.sleep(0)
        connection.execute("ROLLBACK")
    await asyncio.gather(*waiters)
    assert len(commits) <= 3
    assert [kind for commit in commits for kind in commit] == [f"e{number}" for number in range(100)]


async def test_a_cancelled_waiter_does_not_take_its_event_with_it(journal: Journal, path: Path) -> None:
    with other(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        waiter = asyncio.ensure_future(journal.append(NewEvent("crimped", {})))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        connection.execute("ROLLBACK")
    await journal.append(NewEvent("next", {}))
    assert on_disk(path) == ["crimped", "next"]


async def test_time_stands_still_while_the_disk_is_slow(journal: Journal, path: Path) -> None:
    with other(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.1, connection.execute, ["ROLLBACK"])
        timer.start()
        before = clock.monotonic()
        async with asyncio.timeout(1):
            await journal.append(NewEvent("slow", {}))
        timer.join()
    assert clock.monotonic() == before


async def test_listeners_hear_each_commit_in_order_until_they_leave(journal: Journal) -> None:
    heard: list[Event] = []
    leave = journal.on_commit(heard.extend)
    for number in range(5):
        journal.post(NewEvent(f"e{number}", {}))
        if number % 2:
            await journal.append(NewEvent("mark", {}))
    await journal.append(NewEvent("last", {}))
    leave()
    await journal.append(NewEvent("unheard", {}))
    assert [event.seq for event in heard] == list(range(1, 9))


async def test_who_posted_an_event_hears_that_it_is_durable_before_anybody_else(journal: Journal, path: Path) -> None:
    heard: list[str] = []
    journal.on_commit(lambda _: heard.append("listener"))
    journal.post(NewEvent("first", {}), lambda: heard.extend(on_disk(path)))
    await journal.append(NewEvent("second", {}))
    assert heard == ["first", "second", "listener"]


async def test_who_posted_an_event_that_could_not_be_written_does_not_hear_that_it_is(journal: Journal) -> None:
    heard: list[str] = []
    await journal.append(NewEvent("before", {}))
    (pages,) = journal._writer.connection.execute("PRAGMA page_count").fetchone()
    journal._writer.connection.execute(f"PRAGMA max_page_count = {pages}")
    journal.post(NewEvent("large", {"text": "x" * 100_000}), lambda: heard.append("durable"))
    with pytest.raises(JournalError, match="full"):
        await journal.append(NewEvent("after", {}))
    assert heard == []


async def test_events_are_selected_by_run_kind_and_position(journal: Journal) -> None:
    await journal.append(*(NewEvent(kind, {}, run) for run in ("run-1", "run-2", None) for kind in ("a", "b", "c")))
    assert [e.seq for e in await journal.events(run="run-2")] == [4, 5, 6]
    assert [e.seq for e in await journal.events(kinds={"a", "c"}, after=3)] == [4, 6, 7, 9]
    assert [e.seq for e in await journal.events(after=2, limit=2)] == [3, 4]
    assert await journal.events(kinds=[]) == []


async def test_an_event_is_kept_as_it_was_handed_in(journal: Journal) -> None:
    data: dict[str, Any] = {"values": (1.5, float("nan"), None), "text": "35 µL"}
    journal.post(NewEvent("measured", data, at="2026-01-01T08:00:00.000000Z"))
    data["text"] = "changed later"
    (event,) = await journal.events()
    assert event.data == {"values": [1.5, None, None], "text": "35 µL"}
    assert event.at == "2026-01-01T08:00:00.000000Z"


async def test_what_json_cannot_say_is_refused_at_once(journal: Journal) -> None:
    with pytest.raises(JournalError, match=r"bad.*JSON"):
        journal.post(NewEvent("bad", {"path": Path()}))
    assert await journal.events() == []


async def test_the_chain_can_be_computed_by_anyone(journal: Journal) -> None:
    events = await journal.append(NewEvent("a", {"µ": [1, 2.5], "b": "ä"}, "run-1"), NewEvent("b", {}))
    before = "0" * 64
    for event in events:
        text = json.dumps(
            [before, event.seq, event.at, event.run, event.kind, event.data],
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        )
        assert event.hash == hashlib.sha256(text.encode()).hexdigest()
        before = event.hash


@pytest.mark.parametrize(
    ("tamper", "first"),
    [
        ("UPDATE events SET data = '{\"force\":9}' WHERE seq = 3", 3),
        ("UPDATE events SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 4", 4),
        ("DELETE FROM events WHERE seq = 2", 3),
    ],
)
async def test_a_changed_or_missing_event_is_found(path: Path, tamper: str, first: int) -> None:
    journal = await Journal.open(path)
    await journal.append(*(NewEvent("crimped", {"force": number}) for number in range(5)))
    assert await journal.verify() is None
    await journal.close()
    with other(path) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(tamper)
        connection.executescript("DROP TRIGGER events_never_change; DROP TRIGGER events_never_go")
        connection.execute(tamper)
    journal = await Journal.open(path)
    assert await journal.verify() == first
    await journal.close()


async def test_the_chain_goes_on_where_it_ended(path: Path) -> None:
    for _ in range(3):
        journal = await Journal.open(path)
        journal.post(NewEvent("started", {}))
        await journal.close()
    journal = await Journal.open(path)
    assert [event.seq for event in await journal.events()] == [1, 2, 3]
    assert await journal.verify() is None
    await journal.close()


async def test_marks_outlive_the_daemon(path: Path) -> None:
    journal = await Journal.open(path)
    assert await journal.mark("mqtt") == 0
    await asyncio.gather(journal.set_mark("mqtt", 7), journal.set_mark("other", 1))
    await journal.set_mark("mqtt", 9)
    await journal.close()
    journal = await Journal.open(path)
    assert (await journal.mark("mqtt"), await journal.mark("other")) == (9, 1)
    await journal.close()


def commits(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many works each commit has, from now on."""
    found: list[int] = []
    real = journal._writer.commit

    def counting(drained: Any) -> Any:
        if writing := [work for work in drained if work.events or work.mark or work.keep]:
            found.append(len(writing))
        return real(drained)

    monkeypatch.setattr(journal._writer, "commit", counting)
    return found


async def test_a_posted_mark_goes_with_the_next_commit(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = commits(journal, monkeypatch)
    journal.post_mark("mqtt", 1)
    await asyncio.sleep(0.5)
    journal.post_mark("mqtt", 2)
    assert await journal.events() == []
    assert not found, "neither it nor a reader makes a commit"
    await journal.append(NewEvent("a", {}))
    assert found == [2]
    journal.post_mark("mqtt", 3)
    await journal.set_mark("mqtt", 4)
    await asyncio.sleep(5)
    assert await journal.mark("mqtt") == 4
    assert found == [2, 1]


async def test_a_posted_mark_waits_for_a_second_at_most_and_is_written_at_the_end(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = commits(journal, monkeypatch)
    journal.post_mark("mqtt", 1)
    await asyncio.sleep(1.1)
    assert found == [1]
    journal.post_mark("mqtt", 2)
    assert await journal.mark("mqtt") == 2, "who asks has it"
    with journal.together():
        journal.keep("gaps", {"r1": 1})
        journal.post_mark("mqtt", 3)
    journal.post(NewEvent("a", {}))
    await journal.append(NewEvent("b", {}))
    assert found[2:] == [4]
    journal.post_mark("mqtt", 5)
    await journal.close()
    again = await Journal.open(path)
    assert await again.mark("mqtt") == 5
    await again.close()


async def test_a_second_daemon_is_told_who_has_the_store(journal: Journal, path: Path) -> None:
    with pytest.raises(JournalError, match=f"process {os.getpid()}"):
        await Journal.open(path)
    await journal.close()
    again = await Journal.open(path)
    await again.close()


async def test_a_newer_journal_is_refused_and_left_as_it_is(path: Path) -> None:
    await (await Journal.open(path)).close()
    with other(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = on_disk(path)
    with pytest.raises(JournalError, match=r"version 99.*newer labd"):
        await Journal.open(path)
    assert on_disk(path) == before


async def test_a_file_that_is_no_journal_is_refused(path: Path) -> None:
    with other(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(JournalError, match="no journal"):
        await Journal.open(path)
    with pytest.raises(JournalError, match="cannot be opened"):
        await Journal.open(path / "below" / "a-file.sqlite")
    with pytest.raises(JournalError, match="not a database"):
        await Journal.open(Path(shutil.copy(__file__, path.parent)))


async def test_a_full_disk_fails_all_waiters_and_everything_after(journal: Journal, path: Path) -> None:
    await journal.append(NewEvent("before", {}))
    watcher = asyncio.ensure_future(journal.watch())
    (pages,) = journal._writer.connection.execute("PRAGMA page_count").fetchone()
    journal._writer.connection.execute(f"PRAGMA max_page_count = {pages}")
    large = {"text": "x" * 100_000}
    waiters = [asyncio.ensure_future(journal.append(NewEvent("large", large))) for _ in range(3)]
    for result in await asyncio.gather(*waiters, return_exceptions=True):
        assert isinstance(result, JournalError)
        assert "full" in str(result)
    with pytest.raises(JournalError, match="full"):
        await watcher
    with pytest.raises(JournalError, match="full"):
        journal.post(NewEvent("after", {}))
    assert [event.kind for event in await journal.events()] == ["before"]
    assert on_disk(path) == ["before"]


async def test_a_closed_journal_takes_nothing(journal: Journal) -> None:
    await journal.close()
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.append(NewEvent("late", {}))
    with pytest.raises(JournalError, match="closed"):
        await journal.events()


_KILLED = """
import asyncio, sys
from pathlib import Path
from labd import clock
from labd.journal import Journal, NewEvent

async def main():
    journal = await Journal.open(Path(sys.argv[1]))
    async def write():
        while True:
            (event,) = await journal.append(NewEvent("done", {"text": "x" * 300}))
            print(event.seq, event.hash, flush=True)
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(write())

clock.run(main())
"""


def test_what_was_acknowledged_outlives_a_killed_daemon(path: Path) -> None:
    told: list[list[str]] = []
    with subprocess.Popen([sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while len(told) < 500:
            told.append(process.stdout.readline().split())
        process.kill()

    async def look() -> tuple[dict[int, str], int | None]:
        journal = await Journal.open(path)
        try:
            return {event.seq: event.hash for event in await journal.events()}, await journal.verify()
        finally:
            await journal.close()

    kept, broken = clock.run(look())
    assert broken is None
    assert all(kept[int(seq)] == hash_ for seq, hash_ in told)


async def test_what_is_kept_is_replaced_and_outlives_the_daemon(path: Path) -> None:
    journal = await Journal.open(path)
    try:
        journal.keep("run/run-0001", {"state": "a"})
        journal.keep("run/run-0002", {"state": "b"})
        journal.keep("run/run-0001", {"state": "c"})
        journal.keep("run/run-0002", None)
        assert await journal.kept("run/") == {"run/run-0001": {"state": "c"}}
    finally:
        await journal.close()
    journal = await Journal.open(path)
    try:
        assert await journal.kept("run/") == {"run/run-0001": {"state": "c"}}
        assert await journal.kept("other/") == {}
    finally:
        await journal.close()


@pytest.mark.parametrize(
    "back",
    [
        "DROP INDEX events_by_kind; DROP TABLE kept; PRAGMA user_version = 1;",
        "DROP INDEX events_by_kind; PRAGMA user_version = 2;",
    ],
)
async def test_a_journal_of_a_version_before_is_taken_over(path: Path, back: str) -> None:
    journal = await Journal.open(path)
    await journal.append(NewEvent("daemon.started", {}))
    await journal.close()
    with contextlib.closing(sqlite3.connect(path)) as older:
        older.executescript(back)
    journal = await Journal.open(path)
    try:
        journal.keep("run/run-0001", {})
        assert list(await journal.kept("run/")) == ["run/run-0001"]
        assert [event.kind for event in await journal.events()] == ["daemon.started"]
        assert await journal.verify() is None
        with contextlib.closing(sqlite3.connect(path)) as now:
            assert now.execute("PRAGMA user_version").fetchone() == (3,)
            assert now.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events_by_kind'").fetchone() == (1,)
    finally:
        await journal.close()


async def test_rare_kinds_are_found_by_the_index_and_frequent_ones_by_walking(journal: Journal) -> None:
    for number in range(40):
        await journal.append(NewEvent("rare" if number % 20 == 0 else "often", {"n": number}, f"run-{number % 2}"))
    with contextlib.closing(sqlite3.connect(journal.path)) as looked:
        for kinds, found in (
            ({"rare"}, "USING INDEX events_by_kind"),
            ({"rare", "often"}, "USING INTEGER PRIMARY KEY"),
        ):
            query = f"SELECT data FROM events WHERE seq > 0 AND {journal._reader._by_kinds(kinds)} ORDER BY seq"
            plan = looked.execute(f"EXPLAIN QUERY PLAN {query}", sorted(kinds))
            assert found in " ".join(str(step[3]) for step in plan)
    assert [event.data["n"] for event in await journal.events(kinds={"rare"})] == [0, 20]
    assert [event.data["n"] for event in await journal.events(kinds={"rare"}, after=1)] == [20]
    assert len(await journal.events(kinds={"rare", "often"})) == 40
    assert len(await journal.events(kinds=set())) == 0


async def test_the_runs_of_which_something_is_told_and_something_is_not(journal: Journal) -> None:
    for run, kind in (("b", "began"), ("a", "began"), ("b", "ended"), (None, "began"), ("c", "ended"), ("a", "began")):
        await journal.append(NewEvent(kind, {}, run))
    assert await journal.runs(with_="began", without="ended") == ["a"]


async def test_what_is_posted_together_shares_one_transaction(journal: Journal) -> None:
    commits: list[int] = []
    journal.on_commit(lambda events: commits.append(len(events)))
    for number in range(50):
        with journal.together():
            journal.post(NewEvent("a", {"number": number}))
            with journal.together():
                journal.post(NewEvent("b", {"number": number}))
            journal.keep("where", {"number": number})
    assert await journal.kept("where") == {"where": {"number": 49}}
    assert sum(commits) == 100
    assert all(count % 2 == 0 for count in commits)


async def test_the_end_of_a_thing_and_what_was_kept_of_it_go_together(journal: Journal) -> None:
    journal.keep("run/run-0001", {"state": "a"})
    await journal.append(NewEvent("run.ended", {}, "run-0001"), forget="run/run-0001")
    assert await journal.kept("run/") == {}
