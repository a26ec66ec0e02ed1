"""What a scan finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from labd.sdk import About


@dataclass(frozen=True, slots=True)
class Candidate:
    """A driver that may be the one for what is there, and the address that it would get."""

    driver: str
    address: str


@dataclass(frozen=True, slots=True)
class Found:
    """Something at a port of this machine, or at a host.

    Args:
        where: the serial port, or `host:port`.
        what: in words.
        candidates: the drivers that it may be for; the one that has identified it stands alone.
        about: what it said of itself to a driver; None where it was not asked, or said nothing.
        problem: why it cannot be used as it is, or None.
    """

    where: str
    what: str
    candidates: tuple[Candidate, ...] = ()
    about: About | None = None
    problem: str | None = None

    @property
    def identified(self) -> bool:
        """Whether it is known which driver it needs."""
        return self.about is not None and len(self.candidates) == 1

    def as_json(self) -> dict[str, Any]:
        about = self.about.model_dump() if self.about is not None else None
        return {**asdict(self), "candidates": [asdict(one) for one in self.candidates], "about": about}
