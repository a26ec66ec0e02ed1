"""What a person sees of the daemon's answers: tables and stories, in colour on terminals only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from shlex import quote
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from labd.cli.explain import Entry
from labd.cli.words import broker_text, named_values, short_time, value_text

PIPE_WIDTH = 200  # columns of a table that no terminal shows
HEALTH_STYLES = {"ok": "green", "degraded": "yellow", "down": "red"}
SEVERITY_STYLES = {"warning": "yellow", "problem": "red", "critical": "bold red"}
_TONES = {"plain": "", "good": "green", "bad": "red", "waits": "yellow"}
_SIGNS = {"run": "■", "state": "▶", "decision": "?", "action": "·", "question": "!", "sample": "⇢", "note": "·"}


def console() -> Console:
    """For stdout as it is now; as wide as the terminal, or wide enough for a pipe."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)


def show_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def say(text: str = "", style: str = "") -> None:
    console().print(Text(text, style=style), soft_wrap=True)


def table_of(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


# ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────
def show_status(status: Mapping[str, Any]) -> None:
    daemon = status["daemon"]
    now = daemon.get("at")
    clock = "" if daemon.get("clock") in (None, "real") else f", clock {value_text(daemon['clock'])}"
    since = short_time(daemon.get("started"), now)
    say(f"{daemon.get('lab')}: {daemon.get('state')} since {since}, labd {daemon.get('version')}{clock}", "bold")
    if daemon.get("safe_mode"):
        say(f"SAFE MODE: {daemon['safe_mode']}", "bold red")
    if status["runs"]:
        show_runs(status["runs"], now)
    else:
        say("no run is under way")
    if status["ended"]:
        say(f"{status['ended']} ended; `labd status --all` shows them", "dim")
    show_alarms(status["alarms"], now)
    tripped = [one["name"] for one in status["interlocks"] if one["tripped"]]
    if status["interlocks"]:
        say(
            f"interlocks: {len(status['interlocks'])}, tripped: {', '.join(tripped) or 'none'}",
            "" if tripped else "dim",
        )
    if mqtt := daemon.get("mqtt"):
        say(broker_text(mqtt, now), "dim" if mqtt["connected"] and not mqtt["problem"] else "yellow")
    for device in status["devices"]:
        if device["health"] != "ok" or device["maintenance"]:
            told = f"{device['device']} is {device['health']} since {short_time(device['since'], now)}"
            say(f"{told}: {device['problem']}", HEALTH_STYLES[device["health"]])


def show_alarms(alarms: Sequence[Mapping[str, Any]], now: str | None) -> None:
    """A line an alarm: what, since when, who has seen it."""
    for alarm in alarms:
        seen = f" (seen by {alarm['acknowledged_by']})" if alarm["acknowledged_by"] else ""
        told = f"{alarm['severity']} {alarm['id']} since {short_time(alarm['since'], now)}{seen}: {alarm['text']}"
        say(told, SEVERITY_STYLES[alarm["severity"]])
    unseen = next((alarm["id"] for alarm in alarms if not alarm["acknowledged_by"]), None)
    if unseen is not None:
        say(f"  labd acknowledge {unseen}", "dim")


def show_runs(runs: Sequence[Mapping[str, Any]], now: str | None) -> None:
    table = table_of("run", "sample", "protocol", "state", "at", "done", "ends", "since", "remark")
    for run in runs:
        table.add_row(
            run["run"],
            run["sample"],
            run["protocol"],
            Text(run["outcome"] or run["state"], style=run_style(run)),
            run["protocol_state"] or "",
            f"{run['progress']:.0%}",
            short_time(run.get("expected_end"), now),
            short_time(run["since"], now),
            Text("asks" if run["question"] else run["cause"] or "", "yellow" if run["question"] else ""),
        )
    console().print(table)
    for run in runs:
        if run["question"]:
            say(f"{run['run']} asks: {run['question']['text']}", "yellow")
            for command in how_to_answer(run):
                say(f"  {command}")


def run_style(run: Mapping[str, Any]) -> str:
    if run["outcome"]:
        return "green" if run["outcome"] == "complete" else "red"
    return "" if run["state"] == "Execute" else "yellow"


def how_to_answer(run: Mapping[str, Any]) -> list[str]:
    """The commands that answer a run's question, one a choice: each can be copied as it stands."""
    question = run["question"]
    value = ""
    if question.get("input"):
        unit = question["input"].get("unit")
        value = f" --value '… {unit}'" if unit else " --value …"
    if question.get("kind") == "outcome":  # there may be several: the answer must not settle another action
        value = f" --question {question['id'].removeprefix(run['run'] + '-')}"
    choices = [f" {quote(choice)}" for choice in question.get("choices") or ()] or [""]
    return [f"labd answer {run['run']}{choice}{value}" for choice in choices]


# ── devices ──────────────────────────────────────────────────────────────────────────────────────────────────────
def show_devices(devices: Sequence[Mapping[str, Any]]) -> None:
    table = table_of("device", "driver", "role", "health", "busy with", "signals")
    for device in devices:
        problem = f": {device['problem']}" if device["problem"] else ""
        table.add_row(
            device["device"],
            device["driver"],
            device["role"],
            Text(f"{device['health']}{problem}", style=HEALTH_STYLES[device["health"]]),
            ", ".join(device["busy_with"]),
            Text(", ".join(_signal(name, signal) for name, signal in device["signals"].items())),
        )
    console().print(table)


def _signal(name: str, signal: Mapping[str, Any]) -> str:
    quality = "" if signal["q"] == "good" else f" ({signal['q']})"
    return f"{name} {value_text({'v': signal['v'], 'u': signal['u']})}{quality}"


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def show_run(run: Mapping[str, Any]) -> None:
    """One line of where a run is, and its question."""
    at = f" in {run['protocol_state']}" if run["protocol_state"] and not run["ended"] else ""
    cause = f": {run['cause']}" if run["cause"] else ""
    state = f"{run['state']}, {run['outcome']}" if run["outcome"] else run["state"]
    say(f"{run['run']} ({run['protocol']} {run['version']} for {run['sample']}): {state}{at}{cause}", run_style(run))
    if run["question"]:
        say(run["question"]["text"], "yellow")
        for command in how_to_answer(run):
            say(f"  {command}")


def show_story(run: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """A run's journal, a line or two an entry."""
    show_run(run)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    day = ""
    for entry in entries:
        date, _, time = short_time(entry.at).partition(" ")
        if date != day:
            table.add_row(date)
            day = date
        style = _TONES[entry.tone]
        text = Text(entry.text, style="bold" if entry.kind in ("state", "run") else "")
        if entry.came:
            text.append("\n  " if len(entry.text) + len(entry.came) > 90 else "  ")
            text.append(entry.came, style=f"not bold {style or 'dim'}")
        table.add_row(time, Text(_SIGNS[entry.kind], style=style), text)
    console().print(table)


def show_device(device: Mapping[str, Any]) -> None:
    """One device with what it can be told to do."""
    show_devices([device])
    say(f"model {device['model'] or '–'}, serial {device['serial'] or '–'}, firmware {device['firmware'] or '–'}")
    say(f"driver {device['driver']}: {device['quality']}")
    for quirk in device["quirks"]:
        say(f"note: {quirk}")
    table = table_of("action", "effect", "parameters", "what it does")
    for name, action in device["actions"].items():
        table.add_row(name, action["effect"], ", ".join(action["parameters"].get("properties", {})), action["summary"])
    console().print(table)


__all__ = [
    "HEALTH_STYLES",
    "SEVERITY_STYLES",
    "console",
    "how_to_answer",
    "named_values",
    "run_style",
    "say",
    "show_alarms",
    "show_device",
    "show_devices",
    "show_json",
    "show_run",
    "show_runs",
    "show_status",
    "show_story",
    "table_of",
]
