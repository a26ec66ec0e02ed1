"""The figures of a run as names of a campaign's expressions, `figures.capacity_2`, with their dimensions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from labd.expr import NUMBER, Type, measure
from labd.records.figures import Figures
from labd.sdk import units

_NUMBERED = {
    "capacity": "mAh",
    "charge": "mAh",
    "ce": "%",
    "energy": "mWh",
    "energy_efficiency": "%",
    "retention": "%",
    "r_ohmic": "Ω",
    "r_polarisation": "Ω",
    "conductivity": "mS/cm",
}
"""Units of those that there are of each cycle or spectrum, and, without a number, of the last."""
_EACH = {"rest_charged": "V", "rest_discharged": "V"}
"""Of those that always have a number."""
_PLAIN = {"ocv": "V", "cycles": "", "dose": "µL", "peak_force": "kN", "electrolyte_to_crimp": "s"}
_FITTED = ("r_ohmic", "r_polarisation", "conductivity")
_NAME = re.compile(r"(?P<stem>[a-z_]+?)(?:_(?P<number>[1-9][0-9]{0,4}))?")


def unit_of(name: str) -> str | None:
    """The unit of a figure; "" for a plain number, None where there is no such figure."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if found["number"] is not None:
        return _NUMBERED.get(found["stem"]) or _EACH.get(found["stem"])
    return _NUMBERED.get(found["stem"], _PLAIN.get(found["stem"]))


def reads_spectra(names: Iterable[Sequence[str]]) -> bool:
    """Whether names of an expression have a figure that is fitted to a spectrum."""
    return any(parts[0] == "figures" and parts[1].startswith(_FITTED) for parts in names)


class FigureTypes(Mapping[str, Type]):
    """The types of all figures by name: those with a number are not listed, and known all the same."""

    def __getitem__(self, name: str) -> Type:
        unit = unit_of(name)
        if unit is None:
            raise KeyError(name)
        return measure(unit) if unit else NUMBER

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unit_of(name) is not None

    def __iter__(self) -> Iterator[str]:
        yield from (*_NUMBERED, *_PLAIN, *(f"{name}_1" for name in (*_NUMBERED, *_EACH)))

    def __len__(self) -> int:
        return len(list(iter(self)))


def in_default_units(figures: Figures) -> dict[str, Any]:
    """The values of a run's figures for expressions."""
    found: dict[str, Any] = {}
    for name, figure in figures.items():
        unit = unit_of(name)
        if unit is not None:
            found[name] = units.convert(figure.value, unit, units.unit(unit).default) if unit else figure.value
    return found
