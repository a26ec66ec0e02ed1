"""The page of all codes: each with its shortest example, and what `labd check` really says of it."""  # noqa: INP001

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from labd.cli.app import app
from labd.protocol import CODES, InputErrors, bind_parameters, load

EXAMPLES = Path(__file__).parent / "examples" / "checks"
LABS = EXAMPLES.parent / "labs"
"""Of codes of lab.yaml: each example is one."""
OF_A_LAB = frozenset({"P210", "P501", "P502", "P503", "P504", "P505", "P506", "W109"})
"""Codes that are only told of one lab, `lab.yaml` beside the examples."""
OF_A_RUN = {"P401": {"force": "12 kN"}}
"""Codes that are only told when a run is started with these values."""
ELSEWHERE = {
    "F": "`labd simulate --faults` and `labd-sim --faults`, of files of faults",
    "L": "`labd check --lab`, of lab.yaml",
    "P6": "`labd import`, of files of other programs",
    "T": "`labd submit`, of tables of samples, and `labd pair`, of tables of electrodes",
}
"""Codes of other files: told in the same form, most of them without an example here."""

_INTRO = """\
`labd check FILE` tells all that is wrong with a protocol before anything moves: each problem with its code, its place,
the line with a caret, and how to mend it. Codes with P are errors (exit status 2), codes with W are warnings (exit
status 0). They are stable: a script or an editor may rely on them (`--json`).

A protocol that holds gets one line: how long it takes, and what it needs.

- **Least** time is what no run can do faster, on the shortest way to a complete end: waits, and actions whose time is a
  parameter itself. **Expected** is when all goes well: parameters by their defaults, the last way of each `next`, loops
  `until` with one turn. **Greatest** is the costliest way that `max_visits`, `repeat` and time limits allow. Where
  nobody knows an action's time, it is named beside the sum. A held run takes longer.
- **Material** is counted on the same three ways: the greatest is the worst path, every state as often as `max_visits`
  allows, every volume at the upper end of what parameters allow. A part that is picked again was missed before, and
  counts once. A run is looked at again when it starts, with its own values.
- **Values over parameters** are proven over all values that the parameters may have at that place, with every `if` and
  `next` on the way there. An error names values with which a run really comes there; where none are found, nothing is
  said.
- **Failures that are passed over** (P316): an action that is done once and makes the sample, such as a dose or a crimp,
  fails, a state catches that, and a way leads on to an end that is `complete`. The way is clean again where a person
  answers a question or goes on after a hold, and where an action of the same name was done after all. A question that
  nobody answers in time is no word of a person. Measurements do not count (their data tell), nor do arms (what an arm
  has missed, its result tells). What no state catches holds the run."""


def checks() -> Iterator[str]:
    """The page, part by part."""
    yield "# What `labd check` says"
    yield _INTRO
    for code, why in CODES.items():
        file = _folder(code) / f"{code}.yaml"
        if not file.exists():
            continue
        yield f"## {code}"
        yield f"{why[0].upper()}{why[1:]}."
        yield f"```yaml\n{_shown(file)}```"
        yield f"```\n{said(code)}```"
    for prefix, where in ELSEWHERE.items():
        rest = [code for code in CODES if code.startswith(prefix)]
        if rest:
            yield f"## {prefix}…: told by {where}"
            yield "\n".join(["| code | why |", "|---|---|", *(f"| {code} | {CODES[code]} |" for code in rest)])


def _folder(code: str) -> Path:
    return LABS if code.startswith("L") else EXAMPLES


def _shown(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "backslashreplace").replace("\t", "→   ")


@functools.cache
def said(code: str) -> str:
    """The command and what it answers, run on the example."""
    if code in OF_A_RUN:
        values = " ".join(f"{name}='{value}'" for name, value in OF_A_RUN[code].items())
        try:
            bind_parameters(load(EXAMPLES / f"{code}.yaml"), OF_A_RUN[code])
        except InputErrors as errors:
            return f"$ labd run {code}.yaml {values}\n{errors}\n"
        return ""
    if code.startswith("L"):
        arguments = ["check", "--lab", f"{code}.yaml"]
    else:
        arguments = ["check", *(["--lab", "lab.yaml"] if code in OF_A_LAB else []), f"{code}.yaml"]
    with contextlib.chdir(_folder(code)):
        answer = CliRunner().invoke(app, arguments)
    return f"$ labd {' '.join(arguments)}\n{answer.stdout}"
