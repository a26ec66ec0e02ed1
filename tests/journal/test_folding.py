"""When the write-ahead log goes into the journal's file."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from labd.journal.folding import PAGES, Folding
from labd.journal.schema import JOURNAL, transaction


class Quiet(queue.SimpleQueue[str]):
    """Nothing comes for as long as anybody waits with a limit; then a word does."""

    def get(self, block: bool = True, timeout: float | None = None) -> str:
        if timeout is not None:
            raise queue.Empty
        return "later"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(JOURNAL.connect(tmp_path / "journal.sqlite")) as connection:
        yield connection


def fill(connection: sqlite3.Connection, folding: Folding) -> None:
    """Writes until the log is due."""
    with transaction(connection):
        rows = [(f"name-{number}", "x" * 4000) for number in range(PAGES)]
        connection.executemany("INSERT INTO kept VALUES (?, ?)", rows)
    folding.wrote(PAGES)


def test_a_long_log_goes_into_the_file_once_nothing_comes(connection: sqlite3.Connection, tmp_path: Path) -> None:
    folding = Folding(connection)
    fill(connection, folding)
    before = (tmp_path / "journal.sqlite").stat().st_size
    assert folding.next_of(Quiet()) == "later"
    assert (tmp_path / "journal.sqlite").stat().st_size >= before + PAGES * 4000


def test_it_does_not_while_something_waits_to_be_written(connection: sqlite3.Connection, tmp_path: Path) -> None:
    folding, works = Folding(connection), queue.SimpleQueue[str]()
    fill(connection, folding)
    before = (tmp_path / "journal.sqlite").stat().st_size
    works.put("now")
    assert folding.next_of(works) == "now"
    assert (tmp_path / "journal.sqlite").stat().st_size == before


def test_a_short_one_stays_as_it_is(connection: sqlite3.Connection, tmp_path: Path) -> None:
    folding = Folding(connection)
    folding.wrote(1)
    connection.execute("INSERT INTO kept VALUES ('name', 'x')")
    before = (tmp_path / "journal.sqlite").stat().st_size
    assert folding.next_of(Quiet()) == "later"
    assert (tmp_path / "journal.sqlite").stat().st_size == before


def test_a_disk_that_does_not_take_it_ends_nothing(connection: sqlite3.Connection) -> None:
    folding = Folding(connection)
    fill(connection, folding)
    connection.close()
    assert folding.next_of(Quiet()) == "later"
