"""Space kept for the journal's last words: a file that is given up when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

BALLAST = 8_000_000  # bytes; some hundred commits, with which a lab is stopped in order
SPARE = 16_000_000  # bytes; what the signal store leaves free, more than the ballast: the journal has it for itself

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


@dataclass(slots=True)
class Ballast:
    """A file of so many bytes that are really allocated. For one thread at a time."""

    path: Path
    size: int = BALLAST
    held: bool = False

    def take(self) -> bool:
        """Allocates it; gives whether there was space for it.

        Raises:
            OSError: the disk does not take it for another reason.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            self.give()
            return False
        self.held = True
        return True

    def give(self) -> bool:
        """Frees it; gives whether there was something to free."""
        held, self.held = self.held, False
        with contextlib.suppress(OSError):
            self.path.unlink()
        return held


def is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite could not write for want of space; a quota that is used up it tells as a failed write."""
    return getattr(error, "sqlite_errorcode", None) in _FULL


def free_space(path: Path) -> int:
    """Bytes that this user may still write on the file system of a folder or file. Raises OSError."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
