"""`labd check --lab`: all that does not hold in lab.yaml and the files that it names, before anything is connected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labd import clock
from labd.files import InputErrors, Problem, in_order
from labd.lab.config import read_lab
from labd.lab.dosing import check_doses
from labd.lab.equipment import Equipment, Find, check_roles, limits_of
from labd.lab.lab import Lab
from labd.lab.rules import rules_of, safe_actions


@dataclass(frozen=True, slots=True)
class CheckedLab:
    """What came of a check: the lab, not at work, when it holds; its problems, warnings among them."""

    lab: Lab | None
    problems: tuple[Problem, ...]


def check_lab(path: Path, find: Find | None = None) -> CheckedLab:
    """Checks lab.yaml with its positions and the settings of all drivers. Opens no link and moves nothing.

    Args:
        path: lab.yaml.
        find: how a driver is found by its name.
    """
    try:
        draft = read_lab(path)
    except InputErrors as errors:
        return CheckedLab(None, errors.problems)
    findings = draft.findings
    read = tuple(findings.problems)
    equipment = Equipment(draft.devices, draft.deck.values(), draft.base, findings, clock.now().date(), find=find)
    classes = equipment.classes()
    drivers = equipment.drivers(classes)
    check_roles(draft.roles, draft.names, classes, findings)
    for name, cls in classes.items():
        limits_of(name, draft.devices[name], cls.actions, findings)
    rules_of(draft.interlocks, drivers, classes, draft.names, findings)
    safe_actions(draft.devices, classes, findings)
    if draft.config is not None:
        check_doses(draft.config.evidence, classes, drivers, draft.names, draft.deck.values(), findings)
    if not findings.hold or draft.config is None:
        return CheckedLab(None, in_order(findings.problems))
    config = draft.config.read_from(draft.source, draft.base, read)
    return CheckedLab(Lab(config, find=find), in_order(findings.problems))
