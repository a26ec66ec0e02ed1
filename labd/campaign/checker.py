"""`labd check` of a campaign's file: everything that can be known before the first experiment, all at once."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from random import Random
from typing import Any

from labd.campaign import loader
from labd.campaign.compiling import Compiler
from labd.campaign.measures import reads_spectra
from labd.campaign.model import CampaignFile, LawSpec, OptimiserSpec
from labd.campaign.modelled import read as read_virtual
from labd.campaign.plan import EXTERNAL, Budget, Plan, Setting, Stop, allows, in_default_units, unmakeable, unpriced
from labd.campaign.problem import CampaignError, Objective, Point, Space
from labd.campaign.spaces import Spaces, quantity
from labd.campaign.wants import Wants
from labd.expr import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    Expression,
    ExpressionError,
    Measure,
    Record,
    Type,
    did_you_mean,
    measure,
)
from labd.files import InputErrors, Path, Problem
from labd.files.library import Library
from labd.lab.findings import Findings
from labd.protocol import LabFacts, Protocol, check, compiled, load
from labd.protocol.parameters import Declared, check_named, parameter_types
from labd.protocol.values import BadValue, expression_of, literal, out_of_bounds
from labd.run.shipped import find_protocol, library
from labd.sdk import units

_OF_THE_WHOLE = frozenset({"C115", "C117", "C118", "C120", "C121", "C122", "C123"})
"""What is told of a whole file only: part of it may follow from what is wrong elsewhere."""
_OF_THE_SPACE = frozenset({"C112", "C113", "C116"})
"""What may follow from something that cannot be chosen, since nobody knows what it is."""
_OF_VALUES = frozenset({"P502", "P503", "P504", "P505"})
"""What is said of all values that parameters may have: the queue looks at those of each sample."""
SAMPLES = 400
"""Points by chance that are looked at before it is said that nothing is allowed."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A campaign's protocol, when it is not read from files: its text, and those that it calls."""

    source: str
    name: str
    called: Mapping[str, str] = field(default_factory=dict)


def check_campaign(
    source: FilePath | str, name: str | None = None, facts: LabFacts | None = None, texts: Texts | None = None
) -> tuple[Plan | None, tuple[Problem, ...]]:
    """A campaign's file as a plan (None where it does not hold), and all that is wrong with it, in order.

    Args:
        source: the file's path, or its text.
        name: what messages call it.
        facts: of the lab that it is to run in.
        texts: its protocol; without them it is looked for beside the file and among the shipped ones.
    """
    base = source.parent if isinstance(source, FilePath) else None
    try:
        loaded = loader.read(source, name)
        findings = Findings(loaded.findings.source, [*loaded.findings.problems])
        plan = _Checker(loaded.file, findings, facts, texts, base).plan()
        follows = _OF_THE_WHOLE if loaded.lacks else frozenset()
        follows |= _OF_THE_SPACE if "space" in loaded.lacks else frozenset()
        findings.problems = [one for one in findings.problems if one.code not in follows]
        problems = findings.settle()
    except InputErrors as errors:
        return None, errors.problems
    return plan, problems


def plan_of(
    source: FilePath | str, name: str | None = None, facts: LabFacts | None = None, texts: Texts | None = None
) -> Plan:
    """The plan of a campaign's file that holds. Raises InputErrors with all that is wrong."""
    plan, problems = check_campaign(source, name, facts, texts)
    if plan is None:
        raise InputErrors(problems)
    return plan


