"""A campaign that was checked: its problem for optimisers, the parameters of a point's run, and a run's values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from labd.campaign.problem import Mixture, Objective, Point, Problem, Space
from labd.expr import Expression, ExpressionError, Measure, Type
from labd.protocol import Protocol
from labd.protocol.parameters import Declared
from labd.protocol.values import out_of_bounds
from labd.sdk import units

NOTHING: Mapping[str, Any] = MappingProxyType({})
EXTERNAL = "external"
"""The optimiser that is a program outside."""
ALIKE = 0.01
"""Of each dimension's span: points that are nearer are as good as the same."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One parameter of the protocol: fixed, worked out from the point, or one of a list after another."""

    declared: Declared
    fixed: Any = None
    expression: Expression | None = None
    each: tuple[Any, ...] = ()

    def of(self, values: Mapping[str, Any], number: int) -> Any:
        """Its value in the default unit, for the experiment of a number from 0. Raises ExpressionError."""
        if self.each:
            return self.each[number % len(self.each)]
        return self.fixed if self.expression is None else self.expression(values)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent; None: as much as is wanted. `time` in s, `mass` in g, `money` in the file's currency."""

    cells: int | None = None
    time: float | None = None
    money: float | None = None
    mass: float | None = None
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Stop:
    """When it is enough."""

    when: Expression | None = None
    unchanged: int | None = None
    failures: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """How an objective is read from a run: `expression` over results and the point, in the unit of its type."""

    expression: Expression
    unit: str  # of the objective; "" where it is a plain number


