"""What a person sees of samples: a table of all, and the story of one from its first part to its last cycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from labd.cli.views import console, say, table_of
from labd.cli.words import duration, named_values, seconds_between, short_time, value_text

_STYLES = {"complete": "green", "scrapped": "red", "aborted": "red", "stopped": "red"}
_SIGNS = {"run": "■", "part": "+", "dose": "~", "mass": "=", "force": "v", "data": "·", "question": "!", "note": "·"}
_SIGNS |= {"move": "⇢"}


def show_samples(samples: Sequence[Mapping[str, Any]]) -> None:
    """A line a sample."""
    if not samples:
        say("there is no sample yet")
        return
    table = table_of("sample", "barcode", "active mass", "place", "runs", "last", "state")
    for one in samples:
        mass = value_text(one["active_mass"]) if one["active_mass"] else ""
        state = Text(one["state"] or "no run yet", style=_STYLES.get(one["state"] or "", ""))
        place, code = one["place"] or "", one["barcode"] or ""
        table.add_row(one["sample"], Text(code), mass, place, str(one["runs"]), one["run"] or "", state)
    console().print(table)


def show_sample(sample: Mapping[str, Any]) -> None:
    """What it is, what became of it, and its story line by line."""
    fate = sample["fate"]
    code = f", barcode {sample['barcode']}" if sample["barcode"] else ""
    say(f"{sample['sample']}{code}: {_fate(sample)}", _STYLES.get(fate["outcome"] or "", "bold"))
    mass = {"active mass": sample["active_mass"]} if sample["active_mass"] else {}
    known = named_values({**mass, **sample["about"]})
    if known:
        say(known)
    for job in sample["jobs"]:
        why = f": {job['why']}" if job["why"] else ""
        say(f"{job['job']} ({job['protocol']} {job['version']}) is {job['state'].lower()}{why}", "yellow")
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    day = ""
    for line in sorted(_lines(sample), key=lambda one: one.at):
        date, _, time = short_time(line.at).partition(" ")
        if date != day:
            table.add_row(date)
            day = date
        text = Text(line.text, style="bold" if line.kind == "run" else "")
        text.append(f"  {line.more}" if line.more else "", style="not bold dim")
        table.add_row(time, Text(_SIGNS[line.kind], style=line.style), text)
    console().print(table)
    for times in _times(sample["intervals"]):
        say(times, "dim")


def _fate(sample: Mapping[str, Any]) -> str:
    fate = sample["fate"]
    place = f", at {sample['place']}" if sample["place"] else ""
    left = fate["taken_out"]
    place = f", taken out of the lab{_by(left)}" if left else place
    if fate["outcome"] is None:
        return f"no run yet{place}"
    because = f" ({fate['because']})" if fate["because"] else ""
    state = f" {sample['state']}" if fate["outcome"] == "under way" else ""
    return f"{fate['outcome']}{state} in {fate['run']}{because}{place}"


def _times(intervals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The longest wait between the end of each kind of step and the next, and from the electrolyte to the crimp."""
    longest: dict[tuple[str, str], float] = {}
    for one in intervals:
        key = one["from"], one["to"]
        longest[key] = max(longest.get(key, 0.0), one["waited"] or 0.0)
    if longest:
        told = (f"{before} to {after} {duration(took)}" for (before, after), took in longest.items())
        yield f"waits, the longest of each: {', '.join(told)}"


# ── the story ────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Line:
    at: str
    kind: str
    text: str
    more: str = ""
    style: str = ""


def _lines(sample: Mapping[str, Any]) -> Iterator[_Line]:
    for note in sample["notes"]:
        said = named_values({name: value for name, value in note["said"].items() if value not in (None, {})})
        verb = "registered" if note["kind"] == "sample.registered" else "noted"
        yield _Line(note["at"], "note", f"{verb}{_by(note)}", "; ".join(filter(None, (said, note["note"]))))
    for run in sample["runs"]:
        job = f", {run['job']}" if run["job"] else ""
        started = f"{run['run']}: {run['protocol']} {run['version']}{_by(run)}{job}"
        yield _Line(run["started"], "run", started, named_values(run["parameters"] or {}))
        if run["ended"]:
            ended = f"{run['run']} ended: {run['outcome']}"
            yield _Line(run["ended"], "run", ended, run["cause"] or "", _STYLES.get(run["outcome"], ""))
    for move in sample["moves"]:
        if not (move["to"] or "").endswith("/gripper"):
            yield _Line(move["at"], "move", f"{move['to'] or 'taken out of the lab'}{_by(move)}")
    yield from _made(sample)
    yield from _measured(sample)
    for one in sample["questions"]:
        given = [str(one["choice"])] if one["choice"] else []
        given += [value_text(one["value"])] if one["value"] is not None else []
        took = f"after {duration(seconds_between(one['at'], one['answered']))}" if one["answered"] else ""
        came = f"{one['by']} {took}: {', '.join(given)}" if given else f"{one['end'] or 'not answered yet'} {took}"
        yield _Line(one["at"], "question", one["text"], came.strip(), "yellow")
    for one in sample["remarks"]:
        yield _Line(one["at"], "note", f"{one['text']}{_by(one)}")


def _made(sample: Mapping[str, Any]) -> Iterator[_Line]:
    for part in sample["parts"]:
        where = "" if part["on_sample"] else f" to {part['to']}"
        yield _Line(part["at"], "part", f"{part['what'] or 'a part'} from {part['source']}{where}", _lot(part))
    for dose in (*sample["doses"], *sample.get("transfers", ())):
        what = dose["what"] or dose["source"] or "a liquid"
        into = f" into {dose['to']}" if dose.get("to") else ""
        asked = f"asked {value_text(dose['asked'])}" if dose["asked"] and dose["asked"] != dose["volume"] else ""
        more = ", ".join(filter(None, (asked, _lot(dose), _said(dose))))
        yield _Line(dose["at"], "dose", f"{value_text(dose['volume'])} of {what}{into}", more)
    for mass in sample["masses"]:
        unsure = "" if mass["stable"] in (None, True) else ", not at rest"
        yield _Line(mass["at"], "mass", f"weighed {value_text(mass['mass'])}{unsure}", f"{mass['state']}{_said(mass)}")
    for force in sample["forces"]:
        more = named_values({"asked": force["asked"], "dwell": force["dwell"]})
        yield _Line(force["at"], "force", f"crimped with {value_text(force['peak'])}", f"{more}{_said(force)}")


def _measured(sample: Mapping[str, Any]) -> Iterator[_Line]:
    for one in sample["measurements"]:
        yield _Line(one["at"], "data", one["action"].replace("_", " "), named_values(one["result"] or {}))
    for one in sample["cycling"]:
        rate = f", {one['c_rate']:g} C" if one["c_rate"] is not None else ""
        current = f" at {value_text(one['current'])}" if one["current"] else ""
        gave = {"capacities": one["capacities"], "coulombic efficiencies / %": one["coulombic_efficiencies"]}
        more = "; ".join(filter(None, (named_values(gave), one["reason"])))
        yield _Line(one["at"], "data", f"cycled{current}{rate}", more)


def _lot(one: Mapping[str, Any]) -> str:
    return f"lot {one['lot']}" if one["lot"] else ""


def _by(one: Mapping[str, Any]) -> str:
    return f" by {one['by']}" if one["by"] not in (None, "labd") else ""


def _said(one: Mapping[str, Any]) -> str:
    """Who vouched for what no device told."""
    return f", says {one['settled_by']}" if one["settled_by"] else ""
