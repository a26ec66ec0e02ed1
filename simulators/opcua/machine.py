"""The states of a machine, ANSI/ISA-TR88.00.02, told from the time."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

NUMBERS = (
    *("Undefined", "Clearing", "Stopped", "Starting", "Idle", "Suspended", "Execute", "Stopping", "Aborting"),
    *("Aborted", "Holding", "Held", "Unholding", "Suspending", "Unsuspending", "Resetting", "Completing", "Complete"),
)
"""By their numbers, 0 to 17."""

NEXT = {  # where an acting state leads, and how long it takes, s
    "Clearing": ("Stopped", 2.0),
    "Resetting": ("Idle", 3.0),
    "Starting": ("Execute", 2.0),
    "Execute": ("Completing", 20.0),
    "Completing": ("Complete", 2.0),
    "Holding": ("Held", 1.0),
    "Unholding": ("Execute", 1.0),
    "Suspending": ("Suspended", 1.0),
    "Unsuspending": ("Execute", 1.0),
    "Stopping": ("Stopped", 3.0),
    "Aborting": ("Aborted", 1.0),
}
_RUNNING = frozenset({"Starting", "Execute", "Holding", "Held", "Unholding", "Suspending", "Suspended", "Unsuspending"})
_ABORTABLE = frozenset(NUMBERS) - {"Undefined", "Aborting", "Aborted", "Clearing"}

ORDERS: dict[str, tuple[frozenset[str], str]] = {  # from where, to where
    "Start": (frozenset({"Idle"}), "Starting"),
    "Reset": (frozenset({"Stopped", "Complete"}), "Resetting"),
    "Hold": (_RUNNING - {"Holding", "Held"}, "Holding"),
    "Unhold": (frozenset({"Held"}), "Unholding"),
    "Suspend": (frozenset({"Execute"}), "Suspending"),
    "Unsuspend": (frozenset({"Suspended"}), "Unsuspending"),
    "ToComplete": (frozenset({"Execute"}), "Completing"),
    "Stop": (_ABORTABLE - {"Stopping", "Stopped"}, "Stopping"),
    "Abort": (_ABORTABLE, "Aborting"),
    "Clear": (frozenset({"Aborted"}), "Clearing"),
}


class Machine:
    """A machine that runs programs.

    Args:
        programs: how long each takes in Execute, s; the first runs when none is named.
        times: s of other states, where they are not as usual.
        memory: what survives power: counters.
        faults: the switches; see `simulators.opcua.MachineSimulator`.
        first: the state in which it comes up.
    """

    def __init__(
        self,
        programs: Mapping[str, float],
        times: Mapping[str, float],
        memory: MutableMapping[str, Any],
        faults: Mapping[str, Any],
        *,
        first: str,
    ) -> None:
        self.programs = dict(programs)
        self.state = first
        self.since = 0.0
        self.program = next(iter(programs))
        self.memory = memory
        self._faults = faults
        self._lasts = {state: times.get(state, seconds) for state, (_, seconds) in NEXT.items()}
        self._left = 0.0  # of Execute, s
        self._now = 0.0

    @property
    def runs(self) -> int:
        """Runs that were ever started."""
        return int(self.memory.get("runs", 0))

    @property
    def made(self) -> int:
        return int(self.memory.get("made", 0))

    @property
    def defective(self) -> int:
        return int(self.memory.get("defective", 0))

    def advance(self, now: float) -> None:
        """Does all that was due until now (s on one clock of the caller's)."""
        while (due := self._due()) is not None and due <= now:
            self._now = due
            self._end()
        self._now = max(self._now, now)

    def order(self, name: str, *, ready: frozenset[str] | None = None) -> bool:
        """Carries out an order; False where the state does not allow it.

        Args:
            name: of ORDERS.
            ready: states from which Start is allowed, where they are others than Idle.
        """
        allowed, to = ORDERS[name]
        if self.state not in (ready if ready is not None and name == "Start" else allowed):
            return False
        if self._faults.get("deaf"):
            return True
        if name == "Start":
            self.memory["runs"] = self.runs + 1
            self._left = self.programs.get(self.program, self._lasts["Execute"])
        self._enter(to)
        return True

    def begin(self, program: str) -> None:
        """What was started just now is this program."""
        self.program = program
        self._left = self.programs[program]

    @property
    def runtime(self) -> float:
        """How long the present state of a run has lasted, s; 0 when none is under way."""
        return self._now - self.since if self.state == "Execute" else 0.0

    def _due(self) -> float | None:
        if self.state not in NEXT or self._faults.get("stuck"):
            return None
        return self.since + (self._until_next() if self.state == "Execute" else self._lasts[self.state])

    def _until_next(self) -> float:
        """Of Execute: until it is done, or until half of it where a fault waits there."""
        return self._left / 2 if self._strikes() else self._left

    def _strikes(self) -> str | None:
        if self.memory.get("struck") == self.runs:
            return None
        faults = {"abort_on": "Aborting", "stop_on": "Stopping", "hold_on": "Holding"}
        return next((to for fault, to in faults.items() if self.runs in (self._faults.get(fault) or ())), None)

    def _end(self) -> None:
        if self.state == "Execute" and (to := self._strikes()) is not None:
            self.memory["struck"] = self.runs
            self._enter(to)
            return
        if self.state == "Completing":
            key = "defective" if self.runs in (self._faults.get("defect_on") or ()) else "made"
            self.memory[key] = int(self.memory.get(key, 0)) + 1
        self._enter(NEXT[self.state][0])

    def _enter(self, state: str) -> None:
        if self.state == "Execute":
            self._left = max(0.0, self._left - (self._now - self.since))
        self.state, self.since = state, self._now
