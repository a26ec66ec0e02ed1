"""Taking up the runs that the last daemon left unfinished."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from labd.files import InputErrors
from labd.files.library import Library
from labd.journal import Event, Journal, JournalError, SignalStore
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.protocol import load, ready
from labd.protocol.machine import Machine
from labd.run.facts import facts_of
from labd.run.life import POSITIONS
from labd.run.past import READ, LostActionError, past_of
from labd.run.performer import Performer
from labd.run.reservations import Reservations
from labd.run.resuming import Before, LostDeviceError, ResumedRun
from labd.run.roll import number_of
from labd.run.run import POSITION, Run
from labd.run.scheduling.claims import UnitKey

log = structlog.get_logger(__name__)


class CannotGoOnError(Exception):
    """A run cannot be taken up; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class LastEnd:
    """How the last daemon of a lab ended.

    Args:
        why: in words, for people and the journal.
        restored: the seq of the event after which the journal is a restored backup; 0: it is none.
        backup_at: when that backup was made.
    """

    why: str = "the daemon ended"
    restored: int = 0
    backup_at: str = ""


async def last_end(journal: Journal) -> LastEnd:
    """How the last daemon ended, by the journal; the start of this one may be its last event."""
    events = await journal.events(kinds={"daemon.started", "daemon.stopped", "store.restored"})
    restored = next((event for event in reversed(events) if event.kind == "store.restored"), None)
    ends = [event for event in events if event.kind != "store.restored"]
    stopped = any(event.kind == "daemon.stopped" for event in ends[-2:])
    why = "the daemon was stopped" if stopped else "the daemon ended"
    if restored is None:
        return LastEnd(why)
    return LastEnd(why, restored.seq, str(restored.data.get("backup_at", "")))


def performer_of(lab: Lab, journal: Journal, signals: SignalStore, run_id: str, before: int = 0) -> Performer:
    """Who carries out a run's actions; `before`: how many it has had already."""
    jitter = random.Random(f"{lab.config.seed}:{run_id}:{before}" if before else f"{lab.config.seed}:{run_id}")
    return Performer(lab, journal, signals, jitter, before=before)


async def take_up(
    lab: Lab,
    journal: Journal,
    signals: SignalStore,
    reservations: Reservations,
    state: RunState,
    end: LastEnd,
) -> Run:
    """The run as it was, on the journaled copy of its protocol; not begun yet.

    Args:
        lab: where it acts.
        journal: where it is kept.
        signals: where its data go.
        reservations: of the lab's units; it has its own again when this returns.
        state: the fold of its journal.
        end: how the last daemon ended.

    Raises:
        CannotGoOnError: it does not fit to the lab any more, or was kept by another version of labd.
    """
    number = number_of(state.run)
    try:
        (started,) = await journal.events(run=state.run, kinds={"run.started"})
        past = past_of(await journal.events(run=state.run, kinds=READ))
        position = await _position(journal, state)
        # in a thread, as at a start: a stop is heard meanwhile
        machine = await asyncio.to_thread(_machine, started, facts_of(lab, state.run), position)
        performer = performer_of(lab, journal, signals, state.run, past.actions)
        home = str(started.data["home"])
        if position is None:
            return Run(state.run, number, machine, state.sample, home, performer, reservations)
        hold = await _hold(lab, journal, state.run, position, end)
        before = Before(state, position, past, end.why, hold)
        return ResumedRun(before, number, machine, home, performer, reservations)
    except (CannotGoOnError, JournalError):
        raise
    except InputErrors as errors:
        raise CannotGoOnError(f"its protocol does not hold in this lab any more: {errors}") from errors
    except LostDeviceError as error:
        raise CannotGoOnError(f"this lab has no {error} any more; enter it in lab.yaml again") from error
    except LostActionError as error:
        raise CannotGoOnError(str(error)) from error
    except Exception as error:  # one run that labd cannot read keeps no other from going on
        log.exception("a run could not be taken up", run=state.run)
        raise CannotGoOnError(f"labd failed in taking it up ({error!r}); see its log") from error


async def _position(journal: Journal, state: RunState) -> Mapping[str, Any] | None:
    """Where it was; None for a run that had not begun. Raises CannotGoOnError: nobody can tell."""
    name = f"{POSITIONS}{state.run}"
    position = (await journal.kept(name)).get(name)
    if position is None and state.state != "Idle":
        raise CannotGoOnError("where it was is not in the journal: an older labd did not keep that")
    if position is not None and position.get("position") != POSITION:
        raise CannotGoOnError(f"it was kept by another version of labd ({position.get('position')})")
    return position


async def units_of(lab: Lab, journal: Journal, run: str) -> set[UnitKey]:
    """The units that a run had, as far as the lab has them still."""
    name = f"{POSITIONS}{run}"
    bounds = (await journal.kept(name)).get(name, {}).get("bounds", {}).values()
    keys = [(told["device"], told["unit"]) for told in bounds]
    keys += [(device, unit) for told in bounds for device, unit in told["more"]]
    return {key for key in keys if key[0] in lab.devices}


async def _hold(lab: Lab, journal: Journal, run: str, position: Mapping[str, Any], end: LastEnd) -> str | None:
    """Why it must not go on by itself, or None."""
    if end.restored and not await journal.events(run=run, after=end.restored, limit=1):
        at = end.backup_at
        return f"the journal was restored from a backup of {at}: look at what really stands there first"
    return lab.barriers.reason_for({told["device"] for told in position["bounds"].values()})


def _machine(started: Event, facts: Any, position: Mapping[str, Any] | None) -> Machine:
    """The protocol's machine, from the texts in the journal: a file that was changed meanwhile changes nothing."""
    data = started.data
    protocol = load(data["source"], data["name"], Library(data["called"]))
    if position is None:
        machine = Machine(protocol, ready(protocol, data["parameters"], facts), facts)
    else:
        snapshot = position["machine"]
        machine = Machine.restore(protocol, snapshot["parameters"], snapshot, facts)
    _ = machine.outlook  # worked out here, and not on the loop
    return machine


async def progress_of(journal: Journal) -> dict[str, float]:
    """How far the runs were that are not over, from 0 to 1, by their ids; of those that an older labd kept nothing."""
    kept = await journal.kept(POSITIONS)
    told = {name.removeprefix(POSITIONS): position.get("forecast") or {} for name, position in kept.items()}
    return {run: float(forecast.get("shown", 0.0)) for run, forecast in told.items()}
