"""`labd safe-state`: makes devices safe when the daemon is gone. systemd runs it after every end of the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Json


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command("safe-state")(safe_state)


def safe_state(
    *,
    lab: Annotated[Path, typer.Option(help="The lab whose daemon is gone.")] = Path("lab.yaml"),
    everything: Annotated[
        bool, typer.Option("--all", help="Also devices on which nothing was under way; what goes on by itself, never.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make safe what a daemon that died left under way, straight at the devices and within 10 seconds.

    What says `on_loss: stop` is made safe; what says continue is left alone, for the next daemon to take up. Ends with
    1 when something is not safe, and refuses while a daemon lives. No emergency stop: that is a button in hardware.
    """
    from labd import clock
    from labd.cli.views import say, show_json
    from labd.files import InputErrors
    from labd.journal import JournalError
    from labd.logs import configure_logs
    from labd.run.salvage import Salvage

    configure_logs(None)
    try:
        salvage = Salvage.of(lab, everything=everything)
        told = clock.run(salvage.run(), salvage.timeline)
    except InputErrors as errors:
        raise CliError(str(errors), BAD_INPUT) from errors
    except JournalError as error:
        raise CliError(str(error), REFUSED) from error
    if as_json:
        show_json([{"device": one.device, "text": one.text, "safe": one.safe} for one in told])
    else:
        for one in told:
            say(f"{one.device}: {one.text}", "red" if one.safe is False else "")
    if any(one.safe is False for one in told):
        raise typer.Exit(REFUSED)
