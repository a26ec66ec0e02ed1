"""An arm's taught positions: a file beside lab.yaml, a name and a pose a line."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from labd.files import InputErrors, Reader, Source, read_file
from labd.lab.findings import Findings
from labd.lab.shapes import tell_flaws
from labd.lab.written import CENTURY, Day, Part, Text, Written, flaw
from labd.sdk import Position


def _pose(value: object) -> object:
    numbers = value if isinstance(value, (list, tuple)) else ()
    if len(numbers) != 6 or any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in numbers):
        raise flaw("L402", "a pose is six numbers", "write `pose: [x, y, z, a, b, g]`: mm, then degrees")
    return tuple(float(one) for one in numbers)


class Taught(Part):
    """One position. The pose is x, y, z in mm and three angles in degrees, in the arm's base frame."""

    pose: Annotated[tuple[float, float, float, float, float, float], BeforeValidator(_pose)]
    taught: Annotated[Day | None, Field(description="The day on which it was taught.")] = None
    by: Annotated[Text, Field(description="Who taught it.")] = ""
    valid: Annotated[
        Annotated[float, Written("s", least=1, most=CENTURY)] | None,
        Field(description="How long it is good from that day on: 90 day."),
    ] = None

    @property
    def ends(self) -> dt.date | None:
        """The last day on which it is good."""
        if self.taught is None or self.valid is None:
            return None
        return self.taught + dt.timedelta(seconds=self.valid)

    @property
    def position(self) -> Position:
        taught = self.taught.isoformat() if self.taught else ""
        return Position(self.pose, taught, self.by, self.ends.isoformat() if self.ends else "")


_File = dict[str, Taught]


@dataclass(frozen=True, slots=True)
class PositionFile:
    """Where the positions of a device are said to be.

    Args:
        device: whose they are.
        path: the file.
        shown: what messages call it.
    """

    device: str
    path: Path
    shown: str


def read_positions(file: PositionFile, findings: Findings, today: dt.date) -> dict[str, Position]:
    """The positions by name; what does not hold is told, at its place in the file."""
    if not file.path.is_file():
        mend = f"it is looked for at {file.path.resolve()}"
        findings.tell("L401", f"there is no file `{file.shown}`", ("devices", file.device, "positions"), mend)
        return {}
    source = Source(file.shown, "")
    try:
        source.text = read_file(file.path)
        reader = Reader(source)
        tree = reader.read()
    except InputErrors as errors:
        findings.add(errors.problems)
        return {}
    own = Findings(source, reader.problems)
    taught = _validated(tree, own)
    _check_days(taught, own, today)
    findings.add(own.problems)
    return {name: one.position for name, one in taught.items()}


def _validated(tree: Any, findings: Findings) -> _File:
    if not isinstance(tree, dict):
        what = "the file is empty" if tree is None else "these are no positions"
        mend = "write a line a position: `press/nest: {pose: [x, y, z, a, b, g], taught: 2026-01-31, by: mk}`"
        findings.tell("L402", what, (), mend)
        return {}
    try:
        return TypeAdapter(_File).validate_python(tree)
    except ValidationError as error:
        tell_flaws(findings, error, _File, tree)
    return {}


def _check_days(taught: _File, findings: Findings, today: dt.date) -> None:
    over: list[tuple[str, dt.date]] = []
    for name, one in taught.items():
        if one.valid is not None and one.taught is None:
            findings.tell("L402", "`valid` without `taught`: since when?", (name, "valid"), "add `taught: 2026-01-31`")
        if one.ends is not None and one.ends < today:
            over.append((name, one.ends))
    if over:  # taught in one morning, they end in one night: one warning says it
        name, day = over[0]
        more = f", and {len(over) - 1} more of this file" if len(over) > 1 else ""
        message = f"`{name}` was good until {day}{more}"
        mend = "teach it anew, or look at it and renew its day"
        findings.tell("L403", message, (name, "valid"), mend, warning=True)
