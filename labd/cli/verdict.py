"""What `labd check` says of one protocol: what is wrong with it; if it holds, how long it takes and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd.cli.files import campaign_file, load_named, rest_named
from labd.files.problems import in_order
from labd.protocol import Estimate, InputErrors, Needs, Problem, check, compiled, estimate, needs
from labd.protocol.facts import LabFacts
from labd.protocol.proofs.material import Amount

YEAR = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One file's problems; the rest only when it holds. `campaign` says what a campaign's file holds."""

    problems: tuple[Problem, ...]
    states: int = 0
    time: Estimate | None = None
    needs: Needs | None = None
    campaign: str = ""

    @property
    def holds(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)

    def as_json(self) -> dict[str, Any]:
        """For editors; the keys stay."""
        return {
            "problems": [problem.as_json() for problem in self.problems],
            "time": self.time.as_json() if self.time is not None else None,
            "needs": self.needs.as_json() if self.needs is not None else None,
        }

    def line(self) -> str:
        """`holds: 8 states, 5 h 12 min expected (4 h 20 min to 31 h), LP57 35 µL (10 to 100 µL), 1 tip`."""
        if self.campaign:
            return f"holds: {self.campaign}"
        if self.time is None or self.needs is None:
            return "holds"
        states = f"{self.states} state{'' if self.states == 1 else 's'}"
        return ", ".join([f"holds: {states}", time_told(self.time), *needs_told(self.needs)])


def verdict(name: str, facts: LabFacts | None) -> Verdict:
    """Of one file, by path or by the name of a shipped protocol or campaign."""
    campaign = campaign_file(name)
    if campaign is not None:
        return _of_campaign(campaign, name, facts)
    try:
        protocol = load_named(name)
        problems = tuple(check(protocol, facts))
    except InputErrors as errors:
        return Verdict(in_order([*errors.problems, *rest_named(name, facts, errors)]))
    if any(problem.severity == "error" for problem in problems):
        return Verdict(problems)
    program = compiled(protocol, facts)
    states = sum(state.end is None for state in program.states.values())
    return Verdict(problems, states, estimate(program), needs(program, facts))


def _of_campaign(path: Path, name: str, facts: LabFacts | None) -> Verdict:
    from labd.campaign.checker import check_campaign

    plan, problems = check_campaign(path, name, facts)
    if plan is None:
        return Verdict(problems)
    parts, wanted = len(plan.dimensions), len(plan.objectives)
    told = f"{parts} to choose, {wanted} objective{'' if wanted == 1 else 's'}, batches of {plan.batch}"
    told += f" by {plan.protocol.name} {plan.protocol.version}, proposed by {plan.optimiser}"
    return Verdict(problems, campaign=told)


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────────────────
def time_told(found: Estimate) -> str:
    """`5 h 12 min expected (4 h 20 min to 31 h)`, with what nobody knows the time of."""
    beside = f" beside {' and '.join(found.unknown[:3])}{' and more' if len(found.unknown) > 3 else ''}"
    expected = f"{span(found.expected)} expected{beside if found.unknown else ''}"
    if found.greatest is None:
        return f"{expected} ({span(found.least)} or more)"
    if span(found.least) == span(found.greatest):
        return expected
    return f"{expected} ({span(found.least)} to {span(found.greatest)})"


def span(seconds: float) -> str:
    """`57 s`, `12 min`, `5 h 12 min`, `3 d 4 h`, `11 years`."""
    for unit, size, smaller, small in (
        ("years", YEAR, "", 0.0),
        ("d", 86400.0, "h", 3600.0),
        ("h", 3600.0, "min", 60.0),
        ("min", 60.0, "s", 1.0),
    ):
        if seconds >= 2 * size or (unit == "h" and seconds >= size):
            whole = int(seconds // size)
            rest = round((seconds - whole * size) / small) if small else 0
            if small and rest == round(size / small):
                whole, rest = whole + 1, 0
            return f"{whole} {unit} {rest} {smaller}" if rest else f"{whole} {unit}"
    return f"{seconds:.3g} s"


def needs_told(found: Needs) -> list[str]:
    """`LP57 35 µL (10 to 100 µL)`, `1 tip`, `2 lids`."""
    told = [f"{name.removeprefix('=')} {_amount(amount, ' µL')}" for name, amount in found.materials.items()]
    if found.tips.expected or found.tips.greatest != 0:
        told.append(_pieces(found.tips, "tip"))
    return told + [f"{name} {_amount(amount, '')}" for name, amount in found.parts.items()]


def _amount(amount: Amount, unit: str) -> str:
    expected = f"{amount.expected:.6g}{unit}"
    if amount.greatest is None:
        return f"{expected} or more"
    if amount.least == amount.greatest:
        return expected
    return f"{expected} ({amount.least:.6g} to {amount.greatest:.6g}{unit})"


def _pieces(amount: Amount, word: str) -> str:
    many = word if amount.expected == 1 else f"{word}s"
    if amount.greatest is None:
        return f"{amount.expected:g} {many} or more"
    most = f" (up to {amount.greatest:g})" if amount.greatest > amount.expected else ""
    return f"{amount.expected:g} {many}{most}"


def told_files(found: Mapping[str, Verdict]) -> dict[str, Any]:
    """All verdicts as JSON, by the name that a person wrote."""
    return {name: one.as_json() for name, one in found.items()}
