"""The commands about what guards a lab: alarms, interlocks, and devices in maintenance."""

from __future__ import annotations

from typing import Annotated

import typer

from labd.cli.connection import Client, login_name, quoted
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import AlarmId, Cause, Device, InterlockName, Json, Lab, OneRun, Socket


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.command("clear")(clear)
    app.command("interlocks")(interlocks)
    app.command("maintenance")(maintenance)
    app.command("acknowledge")(acknowledge)


def clear(
    run: OneRun = None,
    *,
    interlock: InterlockName = None,
    cause: Cause = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Say that a person has taken the sample of an ended run out of the lab, and clear an aborted run.

    With --interlock: say that what tripped an interlock is over, so that its devices may act again.
    """
    if (run is None) == (interlock is None):
        raise CliError("name a run, or an interlock with --interlock; `labd status` shows both", BAD_INPUT)
    client = Client(socket, lab)
    from labd.cli import views

    if interlock is not None:
        found = client.post(f"/interlocks/{quoted(interlock)}/clear", {"by": login_name()})
    else:
        body: dict[str, object] = {"by": login_name(), "cause": cause}
        found = client.post(f"/runs/{quoted(run or '')}/commands/clear", body)
    if as_json:
        views.show_json(found)
    elif interlock is not None:
        views.say(f"interlock {interlock} is cleared; what it held waits for `labd unhold RUN`", "green")
    else:
        views.show_run(found)


def interlocks(*, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Tell the interlocks: their conditions, what they read now, and which have tripped."""
    found = Client(socket, lab).get("/interlocks")
    from labd.cli import views
    from labd.cli.guard_views import show_interlocks

    if as_json:
        views.show_json(found)
    else:
        show_interlocks(found)


def maintenance(
    device: Device,
    *,
    reason: Annotated[str | None, typer.Option(help="What is done to it; it stands in the journal.")] = None,
    off: Annotated[bool, typer.Option("--off", help="It is done: runs may have the device again.")] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Take a device from runs while somebody works on it, or give it back."""
    if off == (reason is not None):
        raise CliError("say what is done with --reason '…', or --off when it is done", BAD_INPUT)
    body: dict[str, object] = {"on": not off, "reason": reason, "by": login_name()}
    found = Client(socket, lab).post(f"/devices/{quoted(device)}/maintenance", body)
    from labd.cli import views

    if as_json:
        views.show_json(found)
    else:
        views.show_devices([found])


def acknowledge(alarm: AlarmId, *, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Say that you have seen an alarm. It goes on until what it is about is over."""
    found = Client(socket, lab).post(f"/alarms/{quoted(alarm)}/acknowledge", {"by": login_name()})
    from labd.cli import views

    if as_json:
        views.show_json(found)
    else:
        views.show_alarms([found], None)
