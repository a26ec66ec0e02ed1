"""What a doctor finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warning", "problem"]
"""`warning`: it works now, and may not for long, or not as well as it should. `problem`: it does not work."""

_RANK: dict[Level, int] = {"ok": 0, "warning": 1, "problem": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        about: `lab`, `daemon`, `clock`, `disk`, `broker`, `service`, `limits`, or a device's name.
        level: how it is.
        text: what was found.
        mend: how to put it right; a command where one does it.
    """

    about: str
    level: Level
    text: str
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def ok(about: str, text: str) -> Finding:
    return Finding(about, "ok", text)


def warning(about: str, text: str, mend: str = "") -> Finding:
    return Finding(about, "warning", text, mend)


def problem(about: str, text: str, mend: str = "") -> Finding:
    return Finding(about, "problem", text, mend)


def worst(findings: Iterable[Finding]) -> int:
    """The exit status: 0 nothing is to be mended, 1 warnings only, 2 something does not work."""
    return max((_RANK[finding.level] for finding in findings), default=0)
