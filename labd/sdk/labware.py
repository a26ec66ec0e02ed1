"""Labware that labd knows by name: how many wells it has, and what they are called."""

from __future__ import annotations

import re

SHAPES: dict[str, tuple[int, int]] = {  # rows, columns
    "vials_8x20ml": (2, 4),
    "cell_tray_8": (2, 4),
    "lid_tray_8": (2, 4),
    "part_tray_8": (2, 4),
    "cell_tray_36": (6, 6),
    "lid_tray_36": (6, 6),
    "part_tray_36": (6, 6),
}
_STANDARD = re.compile(r"_(6|12|24|48|96|384)_")
_BY_COUNT = {6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)}


def shape(load_name: str) -> tuple[int, int]:
    """Rows and columns of a labware; standard ones carry their count of wells in the name.

    Raises:
        ValueError: nothing in the name tells.
    """
    if load_name in SHAPES:
        return SHAPES[load_name]
    match = _STANDARD.search(load_name)
    if match is None:
        raise ValueError(f"labware {load_name!r} is unknown; known are {', '.join(SHAPES)} and names such as …_96_…")
    return _BY_COUNT[int(match[1])]


def wells(load_name: str) -> list[str]:
    """The names of a labware's wells, column by column: A1, B1, A2 and on. Raises ValueError as `shape` does."""
    rows, columns = shape(load_name)
    return [f"{chr(ord('A') + row)}{column + 1}" for column in range(columns) for row in range(rows)]
