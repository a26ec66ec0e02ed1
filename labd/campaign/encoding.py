"""Points as rows of numbers: ranges from 0 to 1, levels by their descriptors, shares by their part of the total."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labd.campaign.problem import Choice, Dimension, Mixture, Point, Range, Space

Array = NDArray[np.float64]


class Encoder:
    """Turns points of one space into rows; what is the same in the whole space has no column.

    Levels without descriptors are as far from each other as the ends of a range.
    """

    def __init__(self, space: Space) -> None:
        self._columns = [column for dimension in space.dimensions for column in _columns(dimension)]
        self.names = [name for name, *_ in self._columns]

    def __call__(self, points: Sequence[Point]) -> Array:
        """One row a point."""
        rows = np.empty((len(points), len(self._columns)))
        for at, (name, shift, scale, levels) in enumerate(self._columns):
            if levels is None:
                rows[:, at] = [float(point[name]) for point in points]
            else:
                rows[:, at] = [levels[str(point[name])] for point in points]
            rows[:, at] = (rows[:, at] - shift) / scale
        return rows


_Column = tuple[str, float, float, dict[str, float] | None]


def _columns(dimension: Dimension) -> list[_Column]:
    if isinstance(dimension, Range):
        span = dimension.high - dimension.low
        return [(dimension.name, dimension.low, span, None)] if span > 0 else []
    if isinstance(dimension, Mixture):
        # one scale for all parts: a change of a tenth is the same change in each
        return [
            (part, 0.0, dimension.total, None)
            for part, low, high in zip(dimension.parts, dimension.low, dimension.high, strict=True)
            if high > low
        ]
    return _levels(dimension)


def _levels(dimension: Choice) -> list[_Column]:
    if len(dimension.levels) < 2:
        return []
    if not all(level in dimension.descriptors for level in dimension.levels):
        half = float(np.sqrt(0.5))
        return [
            (dimension.name, 0.0, 1.0, {level: half * (level == one) for level in dimension.levels})
            for one in dimension.levels
        ]
    found: list[_Column] = []
    for column in zip(*(dimension.descriptors[level] for level in dimension.levels), strict=True):
        low, span = min(column), max(column) - min(column)
        if span > 0:
            found.append((dimension.name, low, span, dict(zip(dimension.levels, column, strict=True))))
    return found
