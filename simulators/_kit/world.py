"""The cells, wells, parts and places that all simulators of one lab share.

What one simulated machine does to the world by its wire, the next one finds there: a dose and a force reach the very
cell that the arm carries. Places are named as in lab.yaml: `ot2/3/A1`, `press/nest`, `stat1/cell`, `arm/gripper`.
The world lives on disk when it is given a path, so that a simulator may be killed and started again.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from simulators._kit import stack
from simulators._kit.stack import BLANK_CELL, BOTTOM, HALF_CELL, LID, PARTS

__all__ = ["BOTTOM", "HALF_CELL", "LID", "PARTS", "Cell", "Part", "Well", "World", "microlitres", "wells_of"]

LABWARE_SHAPES: dict[str, tuple[int, int]] = {  # rows, columns
    "cell_tray_8": (2, 4),
    "lid_tray_8": (2, 4),
    "part_tray_8": (2, 4),
    "vials_8x20ml": (2, 4),
    "cell_tray_36": (6, 6),
    "lid_tray_36": (6, 6),
    "part_tray_36": (6, 6),
}
_BY_COUNT = {1: (1, 1), 6: (2, 3), 12: (3, 4), 15: (3, 5), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24)}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=False)


class Cell(_Model):
    """One coin cell, from its bottom case to cycled: what was done to it, and the state of its physics.

    Volumes in µL, forces in kN, times in lab seconds since the epoch.
    """

    kind: Literal["cell"] = "cell"
    id: str
    parts: list[str] = Field(default_factory=lambda: [HALF_CELL])
    electrolyte: dict[str, float] = Field(default_factory=dict)
    wetted_at: float | None = None
    crimp_force: float | None = None
    crimp_dwell: float | None = None
    crimped_at: float | None = None
    damage: list[str] = Field(default_factory=list)
    physics: dict[str, Any] = Field(default_factory=dict)

    @property
    def volume(self) -> float:
        """All electrolyte in it, µL."""
        return sum(self.electrolyte.values())

    @property
    def closed(self) -> bool:
        """Whether its top is on."""
        return stack.closed(self.parts)


class Part(_Model):
    """A part that is no cell yet."""

    kind: Literal["part"] = "part"
    id: str
    name: str


Item = Annotated[Cell | Part, Field(discriminator="kind")]


class Well(_Model):
    """A liquid in a well or vial, µL; `others` are the shares of its volume that are not its first material."""

    material: str
    volume: float
    dead: float = 0.0
    others: dict[str, float] = Field(default_factory=dict)

    @property
    def contents(self) -> dict[str, float]:
        """All that is in it, by material."""
        return {self.material: self.volume - sum(self.others.values()), **self.others}

    def draw(self, volume: float) -> dict[str, float]:
        """Takes a volume out, of everything its share."""
        if not self.others:
            self.volume -= volume
            return {self.material: volume}
        taken = {material: share * volume / self.volume for material, share in self.contents.items()}
        self.volume -= volume
        self.others = {material: share - taken[material] for material, share in self.others.items()}
        return taken

    def pour(self, material: str, volume: float) -> None:
        """Adds a liquid."""
        self.volume += volume
        if material != self.material:
            self.others[material] = self.others.get(material, 0.0) + volume


class _State(_Model):
    items: dict[str, Item] = Field(default_factory=dict)  # by place
    wells: dict[str, Well] = Field(default_factory=dict)  # by place
    memory: dict[str, dict[str, Any]] = Field(
        default_factory=dict
    )  # by device: counters, tips, what it must not forget


FAILED_CELLS = 0.05


class World:
    """The one state that a lab's simulators act on.

    Args:
        seed: of all that is random in it.
        path: where it is kept; nowhere by default.
        failed_cells: share of the cells that fail without a cause; about one in twenty does in the field.
    """

    def __init__(self, seed: int = 1, path: Path | None = None, failed_cells: float = FAILED_CELLS) -> None:
        self.seed = seed
        self.failed_cells = failed_cells
        self._path = path
        self.kept = True  # False: nothing is written, because nothing can be killed without its world
        self._state = _State()
        self._listeners: list[Callable[[], None]] = []
        if path is not None and path.exists():
            self._state = _State.model_validate_json(path.read_bytes())

    @property
    def fresh(self) -> bool:
        """Whether nothing was ever put into it."""
        return not (self._state.items or self._state.wells or self._state.memory)

    def random(self, name: str) -> random.Random:
        """A generator of its own for each device and cell: adding one does not change another's story."""
        return random.Random(f"{self.seed}/{name}")

    def save(self) -> None:
        """Writes the world to its file, whole or not at all; nothing when it has no file, or is not to be kept now."""
        if self._path is None or not self.kept:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self._state.model_dump(mode="json")))
        temporary.replace(self._path)

    def memory(self, device: str) -> dict[str, Any]:
        """What a simulated machine keeps over its restart. Mutable; call `save` after a change that counts."""
        return self._state.memory.setdefault(device, {})

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls a function after all that is taken, put, drawn or poured; gives what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _changed(self) -> None:
        self.save()
        for listener in self._listeners:
            listener()

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────────────
    def item(self, place: str) -> Cell | Part | None:
        """What lies at a place."""
        return self._state.items.get(place)

    def cell(self, place: str) -> Cell | None:
        """The cell at a place, or None where there is none or another thing lies."""
        item = self._state.items.get(place)
        return item if isinstance(item, Cell) else None

    def items(self) -> Iterable[tuple[str, Cell | Part]]:
        """All things with their places."""
        return list(self._state.items.items())

    def take(self, place: str) -> Cell | Part | None:
        """Lifts what lies at a place off it."""
        item = self._state.items.pop(place, None)
        self._changed()
        return item

    def put(self, place: str, item: Cell | Part) -> bool:
        """Sets a thing down: a part on an open stack, which a lid or top case closes, or anything on an empty place.

        On anything else it fails (False).
        """
        there = self._state.items.get(place)
        if there is None:
            self._state.items[place] = item
        else:
            cell = self._open_cell(place) if isinstance(item, Part) else None
            if cell is None or isinstance(item, Cell):
                return False
            cell.parts.append(item.name)
        self._changed()
        return True

    def _open_cell(self, place: str) -> Cell | None:
        """The cell at a place that something can still be put in; a bottom case alone becomes one by that."""
        there = self._state.items.get(place)
        if isinstance(there, Part) and there.name == BOTTOM:
            there = self._state.items[place] = Cell(id=f"cell:{there.id}", parts=[BOTTOM])
        if not isinstance(there, Cell) or there.closed or there.crimped_at is not None:
            return None
        return there

    def lay_cell(self, place: str, at: float) -> bool:
        """Lays a well-made, crimped, never charged cell where nothing lies (False: something does).

        Args:
            place: where.
            at: when it was crimped, in lab seconds since the epoch.
        """
        made = {"electrolyte": {"LP57": 40.0}, "wetted_at": at - 240.0, "crimped_at": at}
        cell = Cell(id=f"cell:{place}", parts=[HALF_CELL, LID], crimp_force=7.8, crimp_dwell=2.0, **made)
        return self.item(place) is None and self.put(place, cell)

    # ── liquids ──────────────────────────────────────────────────────────────────────────────────────────────────
    def well(self, place: str) -> Well | None:
        """The liquid at a place, or None."""
        return self._state.wells.get(place)

    def wells(self) -> Iterable[tuple[str, Well]]:
        """All liquids with their places."""
        return list(self._state.wells.items())

    def draw(self, place: str, volume: float) -> dict[str, float]:
        """Draws up to a volume (µL) from a well; gives what really came, by material. Less when it runs dry."""
        well = self._state.wells.get(place)
        if well is None:
            return {}
        volume = max(0.0, min(volume, well.volume - well.dead))
        taken = well.draw(volume) if volume > 0 else {}
        self._changed()
        return taken

    def pour(self, place: str, liquid: Mapping[str, float], at: float) -> None:
        """Gives liquid (µL by material) to whatever is at a place: wets an open cell, fills a well, or is spilt."""
        cell = self._open_cell(place)
        if cell is not None:
            for material, volume in liquid.items():
                cell.electrolyte[material] = cell.electrolyte.get(material, 0.0) + volume
            if cell.wetted_at is None and cell.volume > 0:
                cell.wetted_at = at
        elif not self._is_of_cell(place):
            for material, volume in liquid.items():
                self._state.wells.setdefault(place, Well(material=material, volume=0.0)).pour(material, volume)
        self._changed()

    def fill(self, place: str, liquid: Mapping[str, float], dead: float | None = None) -> None:
        """A person pours liquid (µL by material) into a well; `dead` µL cannot be drawn (None: as before)."""
        for material, volume in liquid.items():
            self._state.wells.setdefault(place, Well(material=material, volume=0.0)).pour(material, volume)
        if dead is not None and place in self._state.wells:
            self._state.wells[place].dead = dead
        self._changed()

    def empty(self, place: str) -> None:
        """A person takes all liquid out of a well."""
        self._state.wells.pop(place, None)
        self._changed()

    def _is_of_cell(self, place: str) -> bool:
        there = self._state.items.get(place)
        return isinstance(there, Cell) or (there is not None and there.name in (LID, *PARTS))

    # ── first contents ───────────────────────────────────────────────────────────────────────────────────────────
    def furnish(self, deck: Iterable[Mapping[str, Any]]) -> None:
        """Fills a fresh world from lab.yaml's `deck`; one that came from disk keeps its story.

        Entries: `{place, labware, fill: half_cell}` lays that part (or `blank_cell`) into every well of a tray;
        `{place, labware, contents: {A1: {material, volume: µL as number or '12 mL', dead}}}` fills vials.
        """
        if not self.fresh:
            return
        for entry in deck:
            place = entry["place"]
            if entry.get("fill"):
                for well in wells_of(entry["labware"]):
                    self._stock(f"{place}/{well}", entry["fill"])
            for well, content in (entry.get("contents") or {}).items():
                if "part" in content:
                    self._stock(f"{place}/{well}", content["part"])
                if "material" in content:
                    self._state.wells[f"{place}/{well}"] = Well(
                        material=content["material"],
                        volume=microlitres(content["volume"]),
                        dead=microlitres(content.get("dead", 0)),
                    )
        self._changed()

    def lay(self, place: str, name: str) -> None:
        """A person lays a part there, in place of what lay there."""
        self._stock(place, name)
        self._changed()

    def _stock(self, place: str, name: str) -> None:
        item: Cell | Part
        if name in (HALF_CELL, BLANK_CELL):
            item = Cell(id=f"cell:{place}", parts=[name])
        else:
            item = Part(id=f"{name}:{place}", name=name)
        self._state.items[place] = item


def wells_of(load_name: str) -> list[str]:
    """The wells of a labware, column by column: A1, B1, A2 and on. Standard ones carry their count in the name."""
    rows, columns = LABWARE_SHAPES.get(load_name) or next(
        (shape for count, shape in _BY_COUNT.items() if f"_{count}_" in load_name), (4, 6)
    )
    if "reservoir" in load_name:
        rows, columns = 1, rows * columns
    return [f"{'ABCDEFGHIJKLMNOP'[row]}{column + 1}" for column in range(columns) for row in range(rows)]


def microlitres(text: object) -> float:
    """`12 mL`, `500 µL` or a bare number of µL."""
    if isinstance(text, (int, float)):
        return float(text)
    number, _, unit = str(text).strip().partition(" ")
    return float(number) * {"mL": 1e3, "ml": 1e3, "µL": 1.0, "uL": 1.0, "μL": 1.0, "L": 1e6}[unit.strip()]
