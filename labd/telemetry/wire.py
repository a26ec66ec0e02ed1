"""A socket for paho with few calls of the system: paho writes each packet and reads each header with one of its own.

What it writes in one turn of the loop leaves at its end in one piece; what the broker has sent is read in one piece.
"""

from __future__ import annotations

import ssl
from typing import Protocol

READ = 65_536  # bytes asked for at once
MOST_WAITING = 65_536  # bytes that wait for the socket: more are not taken, and wait at paho's


class _System(Protocol):
    """A socket that does not block; one of `ssl` as well."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | bytearray, /) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Gathered:
    """What paho takes for its socket."""

    def __init__(self, system: _System) -> None:
        self._system = system
        self._come = memoryview(b"")
        self._going = bytearray()

    def recv(self, size: int) -> bytes:
        """As a socket's. Raises BlockingIOError (or ssl's) when nothing is there."""
        if not self._come:
            self._come = memoryview(self._system.recv(READ))
        taken = bytes(self._come[:size])
        self._come = self._come[size:]
        return taken

    def pending(self) -> int:
        """Bytes that have come and that the system does not tell of any more: they must be asked for."""
        deeper = getattr(self._system, "pending", None)
        return len(self._come) + (deeper() if deeper is not None else 0)

    def send(self, data: bytes | bytearray) -> int:
        """Takes all for the next `flush`. Raises BlockingIOError when too much waits for the system already."""
        if len(self._going) >= MOST_WAITING:
            self.flush()
        if len(self._going) >= MOST_WAITING:
            raise BlockingIOError
        self._going += data
        return len(data)

    @property
    def waiting(self) -> int:
        """Bytes that the system has not taken yet."""
        return len(self._going)

    def flush(self) -> None:
        """Hands over what waits, as far as the system takes it. Raises OSError when the connection is gone."""
        try:
            while self._going:
                del self._going[: self._system.send(self._going)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return

    def close(self) -> None:
        """Hands over what can still go, a good-bye, and closes."""
        try:
            self.flush()
        except OSError:
            pass  # whoever closes has heard of it, or need not
        finally:
            self._system.close()

    def fileno(self) -> int:
        return self._system.fileno()
