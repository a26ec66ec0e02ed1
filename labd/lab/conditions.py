"""Conditions over what a lab's devices tell, as interlocks state them: `glovebox.oxygen > 50 ppm`.

A name is a device and its signal. What a name of lab.yaml has and an expression cannot write becomes `_`: the device
`stat-1` is `stat_1`; what begins with a digit gets a word before it: the voltage of the channel `3` of a cycler is
`cycler.unit_3.voltage`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from labd.expr import (
    ANYTHING,
    BOOLEAN,
    Choices,
    Expression,
    ExpressionError,
    Flaw,
    Interval,
    Missing,
    Range,
    Record,
    Type,
    compile_expression,
    decide,
    record_of,
)
from labd.files import Path
from labd.lab.device import Device
from labd.lab.findings import Findings
from labd.sdk import Driver

_CODES = {"syntax": "L208", "name": "L209", "type": "L210", "unit": "L210", "value": "L210"}


@dataclass(frozen=True, slots=True)
class Found:
    """What a condition says now: whether it holds, None where nobody can know; and its values, in words."""

    holds: bool | None
    because: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was checked; `devices` are those whose signals it names, by id."""

    text: str
    expression: Expression
    devices: tuple[str, ...]

    def look(self, devices: Mapping[str, Device]) -> Found:
        """What it says now: a stale or missing signal leaves it open, unless the others decide it alone."""
        values: dict[str, Any] = {}
        known: dict[str, Range] = {}
        for name in self.devices:
            values[spelled(name)] = _live(devices[name], known)
        try:
            holds: bool | None = bool(self.expression(values))
        except ExpressionError:
            holds = decide(self.expression, known)
        return Found(holds, self.expression.because(values))


def spelled(name: str, word: str = "device") -> str:
    """A name of lab.yaml as an expression writes it: `stat-1` is `stat_1`, the unit `3` is `unit_3`."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return text if text[:1].isalpha() else f"{word}_{text.lstrip('_')}"


def owners(names: Collection[str]) -> dict[str, str]:
    """Devices by how an expression writes them; where two read alike, the one that is spelled so in lab.yaml."""
    return {spelled(name): name for name in sorted(names, key=lambda one: spelled(one) == one)}


def _live(device: Device, known: dict[str, Range]) -> dict[str, Any]:
    """What is known of a device now, by unit where it has several; numbers and the like also go into `known`."""
    units: dict[str, Any] = {}
    missing = Missing("is not there" if not device.connected else "cannot be told now")
    for unit in device.driver.units:
        live = device.live(unit)
        names = type(device.driver).Signals.model_fields
        prefix = f"{spelled(device.id)}.{spelled(unit, 'unit')}." if unit else f"{spelled(device.id)}."
        found = {name: missing if (value := live.get(name)) is None else value for name in names}
        known |= {f"{prefix}{name}": within for name, value in found.items() if (within := _range(value)) is not None}
        if not unit:
            return found
        units[spelled(unit, "unit")] = found
    return units


def _range(value: Any) -> Range | None:
    """A known value as a range of its own."""
    if isinstance(value, (bool, str)):
        return Choices(frozenset({value}))
    if isinstance(value, (int, float)) and value == value:  # noqa: PLR0124 - NaN
        return Interval(value, value)
    return None


# ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────────
def types_of(
    names: Collection[str], drivers: Mapping[str, Driver], classes: Mapping[str, type[Driver]]
) -> dict[str, Type]:
    """The types of all that a condition may name.

    Args:
        names: of all devices of lab.yaml.
        drivers: by device; of one that could not be made nothing is known, and any of its names is right.
        classes: of those whose driver is there.
    """
    found: dict[str, Type] = {}
    for word, name in owners(names).items():
        signals = record_of(classes[name].role or name, classes[name].Signals) if name in classes else None
        units = drivers[name].units if name in drivers else ()
        if signals is None or not units:
            found[word] = ANYTHING
        elif units == ("",):
            found[word] = signals
        else:
            kind = f"{classes[name].role} of {len(units)} units"
            found[word] = Record(kind, {spelled(unit, "unit"): signals for unit in units})
    return found


def compile_condition(
    text: str, types: Mapping[str, Type], names: Collection[str], at: Path, findings: Findings
) -> Condition | None:
    """A condition of lab.yaml; None where it does not hold, which is told at its place.

    Args:
        text: as it stands there; a leading `=` says nothing more.
        types: what it may name.
        names: of all devices of lab.yaml.
        at: the path of its text.
        findings: who is told.
    """
    shift = len(text) - len(text.removeprefix("="))
    try:
        expression = compile_expression(text[shift:], types, BOOLEAN)
    except ExpressionError as error:
        for flaw in error.flaws:
            findings.inside(_CODES[flaw.kind], flaw, at, shift)
        return None
    devices = owners(names)
    used = sorted({devices[first] for first, *_ in expression.names})
    if not used:
        mend = "name a device and its signal: `glovebox.oxygen > 50 ppm`"
        findings.inside("L209", Flaw("this names no signal, so it never changes", 0, len(text), mend), at, 0)
        return None
    return Condition(text[shift:].strip(), expression, tuple(used))
