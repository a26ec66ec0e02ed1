"""A backup and its restore: all is there again, nothing that was there is lost, and what does not hold is refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.journal import Journal, JournalError, SignalError, SignalStore
from labd.journal.archive import BackupError
from labd.journal.backup import Written, back_up
from labd.journal.restore import restore, unpack
from labd.journal.verify import check
from tests.journal.written import crimped, tampering, write, write_signals

LAB = "labd: 1\nlab: bench\nstore: store\ndevices: {}\n"


class Place:
    """A lab's folder: lab.yaml, a file that it names, and the store."""

    def __init__(self, folder: Path, *, filled: bool = True) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.lab_file = folder / "lab.yaml"
        self.taught = folder / "positions" / "arm.yaml"
        self.store.mkdir(parents=True)
        if filled:
            self.lab_file.write_text(LAB)
            self.taught.parent.mkdir()
            self.taught.write_text("press/nest: {}\n")
            write(self.store / "journal.sqlite")
            write_signals(self.store / "signals.sqlite")

    def back_up(self, file: Path) -> Written:
        return back_up(file, self.store, "bench", self.lab_file, {"positions/arm.yaml": self.taught})

    def restore(self, file: Path, *, replace: bool = False, lab: str | None = "bench") -> Any:
        return restore(file, self.store, self.lab_file, lab=lab, by="mk", replace=replace)


@pytest.fixture
def lab(tmp_path: Path) -> Place:
    return Place(tmp_path / "lab")


@pytest.fixture
def empty(tmp_path: Path) -> Place:
    return Place(tmp_path / "other", filled=False)


@pytest.fixture
def file(lab: Place, tmp_path: Path) -> Path:
    """A backup of the lab."""
    lab.back_up(tmp_path / "bench.tar")
    return tmp_path / "bench.tar"


async def _kinds(store: Path) -> list[str]:
    journal = await Journal.open(store / "journal.sqlite")
    try:
        return [event.kind for event in await journal.events()]
    finally:
        await journal.close()


def _voltages(store: Path) -> list[float]:
    async def read() -> list[float]:
        signals = await SignalStore.open(store / "signals.sqlite")
        try:
            return list((await signals.read("a-1"))["voltage"])
        finally:
            await signals.close()

    return clock.run(read())


# ── backup ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_backup_begins_with_what_it_holds(lab: Place, file: Path) -> None:
    with tarfile.open(file) as tar:
        names = tar.getnames()
        told = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert names == ["manifest.json", "journal.sqlite", "signals.sqlite", "lab.yaml", "files/0"]
    assert [member["name"] for member in told["members"]] == names[1:]
    assert told["members"][3]["path"] == "positions/arm.yaml"
    assert (told["lab"], told["journal"]["seq"]) == ("bench", 5)
    assert told["journal"]["hash"] == check(lab.store / "journal.sqlite").hash
    assert sorted(path.name for path in file.parent.iterdir()) == ["bench.tar", "lab"]  # nothing is left behind


async def test_a_backup_is_made_while_the_daemon_writes(lab: Place, tmp_path: Path) -> None:
    """It is of one moment, and no commit waits for it."""
    journal = await Journal.open(lab.store / "journal.sqlite")
    try:
        filler = [crimped() for _ in range(20_000)]
        await journal.append(*filler)  # more pages than one step copies
        copying = asyncio.ensure_future(asyncio.to_thread(lab.back_up, tmp_path / "online.tar"))
        meanwhile = 0
        while not copying.done():
            await journal.append(crimped())
            meanwhile += 1
        written = await copying
    finally:
        await journal.close()
    assert meanwhile >= 1
    assert written.verdict.flaw is None
    assert 20_005 <= written.manifest.journal.seq <= 20_005 + meanwhile
    (tmp_path / "out").mkdir()
    assert unpack(tmp_path / "online.tar", tmp_path / "out").journal == written.manifest.journal


