"""`labd check`: protocols and a lab, before anything moves."""

from __future__ import annotations

from pathlib import Path

from labd.cli.errors import BAD_INPUT
from labd.cli.files import load_named
from labd.cli.views import say, show_json
from labd.lab.config import LabConfig, LabError, load_lab
from labd.protocol import InputErrors, Problem, check
from labd.protocol.facts import LabFacts


def check_files(names: list[str], lab: Path | None, *, as_json: bool) -> int:
    """Checks all of them, and tells all problems at once. Gives the exit status.

    Raises:
        CliError: a file that is not there or cannot be read.
    """
    facts: LabFacts | None = None
    lab_problems: list[str] = []
    if lab is not None:
        try:
            facts = _facts(load_lab(lab))
        except LabError as error:
            lab_problems = str(error).splitlines()
    found = {name: _problems(name, facts) for name in names}
    if as_json:
        told = {name: [problem.as_json() for problem in problems] for name, problems in found.items()}
        show_json({"files": told, "lab": lab_problems})
    else:
        _show(found, lab, lab_problems)
    return BAD_INPUT if lab_problems or any(found.values()) else 0


def _facts(config: LabConfig) -> LabFacts:
    from labd.run.facts import lab_facts

    return lab_facts(config)


def _problems(name: str, facts: LabFacts | None) -> list[Problem]:
    try:
        return list(check(load_named(name), facts))
    except InputErrors as errors:
        return list(errors.problems)


def _show(found: dict[str, list[Problem]], lab: Path | None, lab_problems: list[str]) -> None:
    if lab is not None and not lab_problems:
        say(f"{lab}: holds", "green")
    for line in lab_problems:
        say(line, "red")
    for name, problems in found.items():
        if not problems:
            say(f"{name}: holds", "green")
        for problem in problems:
            say(problem.render())
