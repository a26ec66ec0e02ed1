"""Commands for whoever writes drivers; they need no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labd.cli.errors import BAD_INPUT, CliError

making = typer.Typer(help="Begin something new.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.add_typer(making, name="new")


@making.callback()
def _new() -> None:
    """Begin something new."""


@making.command("driver")
def new_driver(
    name: Annotated[str, typer.Argument(help="What lab.yaml shall call it: small letters, digits and _.")],
    *,
    link: Annotated[str, typer.Option(help="How it is connected: serial, tcp, modbus, opcua, visa or http.")],
    role: Annotated[
        str, typer.Option(help="What it is for a protocol: pump, balance, crimper, … (`roles` in the docs).")
    ],
    into: Annotated[
        Path, typer.Option(help="labd's own checkout, or the folder of a package (begun where there is none).")
    ] = Path(),
) -> None:
    """Write driver, simulator, test and transcript of a toy device, to be changed into yours."""
    from labd.scaffold import ScaffoldError
    from labd.scaffold import new_driver as written

    try:
        found = written(name, link, role, into)
    except ScaffoldError as error:
        raise CliError(str(error), BAD_INPUT) from error
    except OSError as error:
        raise CliError(f"{error.filename or into}: cannot be written: {error.strerror}", BAD_INPUT) from error
    for file in found.files:
        typer.echo(f"{file}: written")
    if found.lacking:
        typer.echo(f"\n{into / 'pyproject.toml'} is your own; so that lab.yaml finds the driver, write into it:\n")
        typer.echo(f"{found.lacking}\nand `labd_{name}` among the packages that it builds")
    there = f"cd {into} && " if into != Path() else ""
    typer.echo(f"`{there}pytest --labd-driver {found.reference}` holds it to the contract of drivers")
