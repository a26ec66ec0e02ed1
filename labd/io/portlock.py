"""The lock files of serial ports, `/run/lock/LCK..ttyUSB0`, as minicom, picocom, pppd and others keep them.

The file holds the number of the process that has the port. One of a process that has ended counts for nothing. Where
the folder is not there or may not be written there are no lock files, and the port's own exclusive lock must do.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FOLDER = Path("/run/lock")


class PortTaken(OSError):
    """Another program has the port; says which."""


class PortLock:
    """The lock file of one port, which is ours until `release`.

    Args:
        port: path of the port, or of a link to it.
        folder: where lock files are.

    Raises:
        PortTaken: a living process holds it.
    """

    def __init__(self, port: str, folder: Path = FOLDER) -> None:
        self._path: Path | None = folder / f"LCK..{Path(port).resolve().name}"
        try:
            self._take(self._path)
        except PortTaken:
            raise
        except OSError:
            self._path = None

    @staticmethod
    def _take(path: Path) -> None:
        temporary = path.with_name(f".labd.{os.getpid()}.{path.name}")
        temporary.write_text(f"{os.getpid():10d}\n")
        try:
            for _ in range(2):
                try:
                    os.link(temporary, path)  # whole file or nothing
                except FileExistsError:
                    pid = _holder(path)
                    if pid is not None and pid != os.getpid():
                        raise PortTaken(f"{program(pid)} has locked it by {path}") from None
                    path.unlink(missing_ok=True)
                else:
                    return
        finally:
            temporary.unlink()

    def release(self) -> None:
        """Gives it back; harmless when that was done."""
        path, self._path = self._path, None
        if path is not None and _holder(path) == os.getpid():
            with contextlib.suppress(OSError):
                path.unlink()


def _holder(path: Path) -> int | None:
    """The living process that a lock file names, or None."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    digits = raw.strip()
    pid = int(digits) if digits.isdigit() else int.from_bytes(raw, "little") if len(raw) == 4 else 0
    return pid if pid > 0 and Path(f"/proc/{pid}").exists() else None


def program(pid: int) -> str:
    """A process in words: `minicom (pid 4711)`."""
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"
