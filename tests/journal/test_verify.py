"""`check`: what was changed in a journal is found, and named."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from labd.journal import Journal, JournalError
from labd.journal.events import GENESIS, chain
from labd.journal.schema import JOURNAL
from labd.journal.verify import Head, check
from tests.journal.written import crimped, tampering, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_a_whole_journal_tells_its_events_its_times_and_its_head(path: Path) -> None:
    last = write(path)[-1]
    found = check(path)
    assert found.flaw is None
    assert (found.events, found.first_at, found.last_at) == (5, "2026-01-01T08:00:00Z", "2026-01-01T08:00:04Z")
    assert (found.seq, found.hash) == (5, last.hash)


def test_an_empty_journal_is_whole(path: Path) -> None:
    JOURNAL.connect(path).close()
    found = check(path)
    assert (found.flaw, found.events, found.seq, found.hash) == (None, 0, 0, GENESIS)


async def test_it_is_read_while_a_daemon_has_it_locked(path: Path) -> None:
    journal = await Journal.open(path)
    try:
        (event,) = await journal.append(crimped())
        found = check(path)
        assert (found.flaw, found.seq, found.hash) == (None, 1, event.hash)
        await journal.append(crimped(1))  # and the daemon goes on
    finally:
        await journal.close()


@pytest.mark.parametrize(
    ("tamper", "seq", "what", "words"),
    [
        ("UPDATE events SET data = '{\"force\":9}' WHERE seq = 3", 3, "data", "event 3 (action.done, "),
        ("UPDATE events SET data = '{\"force\":9}' WHERE seq = 5", 5, "data", "was changed after it was written"),
        ("UPDATE events SET at = '2020-01-01T00:00:00Z' WHERE seq = 4", 4, "data", "2020-01-01"),
        ("UPDATE events SET run = NULL WHERE seq = 1", 1, "data", "event 1 "),
        ("UPDATE events SET data = x'00ff' WHERE seq = 2", 2, "data", "no event"),
        ("UPDATE events SET hash = upper(hash) WHERE seq = 2", 2, "hash", "stands in it"),
        ("DELETE FROM events WHERE seq = 2", 3, "missing", "event 2 is missing"),
        ("DELETE FROM events WHERE seq BETWEEN 1 AND 3", 4, "missing", "events 1 to 3 are missing"),
        ("UPDATE events SET seq = -seq WHERE seq = 2", -2, "missing", "has the number 1"),
    ],
)
def test_the_first_event_that_does_not_fit_is_named_with_what_differs(
    path: Path, tamper: str, seq: int, what: str, words: str
) -> None:
    write(path)
    with tampering(path) as connection:
        connection.execute(tamper)
    flaw = check(path).flaw
    assert flaw is not None
    assert (flaw.seq, flaw.what) == (seq, what)
    assert words in flaw.text


def test_events_that_changed_places_do_not_fit(path: Path) -> None:
    write(path)
    with tampering(path) as connection:
        connection.execute("UPDATE events SET seq = 12 - seq WHERE seq IN (2, 4)")
        connection.execute("UPDATE events SET seq = seq - 6 WHERE seq > 5")
    flaw = check(path).flaw
    assert flaw is not None
    assert (flaw.seq, flaw.what) == (2, "data")


def test_an_end_that_was_cut_off_shows_against_what_was_noted_before(path: Path) -> None:
    last = write(path)[-1]
    assert check(path, [Head(None, last.hash), Head(5, last.hash)]).flaw is None
    with tampering(path) as connection:
        connection.execute("DELETE FROM events WHERE seq = 5")
    assert check(path).flaw is None  # the chain alone cannot tell
    for head, words in ((Head(5, last.hash), "no event 5, the last is 4"), (Head(None, last.hash), "was cut at its")):
        flaw = check(path, [head]).flaw
        assert flaw is not None
        assert flaw.what == "head"
        assert words in flaw.text


def test_a_journal_that_was_written_anew_shows_against_what_was_noted_before(path: Path) -> None:
    last = write(path)[-1]
    with tampering(path) as connection:
        before = GENESIS
        for seq, at, run, kind in connection.execute("SELECT seq, at, run, kind FROM events ORDER BY seq").fetchall():
            before = chain(before, seq, at, run, kind, "{}")
            connection.execute("UPDATE events SET data = '{}', hash = ? WHERE seq = ?", [before, seq])
    assert check(path).flaw is None
    flaw = check(path, [Head(5, last.hash)]).flaw
    assert flaw is not None
    assert (flaw.seq, flaw.what) == (5, "head")


def test_a_head_is_read_with_its_number_and_without() -> None:
    hash_ = "ab" * 32
    assert Head.read(f"12:{hash_.upper()}") == Head(12, hash_)
    assert Head.read(f" {hash_}\n") == Head(None, hash_)
    for text in ("", "12", "12:ab", f"0:{hash_}", f"x:{hash_}", hash_ + "0"):
        with pytest.raises(ValueError, match="is no hash of an event"):
            Head.read(text)


def test_a_damaged_file_is_found(path: Path) -> None:
    write(path, 5)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events_by_run'").fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size + 100 : root * size] = b"\xff" * (
        size - 100
    )  # the index: the events themselves are whole
    path.write_bytes(content)
    flaw = check(path).flaw
    assert flaw is not None
    assert (flaw.seq, flaw.what) == (None, "file")


def test_what_is_no_journal_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal here"):
        check(path)
    with pytest.raises(JournalError, match="this is no file"):
        check(tmp_path)
    with pytest.raises(JournalError, match="not a database"):
        check(Path(__file__))
    path.touch()
    with pytest.raises(JournalError, match="it is empty"):
        check(path)
    write(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match=r"version 99, written by a newer labd"):
        check(path)


_KILLED = """
import sys
from pathlib import Path
from labd.journal.schema import JOURNAL, Format

class Waits(dict):
    def __getitem__(self, version):
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c;"
        return f"CREATE TABLE half (x); {endless}"

Format("journal", JOURNAL.version + 1, 0x6C616264, "FULL", "", RuntimeError, Waits()).connect(Path(sys.argv[1]))
"""


def test_a_migration_that_is_killed_in_its_middle_leaves_what_was_before(path: Path) -> None:
    write(path)
    with subprocess.Popen([sys.executable, "-c", _KILLED, str(path)]) as process:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
            while process.poll() is None:  # until the migration has begun to write
                try:
                    other.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    break
                other.execute("ROLLBACK")
        assert process.poll() is None
        process.kill()
    with contextlib.closing(sqlite3.connect(path)) as left:
        assert left.execute("PRAGMA user_version").fetchone() == (JOURNAL.version,)
        assert left.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    assert check(path).flaw is None


def test_a_migration_that_fails_in_its_middle_leaves_what_was_before(path: Path) -> None:
    write(path)
    steps = {JOURNAL.version: "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);"}
    form = type(JOURNAL)("journal", JOURNAL.version + 1, JOURNAL.application_id, "FULL", "", JournalError, steps)
    with pytest.raises(JournalError, match="nowhere"):
        form.connect(path)
    with contextlib.closing(sqlite3.connect(path)) as left:
        assert left.execute("PRAGMA user_version").fetchone() == (JOURNAL.version,)
        assert left.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    assert check(path).flaw is None
