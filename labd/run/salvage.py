"""Making devices safe when the daemon is gone: what was under way by its journal, straight to the devices, in seconds.

A daemon that ends in order leaves nothing to do. After a crash or a kill each action that was under way has its word,
`on_loss`: what says stop is made safe, what says continue (a formation on its own cycler) is left alone, and is taken
up again by the next daemon.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from labd import clock
from labd.files import InputErrors
from labd.journal import JournalError, schema
from labd.lab.config import Draft, read_lab
from labd.lab.debts import KEPT as OWED
from labd.lab.debts import without
from labd.lab.equipment import Equipment, Find
from labd.lab.maintenance import KEPT, in_file
from labd.lab.rules import safe_actions
from labd.run.rescue import Plan, Rescue, Told
from labd.sdk import OnLoss

log = structlog.get_logger(__name__)

# The events of runs that have ended, nearly all of a journal, are not even looked at: `+kind` has SQLite take the index
# of runs.
_OF_ACTIONS = "('action.intended', 'action.done', 'action.failed', 'action.reconciled')"
_OPEN = "GROUP BY json_extract(data, '$.action_id') HAVING sum(kind <> 'action.intended') = 0"
_IN_FLIGHT = f"""
WITH unfinished (run) AS (
    SELECT run FROM events WHERE kind = 'action.intended' AND run IS NOT NULL
    EXCEPT SELECT run FROM events WHERE kind = 'run.ended'
)
SELECT data, run FROM (
    SELECT data, run, max(seq) AS last FROM events
    WHERE +kind IN {_OF_ACTIONS} AND run IN (SELECT run FROM unfinished) {_OPEN}
    UNION ALL
    SELECT data, run, max(seq) FROM events WHERE kind IN {_OF_ACTIONS} AND run IS NULL {_OPEN}
) ORDER BY last
"""  # noqa: S608 - ours


@dataclass(frozen=True, slots=True)
class InFlight:
    """An action that was intended and has no outcome, in a run that has not ended."""

    device: str
    unit: str
    action: str
    on_loss: OnLoss
    run: str | None

    def __str__(self) -> str:
        return f"{self.action} of {self.run}" if self.run else self.action


def in_flight(journal: Path) -> list[InFlight]:
    """What was under way, the last intended one of each unit.

    Raises:
        JournalError: the journal cannot be read.
    """
    if not journal.exists():
        return []
    by_unit: dict[tuple[str, str], InFlight] = {}
    for text, run in schema.JOURNAL.look(journal, _IN_FLIGHT):
        data = json.loads(text)
        found = InFlight(data["device"], data["unit"], data["action"], OnLoss(data["on_loss"]), run)
        by_unit[found.device, found.unit] = found
    return list(by_unit.values())


Owed = Mapping[str, Mapping[str, str]]
"""What is due by device: why, by unit; empty for all of a device."""


def owed(journal: Path) -> Owed:
    """What was to be made safe when the daemon died."""
    return {name: told["due"] for name, told in _kept(journal, OWED).items()}


def _kept(journal: Path, prefix: str) -> dict[str, Any]:
    """What the journal keeps under names that begin so, by the rest of the name."""
    rows: list[tuple[str, str]] = []
    if journal.exists():
        with contextlib.suppress(JournalError):  # an older labd's journal keeps nothing
            rows = schema.JOURNAL.look(journal, f"SELECT name, value FROM kept WHERE name GLOB '{prefix}*'")  # noqa: S608
    return {name.removeprefix(prefix): json.loads(text) for name, text in rows}


def in_maintenance(draft: Draft, journal: Path) -> set[str]:
    """The devices on which a person works: by lab.yaml, or by what was said to the daemon."""
    said = _kept(journal, KEPT)
    found: set[str] = set()
    for name, device in draft.devices.items():
        told = said.get(name)
        if told is not None and told["over"] == in_file(device.maintenance):
            if told["upkeep"] is not None:
                found.add(name)
        elif device.maintenance is not None:
            found.add(name)
    return found


def plan(
    open_: Collection[InFlight],
    units: Mapping[str, tuple[str, ...]],
    *,
    everything: bool,
    spared: Collection[str] = (),
    due: Owed = {},  # noqa: B006 - it is not changed
) -> list[Plan]:
    """Which units are made safe.

    Args:
        open_: what was under way.
        units: of each device.
        everything: also of devices on which nothing was under way. What continues is left alone all the same.
        spared: devices on which a person works (maintenance): `everything` and `due` are not for them.
        due: what was to be made safe already when the daemon died.
    """
    plans: list[Plan] = []
    for device, own in units.items():
        mine = [one for one in open_ if one.device == device]
        stops = [one for one in mine if one.on_loss is OnLoss.STOP]
        goes_on = {one.unit: one for one in mine if one.on_loss is OnLoss.CONTINUE}
        on = ", ".join(f"{one} goes on by itself" for one in goes_on.values())
        mine_due = without(due.get(device, {}), own, goes_on) if device not in spared else {}
        stop = dict.fromkeys([*(one.unit for one in stops), *mine_due])
        chosen: tuple[str | None, ...] = tuple(unit or None for unit in stop)
        if None in chosen:
            chosen = (None,)
        if everything and device not in spared:
            chosen = tuple(unit for unit in own if unit not in goes_on) if goes_on else (None,)
        under = ", ".join(f"{one} was under way" for one in stops)
        before = "; ".join(dict.fromkeys(f"it was to be made safe ({why})" for why in mine_due.values()))
        why = "; ".join(filter(None, (under, before, on))) or "nothing was under way"
        plans.append(Plan(device, chosen, why, not goes_on))
    return plans


@dataclass(slots=True)
class Salvage:
    """Makes the devices of one lab safe, without its daemon.

    Args:
        draft: lab.yaml, as far as it holds.
        everything: also devices on which nothing was under way.
        find: how a driver is found by its name.
    """

    draft: Draft
    everything: bool = False
    find: Find | None = None

    @classmethod
    def of(cls, lab: Path, *, everything: bool = False) -> Salvage:
        """Reads lab.yaml. Raises InputErrors: it tells neither devices nor store."""
        draft = read_lab(lab)
        if draft.config is None:
            raise InputErrors(draft.findings.problems)
        return cls(draft, everything)

    @property
    def store(self) -> Path:
        assert self.draft.config is not None
        return (self.draft.base / self.draft.config.store).resolve()

    @property
    def timeline(self) -> clock.Timeline:
        """Real time, or the lab's scaled one; what lives on virtual time has died with the daemon."""
        assert self.draft.config is not None
        kind = self.draft.config.clock_kind
        return clock.timeline_of("real" if kind == "virtual" else kind, self.store)

    async def run(self) -> list[Told]:
        """All of it, in at most LIMIT and CLOSE_LIMIT.

        Raises:
            JournalError: a daemon lives and has the store, or the journal cannot be read.
        """
        journal = self.store / "journal.sqlite"
        with contextlib.ExitStack() as held:
            if journal.exists():
                held.callback(os.close, schema.lock(journal))  # no daemon comes up and takes the devices meanwhile
            open_ = in_flight(journal)
            equipment = Equipment(
                self.draft.devices,
                self.draft.deck.values(),
                self.draft.base,
                self.draft.findings,
                clock.now().date(),
                find=self.find,
            )
            classes = equipment.classes()
            drivers = equipment.drivers(classes)
            units = {name: drivers[name].units if name in drivers else ("",) for name in self.draft.names}
            spared = in_maintenance(self.draft, journal)
            due = owed(journal)
            plans = plan(open_, units, everything=self.everything, spared=spared, due=due)
            safe_by = safe_actions(self.draft.devices, classes, self.draft.findings)
            rescue = Rescue(self.draft, drivers, safe_by)
            told = await rescue.carry_out(plans)
            if journal.exists():
                _keep(journal, due, plans, rescue.settled)
            return told


