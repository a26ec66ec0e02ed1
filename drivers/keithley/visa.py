"""A VISA resource with blocking calls; it lives in a process of its own (see `labd.io.worker`)."""

from __future__ import annotations

import time
from itertools import cycle
from typing import Any

_STALE = 50  # lines that may come before the number


class Visa:
    """One open resource.

    Args:
        resource: its VISA name.
        library: pyvisa's name of the VISA library.
        limit: s that an answer may take.
    """

    def __init__(self, resource: str, library: str, limit: float) -> None:
        import pyvisa

        self._manager: Any = pyvisa.ResourceManager(library)
        ends: dict[str, Any] = {"timeout": int(limit * 1000), "read_termination": "\n", "write_termination": "\n"}
        self._instrument: Any = self._manager.open_resource(resource, **ends)
        self._numbers = cycle(range(1, 128))

    def ask(self, doubtful: bool, query: str, *orders: str) -> str:
        """Lines, and the answer to the last; when in doubt the thread is found first. Raises VISA's errors."""
        if doubtful:
            self._find()
        for order in orders:
            self._instrument.write(order)
        return str(self._instrument.query(query))

    def _find(self) -> None:
        time.sleep(0.05)
        number = str(next(self._numbers))
        self._instrument.write(f"*CLS;*ESE {number};*ESE?")
        for _ in range(_STALE):
            if str(self._instrument.read()).strip() == number:
                return
        raise RuntimeError("the instrument talks without end")

    def close(self) -> None:
        self._instrument.close()
        self._manager.close()
