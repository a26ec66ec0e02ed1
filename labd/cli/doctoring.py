"""`labd doctor`: what is wrong with a lab's machine, ports, devices, broker and store, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labd.cli.connection import Client, NoDaemonError, quoted
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json, Socket
from labd.cli.words import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labd.doctor import Answers, Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}
_SIGNS = {"ok": "✓", "warning": "!", "problem": "✗"}


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command("doctor")(doctor)


def doctor(
    *,
    lab: Annotated[Path, typer.Option(help="The lab that is looked at.")] = Path("lab.yaml"),
    connect: Annotated[
        bool, typer.Option("--connect/--no-connect", help="Open devices that no daemon has, and ask who they are.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only what is to be mended.")] = False,
    socket: Socket = None,
    as_json: Json = False,
) -> None:
    """Look at a lab: its file, ports, devices, clocks, broker, disk, service and limits, each with its mend.

    Moves nothing. A daemon that runs is asked, and its devices are left to it; else they are opened as at its start,
    asked who they are, and closed. Ends with 0 when nothing is to be mended, 1 with warnings only, 2 with a problem.
    """
    from labd import clock
    from labd.doctor import examine, worst

    if not lab.is_file():
        raise CliError(f"there is no {lab} here; say which lab is meant with --lab lab.yaml", BAD_INPUT)
    found = clock.run(examine(lab, _answers(socket, lab), connect=connect))
    if as_json:
        from labd.cli.views import show_json

        show_json({"status": worst(found), "findings": [finding.as_json() for finding in found]})
    else:
        _show([finding for finding in found if not quiet or finding.level != "ok"], found)
    raise typer.Exit(worst(found))


def _answers(socket: Path | None, lab: Path) -> Answers | None:
    """What the lab's daemon says; None where none runs."""
    from labd.doctor import Answers

    try:
        client = Client(socket, None if socket is not None else lab)
        status = client.get("/status")
    except NoDaemonError:
        return None
    except CliError as error:
        if error.status == BAD_INPUT:  # a lab.yaml that does not hold: that is told with the rest
            return None
        raise
    names = [device["device"] for device in status["devices"]]
    devices = {name: client.get(f"/devices/{quoted(name)}") for name in names}
    offsets = {name: client.get(f"/devices/{quoted(name)}/clock")["offset"] for name in names}
    return Answers(status, devices, offsets)


def _show(shown: Sequence[Finding], found: Sequence[Finding]) -> None:
    from labd.cli.views import say

    for finding in shown:
        say(f"{_SIGNS[finding.level]} {finding.about}: {finding.text}", _STYLES[finding.level])
        if finding.mend and finding.level != "ok":
            say(f"    → {finding.mend}")
    counts = {level: sum(finding.level == level for finding in found) for level in _SIGNS}
    told = f"{many(counts['problem'], 'problem')}, {many(counts['warning'], 'warning')}, {counts['ok']} well"
    say(told, "red" if counts["problem"] else "yellow" if counts["warning"] else "green")
