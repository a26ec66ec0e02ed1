"""What proves that an action was done, beside the device's word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Seen:
    """What an action's evidence is judged by.

    Args:
        before, after: the unit's Signals, read just before the order and just after its end. A signal that the device
            cannot tell is None: what would be proven by it is then not asked for.
        parameters, result: the action's.
    """

    before: Any
    after: Any
    parameters: Any
    result: Any


Evidence = Callable[[Seen], str | None]
"""Tells in words what speaks against an action that its device calls done, or None. Pure, and never raises."""
