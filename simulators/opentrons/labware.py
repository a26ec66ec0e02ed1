"""Labware and decks: definitions as the robot gives them back, slots, and where things stand in deck space."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Definition = dict[str, Any]

_NAME = re.compile(
    r"(?P<brand>[a-z0-9.]+(?:_flex)?)_(?P<count>\d+)_(?P<kind>(?:filter)?tiprack|wellplate|reservoir|tuberack"
    r"|aluminumblock|trash)_(?P<volume>[\d.]+)(?P<unit>ul|ml)?(?:_\w+)?|"
    r"(?P<brand2>[a-z0-9.]+)_(?P<count2>\d+)_(?P<kind2>tuberack|aluminumblock)_[a-z0-9._]+"
)
_SHAPES = {1: (1, 1), 6: (2, 3), 12: (3, 4), 15: (3, 5), 24: (4, 6), 40: (5, 8), 48: (6, 8), 96: (8, 12), 384: (16, 24)}
_TIP_LENGTHS = {10: 39.2, 20: 39.2, 50: 57.9, 200: 59.3, 300: 59.3, 1000: 88.5}  # mm
_SIZE = (127.76, 85.48)  # mm, ANSI/SLAS 1-2004
_FAMILIES = {"tiprack": "tipRack", "filtertiprack": "tipRack", "wellplate": "wellPlate", "trash": "trash"}


def standard(load_name: str, version: int) -> Definition | None:
    """The definition of a labware of the vendor's library, told from its name; None when it has no such name."""
    match = _NAME.fullmatch(load_name)
    if match is None:
        return None
    count = int(match["count"] or match["count2"])
    kind = match["kind"] or match["kind2"]
    if count not in _SHAPES:
        return None
    volume = float(match["volume"] or 1500) * (1000 if match["unit"] == "ml" else 1)
    is_rack = kind.endswith("tiprack")
    depth = _TIP_LENGTHS.get(int(volume), 59.3) if is_rack else 10.8
    bottom = 5.39 if is_rack else 3.5
    parameters: dict[str, Any] = {"format": "irregular" if count != 96 else "96Standard", "isTiprack": is_rack}
    if is_rack:
        parameters |= {"tipLength": depth, "tipOverlap": 7.47}
    parameters |= {"loadName": load_name, "isMagneticModuleCompatible": False}
    ordering = _ordering(*_SHAPES[count])
    return {
        "schemaVersion": 2,
        "version": version,
        "namespace": "opentrons",
        "metadata": {
            "displayName": load_name.replace("_", " "),
            "displayCategory": _FAMILIES.get(kind, kind),
            "displayVolumeUnits": "µL",
            "tags": [],
        },
        "brand": {"brand": match["brand"] or match["brand2"], "brandId": [], "links": []},
        "parameters": parameters,
        "ordering": ordering,
        "cornerOffsetFromSlot": {"x": 0, "y": 0, "z": 0},
        "dimensions": {"xDimension": _SIZE[0], "yDimension": _SIZE[1], "zDimension": bottom + depth},
        "wells": _wells(ordering, depth, bottom, volume),
        "groups": [{"wells": [well for column in ordering for well in column], "metadata": {}}],
        "allowedRoles": [],
        "stackingOffsetWithLabware": {},
        "stackingOffsetWithModule": {},
        "gripperOffsets": {},
    }


def _ordering(rows: int, columns: int) -> list[list[str]]:
    return [[f"{chr(ord('A') + row)}{column + 1}" for row in range(rows)] for column in range(columns)]


def _wells(ordering: list[list[str]], depth: float, bottom: float, volume: float) -> dict[str, Any]:
    columns, rows = len(ordering), len(ordering[0])
    pitch_x, pitch_y = (9.0, 9.0) if (rows, columns) == (8, 12) else (_SIZE[0] / columns, _SIZE[1] / rows)
    x0, y0 = (14.38, 74.24) if (rows, columns) == (8, 12) else (pitch_x / 2, _SIZE[1] - pitch_y / 2)
    return {
        well: {
            "depth": depth,
            "x": round(x0 + pitch_x * column, 2),
            "y": round(y0 - pitch_y * row, 2),
            "z": bottom,
            "totalLiquidVolume": volume,
            "diameter": 5.23,
            "shape": "circular",
        }
        for column, names in enumerate(ordering)
        for row, well in enumerate(names)
    }


def uri(definition: Mapping[str, Any]) -> str:
    """`namespace/loadName/version`."""
    return f"{definition['namespace']}/{definition['parameters']['loadName']}/{definition['version']}"


@dataclass(frozen=True)
class Deck:
    """The slots of a robot, in deck space (mm), and where tips are thrown."""

    slots: Mapping[str, tuple[float, float]]
    trash: frozenset[str]
    areas: frozenset[str]
    fixtures: tuple[Mapping[str, str], ...]

    def slot(self, name: str) -> str | None:
        """The deck's own name of a slot: an OT-2 also takes `D1`, a Flex also takes `1`."""
        if name in self.slots:
            return name
        return _OTHER_NAMES.get(name) if _OTHER_NAMES.get(name) in self.slots else None


def _grid(names: list[list[str]], pitch: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return {
        name: (pitch[0] * column, pitch[1] * row) for row, line in enumerate(names) for column, name in enumerate(line)
    }


_OT2_SLOTS = [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"], ["10", "11", "12"]]
_FLEX_SLOTS = [["D1", "D2", "D3"], ["C1", "C2", "C3"], ["B1", "B2", "B3"], ["A1", "A2", "A3"]]
_PAIRS = {
    ot2: flex
    for line, other in zip(_OT2_SLOTS, _FLEX_SLOTS, strict=True)
    for ot2, flex in zip(line, other, strict=True)
}
_OTHER_NAMES = {**_PAIRS, **{flex: ot2 for ot2, flex in _PAIRS.items()}}

OT2 = Deck(
    slots={name: at for name, at in _grid(_OT2_SLOTS, (132.5, 90.5)).items() if name != "12"},
    trash=frozenset({"fixedTrash"}),
    areas=frozenset({"fixedTrash", *(str(number) for number in range(1, 12))}),
    fixtures=(
        *({"cutoutFixtureId": "singleStandardSlot", "cutoutId": f"cutout{number}"} for number in range(1, 12)),
        {"cutoutFixtureId": "fixedTrashSlot", "cutoutId": "cutout12"},
    ),
)
_SIDES = {"1": "singleLeftSlot", "2": "singleCenterSlot", "3": "singleRightSlot"}
FLEX = Deck(
    slots={name: at for name, at in _grid(_FLEX_SLOTS, (164.0, 107.0)).items() if name != "A3"},
    trash=frozenset({"movableTrashA3"}),
    areas=frozenset({"movableTrashA3", *(name for line in _FLEX_SLOTS for name in line if name != "A3")}),
    fixtures=(
        *(
            {"cutoutFixtureId": _SIDES[name[1]], "cutoutId": f"cutout{name}"}
            for line in _FLEX_SLOTS
            for name in line
            if name != "A3"
        ),
        {"cutoutFixtureId": "trashBinAdapter", "cutoutId": "cutoutA3"},
    ),
)
