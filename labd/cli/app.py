"""The commands."""

from __future__ import annotations

import gc
import os
import sys
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo

from labd import button
from labd.cli import (
    authoring,
    campaigning,
    crating,
    devising,
    doctoring,
    guarding,
    keeping,
    making,
    mqtt,
    pairing,
    picturing,
    planning,
    queueing,
    resulting,
    salvage,
    scanning,
    stocking,
    tracing,
    trying,
    urgent,
    watching,
)
from labd.cli.connection import Client, login_name, quoted
from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Cause, Choice, DeviceId, Json, Lab, Protocol, Protocols, RunId, Socket
from labd.cli.words import parameters_of

EXPORT_LIMIT = 3600.0  # s; a long run is many rows


class _Group(TyperGroup):
    """Ends a command that cannot be done with its message on stderr, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CliError as error:
            typer.echo(error.told(as_json="--json" in sys.argv), err=True)
            raise typer.Exit(error.status) from error


app = typer.Typer(
    cls=_Group,
    name="labd",
    help="The daemon that runs a battery lab, and the commands that speak with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


trying.register(app)
planning.register(app)
salvage.register(app)


def main() -> None:
    """The entry point of `labd`."""
    for library in ("OPENBLAS", "OMP", "MKL"):
        # Read when numpy is loaded, for the first ask: with several threads an ask takes eight times as long, and
        # keeps the daemon's loop waiting for up to 0.3 s; with one, 5 ms.
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    only(sys.argv[1:2])(prog_name="labd")


def only(asked: list[str]) -> typer.Typer:
    """All commands, or where one is named only that: to prepare all of them takes longer than most take to run."""
    groups = [group for group in app.registered_groups if group.name in asked]
    commands = [command for command in app.registered_commands if _name(command) in asked]
    if not groups and not commands:
        return app
    one = copy(app)
    # A command alone would be no command for typer, but the whole program.
    one.registered_groups, one.registered_commands = groups, commands + app.registered_commands[:1]
    return one


def _name(command: CommandInfo) -> str:
    return command.name or (command.callback.__name__ if command.callback else "")


# ── a lab ────────────────────────────────────────────────────────────────────────────────────────────────────────
@app.command()
def serve(
    lab: Annotated[Path, typer.Option(help="What the daemon owns.")] = Path("lab.yaml"),
    *,
    without_simulators: Annotated[
        bool, typer.Option("--without-simulators", help="The simulators of lab.yaml run in another process.")
    ] = False,
    faults: Annotated[
        Path | None, typer.Option(help="A file of faults: what goes wrong with the simulated devices, and when.")
    ] = None,
    log: Annotated[Literal["console", "json"] | None, typer.Option(help="Form of the log on stderr.")] = None,
) -> None:
    """Run the daemon of one lab, until SIGTERM or Ctrl-C."""
    button.listen()
    if faults is not None and without_simulators:
        raise CliError("--faults is for simulators in the daemon: give it to `labd-sim` instead", BAD_INPUT)
    gc.disable()  # until it is online: looked through for garbage meanwhile, the start would take a fifth longer
    try:
        from labd.daemon import serve as run_daemon

        status = run_daemon(lab, simulators=not without_simulators, log_format=log, faults=faults)
    finally:
        gc.enable()
    raise typer.Exit(status)


@app.command()
def demo(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the lab alive at the end, to look at over MQTT.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed tells another story; the same one the same.")] = 7,
    cells: Annotated[int, typer.Option(min=1, max=8, help="How many cells to make.")] = 8,
    directory: Annotated[
        Path | None, typer.Option(help="An empty folder for all of it (default: demo-lab/<now>).")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live display.")] = False,
    campaign: Annotated[
        bool,
        typer.Option("--campaign", help="The closed loop: 5 rounds of 8 cells, each proposed from those before."),
    ] = False,
) -> None:
    """Make and measure cells in a simulated lab: hours in seconds."""
    if campaign and (watch or cells != 8):
        raise CliError("a campaign makes 5 rounds of 8 cells, and ends: leave --cells and --watch away", BAD_INPUT)
    from labd.demo import DemoError
    from labd.demo import demo as run_demo

    try:
        status = run_demo(seed, cells, directory, watch, plain, campaign)
    except DemoError as error:
        raise CliError(str(error), BAD_INPUT) from error
    raise typer.Exit(status)


@app.command()
def check(
    files: Protocols = None,
    *,
    lab: Annotated[Path | None, typer.Option(help="Check against this lab, and check it too.")] = None,
    as_json: Json = False,
) -> None:
    """Check protocols, campaigns, and a lab, before anything moves. Ends with 2 when something does not hold."""
    if not files and lab is None:
        raise CliError("name the protocols or campaigns to check, or a lab with --lab", BAD_INPUT)
    from labd.cli.checking import check_files

    raise typer.Exit(check_files(files or [], lab, as_json=as_json))


authoring.register(app)
making.register(app)
picturing.register(app)
guarding.register(app)
keeping.register(app)
tracing.register(app)
crating.register(app)
resulting.register(app)
pairing.register(app)
stocking.register(app)
mqtt.register(app)
devising.register(app)
doctoring.register(app)
scanning.register(app)


@app.command()
def version(*, as_json: Json = False) -> None:
    """Tell the version of this labd."""
    from labd.version import VERSION

    if as_json:
        from labd.cli.views import show_json

        show_json({"version": VERSION})
    else:
        typer.echo(f"labd {VERSION}")


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────
@app.command()
def status(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also the runs that have ended.")] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell how the lab is: its runs, and the devices that need somebody."""
    client = Client(socket, lab)
    found = client.get("/status")
    if every:
        found["runs"] = client.get("/runs")
        found["ended"] = 0
    from labd.cli import views

    if as_json:
        views.show_json(found)
    else:
        views.show_status(found)


