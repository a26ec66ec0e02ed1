"""Pairs anodes with cathodes: as many pairs as lie within the tolerance, and of those ways the one that fits best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from labd.lab.pairing.electrodes import Electrode


class PairingError(Exception):
    """Electrodes that cannot be paired; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One cell to be: `ratio` is its N:P, the anode's capacity over the cathode's."""

    anode: Electrode
    cathode: Electrode

    @property
    def ratio(self) -> float:
        return self.anode.capacity / self.cathode.capacity


@dataclass(frozen=True, slots=True)
class Pairing:
    """What came of it.

    Args:
        target, tolerance: N:P as it was to be, and how far from it a pair may lie.
        pairs: in the order of the anodes.
        anodes, cathodes: those left out, each with the reason in words.
    """

    target: float
    tolerance: float
    pairs: tuple[Pair, ...]
    anodes: tuple[tuple[Electrode, str], ...]
    cathodes: tuple[tuple[Electrode, str], ...]

    @property
    def deviation(self) -> float:
        """The mean distance of the pairs' N:P from the target; 0 without pairs."""
        return sum(abs(one.ratio - self.target) for one in self.pairs) / len(self.pairs) if self.pairs else 0.0


def pair(anodes: Sequence[Electrode], cathodes: Sequence[Electrode], target: float, tolerance: float) -> Pairing:
    """Pairs electrodes: first as many pairs within the tolerance as there can be, then the least sum of deviations.

    Args:
        anodes: the negative electrodes; there may be more or fewer of them than of cathodes.
        cathodes: the positive electrodes.
        target: N:P, the anode's capacity over the cathode's; 1.1 usually.
        tolerance: how far from it a pair may lie, up and down.

    Raises:
        PairingError: a ratio or a tolerance that cannot be, or scipy is not installed.
    """
    if not (math.isfinite(target) and target > 0):
        raise PairingError(f"ratio: {target:g} is no N:P ratio; write such as 1.1")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise PairingError(f"tolerance: {tolerance:g} is none; write such as 0.05")
    apart = [[abs(one.capacity / other.capacity - target) for other in cathodes] for one in anodes]
    chosen = _assigned(apart, tolerance)
    pairs = tuple(Pair(anodes[row], cathodes[column]) for row, column in chosen)
    rows, columns = {row for row, _ in chosen}, {column for _, column in chosen}
    return Pairing(
        target,
        tolerance,
        pairs,
        tuple(
            (one, _why([(one.capacity / other.capacity, other.id) for other in cathodes], target, tolerance))
            for row, one in enumerate(anodes)
            if row not in rows
        ),
        tuple(
            (one, _why([(other.capacity / one.capacity, other.id) for other in anodes], target, tolerance))
            for column, one in enumerate(cathodes)
            if column not in columns
        ),
    )


def _assigned(apart: Sequence[Sequence[float]], tolerance: float) -> list[tuple[int, int]]:
    """Rows and columns of the pairs that are allowed."""
    try:
        import numpy as np
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise PairingError("pairing needs scipy: pip install 'labd[pair]'") from error
    if not apart or not apart[0]:
        return []
    distances = np.asarray(apart, dtype=float)
    allowed = distances <= _reach(tolerance)
    # An allowed pair costs 1 at most, any other more than all allowed ones together: so the number goes first.
    scale = float(distances[allowed].max(initial=0.0)) or 1.0
    costs = np.where(allowed, distances / scale, min(distances.shape) + 1.0)
    found = zip(*linear_sum_assignment(costs), strict=True)
    return [(int(row), int(column)) for row, column in found if allowed[row, column]]


def _why(ratios: Sequence[tuple[float, str]], target: float, tolerance: float) -> str:
    """Why an electrode is left out, from the N:P ratios that it would come to, and with which other."""
    if not ratios:
        return "there is nothing to pair it with"
    ratio, name = min(ratios, key=lambda one: abs(one[0] - target))
    if abs(ratio - target) <= _reach(tolerance):
        return "all that it fits to are paired with others"
    return f"its nearest N:P is {ratio:.3f}, with {name}"


def _reach(tolerance: float) -> float:
    """1.15 is within 1.1 ± 0.05, whatever floats make of it."""
    return tolerance + 1e-9
