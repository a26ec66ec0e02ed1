"""How the parts of a coin cell lie upon one another, and what a stack is worth once it is crimped.

A CR2032 from the bottom up: case, spacer, electrode, separator, counter electrode, spacer, spring, case. A half cell is
the lower part of that in one piece, a lid the upper part. A blank cell and a blank lid have a steel spacer in place of
each electrode: their impedance tells how the electrolyte between them conducts.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

HALF_CELL = "half_cell"  # bottom case, electrode, separator: what waits in the tray to be wetted
LID = "lid"  # counter electrode, spacer, spring and top case in one stack
BLANK_CELL = "blank_cell"  # bottom case, spacer, separator
BLANK_LID = "blank_lid"  # spacer, spring and top case
BOTTOM, TOP = "cr2032_bottom", "cr2032_top"
SPACER, ANODE, SEPARATOR, CATHODE, SPRING = "spacer", "anode", "separator", "cathode", "spring"

PARTS = (BOTTOM, SPACER, ANODE, SEPARATOR, CATHODE, SPRING, TOP)
"""The single parts."""
HIGHEST = 9  # parts; a higher stack does not close

_LAYERS = {
    HALF_CELL: (BOTTOM, ANODE, SEPARATOR),
    LID: (CATHODE, SPACER, SPRING, TOP),
    BLANK_CELL: (BOTTOM, SPACER, SEPARATOR),
    BLANK_LID: (SPACER, SPRING, TOP),
}
_ELECTRODES = (ANODE, CATHODE)
_UNDER, _OVER = {(), (SPACER,)}, {(SPACER, SPRING), (SPRING, SPACER)}


class Worth(StrEnum):
    """What a stack of parts becomes when it is crimped."""

    GOOD = "good"
    LOOSE = "loose"  # spacer or spring are missing, doubled or out of order: little pressure on the electrodes
    SHORT = "short"  # the electrodes touch
    BLANK = "blank"  # a separator between two spacers: no cell, but its electrolyte can be measured
    DEAD = "dead"  # an electrode or a case is missing, or things lie the wrong way round


def layers(parts: Sequence[str]) -> list[str]:
    """The single parts of a stack, from the bottom up."""
    return [layer for part in parts for layer in _LAYERS.get(part, (part,))]


def closed(parts: Sequence[str]) -> bool:
    """Whether a top case is on."""
    return TOP in layers(parts)


def worth(parts: Sequence[str]) -> Worth:
    """What a stack is worth, by what lies where."""
    stack = layers(parts)
    if stack[:1] != [BOTTOM] or stack[-1:] != [TOP] or len(stack) > HIGHEST:
        return Worth.DEAD
    inner = stack[1:-1]
    if inner == [SPACER, SEPARATOR, SPACER, SPRING]:
        return Worth.BLANK
    electrodes = [index for index, part in enumerate(inner) if part in _ELECTRODES]
    if [inner[index] for index in electrodes] != [ANODE, CATHODE]:
        return Worth.DEAD
    first, last = electrodes
    if SEPARATOR not in inner[first:last]:
        return Worth.SHORT
    under, between, over = tuple(inner[:first]), inner[first + 1 : last], tuple(inner[last + 1 :])
    if between == [SEPARATOR] and under in _UNDER and over in _OVER:
        return Worth.GOOD
    return Worth.LOOSE
