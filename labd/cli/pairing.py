"""The command that pairs electrodes; it needs no daemon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Json

if TYPE_CHECKING:
    from labd.lab.pairing import Electrode, Pairing


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command("pair")(pair)


def pair(
    anodes: Annotated[Path, typer.Argument(help="CSV of the anodes: id, mass, collector_mass, specific_capacity, …")],
    cathodes: Annotated[Path, typer.Argument(help="CSV of the cathodes, the same columns.")],
    *,
    ratio: Annotated[float, typer.Option(help="The target N:P, anode's capacity over the cathode's.")] = 1.1,
    tolerance: Annotated[float, typer.Option(help="How far from it a pair may lie.")] = 0.05,
    out: Annotated[Path | None, typer.Option(help="Write the pairs, .csv or .json, for `labd submit --table`.")] = None,
    prefix: Annotated[str, typer.Option(help="Name of samples that the tables do not name.")] = "pair",
    as_json: Json = False,
) -> None:
    """Pair weighed anodes and cathodes to cells of a target N:P ratio.

    As many pairs as lie within the tolerance, and of those ways the one that fits best; what is left out is named.
    Ends with 1 when there is no pair.
    """
    from labd.files import InputErrors, Problem
    from labd.lab.pairing import PairingError, read_electrodes, rows_of, write_rows
    from labd.lab.pairing import pair as pair_up

    if anodes.resolve() == cathodes.resolve():
        raise CliError(f"{anodes} is given twice: name the anodes' table, then the cathodes'", BAD_INPUT)
    problems: list[Problem] = []
    tables: list[list[Electrode]] = []
    for path in (anodes, cathodes):
        try:
            tables.append(read_electrodes(path))
        except InputErrors as errors:
            problems += errors.problems
    if problems:
        raise CliError(str(InputErrors(problems)), BAD_INPUT)
    try:
        found = pair_up(tables[0], tables[1], ratio, tolerance)
    except PairingError as error:
        raise CliError(str(error), BAD_INPUT) from error
    rows = rows_of(found, prefix)
    if out is not None:
        try:
            write_rows(rows, out)
        except OSError as error:
            raise CliError(f"{out} cannot be written: {error.strerror}") from error
    from labd.cli import views

    if as_json:
        views.show_json(_told(found, rows))
    else:
        _show(found, rows, out)
    if not found.pairs:
        raise typer.Exit(REFUSED)


def _told(found: Pairing, rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    pairs = [
        {
            "anode": one.anode.id,
            "cathode": one.cathode.id,
            "n_p_ratio": one.ratio,
            "anode_capacity": {"v": one.anode.capacity, "u": "mAh"},
            "cathode_capacity": {"v": one.cathode.capacity, "u": "mAh"},
        }
        for one in found.pairs
    ]
    left = {
        "anodes": [{"id": one.id, "why": why} for one, why in found.anodes],
        "cathodes": [{"id": one.id, "why": why} for one, why in found.cathodes],
    }
    return {"ratio": found.target, "tolerance": found.tolerance, "pairs": pairs, "rows": rows, "left_out": left}


def _show(found: Pairing, rows: list[dict[str, Any]], out: Path | None) -> None:
    from labd.cli.views import console, say, table_of

    table = table_of("sample", "anode", "cathode", "N:P", "off by", "anode / mAh", "cathode / mAh", "active mass")
    for one, row in zip(found.pairs, rows, strict=True):
        off = f"{one.ratio - found.target:+.4f}"
        capacities = f"{one.anode.capacity:.4g}", f"{one.cathode.capacity:.4g}"
        mass = row.get("active_mass", "")
        table.add_row(row["sample"], one.anode.id, one.cathode.id, f"{one.ratio:.4f}", off, *capacities, mass)
    if found.pairs:
        console().print(table)
    count = len(found.pairs)
    said = f"{count} pair{'' if count == 1 else 's'} of N:P {found.target:g} ± {found.tolerance:g}"
    say(f"{said}, off by {found.deviation:.4f} on average" if count else f"no pair of N:P {found.target:g}", "bold")
    for kind, left in (("anode", found.anodes), ("cathode", found.cathodes)):
        for electrode, why in left:
            say(f"{kind} {electrode.id} is left out: {why}", "yellow")
    if out is not None:
        say(f"written to {out}: labd submit PROTOCOL --table {out}", "dim")
