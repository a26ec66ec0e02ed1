"""From a campaign's file to its shape, or to all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labd.campaign.model import CampaignFile
from labd.files import InputErrors, Reader, Source, read_file
from labd.lab.findings import Findings
from labd.lab.shapes import Flaw, flaws_of

LANGUAGE = 1
_MISSING = {
    "labd": "begin with `labd: 1`",
    "campaign": "name it: `campaign: carbonate_screening`",
    "space": "say what may be chosen: `space: {volume: {type: quantity, min: 10 µL, max: 50 µL}}`",
    "objectives": "say what is wanted: `objectives: {capacity: {goal: maximise}}`",
    "protocol": "name the protocol that makes and measures a sample: `protocol: electrolyte_mixing`",
    "budget": "say what may be spent: `budget: {cells: 40}`",
    "goal": "say what is wanted of it: `goal: maximise`, `minimise`, `target` or `window`",
    "type": "say what kind it is: `quantity`, `number`, `integer`, `choice` or `mixture`",
    "use": "name the optimiser: `use: gp`",
}
_CAMPAIGN = re.compile(r"""^(campaign|"campaign"|'campaign')\s*:""", re.MULTILINE)


def is_campaign(text: str) -> bool:
    """Whether a text is a campaign's file, be it well-formed or not: it has the key `campaign`."""
    return _CAMPAIGN.search(text) is not None


def read(source: Path | str, name: str | None = None) -> tuple[CampaignFile, Findings]:
    """A campaign's file in its shape, and where further findings go.

    Args:
        source: the file's path, or its text.
        name: what messages call it.

    Raises:
        InputErrors: with everything that is wrong with its shape.
    """
    text = read_file(source) if isinstance(source, Path) else source
    origin = Source(name or (str(source) if isinstance(source, Path) else "campaign"), text)
    reader = Reader(origin)
    findings = Findings(origin, reader.problems)
    tree = reader.read()
    _check_head(tree, findings)
    try:
        file = CampaignFile.model_validate(tree)
    except ValidationError as error:
        told = {(problem.line, problem.column) for problem in findings.problems}
        for flaw in _flaws(error, tree):
            found = Findings(origin)
            found.tell(flaw.code, flaw.message, flaw.path, flaw.mend, key=flaw.key)
            findings.add(one for one in found.problems if (one.line, one.column) not in told)
        raise InputErrors(findings.problems) from None
    return file, findings


def _flaws(error: ValidationError, tree: Any) -> Iterator[Flaw]:
    """What pydantic finds, with the codes and mends of campaigns."""
    for flaw in flaws_of(error, CampaignFile, tree):
        mend = flaw.mend
        if flaw.code == "L102":
            mend = _MISSING.get(flaw.message.split("`")[1], "")
        yield replace(flaw, code=f"C{flaw.code[1:]}", mend=mend)


def _check_head(tree: Any, findings: Findings) -> None:
    if not isinstance(tree, dict):
        findings.tell("C103", "this is no campaign", (), "a campaign begins with `labd: 1`, `campaign: its_name`")
        raise InputErrors(findings.problems)
    version = tree.get("labd", LANGUAGE)
    if isinstance(version, bool) or version != LANGUAGE or not isinstance(version, int):
        shown = getattr(version, "text", version)
        message = f"this labd knows version {LANGUAGE} of campaign files, not {shown!r}"
        findings.tell("C107", message, ("labd",), f"write `labd: {LANGUAGE}`")
        raise InputErrors(findings.problems)
