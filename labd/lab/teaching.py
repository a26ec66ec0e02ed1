"""Positions and calibrations that people give a device at work: into its files, the journal and its driver."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd import clock
from labd.files import InputErrors
from labd.journal import Journal, NewEvent
from labd.journal.schema import sync_directory
from labd.lab.calibrations import Calibration, read_calibrations
from labd.lab.device import Device
from labd.lab.findings import Findings
from labd.lab.interlocks import GuardError
from labd.lab.lab import Lab
from labd.lab.positions import PositionFile, read_positions
from labd.sdk import DeviceError, Position, UnitError
from labd.sdk.units import parse

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_/.-]*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Given:
    """What was written.

    Args:
        device, name: of what.
        value: the pose, or the calibration's text.
        day, by, valid, ends: when and by whom it was given, how long it is good, and until when.
        before: what stood there, or None.
        file: where it stands.
        named: whether lab.yaml names that file; else the next start does not read it.
    """

    device: str
    name: str
    value: Any
    day: str
    by: str
    valid: str | None
    ends: str | None
    before: Any
    file: Path
    named: bool


class Teaching:
    """Writes what people teach.

    Args:
        lab, journal: whose devices, and where it is told.
    """

    def __init__(self, lab: Lab, journal: Journal) -> None:
        self._lab = lab
        self._journal = journal
        self._turn = asyncio.Lock()  # two may not write one file

    async def teach(self, device: Device, name: str, *, by: str, valid: str | None = None) -> Given:
        """Takes an arm's present pose as a position; it stands in its file and in the journal when this returns.

        Raises:
            GuardError: no arm that can tell where it is, one that moves, a name or a time that cannot be, or a file
                that cannot be written.
        """
        _check_name(name)
        pose = await self._pose(device)
        entry = self._entry("taught", f"[{', '.join(_number(one) for one in pose)}]", "pose", by, valid)
        before = device.driver.setup.positions.get(name)
        file, named = self._file(device, "positions")
        found = await self._write(file, device, name, entry, read_positions)
        position: Position = found[name]
        device.driver.know_position(name, position)
        given = self._given(device, name, list(pose), by, valid, position.ends, file, named=named)
        return await self._told("position.taught", given, list(before.pose) if before is not None else None)

    async def _pose(self, device: Device) -> tuple[float, ...]:
        unit = device.driver.units[0]
        try:
            if device.busy_with:
                raise GuardError(f"{device.id} acts for {', '.join(device.busy_with)}: wait until it stands still")
            if device.live(unit).get("moving") and await device.witnesses.signal(unit, "moving") is not False:
                raise GuardError(f"{device.id} moves: wait until it stands still")
            pose = await device.pose()
        except DeviceError as error:
            raise GuardError(f"{device.id} does not tell where it is: {error.message}") from error
        if pose is None:
            raise GuardError(f"{device.kind} cannot tell where it stands: write the position into its file by hand")
        return tuple(round(one, 4) for one in pose)

    async def calibrate(
        self, device: Device, values: Mapping[str, str], *, by: str, valid: str | None = None
    ) -> list[Given]:
        """Keeps what was found; it stands in the device's file and in the journal when this returns.

        Raises:
            GuardError: a name, a value or a time that cannot be, or a file that cannot be written.
        """
        for name in values:
            _check_name(name)
        file, named = self._file(device, "calibrations")
        known = self._lab.calibrations[device.id]
        told: list[Given] = []
        for name, value in values.items():
            entry = self._entry("calibrated", _quoted(value), "value", by, valid)
            found = await self._write(file, device, name, entry, read_calibrations)
            one: Calibration = found[name]
            before = known.get(name)
            known[name] = one
            device.driver.know_calibration(name, one.value)
            ends = one.ends.isoformat() if one.ends else ""
            given = self._given(device, name, one.value, by, valid, ends, file, named=named)
            told.append(await self._told("device.calibrated", given, before.value if before is not None else None))
        return told

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _file(self, device: Device, kind: str) -> tuple[Path, bool]:
        config = self._lab.config
        named: Path | None = getattr(config.devices[device.id], kind)
        return (config.base / (named or Path(kind) / f"{device.id}.yaml")), named is not None

    def _entry(self, day: str, value: str, key: str, by: str, valid: str | None) -> str:
        parts = [f"{key}: {value}", f"{day}: {clock.now().date().isoformat()}", f"by: {_quoted(by)}"]
        if valid is not None:
            try:
                seconds = parse(valid).to("s")
            except UnitError as error:
                raise GuardError(f"valid: {error}; write one like `90 day`") from error
            if seconds < 1:
                raise GuardError("valid: it is good for no time at all; write one like `90 day`")
            parts.append(f"valid: {_quoted(valid)}")
        return f"{{{', '.join(parts)}}}"

    async def _write(self, file: Path, device: Device, name: str, entry: str, read: Any) -> dict[str, Any]:
        """Writes an entry, whole or not at all; gives what the file holds then."""
        async with self._turn:
            return await asyncio.to_thread(_written, file, device.id, name, entry, read, clock.now().date())

    def _given(
        self, device: Device, name: str, value: Any, by: str, valid: str | None, ends: str, file: Path, *, named: bool
    ) -> Given:
        day = clock.now().date().isoformat()
        return Given(device.id, name, value, day, by, valid, ends or None, None, file, named)

    async def _told(self, kind: str, given: Given, before: Any) -> Given:
        told = {"device": given.device, "name": given.name, "value": given.value, "before": before, "by": given.by}
        told |= {"valid": given.valid, "ends": given.ends, "file": str(given.file)}
        await self._journal.append(NewEvent(kind, told))
        self._lab.inventory.changed()  # a run that asked about the old one looks again
        return Given(**{**{one: getattr(given, one) for one in Given.__slots__}, "before": before})


def _number(value: float) -> str:
    """To a ten-thousandth of a mm or a degree, without zeros at its end."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise GuardError(f"{name!r} is no name; write one of letters, digits, `_`, `-`, `.` and `/`: `press/nest`")


