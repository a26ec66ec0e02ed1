"""The objectives of a campaign's file: what gives their values, in what unit, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labd.campaign.compiling import Compiler
from labd.campaign.measures import FigureTypes
from labd.campaign.model import CampaignFile, ObjectiveSpec
from labd.campaign.plan import Measured
from labd.campaign.problem import Objective
from labd.campaign.spaces import default_measure, quantity
from labd.expr import (
    ANYTHING,
    Anything,
    Expression,
    Measure,
    Number,
    Record,
    Type,
    accepts,
    an,
    compile_expression,
    did_you_mean,
    measure,
)
from labd.files import Path
from labd.lab.findings import Findings
from labd.protocol.values import expression_of
from labd.sdk import UnitError, units

FIGURES = FigureTypes()


@dataclass(frozen=True, slots=True)
class Wants:
    """Reads what is wanted; what is wrong with it goes to the findings.

    Args:
        types: of the names of a point.
        results: the types of the protocol's results.
    """

    file: CampaignFile
    findings: Findings
    compiler: Compiler
    types: Mapping[str, Type]
    results: Mapping[str, Type]

    def read(self, *, known: bool) -> tuple[tuple[Objective, ...], dict[str, Measured]]:
        """All objectives that hold, and how each is read from a run; `known`: whether the protocol is."""
        found: list[Objective] = []
        measured: dict[str, Measured] = {}
        for name, spec in self.file.objectives.items():
            expression = self._measured(name, spec, known=known)
            kind = expression.type if expression is not None else ANYTHING
            unit = self._unit_of(name, spec, kind)
            objective = self._objective(name, spec, unit or "", plain=unit == "")
            if objective is not None and expression is not None and unit is not None:
                found.append(objective)
                measured[name] = Measured(expression, unit)
        return tuple(found), measured

    def _measured(self, name: str, spec: ObjectiveSpec, *, known: bool) -> Expression | None:
        """What gives its value; None after telling that nothing does."""
        at: Path = ("objectives", name)
        if not known:
            return None
        expression = self._value(name, spec, at)
        if expression is None:
            return None
        if not any(parts[0] in ("results", "figures") for parts in expression.names):
            given = [*(f"results.{one}" for one in self.results), "figures.capacity", "figures.retention_10"]
            mend = f"it has to be made of what a run gives, such as {', '.join(given)}"
            self.findings.tell("C117", "this is known before any experiment", (*at, "value"), mend)
            return None
        if not isinstance(expression.type, (Measure, Number, Anything)):
            message = f"an objective is a number, and this is {an(expression.type)}"
            self.findings.tell("C113", message, (*at, "value"), "compare or count it in the protocol's `results:`")
            return None
        return expression

    def _value(self, name: str, spec: ObjectiveSpec, at: Path) -> Expression | None:
        names: dict[str, Type] = {**self.types, "results": Record("results", self.results)}
        names["figures"] = Record("figures", FIGURES)
        if spec.value is None:
            if name not in self.results and name in FIGURES:
                return compile_expression(f"figures.{name}", names)
            if name not in self.results:
                mend = did_you_mean(name, [*self.results, *FIGURES], "there are")
                mend += f"; or say of what it is made: `value: =results.{next(iter(self.results), 'capacity')}`"
                message = f"`{name}` is no result of {self.file.protocol}, and no figure of a run"
                self.findings.tell("C117", message, at, mend, key=True)
                return None
            return compile_expression(f"results.{name}", names)
        text = expression_of(spec.value)
        if text is None:
            mend = f"an expression begins with `=`: `value: =results.{next(iter(self.results), name)}`"
            self.findings.tell("C117", "a fixed value is no objective", (*at, "value"), mend)
            return None
        return self.compiler.compile(text, names, ANYTHING, (*at, "value"), 1)

    def _unit_of(self, name: str, spec: ObjectiveSpec, kind: Type) -> str | None:
        """The unit that it is told in; None after telling that none fits."""
        at: Path = ("objectives", name)
        given, where = spec.unit, "unit"
        for key in ("target", "low", "high"):
            raw = getattr(spec, key)
            if given is None and isinstance(raw, str) and (parts := raw.split(maxsplit=1))[1:]:
                given, where = parts[1], key
        if given is None:
            return default_measure(kind)
        try:
            unit = units.unit(given)
        except UnitError as error:
            self.findings.tell("C105", str(error), (*at, where), f"write one of {default_measure(kind) or 'no unit'}")
            return None
        if kind != ANYTHING and not accepts(kind, measure(unit.text)):
            mend = f"write it in {default_measure(kind)}" if isinstance(kind, Measure) else "leave the unit away"
            message = f"{given} is a {unit.dimension}, and `{name}` is {an(kind)}"
            self.findings.tell("C105", message, (*at, where), mend)
            return None
        return unit.text

    def _objective(self, name: str, spec: ObjectiveSpec, unit: str, *, plain: bool) -> Objective | None:
        at: Path = ("objectives", name)
        needed = {"target": ("target",), "window": ("low", "high")}.get(spec.goal, ())
        if spec.goal == "window" and (spec.low is not None or spec.high is not None):
            needed = ()  # open on one side
        for key in needed:
            if getattr(spec, key) is None:
                mend = f"add `{key}: {f'1 {unit}'.rstrip()}`"
                self.findings.tell("C117", f"`goal: {spec.goal}` needs `{key}`", at, mend, key=True)
        if spec.target is not None and spec.goal != "target":
            mend = "write `goal: target`, or delete it"
            self.findings.tell("C117", f"`goal: {spec.goal}` has no `target`", (*at, "target"), mend, key=True)
        given: dict[str, float | None] = {}
        for key in ("target", "low", "high"):
            raw = getattr(spec, key)
            given[key] = None if raw is None else self._bound(raw, unit, (*at, key), plain=plain)
        low, high = given["low"], given["high"]
        if low is not None and high is not None and low >= high:
            self.findings.tell(
                "C117", f"`low` is not below `high`: {low:g} and {high:g}", (*at, "low"), "exchange them"
            )
            return None
        return Objective(name, spec.goal, unit, given["target"], low, high, spec.weight)

    def _bound(self, raw: Any, unit: str, path: Path, *, plain: bool) -> float | None:
        if plain and not isinstance(raw, bool) and isinstance(raw, (int, float)):
            return float(raw)
        if plain:
            self.findings.tell("C105", f"a number without a unit belongs here, not `{str(raw)[:40]}`", path)
            return None
        return quantity(raw, unit or None, path, self.findings)
