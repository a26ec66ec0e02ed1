"""What was calibrated of a device: a file beside its taught positions, a name and a value a line."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from labd.files import InputErrors, Reader, Source, read_file
from labd.lab.findings import Findings
from labd.lab.positions import PositionFile
from labd.lab.shapes import tell_flaws
from labd.lab.written import CENTURY, Day, Part, Text, Written


class Calibration(Part):
    """One of them. The value is a text, `1.003` or `7.8 kN`: what it means, its driver and its people know."""

    value: Annotated[Text, Field(description="What was found: 1.003, or 7.8 kN.")]
    calibrated: Annotated[Day | None, Field(description="The day on which it was found.")] = None
    by: Annotated[Text, Field(description="Who did it.")] = ""
    valid: Annotated[
        Annotated[float, Written("s", least=1, most=CENTURY)] | None,
        Field(description="How long it is good from that day on: 365 day."),
    ] = None

    @property
    def ends(self) -> dt.date | None:
        """The last day on which it is good."""
        if self.calibrated is None or self.valid is None:
            return None
        return self.calibrated + dt.timedelta(seconds=self.valid)


_File = dict[str, Calibration]


def read_calibrations(file: PositionFile, findings: Findings, today: dt.date) -> dict[str, Calibration]:
    """The calibrations by name; what does not hold is told, at its place. A file that is not there holds none yet."""
    if not file.path.is_file():
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
    found = _validated(tree, own) if tree is not None else {}
    _check_days(found, own, today, file.device)
    findings.add(own.problems)
    return found


def _validated(tree: Any, findings: Findings) -> _File:
    if not isinstance(tree, dict):
        mend = "write a line a calibration: `force: {value: 1.003, calibrated: 2026-01-31, by: mk, valid: 365 day}`"
        findings.tell("L402", "these are no calibrations", (), mend)
        return {}
    try:
        return TypeAdapter(_File).validate_python(tree)
    except ValidationError as error:
        tell_flaws(findings, error, _File, tree)
    return {}


def _check_days(found: _File, findings: Findings, today: dt.date, device: str) -> None:
    for name, one in found.items():
        if one.valid is not None and one.calibrated is None:
            mend = "add `calibrated: 2026-01-31`"
            findings.tell("L402", "`valid` without `calibrated`: since when?", (name, "valid"), mend)
        if one.ends is not None and one.ends < today:
            mend = f"calibrate it anew: labd device {device} calibrate {name}=…"
            findings.tell("L403", f"`{name}` was good until {one.ends}", (name, "valid"), mend, warning=True)
