"""`labd check`: everything that can be proved of a protocol before anything moves, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from labd.files.problems import InputErrors, Problem, in_order
from labd.protocol.compiler import compile_protocol
from labd.protocol.facts import LabFacts, standard_facts
from labd.protocol.loader import Protocol
from labd.protocol.model import CallStep, steps_of
from labd.protocol.parameters import bind_parameters
from labd.protocol.program import Program
from labd.protocol.proofs.branches import branch_problems, loop_problems
from labd.protocol.proofs.case import Case
from labd.protocol.proofs.divisions import division_problems
from labd.protocol.proofs.graph import check_graph
from labd.protocol.proofs.hints import hints
from labd.protocol.proofs.outcomes import outcome_problems
from labd.protocol.proofs.stocks import stock_problems
from labd.protocol.proofs.timing import timing_problems
from labd.protocol.proofs.values import value_problems

_BROKEN_GRAPH = frozenset({"P301"})
_BESIDE_THE_WAY = frozenset({"P302", "P307", "P310", "P311", "P501", "P506"})
"""Problems that leave the ways through a protocol as they are: proofs hold all the same."""
_PROOFS = (value_problems, division_problems, branch_problems, loop_problems, timing_problems, outcome_problems, hints)


def check(
    protocol: Protocol, facts: LabFacts | None = None, parameters: Mapping[str, Any] | None = None
) -> list[Problem]:
    """All that is wrong with a protocol, and warnings, in the order of the file.

    Args:
        protocol: as loaded.
        facts: of the lab that it is to run in; without them it is proven for every lab.
        parameters: what `bind_parameters` gave for one run; without them it is proven for all that they may be.
    """
    return list(in_order(_check(protocol, facts or standard_facts(), parameters)))


def ready(protocol: Protocol, values: Mapping[str, Any], facts: LabFacts) -> dict[str, Any]:
    """The bound parameters of a run that may start in a lab: proven for its own values, not for all that may be.

    Raises:
        InputErrors: with everything that is wrong with the protocol or the values.
    """
    problems: list[Problem] = []
    bound: dict[str, Any] | None = None
    try:
        bound = bind_parameters(protocol, values, facts)
    except InputErrors as errors:
        problems += errors.problems
    problems += [problem for problem in check(protocol, facts, bound) if problem.severity == "error"]
    if problems or bound is None:
        raise InputErrors(problems)
    return bound


def compiled(protocol: Protocol, facts: LabFacts | None = None) -> Program:
    """The program of a protocol, proven as far as its machine needs it: what a lab has left is not looked at.

    Raises:
        InputErrors: with everything that is wrong with it.
    """
    program, problems = _compiled(protocol, facts or standard_facts())
    if any(problem.severity == "error" for problem in problems):
        raise InputErrors(problems)
    return program


def _compiled(protocol: Protocol, facts: LabFacts) -> tuple[Program, list[Problem]]:
    program, problems = compile_protocol(protocol, facts)
    if not any(problem.code in _BROKEN_GRAPH for problem in problems):
        besides = (
            [way for window in protocol.file.windows if isinstance(way := window.otherwise, str)] if problems else []
        )
        led = [name for name in besides if name in program.states]
        whole = {problem.code for problem in problems} <= _BESIDE_THE_WAY
        problems += check_graph(program, protocol.source, whole=whole, besides=led)
    return program, problems


def _check(
    protocol: Protocol, facts: LabFacts, parameters: Mapping[str, Any] | None, *, whole: bool = True
) -> Iterator[Problem]:
    """`whole`: not a part of another protocol, whose needs are counted with its caller's."""
    program, problems = _compiled(protocol, facts)
    yield from problems
    told = {problem.code for problem in problems}
    if "P214" not in told:
        yield from _called(protocol, facts)
    if told <= _BESIDE_THE_WAY:
        case = Case(protocol, program, facts, parameters)
        for proof in (*_PROOFS, stock_problems) if whole else _PROOFS:
            yield from proof(case)


def _called(protocol: Protocol, facts: LabFacts) -> Iterator[Problem]:
    """Protocols that are called have to hold too."""
    told: set[str] = set()
    for path, step in steps_of(protocol.file):
        if not isinstance(step, CallStep) or step.call in told or step.call not in protocol.calls:
            continue
        told.add(step.call)
        called = protocol.calls[step.call]
        errors = [problem for problem in _check(called, facts, None, whole=False) if problem.severity == "error"]
        if errors:
            mend = f"mend {called.source.name}"
            yield protocol.source.problem("P214", f"`{called.name}` does not pass its check", (*path, "call"), mend)
            yield from errors
