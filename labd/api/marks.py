"""What daemon and command line both know of a long poll. Imports nothing: the command line starts fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST_WAIT = 300.0  # s of the caller's own time


def mark(state: str, question: Mapping[str, Any] | None) -> str:
    """What tells one reason to look at a run from the next: `Held`, `Execute:run-0001-q2`."""
    return f"{state}:{question['id']}" if question else state
