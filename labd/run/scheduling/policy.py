"""Who goes first, and who has to wait although what it needs is free: what reservations ask before they give."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

Rank = tuple[float, ...]


class Policy(Protocol):
    """Decides about runs that wait for units; units are named as in the journal's bindings, `cycler.3`."""

    def rank(self, run: str, order: int) -> Rank:
        """Its place among those that wait; the least goes first."""

    def preferred(self, run: str, kind: str) -> Sequence[str]:
        """The units of a kind of device that it had better have, the best first."""

    def objection(self, run: str, state: str, units: Collection[str]) -> str | None:
        """Why it must not have these units yet, in words, or None."""

    def left(self, run: str) -> None:
        """A run has left its state, and gives back what it had."""

    def asked(self, run: str, state: str) -> None:
        """A run asks for what a state needs."""

    def granted(self, run: str, state: str, units: Mapping[str, tuple[str, ...]]) -> None:
        """It has it: units by kind of device."""

    def ended(self, run: str) -> None:
        """A run asks for nothing any more."""
