"""`labd device NAME`: one device in a person's hands."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from labd.cli.connection import Client, login_name, quoted
from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Cause, Device, Json, Lab, Socket
from labd.cli.words import named_values, parameters_of

WAIT = 30.0  # s of one long poll
LOOK = 0.5  # s between two looks at a recording
SHORTEST, LONGEST = 0.1, 86400.0  # s of a recording
CHOICES = ("done", "not done", "scrap")


class _Group(TyperGroup):
    """Takes options after the name too, where no command follows it: `labd device press --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not any(arg in self.commands for arg in args[1:]):
            ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)


device_app = typer.Typer(
    cls=_Group,
    help="One device: its state, or something done with it by hand.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.add_typer(device_app, name="device")


def _client(ctx: typer.Context, socket: Path | None, lab: Path | None) -> tuple[Client, str]:
    """The daemon and the device's name, whether the options stand before the command or after it."""
    assert ctx.parent is not None
    outer = ctx.parent.params
    return Client(socket or outer["socket"], lab or outer["lab"]), str(outer["device"])


@device_app.callback()
def device_state(
    ctx: typer.Context, device: Device, *, socket: Socket = None, lab: Lab = None, as_json: Json = False
) -> None:
    """One device: its state; or, with a command after its name, something done with it by hand.

    All of it goes through the lab's daemon, is refused while a run has the device, and stands in the journal with who
    did it.
    """
    if ctx.invoked_subcommand is not None:
        return
    client = Client(socket, lab)
    found = client.get(f"/devices/{quoted(device)}")
    acts = client.get(f"/devices/{quoted(device)}/actions")
    from labd.cli import views

    if as_json:
        views.show_json({**found, "by_hand": acts})
        return
    views.show_device(found)
    for act in acts:
        _show(act)


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────
@device_app.command()
def call(
    ctx: typer.Context,
    action: Annotated[str, typer.Argument(help="What it is to do: `labd device NAME` lists them.")],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="force='7.8 kN': quantities with their unit.")
    ] = None,
    *,
    unit: Annotated[str | None, typer.Option(help="Which channel, nest or mount, where it has several.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until its end.")] = True,
    cause: Cause = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Have it do something, with the device leased meanwhile: no run gets it.

    Ctrl-C leaves the action to its end; `labd device NAME cancel` ends it. Where nobody knows whether it happened, the
    device is kept from runs until you say: `labd device NAME answer`. Ends with 0 when it is done.
    """
    client, device = _client(ctx, socket, lab)
    body: dict[str, object] = {"action": action, "parameters": parameters_of(values or []), "by": login_name()}
    path = f"/devices/{quoted(device)}/actions"
    act = client.post(path, {**body, "unit": unit, "cause": cause})
    try:
        while wait and act["state"] == "running":
            act = client.get(f"{path}/{quoted(act['id'])}", wait=WAIT, limit=2 * WAIT)
    except KeyboardInterrupt:
        raise CliError(f"{device} goes on with {action}; `labd device {device} cancel` ends it") from None
    _tell(act, as_json=as_json)
    if act["state"] in ("failed", "unknown"):
        raise typer.Exit(REFUSED)


@device_app.command()
def answer(
    ctx: typer.Context,
    choice: Annotated[list[str], typer.Argument(help="done, not done, or scrap.")],
    *,
    unit: Annotated[str | None, typer.Option(help="Which, where several wait for a word.")] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Say what became of an action by hand of which nobody knows whether it happened: look at it first."""
    said = " ".join(choice)
    if said not in CHOICES:
        raise CliError(f"{said!r} is none of: {', '.join(CHOICES)}", BAD_INPUT)
    client, device = _client(ctx, socket, lab)
    act = _one_of(client, device, "unknown", unit)
    path = f"/devices/{quoted(device)}/actions/{quoted(act['id'])}/answer"
    _tell(client.post(path, {"choice": said, "by": login_name()}), as_json=as_json)


@device_app.command()
def cancel(
    ctx: typer.Context,
    *,
    unit: Annotated[str | None, typer.Option(help="Which, where several are under way.")] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """End an action by hand that is under way: in order where its driver can, else the device is made safe."""
    client, device = _client(ctx, socket, lab)
    act = _one_of(client, device, "running", unit)
    path = f"/devices/{quoted(device)}/actions/{quoted(act['id'])}/cancel"
    _tell(client.post(path, {"by": login_name()}), as_json=as_json)


def _one_of(client: Client, device: str, state: str, unit: str | None) -> dict[str, Any]:
    found = [
        act
        for act in client.get(f"/devices/{quoted(device)}/actions")
        if act["state"] == state and unit in (None, act["unit"])
    ]
    if not found:
        what = "under way" if state == "running" else "in doubt"
        raise CliError(f"no action by hand of {device} is {what}")
    if len(found) > 1:
        units = ", ".join(act["unit"] for act in found)
        raise CliError(f"several are: say which with --unit: {units}", BAD_INPUT)
    one: dict[str, Any] = found[0]
    return one


def _tell(act: dict[str, Any], *, as_json: bool) -> None:
    from labd.cli import views

    if as_json:
        views.show_json(act)
    else:
        _show(act)


def _show(act: dict[str, Any]) -> None:
    from labd.cli.views import say

    name = f"{act['device']}.{act['unit']}" if act["unit"] else act["device"]
    given = f" ({named_values(act['parameters'])})" if act["parameters"] else ""
    came = f": {named_values(act['result'])}" if act["result"] else ""
    why = f": {act['message']}" if act["message"] else ""
    style = {"done": "green", "failed": "red", "unknown": "yellow"}.get(act["state"], "")
    say(f"{name}.{act['action']}{given} by {act['by']}: {act['state']}{came}{why}", style)
    if act["state"] == "unknown":
        for choice in CHOICES:
            say(f"  labd device {act['device']} answer {choice}")


# ── teaching ─────────────────────────────────────────────────────────────────────────────────────────────────────
Valid = Annotated[str | None, typer.Option(help="How long it is good: '90 day'; it is told when that is over.")]


@device_app.command()
def teach(
    ctx: typer.Context,
    position: Annotated[str, typer.Argument(help="Its name; of a spot at a device its place: press/nest.")],
    *,
    valid: Valid = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Take where the arm stands now as a position, with day, author and how long it is good."""
    client, device = _client(ctx, socket, lab)
    body: dict[str, object] = {"position": position, "valid": valid, "by": login_name()}
    _given([client.post(f"/devices/{quoted(device)}/teach", body)], "positions", as_json=as_json)


@device_app.command()
def calibrate(
    ctx: typer.Context,
    values: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="What was found: force=1.003")],
    *,
    valid: Valid = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Keep what a calibration has found, with day, author and how long it is good."""
    client, device = _client(ctx, socket, lab)
    body: dict[str, object] = {"values": parameters_of(values), "valid": valid, "by": login_name()}
    _given(client.post(f"/devices/{quoted(device)}/calibrate", body), "calibrations", as_json=as_json)


def _given(found: list[dict[str, Any]], key: str, *, as_json: bool) -> None:
    from labd.cli.views import say, show_json

    if as_json:
        show_json(found)
        return
    for one in found:
        until = f", good until {one['ends']}" if one["ends"] else ""
        before = f" (before: {one['before']})" if one["before"] is not None else ""
        say(f"{one['device']}: {one['name']} is {one['value']}{until}{before}", "green")
    if found and not found[0]["named"]:
        one = found[0]
        say(
            f"so that the next start reads it, write in lab.yaml, at {one['device']}: {key}: {key}/{one['device']}.yaml"
        )


# ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────
def _time(text: str) -> float:
    """S of a time as people write it; a bare number is s."""
    from labd.sdk import UnitError
    from labd.sdk.units import parse

    try:
        found = parse(f"{text} s" if text.replace(".", "", 1).isdigit() else text, "s").to("s")
    except UnitError as error:
        raise typer.BadParameter(str(error)) from error
    if not SHORTEST <= found <= LONGEST:
        raise typer.BadParameter(f"a recording takes {SHORTEST:g} s to {LONGEST / 3600:g} h")
    return found


@device_app.command()
def record(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the transcript goes.")],
    *,
    seconds: Annotated[
        float | None,
        typer.Option("--for", parser=_time, metavar="TIME", help="How long: '5 min' (default: until Ctrl-C)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="A file that is there is written anew.")] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Write down what goes over its links while it works: a transcript for tests, without passwords and tokens.

    Meanwhile the device is read as often as while it acts. The transcript can be played to the driver and to the
    simulator. A device of several links gives a file each: FILE, FILE-2.
    Look through it before you give it away: what a device's user typed into names and comments stands in it.
    """
    client, device = _client(ctx, socket, lab)
    if file.exists() and not overwrite:
        raise CliError(f"{file} is there already; name another, or say --overwrite", BAD_INPUT)
    if not file.absolute().parent.is_dir():
        raise CliError(f"there is no folder {file.absolute().parent}", BAD_INPUT)
    path = f"/devices/{quoted(device)}/recording"
    body: dict[str, object] = {"by": login_name(), "seconds": seconds}
    client.post(path, body)
    with _interruptible() as stopped:
        end = None if seconds is None else time.monotonic() + seconds
        if not as_json:
            typer.echo(f"records {device}" + ("; Ctrl-C ends it" if seconds is None else ""), err=True)
        while not stopped and (end is None or time.monotonic() < end) and client.get(path)["on"]:
            time.sleep(min(LOOK, max(0.0, end - time.monotonic())) if end is not None else LOOK)
    found = client.post(f"{path}/end", {"by": login_name()})
    files = _write(file, found["transcripts"])
    if as_json:
        from labd.cli.views import show_json

        show_json({"entries": found["entries"], "full": found["full"], "files": [str(one) for one in files]})
        return
    if found["full"]:
        typer.echo("it became too long, and ended by itself", err=True)
    for one in files:
        typer.echo(str(one))
    if not files:
        now = client.get(f"/devices/{quoted(device)}")
        why = f": it is {now['health']}: {now['problem']}" if now["problem"] else " in that time; give it more"
        raise CliError(f"nothing went over the links of {device}{why}")


def _write(file: Path, transcripts: list[str]) -> list[Path]:
    files: list[Path] = []
    try:
        for number, text in enumerate(transcripts, 1):
            path = file if number == 1 else file.with_stem(f"{file.stem}-{number}")
            path.write_text(text, encoding="utf-8")
            files.append(path)
    except OSError as error:
        sys.stdout.write("".join(transcripts))  # it was recorded: it is not to be lost
        raise CliError(f"{file} cannot be written: {error.strerror}; the transcript stands on stdout") from error
    return files


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """What Ctrl-C does meanwhile: the list is empty until then."""
    stopped: list[int] = []
    before = {number: signal.signal(number, lambda one, _: stopped.append(one)) for number in _ENDS}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDS = (signal.SIGINT, signal.SIGTERM)
