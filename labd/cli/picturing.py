"""Commands that tell what a protocol does, and what protocols may say; they need no daemon."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Protocol

if TYPE_CHECKING:
    from labd.protocol import LabFacts
    from labd.protocol import Protocol as Loaded

OfLab = Annotated[Path | None, typer.Option("--lab", help="For this lab: its devices, their actions and limits.")]
Output = Annotated[Path | None, typer.Option(help="A file to write instead of stdout.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.command("explain")(explain)
    app.command("diagram")(diagram)
    app.command("schema")(schema)


def explain(protocol: Protocol, *, lab: OfLab = None) -> None:
    """Tell in plain words what a protocol does."""
    from labd.protocol.telling import tell

    typer.echo(_made(protocol, lab, tell), nl=False)


def diagram(
    protocol: Protocol,
    *,
    form: Annotated[
        Literal["mermaid", "svg"], typer.Option("--format", help="Mermaid text, or a picture.")
    ] = "mermaid",
    output: Output = None,
    lab: OfLab = None,
) -> None:
    """Draw a protocol: its states and the ways between them."""
    from labd.protocol.diagram import mermaid
    from labd.protocol.svg import svg

    _write(_made(protocol, lab, svg if form == "svg" else mermaid), output)


def schema(
    *,
    of: Annotated[
        Literal["protocol", "lab"], typer.Option(help="The schema of protocols, or of lab.yaml.")
    ] = "protocol",
    output: Output = None,
    lab: OfLab = None,
) -> None:
    """Print the JSON Schema of protocols, for editors."""
    found = _lab_schema() if of == "lab" else _protocol_schema(lab)
    _write(json.dumps(found, ensure_ascii=False, indent=1) + "\n", output)


def _protocol_schema(lab: Path | None) -> dict[str, Any]:
    from labd.protocol.schema import protocol_schema

    return protocol_schema(_facts(lab))


def _lab_schema() -> dict[str, Any]:
    raise CliError("there is no schema of lab.yaml yet; `labd check --lab lab.yaml` checks it", BAD_INPUT)


def _made(name: str, lab: Path | None, make: Callable[[Loaded, LabFacts | None], str]) -> str:
    """What is made of a protocol that holds. Raises Exit, after telling what is wrong with one that does not."""
    from labd.cli.files import find
    from labd.protocol import InputErrors, load
    from labd.protocol.library import Library, folder
    from labd.run.shipped import shipped

    file = find(name)
    facts = _facts(lab)
    try:
        loaded = load(file, library=Library(shipped()).under(folder(file.parent)))
        return make(loaded, facts)
    except InputErrors as errors:
        typer.echo(str(errors), err=True)
        raise typer.Exit(BAD_INPUT) from errors


def _facts(lab: Path | None) -> LabFacts | None:
    if lab is None:
        return None
    from labd.lab.config import LabError, load_lab
    from labd.run.facts import lab_facts

    try:
        return lab_facts(load_lab(lab))
    except LabError as error:
        raise CliError(str(error), BAD_INPUT) from error


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        from labd.cli.files import replace

        replace(output, text)
