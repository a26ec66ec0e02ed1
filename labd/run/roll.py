"""The runs of a lab by their ids: those at work, those that were not taken up again, those that have ended."""

from __future__ import annotations

import asyncio

from labd.lab.bus import RunState
from labd.run.lifecycle import CommandRefusedError
from labd.run.run import Run


class UnknownRunError(Exception):
    """There is no such run."""


class Roll:
    """What can be told of runs."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}  # those at work
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._parked: dict[str, RunState] = {}  # unfinished, and not taken up
        self._past: dict[str, RunState] = {}

    def _live(self, run_id: str) -> Run:
        run = self._runs.get(run_id)
        if run is not None:
            return run
        if run_id in self._past:
            raise CommandRefusedError(f"{run_id} has ended ({self._past[run_id].outcome})")
        if run_id in self._parked:
            raise CommandRefusedError(f"{run_id}: {self._parked[run_id].cause}")
        raise UnknownRunError(f"there is no run {run_id!r}")

    def worker(self, sample: str) -> str | None:
        """The run that works on a sample, or will when it goes on."""
        parked = (state.run for state in self._parked.values() if state.sample == sample)
        return next((run.id for run in self._runs.values() if run.sample == sample), next(parked, None))

    def known(self) -> list[RunState]:
        """All runs of the journal, oldest first."""
        live = {run_id: run.told() for run_id, run in self._runs.items()}
        return sorted({**self._past, **self._parked, **live}.values(), key=lambda state: number_of(state.run))

    def unended(self) -> list[RunState]:
        """Those that have not ended, oldest first; what it costs does not grow with the journal."""
        live = {run_id: run.told() for run_id, run in self._runs.items() if not run.ended}
        return sorted({**self._parked, **live}.values(), key=lambda state: number_of(state.run))

    @property
    def ended(self) -> int:
        """How many have ended."""
        return len(self._past) + sum(run.ended for run in self._runs.values())

    def held_at(self, run_id: str) -> tuple[str, ...]:
        """The states that a held run may go on at, where its protocol names some."""
        run = self._runs.get(run_id)
        hold = run.machine.hold if run is not None else None
        return hold.continue_at if hold is not None else ()

    @property
    def working(self) -> tuple[str, ...]:
        """The runs at work."""
        return tuple(self._runs)

    async def states(self) -> list[RunState]:
        """The same, for callers of other tasks."""
        return self.known()

    async def state(self, run_id: str) -> RunState:
        """Where one run is. Raises UnknownRunError."""
        found = self.find(run_id)
        if found is not None:
            return found
        raise UnknownRunError(f"there is no run {run_id!r}")

    def find(self, run_id: str) -> RunState | None:
        """Where one run is, or None when there is no such run."""
        run = self._runs.get(run_id)
        return run.told() if run is not None else self._past.get(run_id) or self._parked.get(run_id)

    def is_parked(self, run_id: str) -> bool:
        """Whether it has not ended, and was not taken up."""
        return run_id in self._parked

    async def wait(self, run_id: str) -> RunState:
        """Waits for a run's end. Raises UnknownRunError."""
        if run_id in self._tasks:
            await asyncio.wait([self._tasks[run_id]])
        return await self.state(run_id)


def number_of(run_id: str) -> int:
    """The running number in a run's id."""
    return int(run_id.rpartition("-")[2])
