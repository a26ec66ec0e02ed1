"""Safe mode: after starts that all died young the lab is made safe, nothing is resumed, and a person is told why."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import structlog

from labd.journal import Journal, NewEvent
from labd.lab.device import Device
from labd.lab.lab import Lab
from labd.run.history import ACTIONS, FOLDED, fold, going_on

log = structlog.get_logger(__name__)

NAME = "safe-mode"
"""Of its barrier and its alarm."""
AGAIN = 30.0  # s; wait before a device that did not become safe is told once more


async def units_going_on(journal: Journal, *, but: Collection[str] = ()) -> set[tuple[str, str]]:
    """The units that unfinished runs have left to go on without labd: they are not made safe with the rest.

    Args:
        journal: where runs and their actions stand.
        but: runs in these states are left out.
    """
    found: set[tuple[str, str]] = set()
    for run in await journal.runs(with_="run.started", without="run.ended"):
        state = fold(await journal.events(run=run, kinds=FOLDED)).runs[run]
        if state.state not in but:
            found |= going_on(await journal.events(run=run, kinds=ACTIONS))
    return found


class SafeMode:
    """The lab in safe mode, from `begin` to `end`.

    Args:
        lab, journal: the daemon's.
        died: when the starts were made that died, as `starts.died` gives them.
    """

    def __init__(self, lab: Lab, journal: Journal, died: Sequence[str]) -> None:
        self._lab = lab
        self._journal = journal
        self._ended = asyncio.Event()
        self.why = (
            f"labd died {len(died)} times in a row within a minute of its start, from {died[0]} to {died[-1]}: outputs "
            "are made safe and nothing is resumed. Look in its log for the cause, mend it, then say `labd resume`"
        )

    def begin(self) -> None:
        """From now on no run is started and none goes on, and an alarm says why."""
        log.error("safe mode", why=self.why)
        self._journal.post(NewEvent("daemon.safe_mode", {"why": self.why}))
        self._lab.barriers.set(NAME, "the lab is in safe mode; `labd status` says why, `labd resume` ends it")
        self._lab.alarms.tell(NAME, "critical", "lab", self.why)

    def end(self) -> None:
        """Lets runs go on. Harmless when ended."""
        self._ended.set()
        self._lab.barriers.lift(NAME)
        self._lab.alarms.end(NAME)

    async def run(self) -> None:
        """Makes each device safe once, as it comes up, until safe mode ends: all but the units that may go on."""
        spared = await units_going_on(self._journal)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._make_safe(device, spared), name=f"{device.id} safe mode")
                for device in self._lab.devices.values()
            ]
            await self._ended.wait()
            for task in tasks:
                task.cancel()

    async def _make_safe(self, device: Device, spared: Collection[tuple[str, str]]) -> None:
        kept = {unit for name, unit in spared if name == device.id}
        left: Sequence[str | None] = [unit for unit in device.driver.units if unit not in kept] if kept else [None]
        for unit in left:
            problem: str | None = None
            while True:
                await device.wait_ready()
                if device.upkeep is not None:  # a person works on it: not before that ends
                    await asyncio.sleep(AGAIN)
                    continue
                before, problem = problem, await device.safe_state(unit)
                if problem is not None and before is None and not kept:  # once, and not where that ends what goes on
                    await device.on_unsafe(device.id, "safe mode")
                if problem is None or problem != before:
                    told = {"device": device.id, "unit": unit or "", "problem": problem, "cause": "safe mode"}
                    self._journal.post(NewEvent("device.safe_state", told))
                if problem is None:
                    break
                await asyncio.sleep(AGAIN)
        if kept:
            log.warning("left to go on in safe mode", device=device.id, units=sorted(kept))
