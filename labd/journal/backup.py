"""`labd backup`: the stores copied while a daemon writes to them, with lab.yaml and the files that it names."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labd import clock
from labd.journal import archive
from labd.journal.archive import BackupError, JournalHead, Manifest, Member
from labd.journal.samples import SIGNALS
from labd.journal.schema import JOURNAL, Format
from labd.journal.verify import Verdict, check
from labd.version import VERSION

STEP = 256  # pages, 1 MB: what is copied at once
PAUSE = 0.005  # s between two steps, so that the daemon's commits have the disk


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that was written: what it holds, and what the walk along the copied journal's chain found."""

    manifest: Manifest
    verdict: Verdict


def back_up(target: Path, store: Path, lab: str, lab_file: Path, files: Mapping[str, Path]) -> Written:
    """Writes a backup, also while a daemon has the store open; it neither stops it nor holds its commits up.

    The journal is copied first and the signals after it: a series is on the disk before the journal says so, so that
    all samples that the copied journal speaks of are in the copied signals, with some that came after.

    Args:
        target: the file to write; there must be none.
        store: the folder of journal and signals.
        lab: the lab's name.
        lab_file: lab.yaml.
        files: the files that lab.yaml names, by how they are written there.

    Raises:
        BackupError: the target is there already, or cannot be written.
        JournalError, SignalError: a store that cannot be read.
    """
    if target.is_dir():
        raise BackupError(f"{target}: this is a folder; name a file in it, such as {target / f'{lab}.labd.tar'}")
    if target.exists():
        raise BackupError(f"{target}: this file is there already; name a new one")
    try:
        with tempfile.TemporaryDirectory(prefix=".labd-backup-", dir=target.parent) as folder:
            return _gather(target, Path(folder), store, lab, {"lab.yaml": (lab_file, None)} | _numbered(files))
    except OSError as error:
        raise BackupError(f"{target}: the backup cannot be written: {error.strerror or error}") from error


def _numbered(files: Mapping[str, Path]) -> dict[str, tuple[Path, str | None]]:
    return {f"files/{number}": (file, path) for number, (path, file) in enumerate(files.items())}


def _gather(target: Path, folder: Path, store: Path, lab: str, named: Mapping[str, tuple[Path, str | None]]) -> Written:
    contents: dict[str, Path] = {}
    at = clock.stamp()
    versions: dict[str, int] = {}
    for name, form in (("journal.sqlite", JOURNAL), ("signals.sqlite", SIGNALS)):
        if form is JOURNAL or (store / name).exists():
            contents[name] = folder / name
            versions[name] = copy(store / name, form, folder / name)
    verdict = check(contents["journal.sqlite"])
    members: list[Member] = [archive.described(name, file) for name, file in contents.items()]
    for name, (file, path) in named.items():
        contents[name] = file
        members.append(archive.described(name, file, path))
    head = JournalHead(version=versions["journal.sqlite"], seq=verdict.seq, hash=verdict.hash)
    manifest = Manifest(
        format=archive.FORMAT,
        labd=VERSION,
        lab=lab,
        at=at,
        journal=head,
        signals_version=versions.get("signals.sqlite"),
        members=members,
    )
    archive.write(target, manifest, contents)
    return Written(manifest, verdict)


def copy(source: Path, form: Format, target: Path) -> int:
    """Copies a store as it is at one moment, in small steps; gives the version of its tables.

    Raises:
        JournalError, SignalError: the source cannot be read.
        OSError: the disk does not take the copy.
    """
    with contextlib.closing(form.read(source)) as have, contextlib.closing(sqlite3.connect(target)) as made:
        # One reading for all steps: else every commit of the daemon would have the copy begin anew.
        have.execute("BEGIN")
        (version,) = have.execute("PRAGMA user_version").fetchone()
        have.execute("SELECT count(*) FROM sqlite_master").fetchone()
        try:
            have.backup(made, pages=STEP, sleep=PAUSE)
        except sqlite3.Error as error:
            raise OSError(f"{source.name} cannot be copied: {error}") from error
    return int(version)
