"""Where each sample is. A place stays occupied until a journaled move empties it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Places:
    """The bijection of samples and places, as the fold of the journal's `sample.moved` events."""

    _sample_at: dict[str, str] = field(default_factory=dict)
    _place_of: dict[str, str] = field(default_factory=dict)
    _part_for: dict[str, str] = field(default_factory=dict)  # gripper -> the sample whose part it holds
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
        self._changed()

    def part_for(self, place: str) -> str | None:
        """The sample whose part (a lid) a gripper holds: no other sample's arm until it is set down."""
        return self._part_for.get(place)

    def part_of(self, sample: str) -> str | None:
        """The gripper that holds a part for a sample."""
        return next((place for place, owner in self._part_for.items() if owner == sample), None)

    def carry(self, place: str, sample: str | None) -> None:
        """Says that a gripper holds a part for a sample, or (None) holds none any more."""
        if sample is None:
            self._part_for.pop(place, None)
        else:
            self._part_for[place] = sample
        self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls a function after each move."""
        self._listeners.append(listener)

    def occupied(self) -> dict[str, str]:
        """Samples by place."""
        return dict(self._sample_at)
