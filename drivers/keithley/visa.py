"""A VISA resource with blocking calls; it lives in a process of its own (see `labd.io.worker`)."""

from __future__ import annotations

import time
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

    def ask(self, query: str, *orders: str) -> str:
        """Lines, and the answer to the last. Raises VISA's errors."""
        for order in orders:
            self._instrument.write(order)
        return str(self._instrument.query(query))

    def find(self, request: str, answer: str) -> list[str]:
        """Reads until a line is the answer to a request; gives all that was read. Raises VISA's errors."""
        time.sleep(0.05)
        self._instrument.write(request)
        heard: list[str] = []
        for _ in range(_STALE):
            heard.append(str(self._instrument.read()))
            if heard[-1].strip() == answer:
                return heard
        raise RuntimeError("the instrument talks without end")

    def close(self) -> None:
        self._instrument.close()
        self._manager.close()
