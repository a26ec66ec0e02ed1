"""The commands about results: figures of runs, the analysis of foreign files, and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from labd.cli.connection import Client, quoted
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json, Lab, Socket

REPORT_LIMIT = 600.0  # s; plots of many cells
Code = Annotated[
    str, typer.Argument(metavar="RUN|BATCH|SAMPLE", help="`run-0001`, `batch-0001`, a sample's id or barcode.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.command("results")(results)
    app.command("analyse")(analyse)
    app.command("report")(report)


def results(
    code: Code,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also what each action gave.")] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell what came out: capacity, efficiency, energy, rest voltages and impedance, and why a figure is missing."""
    found = Client(socket, lab).get(f"/results/{quoted(code)}", limit=REPORT_LIMIT)
    from labd.cli import result_views, views

    if as_json:
        views.show_json(found)
    else:
        result_views.show_results(found, every=every)


def analyse(
    file: Annotated[Path, typer.Argument(help="A test in Battery Data Format, .bdf.csv or .bdf.parquet.")],
    *,
    flip: Annotated[bool, typer.Option("--flip", help="Its positive current discharges: turn the sign.")] = False,
    plots: Annotated[
        Path | None, typer.Option(help="Draw voltage profiles, capacity and dQ/dV into this folder, PNG and SVG.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Analyse another instrument's file as labd analyses its own cells; it needs no daemon.

    Next to each capacity stands what the file's own counters say. A current of the wrong sign is refused with 2.
    """
    from labd.records import bdf

    try:
        table = bdf.read(file)
        found = bdf.foreign(table, flip=flip)
    except bdf.BdfError as error:
        said = str(error) if str(error).startswith(str(file)) else f"{file}: {error}"
        raise CliError(said, BAD_INPUT) from error
    drawn = _drawn(table, plots, file, flip=flip) if plots is not None else []
    from labd.cli import result_views, views

    if as_json:
        views.show_json(_told(found, drawn))
    else:
        result_views.show_foreign(file, found)
        for path in drawn:
            views.say(str(path))


def report(
    code: Code,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to (default: CODE.html).")
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
) -> None:
    """Write the report of a run, a batch or a sample as one HTML file, with tables and plots; it is read offline."""
    text = Client(socket, lab).text(f"/reports/{quoted(code)}", limit=REPORT_LIMIT)
    file = out or Path(f"{code.replace('/', '_')}.html")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{file} cannot be written: {error.strerror}; name another with -o", BAD_INPUT) from error
    typer.echo(file)


def _told(found: Any, drawn: list[Path]) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(found), "plots": [str(path) for path in drawn]}


def _drawn(table: Any, folder: Path, file: Path, *, flip: bool) -> list[Path]:
    """Draws what a file holds. Raises CliError: matplotlib is missing, or the folder cannot be written."""
    from labd.records.bdf import plots_of
    from labd.records.drawing import PlotError, save

    stem = file.name.partition(".")[0]
    try:
        return [
            path for name, draw in plots_of(table, flip=flip).items() for path in save(draw, folder / f"{stem}_{name}")
        ]
    except (PlotError, OSError) as error:
        raise CliError(f"{folder}: {error}") from error