class _Checker:
    """One pass over a file."""

    def __init__(
        self, file: CampaignFile, findings: Findings, facts: LabFacts | None, texts: Texts | None, base: FilePath | None
    ) -> None:
        self.file = file
        self.findings = findings
        self.facts = facts
        self.texts = texts
        self.base = base
        self.spaces = Spaces(findings)
        self.compiler = Compiler(findings)
        self.results: dict[str, Type] = {}

    def plan(self) -> Plan | None:
        """The plan, as far as there is one; problems go to the findings."""
        file = self.file
        for name, spec in file.space.items():
            self.spaces.take(name, spec)
        protocol = self._protocol()
        settings = self._settings(protocol)
        constraints = tuple(
            one
            for index, text in enumerate(file.constraints)
            if (one := self.compiler.compile(text, self.spaces.types, BOOLEAN, ("constraints", index))) is not None
        )
        wants = Wants(file, self.findings, self.compiler, self.spaces.types, self.results)
        objectives, measured = wants.read(known=protocol is not None)
        for name, read in measured.items():
            if reads_spectra(read.expression.names) and importlib.util.find_spec("impedance") is None:
                self._lacks(
                    "spectra are fitted with the package impedance: pip install 'labd[data]'", ("objectives", name)
                )
        costs = {what: found for what in ("money", "mass") if (found := self._cost(what)) is not None}
        budget = self._budget()
        stop = self._stop(objectives)
        optimiser, own = self._optimiser()
        prior = self._prior(objectives)
        virtual = tuple(
            read_virtual(name, spec, self.spaces.types, self.compiler, self.findings)
            for name, spec in file.virtual.items()
        )
        self._unused()
        if not self.findings.hold or protocol is None:
            return None
        allowed = allows(settings, constraints, costs, self.spaces.units)
        plan = Plan(
            name=file.campaign,
            version=file.version,
            summary=file.summary,
            file=self.findings.source.name if self.findings.source is not None else "",
            text=self.findings.source.text if self.findings.source is not None else "",
            space=Space(tuple(self.spaces.dimensions), allowed),
            dimensions=dict(self.spaces.units),
            types=dict(self.spaces.types),
            objectives=objectives,
            combine=file.combine,
            measured=measured,
            results=self.results,
            protocol=protocol,
            settings=settings,
            constraints=constraints,
            batch=file.batch,
            rolling=file.rolling,
            budget=budget,
            costs=costs,
            stop=stop,
            optimiser=optimiser,
            optimiser_settings=own,
            prior=prior,
            seed=file.seed,
            virtual=virtual,
        )
        self._something_allowed(plan)
        return plan

    # ── its protocol ─────────────────────────────────────────────────────────────────────────────────────────────
    def _protocol(self) -> Protocol | None:
        at: Path = ("protocol",)
        try:
            protocol = self._loaded()
        except FileNotFoundError as error:
            known = str(error).rpartition("(")[2].rstrip(")").split(", ")
            mend = did_you_mean(FilePath(self.file.protocol).stem, known, "those that ship with labd are")
            self.findings.tell("C114", f"there is no protocol `{self.file.protocol[:60]}`", at, mend)
            return None
        except InputErrors as errors:
            self._not_holding(errors.problems)
            return None
        found = check(protocol, self.facts)
        problems = [one for one in found if one.severity == "error" and one.code not in _OF_VALUES]
        if problems:
            self._not_holding(problems)
            return None
        program = compiled(protocol, self.facts)
        for name, slot in program.results.items():
            self.results[name] = slot.expression.type if slot.expression is not None else _type_of(slot.fixed)
        return protocol

    def _loaded(self) -> Protocol:
        if self.texts is not None:
            return load(self.texts.source, self.texts.name, library().under(Library(self.texts.called)))
        path = find_protocol_near(self.file.protocol, self.base)
        return load(path, str(path) if path.is_relative_to(self.base or "") else path.name, library(path.parent))

    def _not_holding(self, problems: Any) -> None:
        mend = "mend it first: `labd check` tells the same of it"
        self.findings.tell("C114", f"`{self.file.protocol}` does not pass its check", ("protocol",), mend)
        self.findings.add(problems)

    def _settings(self, protocol: Protocol | None) -> dict[str, Setting]:
        """The protocol's parameters, dimension-checked against its own."""
        types = self.spaces.types
        if protocol is None:
            for name, raw in self.file.parameters.items():
                if (text := expression_of(raw)) is not None:
                    self.compiler.compile(text, types, ANYTHING, ("parameters", name), 1)
            return {}
        declared = parameter_types(protocol, lambda *_: None)
        for name in self.file.parameters:
            if name not in declared:
                mend = did_you_mean(name, declared, "its parameters are")
                self.findings.tell(
                    "C115", f"{protocol.name} has no parameter `{name}`", ("parameters", name), mend, key=True
                )
        found: dict[str, Setting] = {}
        for name, kind in declared.items():
            if self.file.parameters.get(name) is not None:
                setting = self._setting(name, self.file.parameters[name], kind)
                if setting is not None:
                    found[name] = setting
            elif kind.default is None:
                at: Path = ("parameters",) if "parameters" in self.file.model_fields_set else ("protocol",)
                mend = f"add `{name}: …`, a value or an expression over the space"
                self.findings.tell(
                    "C115", f"the parameter `{name}` of {protocol.name} has no value", at, mend, key=True
                )
        return found

    def _setting(self, name: str, raw: Any, kind: Declared) -> Setting | None:
        at: Path = ("parameters", name)
        if isinstance(raw, dict):
            listed = raw.get("each")
            if set(raw) != {"each"} or not isinstance(listed, list) or not listed:
                mend = f"write `{name}: {{each: [ot2/6/A1, ot2/6/B1]}}`, a value or an expression"
                self.findings.tell("C116", "a mapping here has `each`, a list of values", at, mend)
                return None
            each = [self._literal(one, kind, (*at, "each", index)) for index, one in enumerate(listed)]
            return None if None in each else Setting(kind, each=tuple(each))
        text = expression_of(raw)
        if text is not None:
            expression = self.compiler.compile(text, self.spaces.types, kind.type, at, 1)
            return None if expression is None else Setting(kind, expression=expression)
        value = self._literal(raw, kind, at)
        return None if value is None else Setting(kind, fixed=value)

    def _literal(self, raw: Any, kind: Declared, at: Path) -> Any:
        try:
            value = literal(raw, kind.type)
            if self.facts is not None and not isinstance(kind.type, Measure) and hasattr(kind.type, "names"):
                check_named(value, kind.type, self.facts)  # type: ignore[arg-type]
        except BadValue as bad:
            mend = bad.mend
            if isinstance(raw, str) and raw in self.spaces.types:
                mend = f"an expression begins with `=`: write `={raw}`"
            self.findings.tell("C116", bad.message, at, mend)
            return None
        problem = out_of_bounds(value, kind.type, kind.bounds)
        if problem:
            self.findings.tell("C116", problem, at, "the bounds are those of the protocol's parameter")
            return None
        return value

    # ── budget, costs, end ───────────────────────────────────────────────────────────────────────────────────────
    def _cost(self, what: str) -> Expression | float | None:
        raw = getattr(self.file.costs, what)
        if raw is None:
            return None
        at: Path = ("costs", what)
        wanted = NUMBER if what == "money" else measure("g")
        text = expression_of(raw)
        if text is not None:
            return self.compiler.compile(text, self.spaces.types, wanted, at, 1)
        if what == "mass":
            return quantity(raw, "g", at, self.findings)
        if isinstance(raw, bool) or not isinstance(raw, (int, float)):
            mend = "write the number alone; `budget.currency` says of what"
            self.findings.tell("C103", f"a number belongs here, not `{str(raw)[:40]}`", at, mend)
            return None
        return float(raw)

    def _budget(self) -> Budget:
        spec = self.file.budget
        for what in ("money", "mass"):
            if getattr(spec, what) is not None and getattr(self.file.costs, what) is None:
                mend = f"say what one experiment costs: `costs: {{{what}: {'4.50' if what == 'money' else '1 g'}}}`"
                self.findings.tell("C118", f"a budget of {what}, and no costs", ("budget", what), mend, key=True)
        if (
            all(getattr(spec, key) is None for key in ("cells", "time", "money", "mass"))
            and self.file.stop.when is None
        ):
            self.findings.tell(
                "C118", "nothing bounds the campaign", ("budget",), "say what may be spent: `cells: 40`", key=True
            )
        time = None if spec.time is None else quantity(spec.time, "s", ("budget", "time"), self.findings)
        mass = None if spec.mass is None else quantity(spec.mass, "g", ("budget", "mass"), self.findings)
        return Budget(spec.cells, time, spec.money, mass, spec.currency)

    def _stop(self, objectives: tuple[Objective, ...]) -> Stop:
        spec = self.file.stop
        if spec.when is None:
            return Stop(None, spec.unchanged, spec.failures)
        best = {one.name: measure(one.unit) if one.unit else NUMBER for one in objectives}
        names: dict[str, Type] = {"best": Record("best", best)}
        names |= dict.fromkeys(("experiments", "failed", "rounds"), INTEGER)
        if len(objectives) < len(self.file.objectives):
            names["best"] = ANYTHING  # what is wrong with the others is told already
        return Stop(self.compiler.compile(spec.when, names, BOOLEAN, ("stop", "when")), spec.unchanged, spec.failures)

    # ── who proposes ─────────────────────────────────────────────────────────────────────────────────────────────
    def _optimiser(self) -> tuple[str, dict[str, Any]]:
        from labd.campaign.optimisers import OPTIMISERS, lacking, optimiser

        spec = self.file.optimiser
        name, settings = (spec.use, dict(spec.settings)) if isinstance(spec, OptimiserSpec) else (spec, {})
        at: Path = ("optimiser", "use") if isinstance(spec, OptimiserSpec) else ("optimiser",)
        known = (*OPTIMISERS, EXTERNAL)
        if name not in known:
            mend = did_you_mean(name, known, "there are")
            self.findings.tell("C119", f"there is no optimiser `{name}`", at, mend)
        elif lack := lacking(name):
            self._lacks(lack, at)
        elif name != EXTERNAL and settings:
            try:
                optimiser(name, **settings)
            except CampaignError as error:
                self.findings.tell("C119", str(error), ("optimiser", "settings"), key=True)
        elif settings:
            self.findings.tell("C119", "`external` has no settings", ("optimiser", "settings"), "delete them", key=True)
        return name, settings

    def _lacks(self, lack: str, at: Path) -> None:
        """A library that is not here: an error in the daemon; whoever looks at a file elsewhere is told of it."""
        mend = "" if self.texts is not None else "the lab's daemon needs it; whoever only checks files does not"
        self.findings.tell("C119", lack, at, mend, warning=self.texts is None)

    def _prior(self, objectives: tuple[Objective, ...]) -> dict[str, Callable[[Point], float]]:
        from labd.campaign.laws import law

        found: dict[str, Callable[[Point], float]] = {}
        by_name = {one.name: one for one in objectives}
        for name, raw in self.file.prior.items():
            at: Path = ("prior", name)
            if name not in self.file.objectives:
                mend = did_you_mean(name, self.file.objectives, "they are")
                self.findings.tell("C112", f"there is no objective `{name}`", at, mend, key=True)
                continue
            objective, text = by_name.get(name), expression_of(raw)
            if text is not None:
                kind: Type = ANYTHING if objective is None else measure(objective.unit) if objective.unit else NUMBER
                expression = self.compiler.compile(text, self.spaces.types, kind, at, 1)
                if expression is not None and objective is not None:
                    found[name] = _as_law(expression, objective.unit, self.spaces.units)
                continue
            self.compiler.used |= set(self.spaces.types)  # nobody knows what a law reads
            try:
                found[name] = law(raw.law, **raw.settings) if isinstance(raw, LawSpec) else law(raw)
            except CampaignError as error:
                mend = "write the name of a law, or `=` and an expression over the space"
                self.findings.tell("C119", str(error), at, mend)
        return found

    # ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────
    def _unused(self) -> None:
        owners = {self.spaces.owner[name] for name in self.compiler.used if name in self.spaces.owner}
        for name in self.file.space:
            if name not in owners and name in {*self.spaces.owner.values()}:
                mend = "map it under `parameters`, or delete it: the optimiser would learn that it changes nothing"
                self.findings.tell(
                    "C121", f"nothing is made of `{name}`", ("space", name), mend, key=True, warning=True
                )

    def _something_allowed(self, plan: Plan) -> None:
        """Looks at points by chance: whether any is allowed, and whether the protocol takes all that are."""
        from labd.campaign.points import sample

        random = Random(0)
        bare = Space(plan.space.dimensions)
        points = [point for _ in range(SAMPLES) if (point := sample(bare, random)) is not None]
        within, refused = [], ""
        makeable: list[Point] = []
        for point in points:
            values = in_default_units(point, plan.dimensions)
            try:
                if not all(constraint(values) for constraint in plan.constraints):
                    continue
            except ExpressionError:
                continue
            why = unmakeable(plan.settings, values) or unpriced(plan.costs, values)
            refused = refused or why or ""
            within.append(why is None)
            makeable += [point] if why is None else []
        self._laws_hold(plan, makeable)
        if not any(within):
            at: Path = ("constraints",) if self.file.constraints else ("space",)
            why = f": {refused}" if refused else ""
            mend = "widen the bounds or the constraints"
            self.findings.tell("C120", f"none of {len(points)} points by chance is allowed{why}", at, mend, key=True)
        elif not all(within):
            share = 100 * within.count(False) / len(within)
            message = f"{share:.0f} % of the allowed points cannot be made and are left out, such as {refused}"
            mend = "narrow the space, or add a constraint that says so"
            self.findings.tell("C122", message, ("parameters",), mend, key=True, warning=True)

    def _laws_hold(self, plan: Plan, points: list[Point]) -> None:
        """Whether each prior has a value wherever an optimiser may look: one that has none breaks an ask."""
        for name, expected in plan.prior.items():
            without = ""
            for point in points:
                try:
                    value = expected(point)
                except CampaignError as error:
                    without = str(error)
                    break
                if not math.isfinite(value):
                    without = f"it is {value} at {', '.join(f'{key} {one}' for key, one in point.items())}"
                    break
            if without:
                mend = "narrow the space, add a constraint, or write a law that holds everywhere in it"
                self.findings.tell("C123", f"the prior of `{name}` has no value: {without}", ("prior", name), mend)


def _as_law(expression: Expression, unit: str, dimensions: Mapping[str, str]) -> Callable[[Point], float]:
    """An expression over the point as a law in the objective's unit."""

    def expected(point: Point) -> float:
        try:
            found = float(expression(in_default_units(point, dimensions)))
        except ExpressionError as error:
            where = ", ".join(f"{name} {value}" for name, value in point.items())
            raise CampaignError(f"{error} at {where}") from error
        return units.convert(found, units.unit(unit).default, unit) if unit else found

    return expected


def _type_of(value: Any) -> Type:
    return NUMBER if isinstance(value, (int, float)) and not isinstance(value, bool) else ANYTHING


def find_protocol_near(name: str, base: FilePath | None) -> FilePath:
    """A protocol's file: beside the campaign's, by path, or a shipped one. Raises FileNotFoundError."""
    for near in (base / name, base / f"{name}.yaml") if base is not None else ():
        if near.is_file():
            return near
    return find_protocol(name)
