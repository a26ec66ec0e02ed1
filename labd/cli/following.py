"""Staying with a run until its end."""

from __future__ import annotations

from typing import Any

import typer

from labd.api.marks import mark
from labd.cli.connection import ANSWER_LIMIT, Client, quoted
from labd.cli.errors import CliError
from labd.cli.views import show_run

ONE_WAIT = 30.0  # s; one long poll
INTERRUPTED = 130


def follow(client: Client, run: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Waits for a run's end; tells, unless quiet, when it asks something or is held. Gives where it ended.

    Raises:
        CliError: the daemon ended meanwhile.
    """
    seen = ""
    if not quiet:
        show_run(run)
    try:
        while not run["ended"]:
            path = f"/runs/{quoted(run['run'])}/wait"
            try:
                run = client.get(path, limit=ONE_WAIT + ANSWER_LIMIT, seconds=ONE_WAIT, seen=seen)
            except CliError as error:
                at = f"{run['state']} in {run['protocol_state']}" if run["protocol_state"] else run["state"]
                raise CliError(f"{run['run']} was {at} when its daemon was last heard. {error}") from error
            now = mark(run["state"], run["question"])
            if now != seen and not run["ended"] and not quiet and (run["question"] or run["state"] != "Execute"):
                show_run(run)
            seen = now
    except KeyboardInterrupt:
        typer.echo(f"labd: {run['run']} goes on without you; `labd show {run['run']}` tells where it is", err=True)
        raise typer.Exit(INTERRUPTED) from None
    return run