watching.register(app)


@app.command()
def devices(
    device: DeviceId = None,
    *,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell the devices: health, what they work for, and their signals."""
    client = Client(socket, lab)
    found = client.get(f"/devices/{quoted(device)}" if device else "/devices")
    from labd.cli import views

    if as_json:
        views.show_json(found)
    elif device:
        views.show_device(found)
    else:
        views.show_devices(found)


@app.command()
def show(run: RunId, *, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Explain a run: where it went and why, what was done, and what came of it."""
    client = Client(socket, lab)
    found = client.get(f"/runs/{quoted(run)}")
    events = list(client.events(run))
    from labd.cli import views
    from labd.cli.explain import explain

    if as_json:
        views.show_json({"run": found, "events": events})
    else:
        views.show_story(found, explain(events))


# ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────
@app.command("run")
def run_protocol(
    protocol: Protocol,
    values: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="volume='35 µL'")] = None,
    *,
    sample: Annotated[str | None, typer.Option(help="What it works on: id or barcode (default: a new cell).")] = None,
    position: Annotated[str | None, typer.Option(help="Where that is, `ot2/3/A1`.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until its end; 0 only if it is complete.")] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Start a protocol for one sample."""
    from labd.cli.files import called_by, find, read
    from labd.files import InputErrors

    try:
        file = find(protocol)
    except InputErrors as errors:
        raise CliError(str(errors), BAD_INPUT) from errors
    text = read(file)
    body: dict[str, object] = {
        "protocol": text,
        "called": called_by(file, text),
        "name": str(file),
        "parameters": parameters_of(values or []),
        "sample": sample,
        "position": position,
        "by": login_name(),
    }
    client = Client(socket, lab)
    started = client.post("/runs", body)
    if wait:
        from labd.cli.following import follow

        started = follow(client, started, quiet=as_json)
    _tell(started, as_json=as_json)
    if wait and started["outcome"] != "complete":
        raise typer.Exit(REFUSED)


def _tell(run: dict[str, Any], *, as_json: bool) -> None:
    from labd.cli import views

    if as_json:
        views.show_json(run)
    else:
        views.show_run(run)


def _order(client: Client, verb: str, run: str, *, as_json: bool, **more: str | None) -> None:
    body: dict[str, object] = {"by": login_name(), **more}
    _tell(client.post(f"/runs/{quoted(run)}/commands/{verb}", body), as_json=as_json)


queueing.register(app)
campaigning.register(app)
urgent.register(app)


@app.command()
def unhold(
    run: RunId,
    *,
    at: Annotated[str | None, typer.Option(help="Go on with this state of the protocol.")] = None,
    cause: Cause = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Go on with a held run."""
    _order(Client(socket, lab), "unhold", run, as_json=as_json, cause=cause, at=at)


@app.command()
def answer(
    run: RunId,
    choice: Choice = None,
    *,
    value: Annotated[str | None, typer.Option(help="The value that it asks for, with its unit.")] = None,
    question: Annotated[
        str | None, typer.Option(help="The question that is meant, `q2`, where a run asks about several actions.")
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Answer a run's question."""
    if not choice and value is None:
        raise CliError("say a choice, or a value with --value; `labd status` shows the question", BAD_INPUT)
    which = f"{run}-{question}" if question is not None and not question.startswith(run) else question
    body: dict[str, object] = {"choice": " ".join(choice or ()), "value": value, "question": which, "by": login_name()}
    _tell(Client(socket, lab).post(f"/runs/{quoted(run)}/answer", body), as_json=as_json)


@app.command()
def export(
    run: RunId,
    *,
    to: Annotated[
        Literal["csv", "parquet", "arrow", "bdf", "bdf-parquet", "netcdf", "plots"],
        typer.Option(help="The form of the files."),
    ] = "csv",
    directory: Annotated[Path | None, typer.Option(help="Where to (default: the daemon's store).")] = None,
    crate: Annotated[
        bool, typer.Option("--crate", help="All that is known of it, also of a batch or a sample, as an RO-Crate.")
    ] = False,
    licence: crating.Licence = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Write a run's data as files, or all that is known of it as a crate."""
    if crate:
        crating.send(Client(socket, lab), run, directory, licence, as_json=as_json)
        return
    if licence is not None:
        raise CliError("--licence is of a crate: say --crate as well", BAD_INPUT)
    body: dict[str, object] = {"to": to, "directory": str(directory.resolve()) if directory else None}
    found = Client(socket, lab).post(f"/runs/{quoted(run)}/export", body, limit=EXPORT_LIMIT)
    from labd.cli import views

    if as_json:
        views.show_json(found)
    else:
        for file in found["files"]:
            typer.echo(file)
