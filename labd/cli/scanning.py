"""`labd scan`: which devices there are, and a lab.yaml for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json
from labd.cli.words import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labd.scan import Found


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command("scan")(scan)


def scan(
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST...]", help="Names, addresses, or a network: 192.168.0.0/28.")
    ] = None,
    *,
    port: Annotated[
        list[int] | None, typer.Option(min=1, max=65535, help="A further TCP port of the hosts; repeatable.")
    ] = None,
    ask: Annotated[
        list[str] | None, typer.Option(metavar="PORT", help="A serial port that every driver may ask; repeatable.")
    ] = None,
    ask_all: Annotated[bool, typer.Option("--ask-all", help="Every serial port may be asked by every driver.")] = False,
    serial: Annotated[bool, typer.Option("--serial/--no-serial", help="Look at this machine's serial ports.")] = True,
    name: Annotated[str, typer.Option(help="The lab's name in the proposal.")] = "my-lab",
    as_json: Json = False,
) -> None:
    """Find devices at serial ports and on hosts, and propose a lab.yaml on stdout.

    On hosts only the ports are tried at which devices of installed drivers, Modbus, OPC UA and HTTP servers listen.
    Nothing is moved or switched: drivers ask who is there. A serial port is asked where its USB interface tells which
    driver is right; with --ask by all of them, so name only ports whose device takes an unknown word for none.
    """
    from labd import clock
    from labd.cli.views import show_json
    from labd.scan import Kinds, ScanError, hosts_of, propose

    if re.fullmatch(r"[a-z0-9_-]{1,64}", name) is None:
        mend = "small letters, digits, _ and -, such as `box-2`"
        raise CliError(f"--name {name!r} is no name for a lab: it has {mend}", BAD_INPUT)
    kinds = Kinds.installed()
    try:
        wanted = hosts_of(hosts or ())
    except ScanError as error:
        raise CliError(str(error), BAD_INPUT) from error
    found = clock.run(_scan(kinds, wanted, port or [], ask or [], ask_all=ask_all, serial=serial))
    text = propose(found, kinds, name)
    if as_json:
        show_json({"found": [one.as_json() for one in found], "lab": text})
        return
    _tell(found, wanted)
    typer.echo(text, nl=False)


async def _scan(
    kinds: object, hosts: list[str], ports: list[int], ask: list[str], *, ask_all: bool, serial: bool
) -> list[Found]:
    from labd.scan import Kinds, scan_hosts, scan_ports
    from labd.scan.ports import Port, ports_now

    assert isinstance(kinds, Kinds)
    there = ports_now() if serial else []
    there += [Port(path, "", "named with --ask") for path in ask if path not in {one.path for one in there}]
    return [*await scan_ports(kinds, there, ask=ask, ask_all=ask_all), *await scan_hosts(kinds, hosts, ports)]


def _tell(found: Sequence[Found], hosts: list[str]) -> None:
    """What was found, beside the proposal: on stderr."""
    for one in found:
        names = ", ".join(candidate.driver for candidate in one.candidates) or "no driver"
        sure = "identified" if one.identified else "perhaps" if one.candidates else "unknown"
        typer.echo(
            f"{one.where}: {one.what} — {names} ({sure})" + (f"; {one.problem}" if one.problem else ""), err=True
        )
    if not found:
        where = (
            f"at serial ports and on {many(len(hosts), 'host')}"
            if hosts
            else "at serial ports; name hosts to look at them"
        )
        typer.echo(f"nothing was found {where}", err=True)
