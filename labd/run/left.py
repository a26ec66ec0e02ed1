"""Runs that safe mode leaves where the journal has them: nobody takes them up, but they can be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from labd import clock
from labd.journal import Event, Journal, NewEvent
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.run.history import ACTIONS, open_actions
from labd.run.lifecycle import Command, CommandRefusedError, State

NOT_RESUMED = "not resumed: safe mode"
Unit = tuple[str, str]
"""A device and its unit."""

ENDS = {Command.STOP: (State.STOPPED, "stopped"), Command.ABORT: (State.ABORTED, "aborted")}


def left(state: RunState) -> RunState:
    """A run as it is told while it waits for safe mode's end."""
    return replace(state, cause=NOT_RESUMED)


def open_units(events: Iterable[Event], on_loss: str | None = None) -> set[Unit]:
    """The units whose action has no outcome yet.

    Args:
        events: of one run, of the kinds in ACTIONS.
        on_loss: `stop` or `continue`: only those whose action says so for the case that the daemon is lost.
    """
    told = list(events)
    unsettled, _ = open_actions(told)
    return {
        (event.data["device"], event.data["unit"])
        for event in told
        if event.kind == "action.intended"
        and event.data["action_id"] in unsettled
        and on_loss in (None, event.data["on_loss"])
    }


async def end_left(
    lab: Lab, journal: Journal, state: RunState, command: Command, by: str, cause: str | None
) -> RunState:
    """Ends a run that was not taken up; durable when this returns.

    What was under way is told as unknown, and its units are made safe: safe mode had let go on what may.

    Raises:
        CommandRefusedError: nothing but stop and abort can be given to it.
    """
    if command not in ENDS:
        raise CommandRefusedError(f"{state.run} is {NOT_RESUMED}; end that by `labd resume`, or stop or abort the run")
    to, outcome = ENDS[command]
    events = await journal.events(run=state.run, kinds=ACTIONS)
    await asyncio.gather(*(_make_safe(lab, journal, unit, state.run) for unit in sorted(open_units(events))))
    unsettled, silent = open_actions(events)
    said = cause or f"{outcome} by {by} in safe mode"
    if unsettled:
        said += f"; nobody knows whether {', '.join(unsettled.values())} happened: look at {state.sample}"
    moved = {"from": state.state, "to": to.value, "command": command.value, "by": by, "cause": said}
    unknown = [
        NewEvent("action.unknown", {"action_id": action, "message": "the daemon ended"}, state.run)
        for action in sorted(silent)
    ]
    await journal.append(
        *unknown,
        NewEvent("command.accepted", {"command": command.value, "by": by, "cause": cause, "at": None}, state.run),
        NewEvent("run.state", moved, state.run),
        NewEvent("run.ended", {"outcome": outcome, "sample": state.sample, "cause": said}, state.run),
    )
    at = clock.stamp()
    return replace(state, state=to.value, outcome=outcome, cause=said, since=at, ended=at, progress=1.0, question=None)


async def _make_safe(lab: Lab, journal: Journal, unit: Unit, run: str) -> None:
    device = lab.devices.get(unit[0])
    if device is not None:  # else it was taken out of lab.yaml meanwhile
        problem = await device.safe_state(unit[1] or None)
        journal.post(NewEvent("device.safe_state", {"device": unit[0], "unit": unit[1], "problem": problem}, run))
