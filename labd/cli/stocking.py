"""The commands about the stock: what is where, loading, taking out, counting."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from labd.cli.connection import Client, login_name
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json, Lab, Socket


def _places(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the places that the inventory tells."""
    try:
        found = Client(ctx.params.get("socket"), ctx.params.get("lab")).get("/inventory", limit=2.0)["rows"]
    except CliError:
        return []
    return sorted({row["place"] for row in found if row["place"].startswith(incomplete)})


Place = Annotated[
    str,
    typer.Argument(
        metavar="PLACE",
        help="A place of the deck, `ot2/1`; a well of it, `ot2/2/A1`; or a part that lies on no tray.",
        autocompletion=_places,
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.command("inventory")(inventory)
    app.command("load")(load)
    app.command("unload")(unload)
    app.command("count")(count)


def inventory(
    *,
    lot: Annotated[str | None, typer.Option(help="Only what is of this lot.")] = None,
    history: Annotated[
        str | None, typer.Option(metavar="LOT", help="What became of a lot: where it went, and for which samples.")
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell what is where: materials, parts and tips, what is reserved, and what expires."""
    if lot is not None and history is not None:
        raise CliError("say --lot for what is left of it, or --history for where it went", BAD_INPUT)
    client = Client(socket, lab)
    if history is not None:
        found = client.get(f"/inventory/history?{urlencode({'lot': history})}")
    else:
        found = client.get(f"/inventory?{urlencode({'lot': lot})}" if lot is not None else "/inventory")
    from labd.cli import views
    from labd.cli.stock_views import show_history, show_inventory

    if as_json:
        views.show_json(found)
    elif history is not None:
        show_history(found)
    else:
        show_inventory(found)


def load(
    place: Place,
    *,
    material: Annotated[str | None, typer.Option(help="A liquid, as protocols call it: LP57.")] = None,
    lot: Annotated[str | None, typer.Option(help="The supplier's or the lab's own number.")] = None,
    volume: Annotated[str | None, typer.Option(help="All that is in the well: 12mL.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="DAY", help="The last day on which it is good.")] = None,
    dead: Annotated[str | None, typer.Option(help="What cannot be drawn: 1mL (default: as before).")] = None,
    fill: Annotated[
        str | None, typer.Option(metavar="PART", help="The part that lies in every place of a tray.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("--count", help="So many more of a part that lies on no tray.", min=1)
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="It was poured to what is there, and did not take its place.")
    ] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Say that something was put on the deck: a liquid, parts on a tray, or a full tip rack.

    A run that waits for it goes on by itself.
    """
    if expires is not None:
        try:
            dt.date.fromisoformat(expires)
        except ValueError:
            raise CliError(f"--expires {expires!r} is no day; write one like 2027-01-31", BAD_INPUT) from None
    body: dict[str, object] = {"place": place, "material": material, "lot": lot, "volume": volume, "expires": expires}
    body |= {"dead": dead, "fill": fill, "count": number, "add": add, "by": login_name()}
    _tell(Client(socket, lab).post("/inventory/load", body), as_json=as_json)


def unload(place: Place, *, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Say that all that stood at a place, or in one well, was taken out."""
    _tell(Client(socket, lab).post("/inventory/unload", {"place": place, "by": login_name()}), as_json=as_json)


def count(
    place: Place,
    value: Annotated[str, typer.Argument(help="What is there: 11.5mL in a well; 5 parts on a tray; 40 tips.")],
    *,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Say how much you have found at a place; the difference stands in the journal with your name."""
    body: dict[str, object] = {"place": place, "value": value, "by": login_name()}
    _tell(Client(socket, lab).post("/inventory/count", body), as_json=as_json)


def _tell(found: Any, *, as_json: bool) -> None:
    from labd.cli import views
    from labd.cli.stock_views import show_inventory

    if as_json:
        views.show_json(found)
    else:
        show_inventory(found)
