"""How late an order may still reach its device: the bound without which "it was not done" could never be proven.

A connection that is cut, or whose program was killed, still has what was written: the kernel sends it again and again
until the other side confirms it, for minutes when nobody tells it otherwise. TCP_USER_TIMEOUT (RFC 5482) ends that.
"""

from __future__ import annotations

import asyncio
import socket

from labd import clock

LATEST = 10.0  # s after it was written, or after its program has ended; then nothing of it can arrive any more

OPTIONS: tuple[tuple[int, int, int], ...] = (
    ((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(LATEST * 1000)),) if hasattr(socket, "TCP_USER_TIMEOUT") else ()
)
"""Socket options of every TCP connection to a device (Linux)."""


def bound(connected: socket.socket) -> None:
    """Lets the kernel give up what was written and not confirmed for LATEST, also when this program is gone."""
    for option in OPTIONS:
        connected.setsockopt(*option)


class Orders:
    """Keeps when the last order of a driver may have been written; a former life's were before this one's begin."""

    def __init__(self) -> None:
        self._last: float | None = None

    def written(self) -> None:
        """An order goes out now. To be called on connecting as well: an earlier program's were written before that."""
        self._last = clock.monotonic()

    async def arrived(self) -> None:
        """Returns when no order that was written before can still arrive."""
        last = clock.monotonic() if self._last is None else self._last
        await asyncio.sleep(max(0.0, last + LATEST - clock.monotonic()))
