"""Runs that were not taken up again: ending one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from labd import clock
from labd.journal import Journal, NewEvent
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.run.history import ACTIONS, QUESTIONS, open_actions, open_questions, open_units
from labd.run.life import POSITIONS
from labd.run.lifecycle import Command, Lifecycle, State


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
    ended = {"outcome": "aborted", "sample": state.sample, "cause": why}
    asked = open_questions(await journal.events(run=state.run, kinds=QUESTIONS))
    withdrawn = [{"question_id": question, "why": "the run was aborted"} for question in asked]
    await journal.append(
        *(
            NewEvent("action.unknown", {"action_id": action_id, "message": "the daemon ended"}, state.run)
            for action_id in sorted(silent)
        ),
        *(NewEvent("question.withdrawn", told, state.run) for told in withdrawn),
        *(NewEvent("run.state", moved, state.run) for moved in _moves(state, by, why)),
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


def _moves(state: RunState, by: str, why: str) -> Iterator[dict[str, str | None]]:
    """The moves to Aborted, as the life cycle has them; one that was aborting only comes to its end."""
    cycle = Lifecycle(State(state.state))
    for command in (Command.ABORT, Command.DONE) if cycle.at is not State.ABORTING else (Command.DONE,):
        before, after = cycle.command(command)
        yield {"from": before.value, "to": after.value, "command": command.value, "by": by, "cause": why}


async def _make_safe(lab: Lab, journal: Journal, unit: tuple[str, str], run: str) -> None:
    device = lab.devices.get(unit[0])
    if device is not None:  # else it was taken out of lab.yaml meanwhile
        problem = await device.make_safe(unit[1] or None, f"{run} is aborted")
        told = {"device": unit[0], "unit": unit[1], "problem": problem}
        journal.post(NewEvent("device.safe_state", told, run))
