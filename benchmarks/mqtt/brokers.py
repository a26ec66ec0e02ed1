"""What is measured against, and with what: mosquitto, and messages as a lab has them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labd.lab.bus import Value

NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
DATA = {"step": "crimp", "action": "press.crimp", "parameters": {"force": 7.8, "dwell": 2.0}, "token": "t" * 40}
VALUES = {name: Value(3.7, "V", "good") for name in ("voltage", "current", "range", "overload", "temperature")}


def free_port() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def broker() -> Iterator[int | None]:
    """mosquitto's port; None where it is not installed."""
    found = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0")
        config.write_text("\n".join(lines))
        with subprocess.Popen([found, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(port)
                yield port
            finally:
                process.kill()


def wait_for(port: int, limit: float = 30.0) -> None:
    """Waits until something listens there; `limit` s. Raises TimeoutError."""
    end = time.monotonic() + limit
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"nothing listens at port {port}") from None
            time.sleep(0.02)
        else:
            return
