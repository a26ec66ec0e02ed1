"""What systemd is told: that the daemon is ready, that it ends, and that its loop still turns."""

from __future__ import annotations

import asyncio
import os
import socket


def notify(text: str) -> None:
    """Tells systemd (sd_notify); does nothing where systemd does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(text.encode())


async def watchdog() -> None:
    """Tells systemd's watchdog that the loop still turns, from the loop itself: a blocked loop is killed."""
    period = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    while period:
        notify("WATCHDOG=1")
        await asyncio.sleep(period / 3)
    await asyncio.Event().wait()