def _quoted(text: str) -> str:
    """A text in a flow mapping of YAML."""
    number = re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?( ?[A-Za-zµΩ°%/·^*0-9]+)?", text)
    if number or (
        _PLAIN.fullmatch(text) and text.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
    ):
        return text
    escaped = text.replace("'", "''").replace("\n", " ")
    return f"'{escaped}'"


def with_entry(text: str, name: str, entry: str) -> str:
    """A file's text with one entry set; all other lines stay as they are, byte for byte."""
    key = name if _PLAIN.fullmatch(name) else f"'{name}'"
    line = f"{key}: {entry}\n"
    lines = text.splitlines(keepends=True)
    heads = (f"{name}:", f"'{name}':", f'"{name}":')
    start = next((number for number, one in enumerate(lines) if one.startswith(heads)), None)
    if start is None:
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}{line}"
    end = start + 1
    while end < len(lines) and lines[end][:1] in (" ", "\t"):
        end += 1
    return "".join([*lines[:start], line, *lines[end:]])


def _written(file: Path, device: str, name: str, entry: str, read: Any, today: dt.date) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.{os.getpid()}.new")
        try:
            with new.open("w", encoding="utf-8") as stream:
                stream.write(with_entry(text, name, entry))
                stream.flush()
                os.fsync(stream.fileno())
            findings = Findings(None)
            found: dict[str, Any] = read(PositionFile(device, new, str(file)), findings, today)
            findings.settle()
            if file.exists():
                new.chmod(file.stat().st_mode & 0o777)
            new.replace(file)
            sync_directory(file.parent)
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
    except InputErrors as errors:
        raise GuardError(f"{file} does not hold; nothing was written.\n{errors}") from errors
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        mend = "name one that labd may write in lab.yaml, such as /var/lib/labd/positions/arm.yaml"
        raise GuardError(f"{file} cannot be written: {why}; {mend}") from error
    return found
