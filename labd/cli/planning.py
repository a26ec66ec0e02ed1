"""`labd plan`: how long a shift takes and who works when; of a protocol it needs no daemon and no devices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labd.cli.connection import Client
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json, Lab, Socket
from labd.cli.words import parameters_of

if TYPE_CHECKING:
    from labd.protocol import Protocol as Loaded
    from labd.protocol.facts import LabFacts
    from labd.run.planning import Bench, Work

CELLS = 36  # a rack of Aurora

PLACES = ("position", "material", "text")
"""Kinds of parameters that a plan can do without: where a part lies makes no cell slower."""


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command("plan")(plan)


def plan(
    protocol: Annotated[
        str | None,
        typer.Argument(help="A file, or a shipped protocol's name; without one: the daemon's runs and jobs."),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="cycles=3; places may be left away.")
    ] = None,
    *,
    lab: Lab = None,
    socket: Socket = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="The same, as for `submit`.")
    ] = None,
    table: Annotated[Path | None, typer.Option(help="The table of `labd submit`, .csv or .xlsx: a row a cell.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, max=1000, help="How many cells, without a table: 36.")] = None,
    limit: Annotated[float, typer.Option(min=0.0, max=3600.0, help="Seconds that the solver may take.")] = 1.5,
    svg: Annotated[Path | None, typer.Option(help="Write the Gantt chart to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Plan a shift: makespan, lower bound, use of each device, windows, when each cell begins.

    With a protocol it asks no daemon, and durations are those that `labd check` expects; the extra `plan` has OR-tools
    look for a better plan than the built-in one. Without a protocol it shows what the daemon's runs and jobs follow.
    Ends with 1 when a window cannot be kept or a cell cannot be planned.
    """
    from labd.cli.errors import REFUSED
    from labd.cli.files import load_named, replace
    from labd.cli.views import say, show_json
    from labd.files import InputErrors
    from labd.run.planning import solve, warm_up
    from labd.run.planning.gantt import gantt
    from labd.run.planning.table import lines_of, told

    if protocol is None:
        if values or parameter or table is not None or cells is not None:
            raise CliError(
                "name the protocol that is to be planned; without one the daemon's own plan is shown", BAD_INPUT
            )
        _show(Client(socket, lab), svg, as_json=as_json)
        return
    if table is not None and cells is not None:
        raise CliError("--table and --cells: a table says by its rows how many cells there are", BAD_INPUT)
    try:
        loaded = load_named(protocol)
        given = parameters_of([*(values or []), *(parameter or [])])
        works, bench = _works(loaded, lab or Path("lab.yaml"), given, table, cells or CELLS)
    except InputErrors as errors:
        raise CliError("\n".join(problem.render() for problem in errors.problems), BAD_INPUT) from errors
    if limit > 0:
        warm_up()  # its second is not taken from the limit
    found = solve(works, bench, 0.0, limit)
    if svg is not None:
        replace(svg, gantt(found, works, title=f"{len(works)} × {loaded.name}"))
    if as_json:
        show_json(told(found, works))
    else:
        for line in lines_of(found, works):
            say(line)
        if svg is not None:
            say(f"{svg}: written", "green")
    raise typer.Exit(REFUSED if found.broken or found.unplanned else 0)


def _show(client: Client, svg: Path | None, *, as_json: bool) -> None:
    """The plan that a daemon follows. Exits with 1 where it keeps not all windows, or leaves somebody out."""
    from labd.cli.errors import REFUSED
    from labd.cli.files import replace
    from labd.cli.views import say, show_json

    found = client.get("/plan", picture=svg is not None or None)
    picture = found.pop("svg")
    if svg is not None:
        replace(svg, picture)
    if as_json:
        show_json(found)
    elif not found["rows"] and not found["unplanned"]:
        say("nothing runs, and nothing waits")
    else:
        for line in found["text"]:
            say(line)
    if svg is not None and not as_json:
        say(f"{svg}: written", "green")
    raise typer.Exit(REFUSED if found["broken"] or found["unplanned"] else 0)


def _works(
    loaded: Loaded, lab: Path, given: dict[str, str], table: Path | None, cells: int
) -> tuple[list[Work], Bench]:
    """The works of a shift. Raises InputErrors for a protocol, lab, table or value that does not hold."""
    from labd.files import InputErrors
    from labd.lab.check import check_lab
    from labd.protocol.checker import compiled
    from labd.run.facts import facts_of
    from labd.run.planning.site import site_of
    from labd.run.planning.tasks import Recipes

    checked = check_lab(lab)
    if checked.lab is None:
        raise InputErrors(checked.problems)
    facts = facts_of(checked.lab)
    program = compiled(loaded, facts)
    site = site_of(checked.lab)
    recipes = Recipes(places=site.places)
    if table is not None:
        rows = _rows(loaded, table, given, facts)
        works = [recipes.work(name, loaded, program, values, priority=priority) for name, values, priority in rows]
    else:
        bound = _bound(loaded, given, facts)
        works = [recipes.work(f"cell-{number:04d}", loaded, program, bound) for number in range(1, cells + 1)]
    return works, site.bench


def _rows(
    loaded: Loaded, table: Path, given: dict[str, str], facts: LabFacts
) -> list[tuple[str, dict[str, object], int]]:
    """A name, parameters and the priority of each row, checked as `labd submit` does."""
    from labd.files.tables import read_table
    from labd.run.queue.rows import Asked, Known, check_rows

    asked = Asked(read_table(table).rows, given, file=str(table))
    found: list[tuple[str, dict[str, object], int]] = []
    for entry in check_rows(loaded, asked, facts, Known()):
        values = {name: one["v"] if isinstance(one, dict) else one for name, one in entry.parameters.items()}
        found.append((entry.sample or f"row-{entry.row:04d}", values, entry.priority))
    return found


def _bound(loaded: Loaded, given: dict[str, str], facts: LabFacts) -> dict[str, object]:
    """The parameters; places and materials that were not said are left away."""
    from labd.protocol.parameters import bind_parameters

    any_of = {"position": min(facts.places or {"-"}), "material": min(facts.materials or {"-"}), "text": "-"}
    unsaid = {
        name: any_of[spec.type]
        for name, spec in loaded.parameters.items()
        if spec.type in PLACES and spec.default is None and name not in given
    }
    bound = bind_parameters(loaded, {**unsaid, **given}, facts)
    return {name: value for name, value in bound.items() if name not in unsaid}
