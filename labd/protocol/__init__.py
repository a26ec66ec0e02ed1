"""The protocol language: read, checked, compiled to a pure machine. No I/O but reading the file."""

from labd.files.problems import CODES, InputErrors, Problem
from labd.protocol.checker import check, compiled
from labd.protocol.diagram import mermaid
from labd.protocol.facts import LabFacts, RoleFacts, standard_facts
from labd.protocol.loader import Protocol, load
from labd.protocol.machine import Machine, OutOfTurn
from labd.protocol.parameters import bind_parameters

__all__ = [
    "CODES",
    "InputErrors",
    "LabFacts",
    "Machine",
    "OutOfTurn",
    "Problem",
    "Protocol",
    "RoleFacts",
    "bind_parameters",
    "check",
    "compiled",
    "load",
    "mermaid",
    "standard_facts",
]
