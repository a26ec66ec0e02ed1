"""Commands that tell what a protocol does, and what protocols may say; they need no daemon."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Protocol

if TYPE_CHECKING:
    from labd.lab.lab import Lab
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
    """Tell in plain words what a protocol does, how long it takes and what it uses."""
    typer.echo(_made(protocol, lab, _told), nl=False)


def _told(protocol: Loaded, facts: LabFacts | None) -> str:
    from labd.cli.verdict import needs_told, time_told
    from labd.protocol import compiled, estimate, needs
    from labd.protocol.views.telling import tell

    program = compiled(protocol, facts)
    found = estimate(program)
    times = {"": found, **{name: state for name, state in found.states.items() if state.greatest != 0}}
    said = {name: time_told(time) for name, time in times.items()}
    return tell(protocol, facts, times=said, material=needs_told(needs(program, facts)))


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
    from labd.protocol.views.diagram import mermaid
    from labd.protocol.views.svg import svg

    _write(_made(protocol, lab, svg if form == "svg" else mermaid), output)


def schema(
    *,
    of: Annotated[
        Literal["protocol", "campaign", "lab", "faults"],
        typer.Option(help="The schema of protocols, campaigns, lab.yaml, or files of faults."),
    ] = "protocol",
    mqtt: Annotated[bool, typer.Option("--mqtt", help="The MQTT contract, as an AsyncAPI 3 document.")] = False,
    schemas: Annotated[
        Path | None, typer.Option(help="With --mqtt: a folder for a JSON Schema of each message, instead.")
    ] = None,
    output: Output = None,
    lab: OfLab = None,
) -> None:
    """Print the JSON Schema of protocols, campaigns, lab.yaml or faults; or the MQTT contract, for other systems.

    The contract is JSON; an --output whose name ends in .yaml or .yml is written as YAML.
    """
    from labd.lab.models import lab_schema
    from labd.protocol.views.schema import protocol_schema

    if mqtt:
        _contract(schemas, output, lab)
        return
    if schemas is not None:
        raise CliError("--schemas is for the MQTT contract: labd schema --mqtt --schemas DIR", BAD_INPUT)
    if of == "faults":
        from labd.faults import faults_schema

        found = faults_schema()
    elif of == "campaign":
        from labd.campaign.schema import campaign_schema

        found = campaign_schema()
    else:
        found = lab_schema() if of == "lab" else protocol_schema(_facts(lab))
    _write(json.dumps(found, ensure_ascii=False, indent=1) + "\n", output)


def _contract(schemas: Path | None, output: Path | None, lab: Path | None) -> None:
    from labd.telemetry.asyncapi import as_yaml, document, schema_files

    if schemas is not None:
        schemas.mkdir(parents=True, exist_ok=True)
        for name, found in schema_files().items():
            _write(json.dumps(found, ensure_ascii=False, indent=1) + "\n", schemas / name)
        return
    told = document(_lab(lab).config if lab is not None else None)
    yaml = output is not None and output.suffix in (".yaml", ".yml")
    _write(as_yaml(told) if yaml else json.dumps(told, ensure_ascii=False, indent=1) + "\n", output)


def _made(name: str, lab: Path | None, make: Callable[[Loaded, LabFacts | None], str]) -> str:
    """What is made of a protocol that holds. Raises Exit, after telling what is wrong with one that does not."""
    from labd.cli.files import load_named
    from labd.files import InputErrors

    facts = _facts(lab)
    try:
        return make(load_named(name), facts)
    except InputErrors as errors:
        typer.echo(str(errors), err=True)
        raise typer.Exit(BAD_INPUT) from errors


def _facts(lab: Path | None) -> LabFacts | None:
    """Of a lab that holds. Raises CliError."""
    if lab is None:
        return None
    from labd.run.facts import facts_of

    return facts_of(_lab(lab))


def _lab(path: Path) -> Lab:
    """A lab that holds. Raises CliError."""
    from labd.lab.check import check_lab

    checked = check_lab(path)
    if checked.lab is None:
        raise CliError("\n".join(problem.render() for problem in checked.problems), BAD_INPUT)
    return checked.lab


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        from labd.cli.files import replace

        replace(output, text)
