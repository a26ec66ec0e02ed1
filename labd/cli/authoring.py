"""Commands for whoever writes protocols; they need no daemon."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labd.cli.errors import BAD_INPUT, REFUSED, CliError

if TYPE_CHECKING:
    from labd.files import Problem

STDIN = "-"

importing = typer.Typer(help="Make protocols of files of other programs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.command("fmt")(lay_out)
    app.add_typer(importing, name="import")


def _tell(problems: Iterable[Problem]) -> None:
    for problem in problems:
        typer.echo(problem.render(), err=True)


# ── fmt ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def lay_out(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Protocols; `-` is stdin, to stdout.")],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; end with 1 when a file is not laid out so.")
    ] = False,
) -> None:
    """Lay protocols out alike: order of keys, indentation, quotes. Comments stay; the meaning stays."""
    ends = [_lay_out(file, check=check) for file in files]
    raise typer.Exit(max(ends))


def _lay_out(file: str, *, check: bool) -> int:
    """One file; gives the exit status."""
    from labd.files import InputErrors, decode, read_file
    from labd.protocol.exchange.layout import LayoutError, laid_out

    name = "<stdin>" if file == STDIN else file
    try:
        text = decode(sys.stdin.buffer.read(), name) if file == STDIN else read_file(Path(file))
        made = laid_out(text, name)
    except InputErrors as errors:
        _tell(errors.problems)
        return BAD_INPUT
    except LayoutError as error:
        typer.echo(f"{error}\n      → the file is left as it is; this is a fault of labd, please report it", err=True)
        return BAD_INPUT
    if check:
        if made != text:
            typer.echo(f"{name}: would be laid out anew")
        return REFUSED if made != text else 0
    if file == STDIN:
        sys.stdout.write(made)
    elif made != text:
        from labd.cli.files import replace

        replace(Path(file), made)
        typer.echo(f"{name}: laid out")
    return 0


# ── import ───────────────────────────────────────────────────────────────────────────────────────────────────────
@importing.command("unicycler")
def import_unicycler(
    file: Annotated[Path, typer.Argument(help="A cycling protocol that aurora-unicycler wrote, as JSON.")],
    *,
    output: Annotated[Path | None, typer.Option(help="A new file for the protocol (default: stdout).")] = None,
    name: Annotated[str | None, typer.Option(help="The protocol's name (default: the file's).")] = None,
) -> None:
    """Make a protocol of a cycling protocol of aurora-unicycler."""
    from labd.files import InputErrors, read_file
    from labd.protocol.exchange.unicycler import imported
    from labd.protocol.model import NAME

    if name is not None and not re.fullmatch(NAME, name):
        raise CliError(f"{name!r} is no protocol's name; it has letters, digits and _, a letter first", BAD_INPUT)
    if output is not None and output.exists():
        raise CliError(f"{output} is there already; name a new file", BAD_INPUT)
    try:
        made = imported(read_file(file), str(file), name)
    except InputErrors as errors:
        _tell(errors.problems)
        raise typer.Exit(BAD_INPUT) from errors
    for warning in made.warnings:
        typer.echo(f"{warning.where}: warning {warning.code} {warning.message}", err=True)
    if output is None:
        sys.stdout.write(made.text)
    else:
        from labd.cli.files import replace

        replace(output, made.text)
        typer.echo(f"{output}: written; `labd check {output}` checks it")
