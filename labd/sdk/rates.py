"""C-rates: the current that empties a cell in so many hours, from its capacity or its active mass."""

from __future__ import annotations

from labd.sdk.errors import Rejected


def whole_capacity(
    capacity: float | None, active_mass: float | None = None, specific_capacity: float | None = None
) -> float | None:
    """mAh: as given, or from the active mass (g) times the specific capacity (mAh/g); None where neither is known."""
    if capacity is not None:
        return capacity
    if active_mass is None or specific_capacity is None:
        return None
    return active_mass * specific_capacity


def cycling_current(
    current: float | None,
    c_rate: float | None,
    capacity: float | None = None,
    active_mass: float | None = None,
    specific_capacity: float | None = None,
) -> float:
    """A: the current itself, or that of a C-rate: at 1 C a cell is empty after an hour.

    Args:
        current: A.
        c_rate: 1/h; 0.1 for C/10.
        capacity: mAh.
        active_mass: g.
        specific_capacity: mAh/g; with the active mass in place of the capacity.

    Raises:
        Rejected: neither is given, or both; or no capacity for the C-rate.
    """
    if current is not None:
        if c_rate is not None:
            raise Rejected("give current or c_rate, not both")
        return current
    if c_rate is None:
        raise Rejected("give a current, or a c_rate with the cell's capacity")
    whole = whole_capacity(capacity, active_mass, specific_capacity)
    if whole is None:
        raise Rejected(
            "a c_rate needs the cell's capacity, such as `capacity: 3 mAh`, or its active_mass and specific_capacity"
        )
    return c_rate * whole * 1e-3
