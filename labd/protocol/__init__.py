"""The protocol language: read, checked, compiled to a pure machine. No I/O but reading the file."""

from labd.files.problems import CODES, InputErrors, Problem
from labd.protocol.checker import check, compiled, ready
from labd.protocol.facts import LabFacts, RoleFacts, standard_facts
from labd.protocol.loader import Protocol, load
from labd.protocol.machine import Machine
from labd.protocol.machine.moving import OutOfTurn
from labd.protocol.parameters import bind_parameters
from labd.protocol.proofs.material import Needs, needs
from labd.protocol.proofs.times import Estimate, estimate
from labd.protocol.views.diagram import mermaid

__all__ = [
    "CODES",
    "Estimate",
    "InputErrors",
    "LabFacts",
    "Machine",
    "Needs",
    "OutOfTurn",
    "Problem",
    "Protocol",
    "RoleFacts",
    "bind_parameters",
    "check",
    "compiled",
    "estimate",
    "load",
    "mermaid",
    "needs",
    "ready",
    "standard_facts",
]
