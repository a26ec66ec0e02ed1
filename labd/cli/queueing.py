"""The commands about the queue: a shift's table submitted, the line looked at and changed, jobs cancelled."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from labd.cli.connection import Client, NoDaemonError, login_name, quoted
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Cause, JobId, Json, Lab, Protocol, Socket
from labd.cli.words import parameters_of

SUBMIT_LIMIT = 600.0  # s; a thousand rows of a long protocol are checked one by one

queue_app = typer.Typer(
    help="Tell the queue: jobs at work and those that wait, in the order of their turn, and why they wait.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.command()(submit)
    app.command()(cancel)
    app.add_typer(queue_app, name="queue")


def submit(
    protocol: Protocol,
    *,
    table: Annotated[
        Path | None, typer.Option(help="A table of samples, .csv or .xlsx: a row a sample, columns are parameters.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A value for all samples: -p volume='35 µL'."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, max=1000, help="So many samples, without a table.")] = None,
    priority: Annotated[
        int, typer.Option(min=-1000, max=1000, help="Higher ones go first; a column `priority` says it by row.")
    ] = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Samples that the lab has already are meant: a further run for them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check; with --lab also where no daemon is at work.")
    ] = False,
    request: Annotated[
        str | None, typer.Option(help="A name of this submission: given twice, it is queued once (default: a new one).")
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Queue a protocol for many samples: all rows of a table, or none if one does not hold."""
    if table is not None and count is not None:
        raise CliError("--table and --count: a table says by its rows how many samples there are", BAD_INPUT)
    body = _body(protocol, table, count or 1, parameters_of(parameter or []))
    body |= {"priority": priority, "again": again, "dry_run": dry_run, "request": request or uuid.uuid4().hex}
    try:
        found = Client(socket, lab).post_named("/batches", body, limit=SUBMIT_LIMIT)
    except NoDaemonError:
        if not dry_run or lab is None:
            raise
        from labd.cli.checking import check_batch

        found = check_batch(body, lab)
    from labd.cli import queue_views, views

    if as_json:
        views.show_json(found)
    else:
        queue_views.show_submitted(found)


def _body(protocol: str, table: Path | None, count: int, parameters: dict[str, str]) -> dict[str, object]:
    from labd.cli.files import called_by, find, read
    from labd.files import InputErrors
    from labd.files.tables import read_table

    try:
        file = find(protocol)
        rows = read_table(table) if table is not None else None
    except InputErrors as errors:
        told = [problem.as_json() for problem in errors.problems]
        raise CliError(
            str(errors), BAD_INPUT, {"error": {"code": "invalid_table", "message": str(errors), "problems": told}}
        ) from errors
    text = read(file)
    body: dict[str, object] = {
        "protocol": text,
        "called": called_by(file, text),
        "name": str(file),
        "parameters": parameters,
        "by": login_name(),
    }
    if rows is None:
        return body | {"count": count}
    cells = {"rows": [row.cells for row in rows.rows], "row_numbers": [row.number for row in rows.rows]}
    return body | cells | {"table": str(table)}


def cancel(
    job: Annotated[str, typer.Argument(metavar="JOB|BATCH", help="`job-0001`, or all that waits of `batch-0001`.")],
    *,
    why: Annotated[str | None, typer.Option(help="Why; it stands in the journal.")] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Cancel a job that was not started, or all such jobs of a batch. What is at work: `labd stop` or `labd abort`."""
    kind = "batches" if job.startswith("batch-") else "jobs"
    body: dict[str, object] = {"by": login_name(), "why": why}
    found = Client(socket, lab).post(f"/{kind}/{quoted(job)}/commands/cancel", body)
    from labd.cli import views

    if as_json:
        views.show_json(found)
        return
    views.say(f"cancelled: {', '.join(found['cancelled'])}")
    for one, run in found["running"].items():
        views.say(f"  {one} is at work as {run}: `labd stop {run}` ends it", "yellow")


@queue_app.callback(invoke_without_command=True)
def queue(
    ctx: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also the jobs that have ended.")] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell the queue: jobs at work and those that wait, in the order of their turn, and why they wait."""
    if ctx.invoked_subcommand is not None:
        if every or as_json or socket is not None or lab is not None:  # never to another lab than was meant
            said = f"options stand after the command: `labd queue {ctx.invoked_subcommand} … --lab lab.yaml`"
            raise CliError(said, BAD_INPUT)
        return
    _show(Client(socket, lab).get("/queue", ended="true" if every else None), as_json=as_json)


@queue_app.command()
def move(
    job: JobId,
    *,
    before: Annotated[str | None, typer.Option(metavar="JOB", help="The job that it goes before.")] = None,
    first: Annotated[bool, typer.Option("--first", help="To the front.")] = False,
    last: Annotated[bool, typer.Option("--last", help="To the end.")] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Move a job in line; it takes the priority of the place that it comes to."""
    if [before is not None, first, last].count(True) != 1:
        raise CliError("say where it goes: --before JOB, --first or --last", BAD_INPUT)
    to = "first" if first else "last" if last else None
    _order(Client(socket, lab), job, "move", {"before": before, "to": to}, as_json=as_json)


@queue_app.command()
def priority(
    job: JobId,
    number: Annotated[int, typer.Argument(metavar="N", min=-1000, max=1000, help="Higher ones go first.")],
    *,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Give a job another priority. One below zero stands after `--`: `labd queue priority job-0001 -- -5`."""
    _order(Client(socket, lab), job, "priority", {"priority": number}, as_json=as_json)


@queue_app.command()
def release(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job, or a batch: all of it that is held.")],
    *,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Let a held job, or those of a batch, wait for their start again, once what held them is mended."""
    if job.startswith("batch-"):
        path = f"/batches/{quoted(job)}/commands/release"
        _show_released(Client(socket, lab).post(path, {"by": login_name()}), as_json=as_json)
        return
    _order(Client(socket, lab), job, "release", {}, as_json=as_json)


@queue_app.command()
def pause(*, cause: Cause = None, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Start no further job until `labd queue resume`. Runs at work go on."""
    found = Client(socket, lab).post("/queue/commands/pause", {"by": login_name(), "why": cause})
    _show(found, as_json=as_json)


@queue_app.command()
def resume(*, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Start jobs again."""
    _show(Client(socket, lab).post("/queue/commands/resume", {"by": login_name()}), as_json=as_json)


def _order(client: Client, job: str, verb: str, body: dict[str, object], *, as_json: bool) -> None:
    found = client.post(f"/jobs/{quoted(job)}/commands/{verb}", {**body, "by": login_name()})
    from labd.cli import queue_views, views

    if as_json:
        views.show_json(found)
    else:
        queue_views.show_job(found)


def _show_released(found: dict[str, Any], *, as_json: bool) -> None:
    from labd.cli import views

    if as_json:
        views.show_json(found)
    else:
        views.say(f"released: {', '.join(found['released'])}", "green")


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    from labd.cli import queue_views, views

    if as_json:
        views.show_json(found)
    else:
        queue_views.show_queue(found)
