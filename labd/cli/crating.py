"""`labd crate`: a run, a batch or a campaign as a research object, its check, and its reading back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labd.cli.connection import Client
from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Json, Lab, Socket

CRATE_LIMIT = 3600.0  # s; a batch is many files

Licence = Annotated[
    str | None,
    typer.Option(help="What others may do with a crate's data: https://spdx.org/licenses/CC-BY-4.0, or a text."),
]
Path_ = Annotated[Path, typer.Argument(metavar="CRATE", help="A folder, or a .zip.", show_default=False)]

crate_app = typer.Typer(
    help="Research objects: all that is known of a run, a batch or a campaign, as an RO-Crate.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@crate_app.callback()
def _crate() -> None:
    """Research objects: all that is known of a run, a batch or a campaign, as an RO-Crate."""


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.add_typer(crate_app, name="crate")


@crate_app.command("write")
def write_crate(
    what: Annotated[str, typer.Argument(metavar="RUN|BATCH|CAMPAIGN|SAMPLE", help="Of what.")],
    *,
    to: Annotated[
        Path | None,
        typer.Option(help="A new folder, or a file that ends in .zip (default: exports/ in the daemon's store)."),
    ] = None,
    licence: Licence = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Write a crate: all that is known of a run, a batch, a campaign or a sample."""
    send(Client(socket, lab), what, to, licence, as_json=as_json)


def send(client: Client, what: str, to: Path | None, licence: str | None, *, as_json: bool) -> None:
    """Asks the daemon for a crate, and says where it is."""
    body: dict[str, object] = {"what": what, "to": str(to.resolve()) if to else None, "licence": licence}
    found = client.post("/crates", body, limit=CRATE_LIMIT)
    from labd.cli import views

    if as_json:
        views.show_json(found)
    else:
        typer.echo(found["path"])
        for lack in found["lacks"]:
            typer.echo(lack, err=True)


@crate_app.command("check")
def check_crate(crate: Path_, *, as_json: Json = False) -> None:
    """Check that a crate is whole and as it was written; it needs neither a daemon nor a network."""
    from labd.cli import views
    from labd.records.crate import CrateError, check

    try:
        flaws = check(crate)
    except (CrateError, OSError) as error:
        raise CliError(str(error), BAD_INPUT) from error
    if as_json:
        views.show_json([{"where": flaw.where, "what": flaw.what, "mend": flaw.mend} for flaw in flaws])
    elif flaws:
        typer.echo("\n".join(map(str, flaws)), err=True)
    else:
        typer.echo(f"{crate} holds: every file is as it was written, and the journal's extract is unbroken")
    if flaws:
        raise typer.Exit(REFUSED)


@crate_app.command("page")
def page_of_crate(
    crate: Path_,
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Which, where it has several.")] = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to (default: RUN.html here).")] = None,
) -> None:
    """Make the page of a run anew from what a crate has of it; it needs neither a daemon nor a network."""
    from labd.records.crate import CrateError, page_of

    try:
        text, name = page_of(crate, run)
        file = output or Path(f"{name}.html")
        file.write_text(text, encoding="utf-8")
    except (CrateError, OSError) as error:
        raise CliError(str(error), BAD_INPUT) from error
    typer.echo(file)
