"""Our own trays and racks as Opentrons labware definitions, and which tips fit which pipette.

Schema version 2 of Opentrons' labware (opentrons/shared-data, labware/schemas/2.json); lengths in mm, volumes in µL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

NAMESPACE = "labd"
STANDARD = "opentrons"
VERSION = 1
# Opentrons' own definitions whose first version is not the one to load
STANDARD_VERSIONS = {"nest_96_wellplate_200ul_flat": 2}

_SLOT = (127.76, 85.48)  # mm; the SBS footprint of one slot
_SLOT_PITCH = 90.5  # mm; from one row of slots to the next, OT-2
_TIPRACK = re.compile(r"_(?:filter)?tiprack_(\d+)ul")
_TIP_FITS = {  # tip sizes by a pipette's family
    "p10": (10, 20),
    "p20": (10, 20),
    "p50": (200, 300),
    "p300": (200, 300),
    "p1000": (1000,),
    "flex_p50": (50,),
    "flex_p1000": (50, 200, 1000),
}


@dataclass(frozen=True, slots=True)
class Geometry:
    """A rack of round wells in a grid.

    Args:
        rows, columns: rows are A, B, … from the back; columns 1, 2, … from the left.
        pitch: from centre to centre, x and y.
        diameter, depth: of a well.
        volume: that a well holds.
        height: of the whole.
        slots: how many slots it covers, one behind the other.
    """

    title: str
    rows: int
    columns: int
    pitch: tuple[float, float]
    diameter: float
    depth: float
    volume: float
    height: float
    slots: int = 1

    @property
    def wells(self) -> tuple[str, ...]:
        """Column by column, as Opentrons orders them."""
        return tuple(f"{row}{column + 1}" for column in range(self.columns) for row in _letters(self.rows))


OWN: dict[str, Geometry] = {
    "vials_8x20ml": Geometry("8 vials of 20 mL", 2, 4, (30.0, 40.0), 24.5, 52.0, 20000.0, 61.0),
    "cell_tray_8": Geometry("8 CR2032 cells", 2, 4, (30.0, 40.0), 20.2, 4.0, 500.0, 12.0),
    "lid_tray_8": Geometry("8 CR2032 lids", 2, 4, (30.0, 40.0), 20.2, 4.0, 500.0, 12.0),
    "cell_tray_36": Geometry("36 CR2032 cells", 6, 6, (21.0, 28.0), 20.2, 4.0, 500.0, 12.0, slots=2),
    "lid_tray_36": Geometry("36 CR2032 lids", 6, 6, (21.0, 28.0), 20.2, 4.0, 500.0, 12.0, slots=2),
}


def definition(load_name: str) -> dict[str, Any]:
    """The definition of one of our own, for `POST /runs/{id}/labware_definitions`. Raises KeyError for others."""
    shape = OWN[load_name]
    width, length = _SLOT[0], _SLOT[1] + (shape.slots - 1) * _SLOT_PITCH
    left = (width - (shape.columns - 1) * shape.pitch[0]) / 2
    front = (length - (shape.rows - 1) * shape.pitch[1]) / 2
    wells = {
        f"{letter}{column + 1}": {
            "shape": "circular",
            "diameter": shape.diameter,
            "depth": shape.depth,
            "totalLiquidVolume": shape.volume,
            "x": round(left + column * shape.pitch[0], 3),
            "y": round(front + (shape.rows - 1 - row) * shape.pitch[1], 3),
            "z": round(shape.height - shape.depth, 3),
        }
        for row, letter in enumerate(_letters(shape.rows))
        for column in range(shape.columns)
    }
    ordering = [[f"{row}{column + 1}" for row in _letters(shape.rows)] for column in range(shape.columns)]
    return {
        "schemaVersion": 2,
        "version": VERSION,
        "namespace": NAMESPACE,
        "metadata": {
            "displayName": shape.title,
            "displayCategory": "tubeRack" if load_name.startswith("vials") else "other",
            "displayVolumeUnits": "µL",
            "tags": [],
        },
        "brand": {"brand": "labd", "brandId": []},
        "parameters": {
            "format": "irregular",
            "quirks": [],
            "isTiprack": False,
            "isMagneticModuleCompatible": False,
            "loadName": load_name,
        },
        "ordering": ordering,
        "cornerOffsetFromSlot": {"x": 0, "y": 0, "z": 0},
        "dimensions": {"xDimension": width, "yDimension": length, "zDimension": shape.height},
        "wells": wells,
        "groups": [
            {"wells": [well for column in ordering for well in column], "metadata": {"wellBottomShape": "flat"}}
        ],
    }


def reference(load_name: str) -> dict[str, Any]:
    """Name, namespace and version, as `loadLabware` takes them."""
    if load_name in OWN:
        return {"loadName": load_name, "namespace": NAMESPACE, "version": VERSION}
    return {"loadName": load_name, "namespace": STANDARD, "version": STANDARD_VERSIONS.get(load_name, 1)}


def tip_size(load_name: str) -> int | None:
    """The µL of a tip rack's tips; None for what is no tip rack."""
    found = _TIPRACK.search(load_name)
    return int(found[1]) if found else None


def tip_fits(pipette: str, size: int) -> bool:
    """Whether a tip of so many µL fits a pipette (`p20_single_gen2`, `p1000_single_flex`)."""
    family = pipette.partition("_")[0]
    return size in _TIP_FITS.get(f"flex_{family}" if pipette.endswith("flex") else family, ())


def wells_of(load_name: str) -> tuple[str, ...] | None:
    """The wells of our own labware and of tip racks, column by column; None where only the robot knows."""
    if load_name in OWN:
        return OWN[load_name].wells
    if tip_size(load_name) is not None:
        return tuple(f"{row}{column + 1}" for column in range(12) for row in _letters(8))
    return None


def capacity(load_name: str) -> float | None:
    """The µL that a well of our own labware holds; None for others."""
    return OWN[load_name].volume if load_name in OWN else None


def _letters(count: int) -> str:
    return "ABCDEFGHIJKLMNOP"[:count]
