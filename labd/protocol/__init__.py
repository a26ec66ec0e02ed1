"""The protocol language: read, checked, compiled to a pure machine. No I/O but reading the file."""

from labd.protocol.checker import check, compiled
from labd.protocol.diagram import mermaid
from labd.protocol.facts import LabFacts, RoleFacts, standard_facts
from labd.protocol.loader import Protocol, load
from labd.protocol.machine import Machine, OutOfTurn
from labd.protocol.parameters import bind_parameters
from labd.protocol.problems import CODES, Problem, ProtocolErrors

__all__ = [
    "CODES",
    "LabFacts",
    "Machine",
    "OutOfTurn",
    "Problem",
    "Protocol",
    "ProtocolErrors",
    "RoleFacts",
    "bind_parameters",
    "check",
    "compiled",
    "load",
    "mermaid",
    "standard_facts",
]
