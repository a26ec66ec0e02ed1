"""`labd simulate`: many dry runs of a protocol; it needs no daemon and no devices."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Json, Protocol
from labd.cli.words import parameters_of

if TYPE_CHECKING:
    from labd.files import Problem
    from labd.lab.device import Device
    from labd.simulate import Dry, Story

FORESEEN = ("complete", "scrapped")


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command("simulate")(simulate)


def simulate(
    protocol: Protocol,
    values: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="volume='35 µL'")] = None,
    *,
    lab: Annotated[Path, typer.Option(help="The lab whose devices are simulated, also a real one.")] = Path("lab.yaml"),
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="How many dry runs.")] = 10,
    seed: Annotated[int, typer.Option(help="Another seed tells other stories; the same one the same.")] = 7,
    position: Annotated[
        str | None, typer.Option(help="Where the sample is at the start, `ot2/3/A1`; in a channel a sound cell lies.")
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(help="A file of faults: what goes wrong with the devices, and when.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at a time (default: the machine's cores).")] = None,
    as_json: Json = False,
) -> None:
    """Run a protocol on simulated devices, many times: outcomes, times, states never visited, material used.

    The real engine and simulators, on virtual time: hours in seconds. Questions are answered with any of their
    choices, so that all ways are seen. Ends with 1 when a run came to no end that the protocol foresees.
    """
    from labd.cli.files import load_named
    from labd.cli.views import say, show_json
    from labd.files import InputErrors
    from labd.simulate import DryRunError
    from labd.simulate.tell import Summary, never_visited

    try:
        loaded = load_named(protocol)
        dries = _prepared(loaded, lab, parameters_of(values or []), position, runs, seed, faults)
    except InputErrors as errors:
        _refuse(errors.problems)
    try:
        stories = _followed(dries, jobs, quiet=as_json)
    except DryRunError as error:
        raise CliError(str(error), BAD_INPUT) from error
    never = never_visited(loaded.states, stories)
    summary = Summary(loaded.name, str(lab), seed, stories, never)
    if as_json:
        show_json(summary.as_json())
    else:
        for line in summary.lines():
            say(line)
    raise typer.Exit(0 if all(story.outcome in FORESEEN for story in stories) else REFUSED)


def _refuse(problems: Iterable[Problem]) -> None:
    raise CliError("\n".join(problem.render() for problem in problems), BAD_INPUT)


def _prepared(
    loaded: object,
    lab: Path,
    parameters: dict[str, str],
    position: str | None,
    runs: int,
    seed: int,
    faults: Path | None = None,
) -> list[Dry]:
    """The dry runs, each with its seed. Raises InputErrors for a protocol, lab or value that does not hold."""
    from labd.faults import load_faults
    from labd.files import InputErrors
    from labd.lab.check import check_lab
    from labd.protocol import Protocol as Loaded
    from labd.protocol import compiled, ready
    from labd.protocol.abilities import asked_of_roles
    from labd.run.facts import facts_of
    from labd.simulate import Dry

    assert isinstance(loaded, Loaded)
    checked = check_lab(lab)
    if checked.lab is None:
        raise InputErrors(checked.problems)
    facts = facts_of(checked.lab)
    ready(loaded, parameters, facts)
    wrong = None if faults is None else load_faults(faults, checked.lab.config)
    if position is not None and position not in (facts.places or ()):
        from labd.expr import did_you_mean

        raise CliError(f"{lab} has no place {position!r}; {did_you_mean(position, facts.places or ())}", BAD_INPUT)
    roles: dict[str, int] = {}
    able: dict[str, list[str]] = {}
    channels: list[tuple[Device, str]] = []
    asked = asked_of_roles(compiled(loaded, facts))
    for name, use in loaded.roles.items():
        roles[use.role] = roles.get(use.role, 0) + use.channels
        serving = checked.lab.units_for(use.role, asked.get(name, {}).keys())
        chosen = able.setdefault(use.role, [])
        others = [one for one in dict.fromkeys(device.id for device, _ in serving) if one not in chosen]
        chosen += others[: use.channels]
        channels = channels or (serving if use.role == "potentiostat" else [])
    if position is None and channels and "arm" not in roles:
        device, unit = channels[0]
        position = checked.lab.place_of(device, unit)  # nothing carries the cell there: it is in its channel
    return [
        Dry(
            lab.resolve(),
            loaded.text,
            loaded.source.name,
            dict(loaded.texts),
            parameters,
            position,
            roles,
            seed * 1_000_003 + number,
            {kind: tuple(names) for kind, names in able.items()},
            wrong,
        )
        for number in range(runs)
    ]


def _followed(dries: list[Dry], jobs: int | None, *, quiet: bool) -> list[Story]:
    """Makes the runs; a terminal sees how far they are."""
    from rich.progress import track

    from labd.simulate import simulate as dry_runs

    show = sys.stderr.isatty() and not quiet
    from rich.console import Console

    console = Console(stderr=True)
    found = track(
        dry_runs(dries, jobs), "dry runs", total=len(dries), console=console, disable=not show, transient=True
    )
    return sorted(found, key=lambda story: story.seed)
