"""Small disks of their own for faults of disks. Mounting needs root; without it, the part says what it did instead."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


class MountRefusedError(Exception):
    """This machine or user cannot mount; the text says why."""


@contextlib.contextmanager
def tmpfs(at: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes in memory, mounted on a folder for the time of the block. Raises MountRefusedError."""
    at.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "labd-faults", str(at)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MountRefusedError(f"there is no `mount`: {error.strerror}") from error
    if done.returncode:
        raise MountRefusedError(done.stderr.strip() or "mount refused")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)
