"""The disk that the store is on."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from labd.doctor.finding import Finding, ok, problem, warning
from labd.journal.ballast import free_space
from labd.lab.sizes import size_text

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs", "fuse.sshfs", "davfs"}
)
VOLATILE = frozenset({"tmpfs", "ramfs"})
SLOW = 0.1  # s for a write and its fsync; the journal commits with each, and devices wait for it
TRIES = 8
BLOCK = 4096  # bytes


def examine_disk(store: Path, hold_below: int, mounts: str | None = None) -> list[Finding]:
    """Whether the store can be written, holds what it is given, and is quick enough.

    Args:
        store: the folder, which need not be there yet.
        hold_below: bytes free below which all runs are held.
        mounts: what /proc/self/mounts says, where not this machine's is meant.
    """
    folder = _there(store)
    if not folder.is_dir():
        return [problem("disk", f"{folder} is no folder", "name another `store` in lab.yaml")]
    found = _kind(store, folder, mounts)
    free = free_space(folder)
    if free < hold_below:
        text = f"{size_text(free)} are free at {folder}; below {size_text(hold_below)} all runs are held"
        found.append(problem("disk", text, f"make room: du -xh --max-depth=2 {folder} | sort -h | tail"))
    elif free < 2 * hold_below:
        text = f"{size_text(free)} are free at {folder}; below {size_text(hold_below)} all runs are held"
        found.append(warning("disk", text, "make room, or lower `disk.hold_below` in lab.yaml"))
    else:
        found.append(ok("disk", f"{size_text(free)} are free at {folder}"))
    return found + _written(store, folder)


def _there(path: Path) -> Path:
    """The folder itself, or the one in which it will be made."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _kind(store: Path, folder: Path, mounts: str | None) -> list[Finding]:
    kind, options = file_system(folder, mounts)
    if kind in NETWORK:
        text = f"{store} is on a network file system ({kind}): SQLite's locks and its write-ahead log do not hold there"
        return [problem("disk", text, "name a `store` on a disk of this machine, such as /var/lib/labd")]
    if "ro" in options:
        text = f"{store} is on a file system that is mounted read-only"
        return [problem("disk", text, f"sudo mount -o remount,rw {folder}, and look at `dmesg`: a disk that fails")]
    if kind in VOLATILE:
        text = f"{store} is in memory ({kind}): it is gone when the machine is switched off"
        return [warning("disk", text, "name a `store` on a disk, such as /var/lib/labd")]
    return []


def file_system(folder: Path, mounts: str | None = None) -> tuple[str, frozenset[str]]:
    """Its kind and the options that it is mounted with; empty where nobody tells."""
    try:
        text = Path("/proc/self/mounts").read_text(encoding="utf-8") if mounts is None else mounts
    except OSError:
        return "", frozenset()
    at = folder.resolve()
    best: tuple[int, str, frozenset[str]] = (-1, "", frozenset())
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4:
            continue
        point = Path(words[1].replace("\\040", " "))
        if at.is_relative_to(point) and len(point.parts) >= best[0]:
            best = len(point.parts), words[2], frozenset(words[3].split(","))
    return best[1], best[2]


def _written(store: Path, folder: Path) -> list[Finding]:
    path = folder / f".labd-doctor-{os.getpid()}"
    try:
        took = _write_speed(path)
    except OSError as error:
        from labd.doctor.machine import user_name

        text = f"{folder} cannot be written by {user_name()}: {error.strerror}"
        return [problem("disk", text, f"sudo install -d -o {user_name()} {store}, or run it as the service's user")]
    finally:
        path.unlink(missing_ok=True) if os.access(folder, os.W_OK) else None
    if took > SLOW:
        text = f"a write takes {took * 1e3:.0f} ms to be on the disk: each action waits for one"
        return [warning("disk", text, "name a `store` on an SSD, and look whether another program writes: iotop")]
    return [ok("disk", f"a write is on the disk in {took * 1e3:.1f} ms")]


def _write_speed(path: Path) -> float:
    """S that a block takes until it is on the disk; the median of some. Raises OSError."""
    took: list[float] = []
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    try:
        for _ in range(TRIES):
            start = time.perf_counter()
            os.write(file, b"\0" * BLOCK)
            os.fsync(file)
            took.append(time.perf_counter() - start)
    finally:
        os.close(file)
    return statistics.median(took)
