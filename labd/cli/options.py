"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labd.cli.connection import Client, quoted
from labd.cli.errors import CliError
from labd.run.shipped import shipped


def _runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the runs of the daemon that the other options name; nothing where none answers."""
    try:
        runs = Client(ctx.params.get("socket"), ctx.params.get("lab")).get("/runs", limit=2.0)
    except CliError:
        return []
    return [run["run"] for run in reversed(runs) if run["run"].startswith(incomplete)]


def _devices(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the daemon's devices."""
    return _named(ctx, incomplete, "/devices", "device")


def _alarms(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the alarms that have not ended."""
    return _named(ctx, incomplete, "/alarms", "id")


def _interlocks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the lab's interlocks."""
    return _named(ctx, incomplete, "/interlocks", "name")


def _samples(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the lab's samples."""
    return _named(ctx, incomplete, "/samples", "sample")


def _named(ctx: typer.Context, incomplete: str, path: str, key: str) -> list[str]:
    try:
        found = Client(ctx.params.get("socket"), ctx.params.get("lab")).get(path, limit=2.0)
    except CliError:
        return []
    return [one[key] for one in found if one[key].startswith(incomplete)]


def _jobs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the jobs of the queue that were not started."""
    try:
        found = Client(ctx.params.get("socket"), ctx.params.get("lab")).get("/queue", limit=2.0)["jobs"]
    except CliError:
        return []
    return [job["job"] for job in found if job["run"] is None and job["job"].startswith(incomplete)]


def _choices(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: what the run's question offers."""
    try:
        path = f"/runs/{quoted(ctx.params.get('run') or '')}"
        question = Client(ctx.params.get("socket"), ctx.params.get("lab")).get(path, limit=2.0)["question"] or {}
    except (CliError, KeyError, TypeError):
        return []
    return [choice for choice in question.get("choices") or () if choice.startswith(incomplete)]


def _protocols(incomplete: str) -> list[str]:
    return [name for name in shipped() if name.startswith(incomplete)]


Socket = Annotated[
    Path | None,
    typer.Option(help="The daemon's Unix socket (default: LABD_SOCKET, lab.yaml's, the service's)."),
]
Lab = Annotated[Path | None, typer.Option(help="The lab.yaml whose daemon is meant (default: ./lab.yaml).")]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, `run-0001`.", autocompletion=_runs)]
OneRun = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="A run's id, `run-0001`.", autocompletion=_runs, show_default=False),
]
Protocol = Annotated[
    str,
    typer.Argument(help="A protocol's file, or the name of one that ships with labd.", autocompletion=_protocols),
]
Protocols = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE...", help="Protocols and campaigns, by file or name.", autocompletion=_protocols),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, `job-0001`.", autocompletion=_jobs)]
DeviceId = Annotated[
    str | None,
    typer.Argument(help="One device, with what it can be told to do.", autocompletion=_devices),
]
SampleCode = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID|BARCODE]", help="A sample's id or barcode.", autocompletion=_samples, show_default=False
    ),
]
Device = Annotated[str, typer.Argument(metavar="DEVICE", help="The device.", autocompletion=_devices)]
AlarmId = Annotated[str, typer.Argument(metavar="ALARM", help="An alarm of `labd status`.", autocompletion=_alarms)]
InterlockName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="An interlock that has tripped.", autocompletion=_interlocks),
]
Choice = Annotated[
    list[str] | None,
    typer.Argument(help="One of the question's choices; its words need no quotes.", autocompletion=_choices),
]
Cause = Annotated[str | None, typer.Option(help="Why; it stands in the journal.")]
