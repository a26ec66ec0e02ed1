"""That a person works on a device: it is given to no run."""

from __future__ import annotations

from dataclasses import dataclass

LEFT_ALONE = "in maintenance: left alone"
"""What is said of a device that a person works on, when everything is made safe: its safe state may move it."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """That a person works on a device: why, who, and since when (a day or a time; empty where nobody said)."""

    reason: str
    by: str
    since: str

    def __str__(self) -> str:
        since = f" since {self.since[:16].replace('T', ' ')}" if self.since else ""
        return f"in maintenance{since} by {self.by}: {self.reason}"
