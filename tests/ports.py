"""Ports for programs that take one by number."""

from __future__ import annotations

import os
import random
import socket

WORKERS = 16
_given: set[int] = set()


def free_port(*, pair: bool = False) -> int:
    """A port that nobody has, of 127.0.0.1, given once; with `pair` the next one is free too.

    Below the range from which the kernel gives ports away by itself, so that no other test's connection takes it
    before the program does; and each worker of pytest-xdist has its own, whatever the seed of the run.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    for port in random.SystemRandom().sample(range(20_000 + 2 * worker, 32_000, 2 * WORKERS), 300):
        if port in _given:
            continue
        with socket.socket() as sock, socket.socket() as second:
            try:
                sock.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1 if pair else 0))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port between 20000 and 32000")
