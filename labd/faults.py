"""A file of faults, checked against the lab whose simulated devices it is for: every problem with place and mend."""

from __future__ import annotations

from pathlib import Path

from labd.files import Reader, Source, read_file
from labd.lab.findings import Findings
from labd.lab.models import LabConfig
from simulators._kit.host import HostError, kinds_of
from simulators.faults.check import FaultsError, check
from simulators.faults.model import Faults, faults_schema

__all__ = ["Faults", "faults_schema", "load_faults"]


def load_faults(path: Path, lab: LabConfig, *, simulated: bool = False) -> Faults:
    """Reads and checks a file of faults for a lab's devices.

    Args:
        path: the file.
        lab: whose devices it is about.
        simulated: only those with a `simulator`; else all, since a dry run simulates all.

    Raises:
        InputErrors: it cannot be read, or says what does not hold; all errors at once.
    """
    source = Source(str(path), read_file(path))
    reader = Reader(source)
    findings = Findings(source, reader.problems)
    tree = reader.read()
    drivers = {name: one.driver for name, one in lab.devices.items() if one.simulator is not None or not simulated}
    try:
        faults = check(tree, kinds_of(drivers))
    except HostError as error:
        findings.tell("F201", str(error), ())
    except FaultsError as error:
        for flaw in error.flaws:
            findings.tell(flaw.code, flaw.message, flaw.path, flaw.mend, key=flaw.key)
    findings.settle()
    return faults
