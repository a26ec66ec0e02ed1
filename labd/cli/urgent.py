"""Commands that must be heard: hold, stop and abort, of one run or of all; and the way out of safe mode."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from labd.cli.connection import Client, login_name, quoted
from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Cause, Json, Lab, OneRun, Socket

All = Annotated[bool, typer.Option("--all", help="Every run of the lab.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    for command in (hold, stop, abort, resume):
        app.command()(command)


def hold(
    run: OneRun = None,
    *,
    every: All = False,
    cause: Cause = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Hold a run, or all: what acts is left to its outcome, nothing new starts, everything is kept for going on."""
    _order("hold", run, Client(socket, lab), every=every, cause=cause, as_json=as_json)


def stop(
    run: OneRun = None,
    *,
    every: All = False,
    cause: Cause = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """End a run, or all, in order."""
    _order("stop", run, Client(socket, lab), every=every, cause=cause, as_json=as_json)


def abort(
    run: OneRun = None,
    *,
    every: All = False,
    cause: Cause = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """End a run at once and make its devices safe; with --all every run and every device of the lab.

    No emergency stop: that is a button in hardware.
    """
    _order("abort", run, Client(socket, lab), every=every, cause=cause, as_json=as_json)


def resume(*, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """End safe mode: take up the runs that it left alone, and take new ones."""
    found = Client(socket, lab).post("/resume", {"by": login_name()})
    from labd.cli import views

    if as_json:
        views.show_json(found)
    else:
        runs = ", ".join(found["runs"])
        views.say(f"the lab is at work again{f'; taken up: {runs}' if runs else ''}")


def _order(verb: str, run: str | None, client: Client, *, every: bool, cause: str | None, as_json: bool) -> None:
    if every == (run is not None):
        said = f"say which run, `labd {verb} run-0001`, or all of them, `labd {verb} --all`"
        raise CliError(said if run is None else f"{run} and --all: {said}", BAD_INPUT)
    body: dict[str, object] = {"by": login_name(), "cause": cause}
    path = "/commands" if run is None else f"/runs/{quoted(run)}/commands"
    found = client.post(f"{path}/{verb}", body)
    from labd.cli import views

    if as_json:
        views.show_json(found)
    elif run is not None:
        views.show_run(found)
    else:
        _tell_all(found)
    if any(problem is not None for problem in found.get("safe", {}).values()):
        raise typer.Exit(REFUSED)


def _tell_all(found: dict[str, Any]) -> None:
    from labd.cli import views

    runs = found["runs"]
    views.say(f"{found['command']}: {', '.join(runs)}" if runs else f"no run could take {found['command']}")
    for device, problem in found["safe"].items():
        views.say(f"  {device}: {'safe' if problem is None else f'NOT SAFE: {problem}'}", "red" if problem else "")
    for device, why in found["left"].items():
        views.say(f"  {device}: {why}")
