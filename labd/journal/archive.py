"""What a backup is: one tar file whose first member, the manifest, tells all others with their sizes and hashes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from labd import clock
from labd.journal.schema import sync_directory

FORMAT = 1
"""The version of the archive's own form."""
MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 4_000_000  # bytes
_CHUNK = 1 << 20  # bytes


class BackupError(Exception):
    """A backup cannot be written, read or restored; the text says why and how to mend it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Part):
    """A file in the archive.

    Args:
        name: in the archive: `journal.sqlite`, `signals.sqlite`, `lab.yaml`, or `files/0`, `files/1` and so on.
        path: of one that lab.yaml names, as it is written there; of lab.yaml and the stores None.
        bytes: its size.
        sha256: of its content, in hexadecimal.
    """

    name: Annotated[str, StringConstraints(pattern=r"^(journal\.sqlite|signals\.sqlite|lab\.yaml|files/\d{1,4})$")]
    path: str | None = None
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class JournalHead(_Part):
    """Where the journal stood: version of its tables, number and hash of its last event (0 and zeros for none)."""

    version: int
    seq: int
    hash: str


class Manifest(_Part):
    """What a backup holds.

    Args:
        format: of the archive.
        labd: the version that wrote it.
        lab: the lab's name.
        at: when the journal was copied, RFC 3339 in UTC.
        journal: its head in the backup.
        signals_version: of the signal store's tables; None where there was no store.
        members: all files but the manifest itself.
    """

    format: int
    labd: str
    lab: str
    at: str
    journal: JournalHead
    signals_version: int | None
    members: list[Member]

    def has(self, name: str) -> bool:
        """Whether there is a member of this name."""
        return any(member.name == name for member in self.members)


def digest(stream: IO[bytes], into: IO[bytes] | None = None) -> tuple[int, str]:
    """Size and SHA-256 of what is read to its end, written into another stream on the way where one is given."""
    size, hash_ = 0, hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        hash_.update(chunk)
        if into is not None:
            into.write(chunk)
    return size, hash_.hexdigest()


def described(name: str, file: Path, path: str | None = None) -> Member:
    """A file as a member. Raises OSError."""
    with file.open("rb") as stream:
        size, sha256 = digest(stream)
    return Member(name=name, path=path, bytes=size, sha256=sha256)


def write(target: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Writes an archive whole or not at all, and durably.

    Raises:
        OSError: the disk does not take it; nothing is left behind.
    """
    handle, made = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    now = int(clock.now().timestamp())
    try:
        with os.fdopen(handle, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                told = json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False, indent=2).encode()
                about = tarfile.TarInfo(MANIFEST)
                about.size, about.mtime = len(told), now
                tar.addfile(about, io.BytesIO(told))
                for member in manifest.members:
                    entry = tarfile.TarInfo(member.name)
                    entry.size, entry.mtime = member.bytes, now
                    with files[member.name].open("rb") as content:
                        tar.addfile(entry, content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(made).replace(target)
        sync_directory(target.parent)
    finally:
        Path(made).unlink(missing_ok=True)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[tuple[tarfile.TarFile, Manifest]]:
    """A backup to be read, with its manifest.

    Raises:
        BackupError: there is none, it is no backup, it is damaged, or a newer labd wrote it.
    """
    try:
        tar = tarfile.open(file, "r:")  # noqa: SIM115 - the errors of opening it are told apart from those of its use
    except tarfile.TarError as error:
        raise BackupError(f"{file}: this is no backup of labd, or it is damaged: {error}") from error
    except OSError as error:
        raise BackupError(f"{file}: the backup cannot be read: {error.strerror}") from error
    with tar:
        yield tar, _manifest(tar, file)


def _manifest(tar: tarfile.TarFile, file: Path) -> Manifest:
    try:
        first = tar.next()
    except tarfile.TarError as error:
        raise BackupError(f"{file}: this is no backup of labd, or it is damaged: {error}") from error
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > _MANIFEST_LIMIT:
        raise BackupError(f"{file}: this is no backup of labd: it does not begin with a manifest")
    stream = tar.extractfile(first)
    assert stream is not None
    try:
        raw: Any = json.loads(stream.read())
        version = raw["format"]
        if isinstance(version, int) and version > FORMAT:
            raise BackupError(
                f"{file}: this backup is of version {version}, written by a newer labd ({raw.get('labd')}); this one "
                f"reads up to {FORMAT}. Install the newer labd"
            )
        return Manifest.model_validate(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        where = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
        raise BackupError(f"{file}: the manifest of this backup is damaged ({where})") from error


def unpack(
    tar: tarfile.TarFile, manifest: Manifest, file: Path, into: Path, only: Collection[str] | None = None
) -> None:
    """Unpacks all members, or only some, into a folder, each compared with the manifest.

    Raises:
        BackupError: one is missing, or differs from the manifest.
        OSError: the disk does not take it.
    """
    (into / "files").mkdir()
    for member in manifest.members:
        if only is not None and member.name not in only:
            continue
        try:
            entry = tar.getmember(member.name)
        except KeyError:
            raise BackupError(f"{file}: {member.name} is missing in this backup") from None
        except tarfile.TarError as error:
            raise BackupError(f"{file}: this backup is damaged: {error}") from error
        stream = tar.extractfile(entry) if entry.isreg() else None
        if stream is None:
            raise BackupError(f"{file}: {member.name} in this backup is no file")
        with (into / member.name).open("wb") as made:
            found = digest(stream, made)
            made.flush()
            os.fsync(made.fileno())
        if found != (member.bytes, member.sha256):
            raise BackupError(f"{file}: {member.name} in this backup is damaged: its SHA-256 is not the manifest's")