def test_a_backup_never_takes_the_place_of_a_file(lab: Place, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there already"):
        lab.back_up(lab.lab_file)
    assert lab.lab_file.read_text() == LAB
    with pytest.raises(BackupError, match="this is a folder; name a file in it"):
        lab.back_up(tmp_path)
    with pytest.raises(BackupError, match="cannot be written: No such file"):
        lab.back_up(tmp_path / "nowhere" / "bench.tar")


def test_a_disk_that_is_full_leaves_no_half_backup(lab: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("labd.journal.archive.os.fsync", full)
    with pytest.raises(BackupError, match="cannot be written: No space left"):
        lab.back_up(tmp_path / "bench.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]


def test_a_lab_without_samples_has_a_backup_without_them(lab: Place, empty: Place, tmp_path: Path) -> None:
    (lab.store / "signals.sqlite").unlink()
    manifest = lab.back_up(tmp_path / "bench.tar").manifest
    assert (manifest.signals_version, manifest.has("signals.sqlite")) == (None, False)
    empty.restore(tmp_path / "bench.tar")
    assert not (empty.store / "signals.sqlite").exists()


def test_a_broken_journal_is_backed_up_and_told(lab: Place, empty: Place, tmp_path: Path) -> None:
    with tampering(lab.store / "journal.sqlite") as connection:
        connection.execute("DELETE FROM events WHERE seq = 2")
    written = lab.back_up(tmp_path / "bench.tar")
    assert written.verdict.flaw is not None
    with pytest.raises(BackupError, match="is not whole: event 3 does not fit"):
        empty.restore(tmp_path / "bench.tar")
    assert not (empty.store / "journal.sqlite").exists()


# ── restore ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_restored_lab_has_all_that_it_had_and_says_that_it_was_restored(file: Path, empty: Place) -> None:
    done = empty.restore(file, lab=None)
    journal = await Journal.open(empty.store / "journal.sqlite")
    try:
        assert await journal.verify() is None
        *before, last = await journal.events()
    finally:
        await journal.close()
    assert [event.kind for event in before] == ["action.done"] * 5
    assert last.kind == "store.restored"
    assert last.data == {"from": "bench.tar", "backup_at": done.manifest.at, "last_seq": 5, "by": "mk"}
    assert done.written == [empty.lab_file, empty.taught]
    assert empty.lab_file.read_text() == LAB
    assert empty.taught.read_text() == "press/nest: {}\n"
    assert done.aside is None
    assert not [path for path in empty.store.iterdir() if path.name.startswith(".")]


def test_restored_samples_are_those_that_were_measured(file: Path, empty: Place) -> None:
    empty.restore(file)
    assert _voltages(empty.store) == [3.0, 4.0, 5.0]


async def test_what_stood_in_the_store_is_moved_aside_and_never_deleted(lab: Place, file: Path) -> None:
    later = await Journal.open(lab.store / "journal.sqlite")
    await later.append(crimped())
    await later.close()
    before = check(lab.store / "journal.sqlite")
    with pytest.raises(BackupError, match="holds a journal already; with --replace"):
        lab.restore(file)
    assert check(lab.store / "journal.sqlite") == before
    done = lab.restore(file, replace=True)
    assert done.aside is not None
    assert check(done.aside / "journal.sqlite") == before
    assert (done.aside / "signals.sqlite").exists()
    assert await _kinds(lab.store) == ["action.done"] * 5 + ["store.restored"]
    again = lab.restore(file, replace=True)
    assert again.aside != done.aside


async def test_what_a_killed_daemon_left_in_its_wal_is_moved_aside_with_the_rest(lab: Place, file: Path) -> None:
    """And is never read into the file that takes its place."""
    journal = lab.store / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(journal)) as alive:
        alive.execute("INSERT INTO marks VALUES ('mqtt', 3)")
        alive.commit()
        left = (lab.store / "journal.sqlite-wal").read_bytes()
    (lab.store / "journal.sqlite-wal").write_bytes(left)
    done = lab.restore(file, replace=True)
    with contextlib.closing(sqlite3.connect(done.aside / "journal.sqlite")) as old:
        assert old.execute("SELECT value FROM marks").fetchall() == [(3,)]
    with contextlib.closing(sqlite3.connect(journal)) as new:
        assert new.execute("SELECT value FROM marks").fetchall() == []
    assert (await _kinds(lab.store))[-1] == "store.restored"


def test_lab_yaml_and_its_files_that_are_there_stay_as_they_are(lab: Place, file: Path) -> None:
    lab.taught.write_text("press/nest: {pose: [1]}\n")
    done = lab.restore(file, replace=True)
    assert lab.taught.read_text() == "press/nest: {pose: [1]}\n"
    assert (done.written, done.kept) == ([], [lab.taught])
    assert (done.beside / "files-0-arm.yaml").read_text() == "press/nest: {}\n"


async def test_a_store_that_a_daemon_has_is_refused(lab: Place, file: Path) -> None:
    journal = await Journal.open(lab.store / "journal.sqlite")
    try:
        with pytest.raises(JournalError, match=f"process {os.getpid()}"):
            lab.restore(file, replace=True)
        await journal.append(crimped())
    finally:
        await journal.close()


def test_a_backup_of_another_lab_is_refused(file: Path, empty: Place) -> None:
    with pytest.raises(BackupError, match=r"is a backup of the lab 'bench', and .* is 'glovebox-2'"):
        empty.restore(file, lab="glovebox-2")
    assert list(empty.store.iterdir()) == []


# ── backups that do not hold ─────────────────────────────────────────────────────────────────────────────────────
def _again(file: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> None:
    """Writes a backup anew with changed members or manifest."""
    with tarfile.open(file) as tar:
        content = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    manifest = json.loads(content.pop("manifest.json"))
    change(content, manifest)
    with tarfile.open(file, "w") as tar:
        for name, data in {"manifest.json": json.dumps(manifest).encode(), **content}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _other_signals(content: dict[str, bytes], _: dict[str, Any]) -> None:
    content["signals.sqlite"] = content["signals.sqlite"][:-1] + b"x"


def _no_signals(content: dict[str, bytes], _: dict[str, Any]) -> None:
    del content["signals.sqlite"]


def _other_head(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["journal"]["hash"] = "0" * 64


def _newer(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["format"] = 2


def _outside(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["members"][0]["name"] = "../journal.sqlite"


def _no_journal(content: dict[str, bytes], manifest: dict[str, Any]) -> None:
    del content["journal.sqlite"]
    del manifest["members"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_other_signals, "signals.sqlite in this backup is damaged: its SHA-256"),
        (_no_signals, "signals.sqlite is missing"),
        (_other_head, r"ends with event 5 .*, and its manifest says"),
        (_newer, "version 2, written by a newer labd"),
        (_outside, "manifest of this backup is damaged"),
        (_no_journal, "there is no journal in this backup"),
    ],
)
def test_a_backup_that_does_not_hold_is_refused_before_anything_is_touched(
    lab: Place, file: Path, change: Callable[..., None], words: str
) -> None:
    _again(file, change)
    before = check(lab.store / "journal.sqlite")
    with pytest.raises(BackupError, match=words):
        lab.restore(file, replace=True)
    assert check(lab.store / "journal.sqlite") == before
    assert not list(lab.store.glob("before-*"))
    assert not list(lab.store.glob(".restoring-*"))


@pytest.mark.parametrize(("name", "error"), [("journal.sqlite", JournalError), ("signals.sqlite", SignalError)])
def test_a_store_of_a_newer_labd_is_refused(
    lab: Place, empty: Place, tmp_path: Path, name: str, error: type[Exception]
) -> None:
    file = tmp_path / "bench.tar"
    with contextlib.closing(sqlite3.connect(lab.store / name)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(error, match="version 99, written by a newer labd"):
        lab.back_up(file)
    assert list(empty.store.iterdir()) == []


def test_files_that_are_no_backup_are_told(lab: Place, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.tar"
    cases: list[tuple[Path, bytes | None, str]] = [
        (tmp_path / "missing.tar", None, "cannot be read: No such file"),
        (tmp_path, None, "cannot be read: Is a directory"),
        (lab.lab_file, None, "no backup of labd"),
        (nothing, b"", "no backup of labd"),
    ]
    for path, content, words in cases:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BackupError, match=words):
            lab.restore(path, replace=True)


def test_a_backup_that_was_cut_is_refused(lab: Place, file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BackupError, match="damaged"):
        lab.restore(file, replace=True)
