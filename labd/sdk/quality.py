"""How far a driver was tried: a grade that it declares, and that the contract suite holds it to."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """The grades, the least first; each takes in those before it."""

    DRAFT = "draft"  # it is there, and its declarations are whole
    SIMULATED = "simulated"  # passes the contract suite on a simulator of its device
    RECORDED = "recorded"  # and replays what was recorded of a real device or its vendor's own software
    HARDWARE_VERIFIED = "hardware-verified"  # and was tried on the device itself, by somebody, on a day


_ORDER = tuple(Grade)


@dataclass(frozen=True, slots=True)
class Quality:
    """A driver's grade.

    Args:
        grade: `draft`, `simulated`, `recorded` or `hardware-verified`.
        firmware: of the device that it was verified on, or that was recorded.
        on: the day when it was verified on hardware, `2026-11-20`.

    Raises:
        ValueError: no such grade, or one that lacks its day or its firmware.
    """

    grade: Grade
    firmware: str = ""
    on: dt.date | None = None

    def __init__(self, grade: Grade | str, firmware: str = "", on: dt.date | str | None = None) -> None:
        object.__setattr__(self, "grade", Grade(grade))
        object.__setattr__(self, "firmware", firmware)
        object.__setattr__(self, "on", dt.date.fromisoformat(on) if isinstance(on, str) else on)
        if self.grade is Grade.HARDWARE_VERIFIED and (self.on is None or not firmware):
            raise ValueError("hardware-verified needs the day (`on`) and the device's firmware")

    def at_least(self, grade: Grade) -> bool:
        """Whether it is as good as a grade, or better."""
        return _ORDER.index(self.grade) >= _ORDER.index(grade)

    def __str__(self) -> str:
        """`hardware-verified on 2026-11-20, firmware 1.3`."""
        day = f" on {self.on.isoformat()}" if self.on else ""
        return f"{self.grade.value}{day}" + (f", firmware {self.firmware}" if self.firmware else "")


DRAFT = Quality(Grade.DRAFT)
