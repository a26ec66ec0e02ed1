"""Where each sample is. A place stays occupied until a journaled move empties it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Places:
    """The bijection of samples and places, as the fold of the journal's `sample.moved` events."""

    _sample_at: dict[str, str] = field(default_factory=dict)
    _place_of: dict[str, str] = field(default_factory=dict)
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def sample_at(self, place: str) -> str | None:
        """The sample that occupies a place."""
        return self._sample_at.get(place)

    def place_of(self, sample: str) -> str | None:
        """Where a sample is."""
        return self._place_of.get(sample)

    def move(self, sample: str, place: str | None) -> None:
        """Binds a sample to a place, or takes it out of the lab (None).

        Raises:
            ValueError: another sample is there.
        """
        there = self._sample_at.get(place) if place else None
        if there is not None and there != sample:
            raise ValueError(f"{place} is occupied by {there}; {sample} cannot be put there")
        before = self._place_of.pop(sample, None)
        if before is not None:
            del self._sample_at[before]
        if place is not None:
            self._place_of[sample] = place
            self._sample_at[place] = sample
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls a function after each move."""
        self._listeners.append(listener)

    def occupied(self) -> dict[str, str]:
        """Samples by place."""
        return dict(self._sample_at)
