"""Small disks of their own for faults of disks. Mounting needs root; without it, the part says that it did nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks._figures import Figures


class MountRefusedError(Exception):
    """This machine or user cannot mount; the text says why."""


@contextlib.contextmanager
def needed(figures: Figures, name: str, *, may_skip: bool) -> Iterator[None]:
    """A part that mounts; it tells as a figure whether it ran, so that one which did nothing fails by name.

    Args:
        figures: where it is told.
        name: of the part.
        may_skip: whether a machine that cannot mount is no failure.
    """
    ran = True
    try:
        yield
    except MountRefusedError as error:
        ran = False
        print(f"{name}: nothing was tried, a disk cannot be mounted: {error}", file=sys.stderr)
    figures.add(f"{name}.ran", ran, "parts", None if may_skip else 1)


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
