"""What a person sees of the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from labd.cli.views import console, say, table_of

_STATES = {"Waiting": "", "Ready": "cyan", "Running": "green", "Held": "yellow", "Completed": "green", "Aborted": "red"}


def show_queue(queue: Mapping[str, Any]) -> None:
    """All jobs, a line each."""
    if queue["paused"]:
        say(f"{queue['paused']}; `labd queue resume` lets it go on", "bold yellow")
    if not queue["jobs"]:
        say("nothing waits and nothing is at work")
        return
    table = table_of("job", "batch", "sample", "protocol", "priority", "state", "run", "why")
    for job in queue["jobs"]:
        style = _STATES[job["state"]]
        why = "" if queue["paused"] and job["state"] == "Waiting" else job["why"] or ""
        table.add_row(
            job["job"],
            job["batch"],
            job["sample"],
            job["protocol"],
            str(job["priority"]),
            Text(job["state"], style=style),
            job["run"] or "",
            Text(why),
        )
    console().print(table)
    counted = Counter(job["state"] for job in queue["jobs"])
    say(", ".join(f"{number} {state.lower()}" for state, number in counted.items()), "dim")


def show_job(job: Mapping[str, Any]) -> None:
    """One line of how a job stands."""
    why = f": {job['why']}" if job["why"] else ""
    run = f" as {job['run']}" if job["run"] else ""
    told = f"{job['job']} ({job['protocol']} {job['version']} for {job['sample']}, priority {job['priority']})"
    say(f"{told}: {job['state']}{run}{why}", _STATES[job["state"]])


def show_submitted(found: Mapping[str, Any]) -> None:
    """What was queued, or that it holds."""
    many = f"{found['rows']} sample{'' if found['rows'] == 1 else 's'}"
    if found["batch"] is None:
        say(f"holds: {many}; nothing was queued", "green")
        return
    jobs = [job["job"] for job in found["jobs"]]
    names = jobs[0] if len(jobs) == 1 else f"{jobs[0]} to {jobs[-1]}"
    say(f"{found['batch']}: {many} queued, {names}; `labd queue` shows them", "green")
    if found["paused"]:
        say(f"{found['paused']}; `labd queue resume` lets it go on", "bold yellow")