@dataclass(frozen=True)
class Plan:
    """A campaign's file, checked.

    Args:
        file: its name, for messages.
        text: as it was written.
        dimensions: units of the point's numbers, by name; "" for plain ones, and for levels.
        types: of the names of the point, for expressions.
        results: the types of the protocol's results, by name.
        constraints: those of the file.
        prior: laws by objective: point -> value in the objective's unit.
        virtual: fidelities of virtual cells (`labd.campaign.modelled.Modelled`).
    """

    name: str
    version: str
    summary: str
    file: str
    text: str
    space: Space
    dimensions: Mapping[str, str]
    types: Mapping[str, Type]
    objectives: tuple[Objective, ...]
    combine: str
    measured: Mapping[str, Measured]
    results: Mapping[str, Type]
    protocol: Protocol
    settings: Mapping[str, Setting]
    constraints: tuple[Expression, ...]
    batch: int
    rolling: bool
    budget: Budget
    costs: Mapping[str, Expression | float]
    stop: Stop
    optimiser: str
    optimiser_settings: Mapping[str, Any]
    prior: Mapping[str, Callable[[Point], float]]
    seed: int
    virtual: tuple[Any, ...] = ()

    @property
    def external(self) -> bool:
        """Whether a program outside proposes."""
        return self.optimiser == EXTERNAL

    def problem(self, avoid: Sequence[Point] = ()) -> Problem:
        """What an optimiser is asked; points as good as those to avoid do not count as allowed."""
        combine: Any = self.combine
        space = self.space if not avoid else replace(self.space, allowed=_elsewhere(self.space, tuple(avoid)))
        return Problem(space, self.objectives, self.prior, combine)

    def values(self, point: Point) -> dict[str, Any]:
        """A point for expressions: numbers in the default units of their dimensions."""
        return in_default_units(point, self.dimensions)

    def seed_of(self, number: int) -> int:
        """The seed of the so many-eth ask."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{number}".encode()).digest()[:4])

    def cells_of(self, point: Point, number: int) -> dict[str, Any]:
        """A row of the queue's table: the protocol's parameters, quantities as text with their unit.

        Raises:
            ExpressionError: one of them has no value there.
        """
        values = self.values(point)
        row: dict[str, Any] = {}
        for name, setting in self.settings.items():
            row[name] = _cell(setting.of(values, number), setting.declared.type)
        return row

    def cost(self, what: str, point: Point) -> float:
        """Of one experiment: `money` in the currency, `mass` in g; 0 where the file says none."""
        try:
            return _costs(self.costs.get(what, 0.0), self.values(point))
        except ExpressionError:
            return 0.0  # such a point is not allowed; what the journal has all the same must not end the daemon

    @property
    def needs_figures(self) -> bool:
        """Whether an objective is made of the figures of a run."""
        return any(parts[0] == "figures" for one in self.measured.values() for parts in one.expression.names)

    def value(
        self, objective: str, point: Point, results: Mapping[str, Any], figures: Mapping[str, Any] = NOTHING
    ) -> float | None:
        """An objective's value in its unit; None where there is none.

        Args:
            objective: its name.
            point: of the experiment.
            results: of the run, as the journal tells them.
            figures: of the run, in default units.
        """
        measured = self.measured[objective]
        told = {name: _plain(value) for name, value in results.items() if value is not None}
        try:
            found = measured.expression({**self.values(point), "results": told, "figures": figures})
        except ExpressionError:
            return None
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
            return None
        kind = measured.expression.type
        if isinstance(kind, Measure) and measured.unit:
            return units.convert(float(found), kind.dimension.unit, measured.unit)
        return float(found)

    def wrong(self, point: Point) -> str | None:
        """Why a point cannot be tried, in words, or None."""
        for name in self.dimensions:
            if name not in point:
                return f"`{name}` is missing; a point has {', '.join(self.dimensions)}"
        unknown = [name for name in point if name not in self.dimensions]
        if unknown:
            return f"the space has no `{unknown[0]}`; a point has {', '.join(self.dimensions)}"
        try:
            return self._outside(point)
        except (TypeError, ValueError) as error:
            return f"it cannot be read: {error}"

    def _outside(self, point: Point) -> str | None:
        from labd.campaign.points import valid

        for dimension in self.space.dimensions:
            names = dimension.parts if isinstance(dimension, Mixture) else (dimension.name,)
            if not valid(Space((dimension,)), {name: point[name] for name in names}):
                told = ", ".join(f"{name} {point[name]}" for name in names)
                return f"{told}: outside of `{dimension.name}`, its bounds, step or sum"
        values = self.values(point)
        for constraint in self.constraints:
            if not constraint(values):
                return f"`{constraint.text.strip()}` does not hold: {constraint.because(values)}"
        return unmakeable(self.settings, values) or unpriced(self.costs, values)


def unmakeable(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> str | None:
    """Why the protocol does not take the parameters of a point, or None."""
    for name, setting in settings.items():
        if setting.expression is None:
            continue
        try:
            found = setting.expression(values)
        except ExpressionError as error:
            return f"`{name}` of the protocol: {error}"
        problem = out_of_bounds(found, setting.declared.type, setting.declared.bounds)
        if problem:
            return f"`{name}` of the protocol: {problem}"
    return None


def unpriced(costs: Mapping[str, Expression | float], values: Mapping[str, Any]) -> str | None:
    """Why it cannot be said what a point costs, or None."""
    for what, cost in costs.items():
        try:
            found = _costs(cost, values)
        except ExpressionError as error:
            return f"`costs.{what}`: {error}"
        if not (math.isfinite(found) and found >= 0):
            return f"`costs.{what}`: {found:.4g} is no cost"
    return None


def _costs(cost: Expression | float, values: Mapping[str, Any]) -> float:
    return float(cost(values)) if isinstance(cost, Expression) else float(cost)


def _elsewhere(space: Space, avoid: tuple[Point, ...]) -> Callable[[Point], bool]:
    """What the space allows, but for points that are as good as the same as these."""
    from labd.campaign.points import distance

    def allowed(point: Point) -> bool:
        if space.allowed is not None and not space.allowed(point):
            return False
        return all(distance(space, point, one) >= ALIKE for one in avoid)

    return allowed


def allows(
    settings: Mapping[str, Setting],
    constraints: tuple[Expression, ...],
    costs: Mapping[str, Expression | float],
    dimensions: Mapping[str, str],
) -> Any:
    """The file's constraints, what the protocol can make, and what has a cost, as one condition over points."""

    def allowed(point: Point) -> bool:
        values = in_default_units(point, dimensions)
        try:
            if not all(constraint(values) for constraint in constraints):
                return False
        except ExpressionError:
            return False
        return unmakeable(settings, values) is None and unpriced(costs, values) is None

    return allowed


def in_default_units(point: Point, dimensions: Mapping[str, str]) -> dict[str, Any]:
    """A point for expressions."""
    found: dict[str, Any] = {}
    for name, value in point.items():
        unit = dimensions.get(name, "")
        found[name] = units.convert(float(value), unit, units.unit(unit).default) if unit else value
    return found


def _cell(value: Any, kind: Type) -> Any:
    if isinstance(kind, Measure):
        return f"{float(value):.9g} {kind.dimension.unit}"
    if isinstance(value, float) and value.is_integer() and getattr(kind, "integer", False):
        return int(value)
    return value


def _plain(told: Any) -> Any:
    """The number of a quantity as the journal writes it, `{"v", "u"}`: it is in the default unit already."""
    return told["v"] if isinstance(told, Mapping) and set(told) == {"v", "u"} else told
