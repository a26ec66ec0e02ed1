"""Taking up the runs that the last daemon left unfinished."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from labd.files import InputErrors
from labd.files.library import Library
from labd.journal import Event, Journal, SignalStore
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.protocol import load
from labd.protocol.machine import Machine
from labd.run.facts import facts_of
from labd.run.life import POSITIONS
from labd.run.past import READ, past_of
from labd.run.performer import Performer
from labd.run.reservations import Reservations
from labd.run.resuming import Before, ResumedRun
from labd.run.run import Run


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

    def hold(self, last: int) -> str | None:
        """Why a run whose last event is this must not go on by itself, or None."""
        if last > self.restored:
            return None
        return f"the journal was restored from a backup of {self.backup_at}: look at what really stands there first"


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
    (started,) = await journal.events(run=state.run, kinds={"run.started"})
    events = await journal.events(run=state.run, kinds=READ)
    position = (await journal.kept(f"{POSITIONS}{state.run}")).get(f"{POSITIONS}{state.run}")
    number = int(state.run.rpartition("-")[2])
    past = past_of(events)
    performer = performer_of(lab, journal, signals, state.run, past.actions)
    home = str(started.data["home"])
    if position is None and state.state != "Idle":
        raise CannotGoOnError("where it was is not in the journal: an older labd did not keep that")
    try:
        machine = _machine(started, facts_of(lab), position)
        if position is None:
            return Run(state.run, number, machine, state.sample, home, performer, reservations)
        devices = {told["device"] for told in position["bounds"].values()}
        hold = end.hold(events[-1].seq if events else started.seq) or lab.barriers.reason_for(devices)
        before = Before(state, position, past, end.why, hold)
        return ResumedRun(before, number, machine, home, performer, reservations)
    except InputErrors as errors:
        raise CannotGoOnError(f"its protocol does not hold in this lab any more: {errors}") from errors
    except KeyError as error:
        raise CannotGoOnError(f"this lab has no {error.args[0]!r} any more; enter it in lab.yaml again") from error
    except (ValueError, ValidationError) as error:
        raise CannotGoOnError(str(error)) from error


def _machine(started: Event, facts: Any, position: Mapping[str, Any] | None) -> Machine:
    """The protocol's machine, from the texts in the journal: a file that was changed meanwhile changes nothing."""
    data = started.data
    protocol = load(data["source"], data["name"], Library(data["called"]))
    if position is None:
        from labd.protocol import ready

        return Machine(protocol, ready(protocol, data["parameters"], facts), facts)
    snapshot = position["machine"]
    return Machine.restore(protocol, snapshot["parameters"], snapshot, facts)
