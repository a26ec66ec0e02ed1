"""`labd check`: everything that can be proved of a protocol before anything moves, all at once."""

from __future__ import annotations

from labd.files.problems import InputErrors, Problem
from labd.protocol.compiler import compile_protocol
from labd.protocol.facts import LabFacts, standard_facts
from labd.protocol.graph import check_graph
from labd.protocol.loader import Protocol
from labd.protocol.program import Program

_BROKEN_GRAPH = frozenset({"P301"})


def check(protocol: Protocol, facts: LabFacts | None = None) -> list[Problem]:
    """All that is wrong with a protocol, in the order of the file; for one lab where its facts are given."""
    return _check(protocol, facts)[1]


def compiled(protocol: Protocol, facts: LabFacts | None = None) -> Program:
    """The program of a protocol. Raises InputErrors when anything is wrong with it."""
    program, problems = _check(protocol, facts)
    if problems:
        raise InputErrors(problems)
    return program


def _check(protocol: Protocol, facts: LabFacts | None) -> tuple[Program, list[Problem]]:
    program, problems = compile_protocol(protocol, facts or standard_facts())
    if not any(problem.code in _BROKEN_GRAPH for problem in problems):
        problems += check_graph(program, protocol.source, whole=not problems)
    return program, list(InputErrors(problems).problems)
