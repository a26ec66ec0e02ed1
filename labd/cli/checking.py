"""`labd check`: protocols and a lab, before anything moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.verdict import told_files, verdict
from labd.cli.views import say, show_json
from labd.files import InputErrors
from labd.lab.check import CheckedLab, check_lab
from labd.protocol import Problem
from labd.protocol.facts import LabFacts


def check_files(names: list[str], lab: Path | None, *, as_json: bool) -> int:
    """Checks all of them, and tells all problems at once. Gives the exit status: warnings are no failure."""
    checked = check_lab(lab) if lab is not None else None
    facts = _facts(checked)
    found = {name: verdict(name, facts) for name in names}
    of_lab = checked.problems if checked is not None else ()
    if as_json:
        show_json({"files": told_files(found), "lab": [problem.as_json() for problem in of_lab]})
    else:
        if lab is not None:
            _show(str(lab), of_lab, "holds")
        for name, one in found.items():
            _show(name, one.problems, one.line())
    told_all = [*of_lab, *(problem for one in found.values() for problem in one.problems)]
    return BAD_INPUT if any(problem.severity == "error" for problem in told_all) else 0


def check_batch(body: Mapping[str, Any], lab: Path) -> dict[str, Any]:
    """A submission checked against a lab.yaml, without its daemon: as POST /batches answers a dry run.

    Raises:
        CliError: the lab does not hold, or the submission.
    """
    from labd.api.queue_models import BatchRequest
    from labd.run.queue.rows import Known
    from labd.run.queue.submitting import read_submission

    checked = check_lab(lab)
    facts = _facts(checked)
    if facts is None:
        raise _refused(InputErrors(checked.problems))
    try:
        found = read_submission(BatchRequest.model_validate(body).submission(), facts, Known())
    except InputErrors as errors:
        raise _refused(errors) from errors
    return {"batch": None, "rows": len(found.entries), "jobs": [], "paused": None}


def _refused(errors: InputErrors) -> CliError:
    told = [problem.as_json() for problem in errors.problems]
    error = {"code": "invalid_protocol", "message": str(errors), "problems": told}
    return CliError(str(errors), BAD_INPUT, {"error": error})


def _facts(checked: CheckedLab | None) -> LabFacts | None:
    """Of a lab that holds."""
    if checked is None or checked.lab is None:
        return None
    from labd.run.facts import facts_of

    return facts_of(checked.lab)


def _show(name: str, problems: Sequence[Problem], line: str) -> None:
    for problem in problems:
        say(problem.render(), "" if problem.severity == "error" else "yellow")
    if all(problem.severity == "warning" for problem in problems):
        say(f"{name}: {line}", "green")
