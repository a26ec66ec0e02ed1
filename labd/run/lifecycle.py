"""The life cycle of a run: PackML's state machine (ISA-TR88.00.02), synchronous and without I/O."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    IDLE = "Idle"
    STARTING = "Starting"
    EXECUTE = "Execute"
    COMPLETING = "Completing"
    COMPLETE = "Complete"
    HOLDING = "Holding"
    HELD = "Held"
    UNHOLDING = "Unholding"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    UNSUSPENDING = "Unsuspending"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    ABORTING = "Aborting"
    ABORTED = "Aborted"
    CLEARING = "Clearing"
    RESETTING = "Resetting"


class Command(StrEnum):
    """Commands of operators and of the runtime. `done` is PackML's state-complete: the acting state has acted."""

    START = "start"
    HOLD = "hold"
    UNHOLD = "unhold"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    COMPLETE = "complete"
    STOP = "stop"
    ABORT = "abort"
    CLEAR = "clear"
    RESET = "reset"
    DONE = "done"


GIVEN = frozenset({Command.HOLD, Command.UNHOLD, Command.STOP, Command.ABORT, Command.CLEAR})
"""What people give; the other commands are the runtime's own."""
PAUSED = frozenset({State.HOLDING, State.HELD, State.SUSPENDING, State.SUSPENDED})
"""Nothing new starts in these."""
ENDING = frozenset({State.COMPLETING, State.STOPPING, State.ABORTING, State.CLEARING})
ENDED = frozenset({State.COMPLETE, State.STOPPED, State.ABORTED})

_DONE: dict[State, State] = {
    State.STARTING: State.EXECUTE,
    State.COMPLETING: State.COMPLETE,
    State.HOLDING: State.HELD,
    State.UNHOLDING: State.EXECUTE,
    State.SUSPENDING: State.SUSPENDED,
    State.UNSUSPENDING: State.EXECUTE,
    State.STOPPING: State.STOPPED,
    State.ABORTING: State.ABORTED,
    State.CLEARING: State.STOPPED,
    State.RESETTING: State.IDLE,
}
_UNSTOPPABLE = {State.STOPPING, State.STOPPED, State.ABORTING, State.ABORTED, State.CLEARING, State.COMPLETE}


def _table() -> dict[State, dict[Command, State]]:
    moves: list[tuple[Command, list[State], State]] = [
        (Command.START, [State.IDLE], State.STARTING),
        (
            Command.HOLD,
            [State.EXECUTE, State.SUSPENDING, State.SUSPENDED, State.UNHOLDING, State.STARTING],
            State.HOLDING,
        ),
        (Command.UNHOLD, [State.HELD], State.UNHOLDING),
        (Command.SUSPEND, [State.EXECUTE], State.SUSPENDING),
        (Command.UNSUSPEND, [State.SUSPENDED], State.UNSUSPENDING),
        (Command.COMPLETE, [State.EXECUTE], State.COMPLETING),
        (Command.STOP, [state for state in State if state not in _UNSTOPPABLE], State.STOPPING),
        (
            Command.ABORT,
            [state for state in State if state not in {State.ABORTING, State.ABORTED, State.COMPLETE, State.STOPPED}],
            State.ABORTING,
        ),
        (Command.CLEAR, [State.ABORTED], State.CLEARING),
        (Command.RESET, [State.COMPLETE, State.STOPPED], State.RESETTING),
        *((Command.DONE, [source], target) for source, target in _DONE.items()),
    ]
    table: dict[State, dict[Command, State]] = {state: {} for state in State}
    for command, sources, target in moves:
        for source in sources:
            table[source][command] = target
    return table


_TABLE = _table()


class CommandRefusedError(Exception):
    """A command that the run's state does not allow; the text says which are."""


class Lifecycle:
    """One run's PackML state."""

    def __init__(self, initial: State = State.IDLE) -> None:
        self.at = initial

    @property
    def state(self) -> str:
        return self.at.value

    def allowed(self) -> list[Command]:
        """The commands that the present state takes."""
        return list(_TABLE[self.at])

    def check(self, command: Command) -> None:
        """Raises CommandRefusedError, with what can be given now, for a command that the state does not take."""
        if command not in _TABLE[self.at]:
            can = ", ".join(name.value for name in self.allowed() if name in GIVEN) or "none"
            raise CommandRefusedError(f"{command.value} is not possible in {self.state}; possible: {can}")

    def command(self, command: Command) -> tuple[State, State]:
        """Moves on a command; gives the states before and after.

        Raises:
            CommandRefusedError: not in this state.
        """
        self.check(command)
        before, self.at = self.at, _TABLE[self.at][command]
        return before, self.at
