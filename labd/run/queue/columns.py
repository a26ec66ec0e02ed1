"""The columns of a table of samples: which parameter, or which of the reserved words, each header means."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from labd.expr import Measure, did_you_mean, nearest
from labd.protocol.parameters import Declared
from labd.sdk import UnitError, units

RESERVED: Mapping[str, str] = {
    "sample": "what the row is for; one to 64 of a-z, 0-9, - and _",
    "barcode": "the code on the sample; no other sample has it",
    "position": "the place where the sample is, such as `ot2/3/A1`",
    "priority": "a whole number; higher ones go first",
    "active_mass": "the mass of active material, such as `12.4 mg`",
}
"""Columns that every table may have, beside those of the protocol's parameters."""
NOTE = "#"
"""Headers that begin with it are notes: kept with the sample, and nothing is made of them."""

_UNIT = re.compile(r"(?P<name>.*?)\s*(?:\[(?P<square>[^\[\]]*)\]|\((?P<round>[^()]*)\)|\s/\s(?P<slash>\S+))\s*")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its header as written, what it means, and the unit of its cells where the header says one."""

    header: str
    name: str
    unit: str | None
    number: int  # from 1
    note: bool = False
    wrong: bool = False  # its header is told already


@dataclass(frozen=True, slots=True)
class Columns:
    """All columns that mean something."""

    all: tuple[Column, ...]

    def of(self, name: str) -> Column | None:
        return next((column for column in self.all if column.name == name), None)


def key_of(text: str) -> str:
    """A header or a name as they are compared: in small letters, all that is no letter and no digit as `_`."""
    return re.sub(r"[\W_]+", "_", text.casefold()).strip("_")


Tell = Callable[..., None]
"""code, message, mend, column."""


def columns_of(
    headers: Iterable[str], parameters: Mapping[str, Declared], fixed: Collection[str], tell: Tell
) -> Columns:
    """What each header means. Problems go to `tell`.

    Args:
        headers: in their order.
        parameters: the protocol's.
        fixed: parameters whose value was given for all rows.
        tell: takes code, message, mend and column.
    """
    known = {key_of(name): name for name in (*RESERVED, *parameters)}
    found: dict[str, Column] = {}
    misspelt: set[str] = set()  # what a misspelt header stands for is not missing as well
    for number, header in enumerate(headers, 1):
        if header.startswith(NOTE):
            found[header] = Column(header, header.removeprefix(NOTE).strip() or header, None, number, note=True)
            continue
        name, unit = _parted(header, known)
        if name not in known:
            misspelt.add(known.get(nearest(name, known) or "", ""))
            mend = f"{did_you_mean(name, known, 'the columns are')} (a note begins with `{NOTE}`)"
            tell("T102", f"no parameter and no reserved word is called `{header}`", mend, number)
            continue
        meant = known[name]
        if meant in found:
            other = found[meant].header
            tell("T102", f"`{header}` and `{other}` are the same column", "delete one of them", number)
            continue
        if meant in fixed:
            mend = "delete the column, or leave the value away"
            tell("T102", f"`{meant}` is given for all rows, and there is a column of it", mend, number)
            continue
        fits = _unit_fits(header, meant, unit, parameters, tell, number)
        found[meant] = Column(header, meant, unit, number, wrong=not fits)
    for name, kind in parameters.items():
        if name not in (*found, *fixed, *misspelt) and kind.default is None:
            mend = f"add it, or give it for all rows with `-p {name}=…`"
            tell("T102", f"the column `{name}` is missing, and has no default", mend, 0)
    return Columns(tuple(found.values()))


def _parted(header: str, known: Mapping[str, str]) -> tuple[str, str | None]:
    """A header's name, as it is compared, and its unit."""
    whole = key_of(header)
    parts = _UNIT.fullmatch(header)
    if whole in known or parts is None:
        return whole, None
    unit = parts["square"] or parts["round"] or parts["slash"] or ""
    return key_of(parts["name"]), unit.strip() or None


def _unit_fits(
    header: str, name: str, unit: str | None, parameters: Mapping[str, Declared], tell: Tell, number: int
) -> bool:
    """Whether a header's unit is one of what its column is."""
    if unit is None:
        return True
    wanted = unit_of(name, parameters)
    if wanted is None:
        tell("T103", f"the header `{header}` has a unit, and `{name}` has none", f"write `{name}`", number)
        return False
    try:
        dimension = units.unit(unit).dimension
    except UnitError:
        tell("T103", f"the header `{header}`: unknown unit `{unit}`", f"write `{name} [{wanted}]`", number)
        return False
    if dimension != units.unit(wanted).dimension:
        said = f"the header `{header}`: {unit} is a {dimension}, and `{name}` a {units.unit(wanted).dimension}"
        tell("T103", said, f"write `{name} [{wanted}]`", number)
        return False
    return True


def unit_of(name: str, parameters: Mapping[str, Declared]) -> str | None:
    """The usual unit of a column; None for one without."""
    if name in parameters:
        kind = parameters[name].type
        return kind.dimension.unit if isinstance(kind, Measure) else None
    return "mg" if name == "active_mass" else None
