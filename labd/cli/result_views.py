"""What a person sees of results: a table a run, and of a foreign file its cycles beside its own counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from labd.cli.views import console, say, table_of
from labd.cli.words import duration, quantity

if TYPE_CHECKING:
    from labd.records.bdf import Foreign

_NUMBERED = ("charge", "capacity", "ce", "energy", "energy_efficiency", "retention", "rest_charged", "rest_discharged")


def show_results(found: Mapping[str, Any], *, every: bool) -> None:
    """The results of each run."""
    for number, run in enumerate(found["runs"]):
        if number:
            say()
        _run(run, every=every)
    if found["waiting"]:
        say(f"not started yet: {', '.join(found['waiting'])}", "yellow")
    if not found["runs"] and not found["waiting"]:
        say(f"{found['kind']} {found['name']} has no run yet")


def _run(run: Mapping[str, Any], *, every: bool) -> None:
    end = run["failed"] or run["outcome"] or "under way"
    style = "red" if run["failed"] else "green" if run["outcome"] else "yellow"
    say(f"{run['run']}, {run['sample']}, {run['protocol']} {run['version']}: {end}", style)
    _cycles(run["figures"])
    for one in run["series"]:
        if one["analysis"]["kind"] == "impedance":
            say(f"{one['series']}: {_spectrum(one['analysis'])}")
    told = {name: figure for name, figure in run["figures"].items() if _stands_alone(name, every=every)}
    if told:
        table = table_of("figure", "value", "std", "from")
        for name, figure in told.items():
            std = quantity(figure["std"], figure["u"]) if figure["std"] is not None else ""
            table.add_row(name, _amount(figure["v"], figure["u"]), std, figure["source"])
        console().print(table)
    for why in dict.fromkeys(run["missing"].values()):
        names = [name for name, cause in run["missing"].items() if cause == why]
        say(f"no {', '.join(names)}: {why}", "yellow")


def _stands_alone(name: str, *, every: bool) -> bool:
    """Whether a figure is neither in the table of cycles nor one action's own."""
    stem, _, number = name.rpartition("_")
    return not (number.isdigit() and stem in _NUMBERED) and (every or "." not in name)


def _cycles(figures: Mapping[str, Any]) -> None:
    numbers = [int(name[9:]) for name in figures if name.startswith("capacity_") and name[9:].isdigit()]
    if not numbers:
        return
    heads = ("cycle", "charge / mAh", "discharge / mAh", "CE / %", "energy / mWh", "energy eff. / %", "retention / %")
    table = table_of(*heads, "rest charged / V", "discharged / V")
    for number in numbers:
        told = (figures.get(f"{name}_{number}") for name in _NUMBERED)
        table.add_row(str(number), *("–" if one is None else f"{one['v']:.4f}" for one in told))
    console().print(table)


def _spectrum(told: Mapping[str, Any]) -> str:
    test = told.get("test")
    if test is None or told["problem"]:
        return str(told["problem"])
    rms = f" ({test['rms']:.2%} of |Z| are left)" if test["rms"] is not None else ""
    arcs = f", arcs {quantity(told['r_polarisation'], 'Ω')}" if told["r_polarisation"] else ""
    fit = f"{told['circuit']}, R0 {quantity(told['r_ohmic'], 'Ω')}{arcs}, residual {told['residual']:.2%}"
    return f"Kramers-Kronig {test['verdict']}{rms}; {fit}"


def _amount(value: float, unit: str) -> str:
    """Shares stay shares: `92 %`; quantities are scaled to read well."""
    return f"{value:.5g} {unit}" if unit in ("%", "mWh", "mAh") else quantity(value, unit)


def show_foreign(file: Path, found: Foreign) -> None:
    """A foreign file: what it is, and a line a cycle."""
    say(f"{file}: {found.rows} rows over {duration(found.seconds)}", "bold")
    verdict = "a positive current charges" if found.sign > 0 else "the rows do not tell; nothing flows"
    say(f"sign of the current: {verdict} ({found.sign:+.3f} V speak for it)")
    if not found.cycles:
        say("there is no charge and no discharge in it")
        return
    heads = ("cycle", "charge / mAh", "±", "file says", "discharge / mAh", "±", "file says", "CE / %", "energy / mWh")
    table = table_of(*heads, "")
    for one in found.cycles:
        cycle = one.cycle
        charge = (f"{cycle.charge:.4f}", _told(cycle.charge_error, 2), _told(one.charged, 4))
        discharge = (f"{cycle.discharge:.4f}", _told(cycle.discharge_error, 2), _told(one.discharged, 4))
        note = Text("" if cycle.complete else "not completed", style="yellow")
        table.add_row(
            str(cycle.number), *charge, *discharge, _told(cycle.efficiency, 2), f"{cycle.discharge_energy:.4f}", note
        )
    console().print(table)
    if found.paused:
        say(f"between its steps nobody measured for {duration(found.paused)}: no charge is counted there", "dim")
    for line in _notes(found.cycles):
        say(line, "dim")


def _notes(cycles: Sequence[Any]) -> list[str]:
    notes = ["± is what half a digit of the current's last decimal comes to; the instrument's own error is not in it"]
    if cycles[0].cycle.begins == "discharge":
        notes.append("it is discharged first: CE is the charge given back over the one taken, charge / discharge")
    return notes


def _told(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
