"""Reading a protocol for a run: loaded, checked against the lab and compiled. It knows nothing of the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labd.files.library import Library
from labd.protocol import load, ready
from labd.protocol.facts import LabFacts
from labd.protocol.machine import Machine
from labd.run.shipped import library


def read(
    source: str, name: str, called: Mapping[str, str], parameters: Mapping[str, object], facts: LabFacts
) -> tuple[Machine, Mapping[str, Any]]:
    """A protocol's machine and the values of its parameters.

    Args:
        source: the protocol's YAML text.
        name: the file's name, for messages.
        called: texts of the protocols that it calls, by name; those that ship with labd are known.
        parameters: values by name, as texts (`35 µL`) or JSON values.
        facts: the lab.

    Raises:
        InputErrors: the protocol or its parameters do not hold; all problems at once.
    """
    protocol = load(source, name, library().under(Library(called)))
    values = ready(protocol, parameters, facts)
    machine = Machine(protocol, values, facts)
    _ = machine.outlook  # worked out here, and not on the loop
    return machine, values
