"""What is owed to devices that were lost or could not be made safe: kept in the journal, no restart forgets it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping

from labd.journal import Journal, JournalError
from labd.lab.lab import Lab

KEPT = "owed/"


class Debts:
    """Keeps which units of a lab's devices are to be made safe before they are used again.

    Args:
        lab, journal: whose devices, and where it is kept.
    """

    def __init__(self, lab: Lab, journal: Journal) -> None:
        self._lab = lab
        self._journal = journal
        for device in lab.devices.values():
            device.on_owed = self._keep

    async def take_up(self, going_on: Callable[[], Awaitable[Collection[tuple[str, str]]]]) -> None:
        """Takes up what the last daemon, or `labd safe-state` after it, left open. Before runs go on.

        Args:
            going_on: finds the units that runs which go on have left to go on without labd: they are left alone.
        """
        open_ = await self._journal.kept(KEPT)
        units = await going_on() if open_ else ()
        for name, kept in open_.items():
            device = self._lab.devices.get(name.removeprefix(KEPT))
            if device is None:
                continue  # should it be entered in lab.yaml again, it is still so
            spared = {unit for other, unit in units if other == device.id}
            due = without(kept["due"], device.driver.units, spared)
            for unit, why in due.items():
                device.owe_safe(why, unit or None)
            if not due:
                self._keep(device.id, {})

    def _keep(self, name: str, due: Mapping[str, str]) -> None:
        with contextlib.suppress(JournalError):  # a broken journal keeps no device from being made safe
            self._journal.keep(f"{KEPT}{name}", {"due": dict(due)} if due else None)


def without(due: Mapping[str, str], units: Collection[str], spared: Collection[str]) -> dict[str, str]:
    """What is due (why, by unit; empty: all of them) without some units."""
    if not spared:
        return dict(due)
    told = dict.fromkeys(units, due[""]) if "" in due else {}
    told |= {unit: why for unit, why in due.items() if unit}
    return {unit: why for unit, why in told.items() if unit not in spared}
