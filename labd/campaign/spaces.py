"""The space of a campaign's file: ranges with units and steps, levels, mixtures; checked on the way."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.campaign.model import DimensionSpec, MixturePart
from labd.campaign.problem import Choice, Dimension, Mixture, Range
from labd.expr import INTEGER, NUMBER, Measure, Text, Type, measure
from labd.files import Path
from labd.lab.findings import Findings
from labd.protocol.names import RESERVED
from labd.protocol.values import without_example
from labd.sdk import UnitError, units

_NAMES = RESERVED | {"results", "figures", "best", "experiments", "failed", "rounds"}
_NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?")
_KEYS = {
    "quantity": ("min", "max", "step"),
    "number": ("min", "max", "step"),
    "integer": ("min", "max", "step"),
    "choice": ("choices",),
    "mixture": ("parts", "total", "least", "step"),
}


@dataclass(slots=True)
class Spaces:
    """What may be chosen, as it is read.

    Attributes:
        dimensions: those that hold.
        units: of each number of a point, "" for plain ones and for levels.
        types: of the same names, for expressions.
        owner: the dimension that a name of the point belongs to.
    """

    findings: Findings
    dimensions: list[Dimension] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, spec: DimensionSpec) -> None:
        """Reads one dimension; what is wrong with it goes to the findings."""
        path: Path = ("space", name)
        for key in ("min", "max", "step", "choices", "parts", "total", "least"):
            if getattr(spec, key) is not None and key not in _KEYS[spec.type]:
                told = ", ".join(f"`{one}`" for one in _KEYS[spec.type])
                self.findings.tell(
                    "C108", f"a {spec.type} has no `{key}`", (*path, key), f"it has {told}; delete this one", key=True
                )
        match spec.type:
            case "choice":
                self._choice(name, spec, path)
            case "mixture":
                self._mixture(name, spec, path)
            case _:
                self._range(name, spec, path)

    def _name(self, name: str, owner: str, kind: Type, unit: str, path: Path) -> None:
        if name in _NAMES:
            self.findings.tell("C106", f"`{name}` is a word of the language", path, "choose another name", key=True)
        elif name in self.types:
            mend = "choose another name: all that can be chosen shares one list with the parts of mixtures"
            self.findings.tell("C106", f"`{name}` is taken", path, mend, key=True)
        self.types[name], self.units[name], self.owner[name] = kind, unit, owner

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _range(self, name: str, spec: DimensionSpec, path: Path) -> None:
        missing = [key for key in ("min", "max") if getattr(spec, key) is None]
        for key in missing:
            self.findings.tell("C108", f"`{name}` has no `{key}`", path, f"add `{key}: …`", key=True)
        unit = self._unit(spec) if spec.type == "quantity" else ""
        given = {
            key: self._number(getattr(spec, key), spec.type, unit, (*path, key))
            for key in ("min", "max", "step")
            if getattr(spec, key) is not None
        }
        kind: Type = NUMBER if spec.type == "number" else INTEGER if spec.type == "integer" else _measure(unit)
        self._name(name, name, kind, unit or "", path)
        if missing or unit is None or None in given.values():
            return
        low, high, step = given["min"], given["max"], given.get("step")
        assert low is not None
        assert high is not None
        if spec.type == "integer" and step is None:
            step = 1.0
        if low >= high:
            self.findings.tell(
                "C109", f"`min` is not below `max`: {low:g} and {high:g}", (*path, "min"), "exchange them"
            )
        elif step is not None and not 0 < step <= high - low:
            mend = f"write a step above 0 and at most {high - low:g}"
            self.findings.tell(
                "C109", f"a step of {step:g} does not fit between {low:g} and {high:g}", (*path, "step"), mend
            )
        else:
            self.dimensions.append(Range(name, low, high, unit, step))

    def _unit(self, spec: DimensionSpec) -> str | None:
        """The unit that `min` (else `max`) is written in: points are told in it. None: there is none."""
        for key in ("min", "max"):
            raw = getattr(spec, key)
            if isinstance(raw, str):
                try:
                    return units.unit(_NUMBER.sub("", raw.strip(), count=1).strip()).text
                except UnitError:
                    return None  # told of the value itself
        return None

    def _number(self, raw: Any, kind: str, unit: str | None, path: Path) -> float | None:
        """A number in the unit of its dimension, or None after telling what is wrong with it."""
        if kind == "quantity":
            if unit is not None and isinstance(raw, (int, float)):
                shown = getattr(raw, "text", raw)
                self.findings.tell("C105", f"{shown} needs a unit", path, f"write `{shown} {unit}`")
                return None
            return quantity(raw, unit, path, self.findings)
        if isinstance(raw, bool) or not isinstance(raw, (int, float)):
            wanted = "a whole number" if kind == "integer" else "a number"
            self.findings.tell("C103", f"{wanted} belongs here, not `{str(raw)[:40]}`", path, "write it without a unit")
            return None
        if kind == "integer" and float(raw) != int(raw):
            self.findings.tell("C103", f"a whole number belongs here, not `{raw}`", path, f"write `{round(raw)}`")
            return None
        return float(raw)

    # ── levels ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _choice(self, name: str, spec: DimensionSpec, path: Path) -> None:
        if spec.choices is None:
            mend = "list them: `choices: [LiPF6, LiFSI]`"
            self.findings.tell("C108", f"`{name}` has no `choices`", path, mend, key=True)
            return
        levels = tuple(spec.choices)
        if len(set(levels)) < 2:
            self.findings.tell(
                "C109", "one level is no choice", (*path, "choices"), "list two or more, each once", key=True
            )
        described: dict[str, tuple[float, ...]] = {}
        if isinstance(spec.choices, Mapping):
            described = self._descriptors(spec.choices, path)
        self._name(name, name, Text(choices=levels), "", path)
        self.dimensions.append(Choice(name, levels, described))

    def _descriptors(self, choices: Mapping[str, Mapping[str, float]], path: Path) -> dict[str, tuple[float, ...]]:
        first = next(iter(choices), "")
        names = list(choices.get(first, {}))
        for level, descriptors in choices.items():
            if set(descriptors) != set(names):
                differs = sorted(set(descriptors) ^ set(names))
                message = f"`{level}` and `{first}` are described by different numbers: {', '.join(differs)}"
                mend = "describe all levels by the same ones, or none"
                self.findings.tell("C111", message, (*path, "choices", level), mend, key=True)
                return {}
        return {level: tuple(float(one[key]) for key in names) for level, one in choices.items()} if names else {}

    # ── mixtures ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _mixture(self, name: str, spec: DimensionSpec, path: Path) -> None:
        parts = spec.parts or {}
        for part in parts:
            self._name(part, name, NUMBER, "", (*path, "parts", part))
        if len(parts) < 2:
            mend = "name two or more: `parts: {EC: {min: 0.2}, EMC: {}}`"
            self.findings.tell("C108", f"`{name}` needs `parts`", path, mend, key=True)
            return
        total = 1.0 if spec.total is None else float(spec.total)
        step = self._number(spec.step, "number", "", (*path, "step")) if spec.step is not None else None
        bounds = [_bounds(part, total) for part in parts.values()]
        low, high = tuple(one for one, _ in bounds), tuple(one for _, one in bounds)
        for (part, _), (least, most) in zip(parts.items(), bounds, strict=True):
            if not 0 <= least <= most:
                message = f"`{part}` goes from {least:g} to {most:g}"
                self.findings.tell("C109", message, (*path, "parts", part), "a share goes from 0 up", key=True)
                return
        made = Mixture(name, tuple(parts), low, high, total, step, float(spec.least or 0.0))
        problem = _cannot_sum(made)
        if problem is not None:
            self.findings.tell("C110", *_placed(problem, path), key=True)
            return
        self.dimensions.append(made)


def _bounds(part: MixturePart, total: float) -> tuple[float, float]:
    return part.min, total if part.max is None else part.max


def _placed(problem: tuple[str, str, str], path: Path) -> tuple[str, Path, str]:
    message, key, mend = problem
    return message, (*path, key) if key else path, mend


def _cannot_sum(mixture: Mixture) -> tuple[str, str, str] | None:
    """Why no shares sum to the total: message, key and mend."""
    total = mixture.total
    if not total > 0:
        return f"a total of {total:g}", "total", "write the sum of the shares, such as `total: 1`"
    if sum(mixture.low) > total + 1e-9:
        return f"the least shares sum to {sum(mixture.low):g}, more than {total:g}", "parts", "lower one of them"
    if sum(mixture.high) < total - 1e-9:
        return f"the greatest shares sum to {sum(mixture.high):g}, less than {total:g}", "parts", "raise one of them"
    return None if mixture.step is None else _no_steps(mixture, mixture.step)


def _no_steps(mixture: Mixture, step: float) -> tuple[str, str, str] | None:
    """The same of shares in steps."""
    total = mixture.total
    steps = total / step if step > 0 else math.nan
    if not (math.isfinite(steps) and abs(steps - round(steps)) < 1e-6):
        return (
            f"shares in steps of {step:g} never sum to {total:g}",
            "step",
            f"write one of which {total:g} is made",
        )
    least = sum(math.ceil(low / step - 1e-9) for low in mixture.low)
    most = sum(math.floor(high / step + 1e-9) for high in mixture.high)
    if least > round(steps) or most < round(steps):
        return (
            f"no shares in steps of {step:g} are within the bounds and sum to {total:g}",
            "step",
            "take a finer step",
        )
    return None


def _measure(unit: str | None) -> Type:
    try:
        return measure(unit or "s")
    except UnitError:
        return measure("s")


def quantity(raw: Any, unit: str | None, path: Path, findings: Findings) -> float | None:
    """A quantity as a number in a unit of the same dimension, or None after telling what is wrong with it."""
    example = f"write a number and a unit, such as `1 {unit or 'µL'}`"
    if not isinstance(raw, str):
        shown = getattr(raw, "text", raw)
        findings.tell("C105", f"{str(shown)[:40]} needs a unit", path, example)
        return None
    try:
        found = units.parse(raw)
        return float(f"{units.convert(found.value, found.unit, unit or found.unit):.12g}")
    except UnitError as error:
        findings.tell("C105", without_example(error), path, example)
        return None


def default_measure(kind: Type) -> str:
    """The default unit of a type; "" for a plain number."""
    return kind.dimension.unit if isinstance(kind, Measure) else ""
