"""Runs that were not taken up again: ending one of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from labd import clock
from labd.journal import Journal, NewEvent
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.run.history import ACTIONS, open_actions, open_units
from labd.run.life import POSITIONS
from labd.run.lifecycle import State


async def abort_parked(lab: Lab, journal: Journal, state: RunState, by: str, cause: str | None) -> RunState:
    """Aborts a run that was not taken up; durable when this returns.

    What it had sent and not heard of is told as unknown, and is made safe: what may go on without the daemon has gone
    on until now.
    """
    actions = await journal.events(run=state.run, kinds=ACTIONS)
    await asyncio.gather(*(_make_safe(lab, journal, unit, state.run) for unit in sorted(open_units(actions))))
    unsettled, silent = open_actions(actions)
    told = f"; nobody knows whether {', '.join(unsettled.values())} happened" if unsettled else ""
    why = f"{cause or f'aborted by {by}'}; it had not gone on since labd ended in {state.protocol_state}{told}; "
    why += f"look at {state.sample}"
    moved = {"from": state.state, "to": State.ABORTED.value, "command": "abort", "by": by, "cause": why}
    ended = {"outcome": "aborted", "sample": state.sample, "cause": why}
    await journal.append(
        *(
            NewEvent("action.unknown", {"action_id": action_id, "message": "the daemon ended"}, state.run)
            for action_id in sorted(silent)
        ),
        NewEvent("run.state", moved, state.run),
        NewEvent("run.ended", ended, state.run),
        forget=f"{POSITIONS}{state.run}",
    )
    return replace(
        state,
        state=State.ABORTED.value,
        outcome="aborted",
        cause=why,
        ended=clock.stamp(),
        question=None,
        progress=1.0,
    )


async def _make_safe(lab: Lab, journal: Journal, unit: tuple[str, str], run: str) -> None:
    device = lab.devices.get(unit[0])
    if device is not None:  # else it was taken out of lab.yaml meanwhile
        problem = await device.make_safe(unit[1] or None, f"{run} is aborted")
        told = {"device": unit[0], "unit": unit[1], "problem": problem}
        journal.post(NewEvent("device.safe_state", told, run))
