"""What `labd watch` shows: one page of a lab, as wide and as high as there is room. Colours never say it alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from labd.cli.views import HEALTH_STYLES, SEVERITY_STYLES, how_to_answer, run_style
from labd.cli.watching import Json, Seen
from labd.cli.words import broker_text, duration, moment, seconds_between, short_time, value_text

Cell: TypeAlias = tuple[str, int, str]
"""A text, the columns that it has, and its style; no columns: what is left of the line."""

BAR = 10  # columns
WIDE = 100  # columns from which a run's remark stands beside it
UNDER = "  ↳ "  # begins one that stands below it
TOP = 3  # lines that one alarm or question may take where room is short
MOST_ON_TOP = 6  # alarms, and runs that need somebody
NEEDS_SOMEBODY = {"Held", "Holding", "Suspended", "Suspending"}


def page(seen: Seen, console: Console, now: datetime, height: int | None = None) -> Group:
    """The page; `height` is how many lines there are, None: as many as it takes."""
    top = _top(seen, console, now, None if height is None else TOP)
    if height is not None and len(top) > (most := max(1, height * 2 // 3)):
        top = [*top[: most - 1], Text("… and more; `labd status` tells all", "yellow")]
    width = console.width
    sections = [
        _section("runs", _runs(seen.status, width)),
        _section("queue", _queue(seen.queue)),
        _section("devices", _devices(seen.status)),
    ]
    sections = [section for section in sections if len(section) > 1]
    if height is not None:
        room = height - len(top) - len(sections)  # an empty line before each
        wants = share(max(0, room), [len(section) for section in sections])
        sections = [_cut(section, most) for section, most in zip(sections, wants, strict=True)]
    lines = [*top]
    for section in sections:
        for line in section:
            line.no_wrap, line.overflow = True, "ellipsis"
        lines += [Text(""), *section] if section else []
    if height is None:
        return Group(*lines)
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return Group(*lines[:height])


def share(room: int, wants: Sequence[int]) -> list[int]:
    """Lines for each, so that who wants little gets all of it and the others the same."""
    given = [0] * len(wants)
    for index in sorted(range(len(wants)), key=lambda one: wants[one]):
        left = sum(1 for one in range(len(wants)) if given[one] == 0)
        given[index] = min(wants[index], room // max(1, left))
        room -= given[index]
    return given


def _section(name: str, rows: Sequence[Sequence[Cell]]) -> list[Text]:
    return (
        [_line(row, "dim" if index == 0 else "") for index, row in enumerate(rows)] if len(rows) > 1 else [Text(name)]
    )


def _cut(section: list[Text], most: int) -> list[Text]:
    if len(section) <= most:
        return section
    if most < 2:
        return []
    left = sum(not line.plain.startswith(UNDER) for line in section[most - 1 :])
    return [*section[: most - 1], Text(f"… {left} more", "dim")]


def _line(cells: Iterable[Cell], style: str) -> Text:
    line = Text(style=style)
    for text, width, colour in cells:
        cell = Text(text.replace("\n", " "), colour)
        if width:
            cell.truncate(width, overflow="ellipsis", pad=True)
            cell.pad_right(2)
        line.append_text(cell)
    return line


def _widest(values: Iterable[object], least: int, most: int) -> int:
    return max(least, min(most, max((cell_len(str(value)) for value in values), default=0)))


# ── on top: what needs somebody ──────────────────────────────────────────────────────────────────────────────────────
def _top(seen: Seen, console: Console, now: datetime, most: int | None) -> list[Text]:
    status, daemon = seen.status, seen.status["daemon"]
    at = daemon.get("at")
    clock = "" if daemon.get("clock") in (None, "real") else f", clock {value_text(daemon['clock'])}"
    head = f"{daemon.get('lab')}: {daemon.get('state')} since {short_time(daemon.get('started'), at)}, labd "
    lines = [Text(f"{head}{daemon.get('version')}{clock}  {short_time(at)}", "bold")]
    told: list[Text] = []
    if seen.silence is not None:
        since = f"{seen.at.astimezone():%H:%M:%S}, for {_age((now - seen.at).total_seconds())}"
        told.append(Text(f"NO ANSWER since {since}: {seen.silence}. What stands here is from then.", "bold red"))
    if daemon.get("safe_mode"):
        told.append(Text(f"SAFE MODE: {daemon['safe_mode']}", "bold red"))
    if (mqtt := daemon.get("mqtt")) and not mqtt["connected"]:
        told.append(Text(broker_text(mqtt, at), "yellow"))
    told += [_tripped(one, at) for one in status["interlocks"] if one["tripped"]]
    told += _most([_alarm(one, at) for one in status["alarms"]], "alarms", most)
    told += _most([text for run in status["runs"] if (text := _need(run)) is not None], "runs that need somebody", most)
    for text in told:
        lines += [text] if most is None else text.wrap(console, console.width)[:most]
    return lines


def _most(texts: list[Text], what: str, most: int | None) -> list[Text]:
    if most is None or len(texts) <= MOST_ON_TOP:
        return texts
    return [*texts[: MOST_ON_TOP - 1], Text(f"… {len(texts) - MOST_ON_TOP + 1} more {what}", "yellow")]


def _tripped(one: Json, at: str | None) -> Text:
    since = f"INTERLOCK {one['name']} tripped at {short_time(one['tripped'], at)}: {one['reason'] or one['condition']}"
    clear = f"; labd clear --interlock {one['name']}" if one["latch"] else ""
    return Text(f"{since} (then: {one['then']}){clear}", "bold red")


def _alarm(alarm: Json, at: str | None) -> Text:
    seen = f" (seen by {alarm['acknowledged_by']})" if alarm["acknowledged_by"] else ""
    told = f"{alarm['severity'].upper()} {alarm['id']} since {short_time(alarm['since'], at)}{seen}: {alarm['text']}"
    return Text(told, SEVERITY_STYLES[alarm["severity"]])


def _need(run: Json) -> Text | None:
    """Of a run that needs a person: what it asks, or why it is held."""
    if run["question"]:
        answers = how_to_answer(run)
        more = f" … ({len(answers)} choices)" if len(answers) > 1 else ""
        return Text(f"{run['run']} asks: {run['question']['text']}  → {answers[0]}{more}", "yellow")
    if run["state"] in NEEDS_SOMEBODY:
        return Text(f"{run['run']} is {run['state']}: {run['cause'] or 'no cause is told'}", "yellow")
    return None


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _runs(status: Json, width: int) -> list[list[Cell]]:
    runs: list[Json] = sorted(status["runs"], key=lambda run: not (run["question"] or run["state"] in NEEDS_SOMEBODY))
    names = _widest((run["run"] for run in runs), 8, 12)
    samples = _widest((run["sample"] for run in runs), 6, 10 if width < WIDE else 20)
    states = _widest((run["protocol_state"] or "" for run in runs), 5, 14 if width < WIDE else 24)
    head = ("run", names), ("sample", samples), ("PackML", 9), ("state", states), ("progress", BAR + 5), ("ends", 9)
    rows: list[list[Cell]] = [[*((text, columns, "") for text, columns in head), ("remark", 0, "")]]
    for run in runs:
        needs = bool(run["question"]) or run["state"] in NEEDS_SOMEBODY
        remark = "asks" if run["question"] else run["cause"] or ""
        below = width < WIDE and remark and not needs  # what needs somebody is told on top
        rows.append(
            [
                (run["run"], names, ""),
                (run["sample"], samples, ""),
                (run["outcome"] or run["state"], 9, run_style(run)),
                (run["protocol_state"] or "", states, ""),
                (bar(run["progress"]), BAR + 5, "green"),
                (_end(run.get("expected_end"), status["daemon"].get("at")), 9, ""),
                ("" if below else remark, 0, "yellow" if needs else ""),
            ]
        )
        if below:
            rows.append([(f"{UNDER}{remark}", 0, "dim")])
    return rows if runs else [*rows, [("no run is under way", 0, "dim")]]


def bar(progress: float) -> str:
    """`━━━━──────  41 %`."""
    full = min(BAR, math.floor(progress * BAR))
    return f"{'━' * full}{'─' * (BAR - full)} {math.floor(progress * 100):3}%"


def _end(stamp: str | None, near: str | None) -> str:
    """`14:03` today, `Tue 14:03` within the week, else the day."""
    at, now = moment(stamp), moment(near)
    if at is None:
        return ""
    if now is None or at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%a %H:%M}" if (at.date() - now.date()).days < 7 else f"{at:%b %d}"


def _queue(queue: Json | None) -> list[list[Cell]]:
    if queue is None:
        return []
    jobs: list[Json] = [job for job in queue["jobs"] if job["state"] not in ("Running", "Held")]
    if not jobs and not queue.get("paused"):
        return []
    names = _widest((job["job"] for job in jobs), 8, 12)
    samples = _widest((job["sample"] for job in jobs), 6, 14)
    head = ("job", names), ("sample", samples), ("state", 8), ("priority", 8)
    paused = f"the queue is paused: {queue['paused']}" if queue.get("paused") else f"why it waits ({len(jobs)} in all)"
    rows: list[list[Cell]] = [[*((text, columns, "") for text, columns in head), (paused, 0, "")]]
    for job in jobs:
        style = "green" if job["state"] == "Ready" else ""
        cells = (job["job"], names, ""), (job["sample"], samples, ""), (job["state"], 8, style)
        rows.append([*cells, (f"{job['priority']:>8}", 8, ""), (job["why"] or "", 0, "")])
    return rows


def _devices(status: Json) -> list[list[Cell]]:
    """Those in trouble first, then those at work: where room is short, what is left out is well and idle."""
    at = status["daemon"].get("at")
    devices: list[Json] = sorted(
        status["devices"],
        key=lambda one: (one["health"] == "ok" and not one["maintenance"], not one["busy_with"]),
    )
    names = _widest((one["device"] for one in devices), 6, 14)
    busy = _widest((", ".join(one["busy_with"]) for one in devices), 9, 18)
    head = ("device", names), ("health", 11), ("busy with", busy), ("read", 8)
    rows: list[list[Cell]] = [[*((text, columns, "") for text, columns in head), ("problem", 0, "")]]
    for one in devices:
        style = HEALTH_STYLES[one["health"]] if not one["maintenance"] else "yellow"
        kept = [name for name, signal in one["signals"].items() if signal["q"] != "good"]
        age = _age(seconds_between(one["read"], at)) if one.get("read") and at else "–"
        rows.append(
            [
                (one["device"], names, ""),
                ("maintenance" if one["maintenance"] else one["health"], 11, style),
                (", ".join(one["busy_with"]), busy, ""),
                (age, 8, ""),
                (_problem(one, kept), 0, style if one["health"] != "ok" or one["maintenance"] else "yellow"),
            ]
        )
    return rows


def _problem(device: Json, bad: Sequence[str]) -> str:
    if device["problem"]:
        return str(device["problem"])
    return f"not told now: {', '.join(bad)}" if bad else ""


def _age(seconds: float) -> str:
    """`4 s`, `12 min`; a device that is ahead of the daemon's last word has just been read."""
    return duration(max(0, round(seconds)) if seconds < 60 else round(seconds / 60) * 60)
