"""`labd check` of a campaign's file: everything that can be known before the first experiment, all at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

from labd.campaign import loader
from labd.campaign.chance import try_points
from labd.campaign.compiling import Compiler
from labd.campaign.making import Making, Texts
from labd.campaign.measures import reads_spectra
from labd.campaign.model import CampaignFile, LawSpec, OptimiserSpec
from labd.campaign.modelled import read as read_virtual
from labd.campaign.plan import EXTERNAL, Budget, Plan, Stop, allows, in_default_units
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
    Record,
    Type,
    did_you_mean,
    measure,
)
from labd.files import InputErrors, Path, Problem
from labd.lab.findings import Findings
from labd.protocol import LabFacts
from labd.protocol.values import expression_of
from labd.sdk import units

_OF_THE_WHOLE = frozenset({"C115", "C117", "C118", "C120", "C121", "C122", "C123"})
"""What is told of a whole file only: part of it may follow from what is wrong elsewhere."""
_OF_THE_SPACE = frozenset({"C112", "C113", "C116"})
"""What may follow from something that cannot be chosen, since nobody knows what it is."""


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
        making = Making(
            file, self.findings, self.compiler, self.spaces.types, self.results, self.facts, self.texts, self.base
        )
        protocol = making.protocol()
        settings = making.settings(protocol)
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
        try_points(plan, file, self.findings)
        return plan

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
