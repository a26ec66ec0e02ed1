"""From a campaign's file to its shape, or to all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
_NAMED = ("space", "objectives", "parameters", "prior", "virtual")
"""Keys whose entries are looked at one by one."""
_CAMPAIGN = re.compile(r"""^(campaign|"campaign"|'campaign')\s*:""", re.MULTILINE)


def is_campaign(text: str) -> bool:
    """Whether a text is a campaign's file, be it well-formed or not: it has the key `campaign`."""
    return _CAMPAIGN.search(text) is not None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A campaign's file in its shape, and where further findings go.

    Args:
        file: all of it; or, where its shape is wrong, what is left without the parts that are.
        lacks: the keys that something was left away of.
    """

    file: CampaignFile
    findings: Findings
    lacks: frozenset[str] = frozenset()


def read(source: Path | str, name: str | None = None) -> Loaded:
    """Reads a campaign's file.

    Args:
        source: the file's path, or its text.
        name: what messages call it.

    Raises:
        InputErrors: its shape is so wrong that nothing is left to look at; with everything that is.
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
        rest = _rest(tree, error)
        if rest is None:
            raise InputErrors(findings.problems) from None
        lacks = frozenset(str(flaw["loc"][0]) for flaw in error.errors())
        return Loaded(rest, findings, lacks)
    return Loaded(file, findings)


def _rest(tree: dict[str, Any], error: ValidationError) -> CampaignFile | None:
    """What is left of a file without the parts whose shape is wrong; None where that is too little."""
    left = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for flaw in error.errors():
        key, *inner = (part for part in flaw["loc"] if not str(part).startswith("@"))
        if key in _NAMED and inner and isinstance(left.get(str(key)), dict):
            left[str(key)].pop(inner[0], None)
            if key == "objectives":
                left[str(key)][str(inner[0])] = {"goal": "minimise"}
        else:
            left.pop(str(key), None)
    if "budget" not in left:
        left["budget"] = {"cells": 1}
    try:
        return CampaignFile.model_validate(left)
    except ValidationError:
        return None


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
