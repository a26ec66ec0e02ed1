"""`labd restore`: a backup, looked through from end to end, put in the place of a store; nothing is ever deleted."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from labd import clock
from labd.journal import archive, schema
from labd.journal.archive import BackupError, Manifest
from labd.journal.events import GENESIS, NewEvent, chain, encode
from labd.journal.samples import SIGNALS
from labd.journal.schema import JOURNAL, sync_directory
from labd.journal.verify import check

STORES = ("signals.sqlite", "journal.sqlite")  # the journal last: with it a store is one
_BESIDE = ("-wal", "-shm")


@dataclass(slots=True)
class Restored:
    """What was done.

    Args:
        manifest: of the backup.
        aside: the folder of what stood in the store before; None where there was nothing.
        written: lab.yaml and files that it names, which were not there.
        kept: those that were there and are others than the backup's; `beside` holds the backup's.
    """

    manifest: Manifest
    aside: Path | None = None
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    beside: Path | None = None


def unpack(file: Path, into: Path) -> Manifest:
    """Unpacks a backup into an empty folder, and looks it through: hashes, versions, the journal's chain and its end.

    Raises:
        BackupError: something does not hold.
        JournalError, SignalError: a newer labd wrote one of the stores.
        OSError: the disk does not take it.
    """
    with archive.opened(file) as (tar, manifest):
        archive.unpack(tar, manifest, file, into)
    if not manifest.has("journal.sqlite"):
        raise BackupError(f"{file}: there is no journal in this backup")
    verdict = check(into / "journal.sqlite")
    if verdict.flaw is not None:
        raise BackupError(f"{file}: the journal in this backup is not whole: {verdict.flaw.text}")
    if (verdict.seq, verdict.hash) != (manifest.journal.seq, manifest.journal.hash):
        raise BackupError(
            f"{file}: the journal in this backup ends with event {verdict.seq} ({verdict.hash}), and its manifest says "
            f"{manifest.journal.seq} ({manifest.journal.hash})"
        )
    if manifest.has("signals.sqlite"):
        SIGNALS.read(into / "signals.sqlite").close()
    return manifest


def restore(file: Path, store: Path, lab_file: Path, *, lab: str | None, by: str, replace: bool = False) -> Restored:
    """Puts a backup's stores in their place. The journal then says so, with `store.restored`.

    Args:
        file: the backup.
        store: the folder of journal and signals.
        lab_file: where lab.yaml is; where there is none, the backup's is written, with the files that it names.
        lab: the name of that lab; None: of the backup's.
        by: who does it.
        replace: moves what stands in the store aside; without it a store that holds a journal is refused.

    Raises:
        BackupError: the backup does not hold, is another lab's, or the store holds a journal.
        JournalError, SignalError: a daemon has the store, or a newer labd wrote the backup.
    """
    with archive.opened(file) as (_, manifest):
        if lab is not None and manifest.lab != lab:
            raise BackupError(f"{file}: this is a backup of the lab {manifest.lab!r}, and {lab_file} is {lab!r}")
    lock = schema.lock(store / "journal.sqlite")
    try:
        if (store / "journal.sqlite").exists() and not replace:
            raise BackupError(
                f"{store}: this store holds a journal already; with --replace it is moved aside, and nothing is deleted"
            )
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=store) as folder:
            return _put(file, Path(folder), store, lab_file, by)
    except OSError as error:
        raise BackupError(f"{store}: the backup cannot be put here: {error.strerror or error}") from error
    finally:
        os.close(lock)


def _put(file: Path, folder: Path, store: Path, lab_file: Path, by: str) -> Restored:
    manifest = unpack(file, folder)
    told = {"from": file.name, "backup_at": manifest.at, "last_seq": manifest.journal.seq, "by": by}
    append(folder / "journal.sqlite", NewEvent("store.restored", told))
    restored = Restored(manifest)
    stamp = clock.now().strftime("%Y%m%dT%H%M%SZ")
    restored.aside = _aside(store, _free(store / f"before-restore-{stamp}"))
    for name in STORES:
        if manifest.has(name):
            _own(folder / name, store)
            _take_away(store, name, restored.aside, _BESIDE)
            (folder / name).replace(store / name)
        else:
            _take_away(store, name, restored.aside, (*_BESIDE, ""))
        sync_directory(store)
    _put_files(manifest, folder, lab_file, _free(store / f"from-backup-{stamp}"), restored)
    return restored


def append(path: Path, event: NewEvent) -> None:
    """Writes one event at the end of a journal that no daemon has; it is durable when this returns.

    Raises:
        JournalError: it cannot be opened.
        OSError: the disk does not take it.
    """
    try:
        with contextlib.closing(JOURNAL.connect(path)) as connection, schema.transaction(connection):
            last = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
            seq, before = last or (0, GENESIS)
            at, data = event.at or clock.stamp(), encode(event.kind, event.data)
            hash_ = chain(before, seq + 1, at, event.run, event.kind, data)
            row = (seq + 1, at, event.run, event.kind, data, hash_)
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
    except sqlite3.Error as error:
        raise OSError(f"{path.name} cannot be written: {error}") from error


# ── the store that was there ─────────────────────────────────────────────────────────────────────────────────────
def _aside(store: Path, folder: Path) -> Path | None:
    """Gives what stands in the store a second name in a folder of its own; None where there is nothing."""
    for name in STORES:
        _empty_wal(store / name)
    there = [store / f"{name}{end}" for name in STORES for end in ("", *_BESIDE)]
    there = [path for path in there if path.exists()]
    if not there:
        return None
    folder.mkdir()
    _own(folder, store)
    for path in there:
        (folder / path.name).hardlink_to(path)
    sync_directory(folder)
    sync_directory(store)
    return folder


def _empty_wal(path: Path) -> None:
    """Brings what a killed daemon left in the WAL into the file, where it can still be read."""
    if path.exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _take_away(store: Path, name: str, aside: Path | None, ends: tuple[str, ...]) -> None:
    """Takes first names away, as far as there are second ones: SQLite would read a WAL into the file that comes."""
    for end in ends:
        if aside is not None and (aside / f"{name}{end}").exists():
            (store / f"{name}{end}").unlink(missing_ok=True)


# ── lab.yaml and what it names ───────────────────────────────────────────────────────────────────────────────────
def _put_files(manifest: Manifest, folder: Path, lab_file: Path, beside: Path, restored: Restored) -> None:
    """Writes lab.yaml and its files where there are none; those that are there stay, the backup's come beside."""
    for member in manifest.members:
        if member.name in STORES:
            continue
        made = folder / member.name
        place = lab_file if member.path is None else lab_file.parent / member.path
        if place.exists():
            if place.is_file() and place.read_bytes() == made.read_bytes():
                continue
            restored.kept.append(place)
        elif member.path is None or _below(member.path):
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(made, place)
            restored.written.append(place)
            continue
        else:
            restored.kept.append(place)  # outside of the lab's folder: a person puts it there
        restored.beside = beside
        beside.mkdir(exist_ok=True)
        _copy(made, beside / f"{member.name.replace('/', '-')}-{place.name}" if member.path else beside / place.name)


def _below(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all, also to another file system."""
    handle, made = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(source.read_bytes())
        stream.flush()
        os.fsync(stream.fileno())
    _own(Path(made), target.parent)
    Path(made).replace(target)
    sync_directory(target.parent)


def _own(path: Path, like: Path) -> None:
    """What root restores belongs to whom the folder belongs to: the daemon's user must be able to write it."""
    if not path.is_dir():
        path.chmod(0o640)
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _free(path: Path) -> Path:
    """This name, or one with a number where there is something of this name."""
    names = (path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000)))
    return next(name for name in names if not name.exists())
