"""Labware that labd knows by name: how many wells it has, what they are called, and what they take."""

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
CELL_CAPACITY = 200.0
"""µL that an open CR2032 takes: about 17 mm x 2.6 mm inside, less electrodes, spacer and spring."""

_STANDARD = re.compile(r"_(1|6|12|15|24|48|96|384)_")
_BY_COUNT = {1: (1, 1), 6: (2, 3), 12: (3, 4), 15: (3, 5), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)}
_VOLUME = re.compile(r"(\d+(?:\.\d+)?)(ul|ml)(?![a-z0-9])")
_TIPS = re.compile(r"tiprack_(\d+)ul")


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
    count = int(match[1])
    return (1, count) if "reservoir" in load_name else _BY_COUNT[count]


def wells(load_name: str) -> list[str]:
    """The names of a labware's wells, column by column: A1, B1, A2 and on. Raises ValueError as `shape` does."""
    rows, columns = shape(load_name)
    return [f"{chr(ord('A') + row)}{column + 1}" for column in range(columns) for row in range(rows)]


def tip_size(load_name: str) -> int | None:
    """The µL that the tips of a rack take; None for what is no tip rack."""
    match = _TIPS.search(load_name)
    return int(match[1]) if match else None


def is_cell_tray(load_name: str) -> bool:
    """Whether cells stand on it, to be wetted."""
    return load_name.startswith("cell_tray_")


def holds_parts(load_name: str) -> bool:
    """Whether parts and cells may lie in it: not in a tip rack or in what holds liquid."""
    return "tray" in load_name or not (_VOLUME.search(load_name) or "tiprack" in load_name)


def holds_liquid(load_name: str) -> bool:
    """Whether liquid may stand in its wells; a cell on a tray is wetted, a tray holds no stock."""
    return "tray_" not in load_name and "tiprack" not in load_name


def capacity(load_name: str) -> float | None:
    """The µL that one well takes, as its name tells; a cell on a tray takes CELL_CAPACITY; None where nothing tells."""
    if is_cell_tray(load_name):
        return CELL_CAPACITY
    if not holds_liquid(load_name):
        return None
    found = {float(number) * (1e3 if unit == "ml" else 1.0) for number, unit in _VOLUME.findall(load_name)}
    return found.pop() if len(found) == 1 else None
