"""The command about samples: which there are, where one comes from, and what is said of it."""

from __future__ import annotations

from typing import Annotated

import typer

from labd.cli.connection import Client, login_name, quoted
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json, Lab, SampleCode, Socket
from labd.cli.words import parameters_of


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command("sample")(sample)


def sample(
    code: SampleCode = None,
    *,
    barcode: Annotated[str | None, typer.Option(help="The barcode or QR text that stands on it.")] = None,
    no_barcode: Annotated[bool, typer.Option("--no-barcode", help="It carries none, or another's by mistake.")] = False,
    active_mass: Annotated[
        str | None, typer.Option(metavar="MASS", help="Of its active material, '12.3 mg': gives C-rates.")
    ] = None,
    about: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TEXT", help="Anything else, such as specific_capacity='160 mAh/g'; NAME= removes."),
    ] = None,
    note: Annotated[str | None, typer.Option(help="Why; it stands in the journal.")] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell where a sample comes from and what was done to it; without a name, which samples there are.

    With an option it is registered first, or what was said of it is corrected.
    """
    if barcode is not None and (no_barcode or not barcode.strip()):
        raise CliError("give --barcode a code, or say --no-barcode, not both", BAD_INPUT)
    said: dict[str, object] = {"barcode": "" if no_barcode else barcode, "active_mass": active_mass, "note": note}
    said["about"] = {name: text or None for name, text in parameters_of(about).items()} if about else None
    says = any(value is not None for value in said.values())
    if code is None and says:
        raise CliError("name the sample that this is about, `labd sample cell-7 --barcode …`", BAD_INPUT)
    client = Client(socket, lab)
    if code is None:
        found = client.get("/samples")
    else:
        path = f"/samples/{quoted(code)}"
        found = client.post(path, {**said, "by": login_name()}) if says else client.get(path)
    from labd.cli import sample_views, views

    if as_json:
        views.show_json(found)
    elif code is None:
        sample_views.show_samples(found)
    else:
        sample_views.show_sample(found)