def _keep(journal: Path, before: Owed, plans: Collection[Plan], settled: Collection[str]) -> None:
    """Keeps what could not be made safe for the next daemon, and forgets what was.

    Args:
        journal: where; it is this process's own now.
        before: what is kept there.
        plans: what was to be done.
        settled: the devices with which nothing is left to do.
    """
    changed: dict[str, str | None] = {}
    for one in plans:
        due = dict(before.get(one.device, {}))
        for unit in one.units:
            if one.device not in settled:
                due.setdefault(unit or "", f"when labd had died: {one.why}")
            elif unit is None:
                due.clear()
            else:
                due.pop(unit, None)
        if due != before.get(one.device, {}):
            changed[f"{OWED}{one.device}"] = json.dumps({"due": due}) if due else None
    if not changed:
        return
    try:
        with (
            contextlib.closing(schema.JOURNAL.connect(journal)) as connection,
            schema.transaction(connection),
        ):
            connection.executemany("DELETE FROM kept WHERE name = ?", [(name,) for name in changed])
            rows = [(name, value) for name, value in changed.items() if value is not None]
            connection.executemany("INSERT INTO kept VALUES (?, ?)", rows)
    except (JournalError, sqlite3.Error) as error:  # what is safe is safe all the same
        log.warning("what is still to be made safe could not be kept", problem=str(error))
