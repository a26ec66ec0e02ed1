"""The life of a run after PackML: started, held, stopped, aborted, ended, whatever it is that it executes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from labd import clock
from labd.journal import NewEvent
from labd.run.agenda import Agenda, Urgency
from labd.run.lifecycle import ENDED, ENDING, Command, CommandRefusedError, Lifecycle, State
from labd.run.performer import Performer
from labd.run.reservations import Bound

log = structlog.get_logger(__name__)

POSITIONS = "run/"
"""What the journal keeps of runs that have not ended stands under this and the run's id."""


class Life(ABC):
    """What a run does with commands, in which order it ends, and what the journal is told of that.

    Args:
        id: the run's name.
        sample: what it works on.
        performer: who carries out its actions.
    """

    def __init__(self, id: str, sample: str, performer: Performer) -> None:  # noqa: A002 - the word of the field
        self.id = id
        self.sample = sample
        self.lifecycle = Lifecycle()
        self.since = clock.stamp()
        self.started: str | None = None
        self.ended_at: str | None = None
        self.cause: str | None = None
        self.outcome: str | None = None
        self._performer = performer
        self._journal = performer.journal
        self._agenda = Agenda(id, self._break, self._carry_out)
        self._bounds: dict[str, Bound] = {}  # by the protocol's name for the role
        self._broken: str | None = None  # an error of labd's own, after which the run can only be ended
        self._unknown: list[str] = []  # actions whose outcome was still unknown when the run was ended
        self._final = ""
        self._securing = False
        self._end_events: tuple[NewEvent, ...] = ()
        performer.on_quiet = lambda: self._agenda.put(Urgency.RESULT, self._check_quiet)

    @property
    def ended(self) -> bool:
        return self.lifecycle.at in ENDED

    @property
    def over(self) -> bool:
        """Whether nothing new is done in it any more: it has ended, or is ending."""
        return self.ended or self.lifecycle.at in ENDING

    async def main(self) -> None:
        """Runs to the end; its end is durable when this returns.

        Cancelled: leaves at once, as a crash would; what was in flight is found in the journal.
        """
        try:
            self._start()
            await self._agenda.work(lambda: self.ended)
            await self._journal.append(*self._end_events, forget=self._key)
        finally:
            self._release()

    def _start(self) -> None:
        """From Idle to Execute."""
        self.started = clock.stamp()
        with self._journal.together():
            self._transit(Command.START)
            self._transit(Command.DONE)
            self._keep()
        self._agenda.put(Urgency.RESULT, self._begin)

    def _carry_out(self, act: Callable[[], None]) -> None:
        """Lets one thing happen: what is told of it, and where the run is then, become durable together."""
        with self._journal.together():
            act()
            if self._broken is None:
                self._keep()  # of its end too: that is written apart, and the process may be gone before

    @property
    def _key(self) -> str:
        return f"{POSITIONS}{self.id}"

    # ── what is executed ─────────────────────────────────────────────────────────────────────────────────────────
    @abstractmethod
    def _keep(self) -> None:
        """Keeps in the journal where it is, so that it can go on from there after a restart."""

    @abstractmethod
    def _begin(self) -> None:
        """Begins with what is executed; the run may be ending already."""

    @abstractmethod
    def _release(self) -> None:
        """Gives all devices back."""

    @abstractmethod
    def _check_unhold(self, at: str | None) -> None:
        """Raises CommandRefusedError where it cannot go on, or not there."""

    @abstractmethod
    def _go_on(self, by: str, at: str | None) -> None:
        """Goes on after a hold."""

    @abstractmethod
    def _suspended(self) -> None:
        """It stands still for want of something; that may be there by now."""

    @abstractmethod
    def _leave(self, why: str) -> None:
        """Nothing is waited for any more, and nobody is asked: the run ends."""

    @abstractmethod
    async def _clean(self) -> None:
        """Does what the protocol says under `cleanup`, once in a run, where devices still answer."""

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────
    def command(
        self, command: Command, by: str, cause: str | None = None, at: str | None = None
    ) -> asyncio.Future[None]:
        """Takes an operator's command; what is given is done once the run has obeyed.

        Raises:
            CommandRefusedError: the run's state does not allow it.
        """
        self.lifecycle.check(command)
        if command is Command.UNHOLD:
            if self._broken is not None:
                raise CommandRefusedError(self._broken)
            self._check_unhold(at)
        match command:
            case Command.ABORT:
                return self._agenda.order(Urgency.ABORT, lambda: self._abort(by, cause))
            case Command.STOP:
                return self._agenda.order(Urgency.STOP, lambda: self._stop(by, cause))
            case Command.HOLD:
                return self._agenda.order(Urgency.HOLD, lambda: self._hold(cause or f"held by {by}", by))
            case Command.UNHOLD:
                return self._agenda.order(Urgency.OTHER_COMMAND, lambda: self._unhold(by, at))
            case _:
                raise CommandRefusedError(f"{command.value} cannot be given to a run that works")

    def _hold(self, cause: str, by: str = "labd") -> None:
        if Command.HOLD not in self.lifecycle.allowed():
            return  # something more urgent came first
        self._transit(Command.HOLD, by, cause)
        self._performer.hold()
        self._check_quiet()

    def _unhold(self, by: str, at: str | None) -> None:
        if self.lifecycle.at is not State.HELD:
            return
        self._transit(Command.UNHOLD, by)
        self._performer.unhold()
        self._transit(Command.DONE)
        self._go_on(by, at)

    def _suspend(self, cause: str) -> None:
        if Command.SUSPEND not in self.lifecycle.allowed():
            return
        self._transit(Command.SUSPEND, cause=cause)
        self._performer.hold()
        self._check_quiet()

    def _unsuspend(self) -> None:
        if self.lifecycle.at is not State.SUSPENDED:
            return
        self._transit(Command.UNSUSPEND)
        self._performer.unhold()
        self._transit(Command.DONE)
        self._go_on("labd", None)

    def _stop(self, by: str, cause: str | None) -> None:
        if Command.STOP not in self.lifecycle.allowed():
            return
        self._transit(Command.STOP, by, cause or f"stopped by {by}")
        self._final = self._final or "stopped"
        self._leave("the run was stopped")
        self._agenda.spawn(self._end_actions(), "stops")

    async def _end_actions(self) -> None:
        await self._performer.end("the run was stopped")
        self._agenda.put(Urgency.RESULT, self._check_quiet)

    def _abort(self, by: str, cause: str | None) -> None:
        if Command.ABORT not in self.lifecycle.allowed():
            return
        self._transit(Command.ABORT, by, cause or f"aborted by {by}")
        self._final = "aborted"
        self._leave("the run was aborted")
        self._agenda.spawn(self._make_safe_at_once(), "aborts")

    async def _make_safe_at_once(self) -> None:
        await self._performer.cut("the run was aborted")
        await self._make_safe()
        if await self._performer.late():  # it may have sent something more, after its device was safe
            await self._make_safe()
        await self._clean()
        self._agenda.put(Urgency.RESULT, lambda: self._finish(State.ABORTING))

    async def _make_safe(self) -> None:
        bounds = list(self._bounds.values())
        await asyncio.gather(*(self._performer.make_safe(bound, self.id) for bound in bounds))

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _complete(self, *, clean: bool = False) -> None:
        self._transit(Command.COMPLETE)
        if clean:
            self._agenda.spawn(self._complete_cleanly(), "cleans up")
        else:
            self._finish(State.COMPLETING)

    async def _complete_cleanly(self) -> None:
        await self._clean()
        self._agenda.put(Urgency.RESULT, lambda: self._finish(State.COMPLETING))

    def _check_quiet(self) -> None:
        """Ends Holding, Suspending and Stopping once nothing of this run is on the wire any more."""
        if not self._performer.quiet:
            return
        if self.lifecycle.at is State.HOLDING:
            self._transit(Command.DONE)
        elif self.lifecycle.at is State.SUSPENDING:
            self._transit(Command.DONE)
            self._suspended()
        elif self.lifecycle.at is State.STOPPING and not self._securing:
            self._securing = True
            self._agenda.spawn(self._stop_safely(), "makes safe")

    async def _stop_safely(self) -> None:
        await self._make_safe()
        await self._clean()
        self._agenda.put(Urgency.RESULT, lambda: self._finish(State.STOPPING))

    def _finish(self, acting: State) -> None:
        """Ends the run, unless something more urgent has taken over from the state that has now acted."""
        if self.lifecycle.at is not acting:
            return
        self.outcome = self._final
        self.ended_at = clock.stamp()
        unknown = list(dict.fromkeys([*self._unknown, *self._performer.unknown]))
        if unknown:
            known = f"{self.cause}; " if self.cause else ""
            self.cause = f"{known}nobody knows whether {', '.join(unknown)} happened: look at {self.sample}"
        moved = self._moved(Command.DONE)
        ended = {"outcome": self.outcome, "sample": self.sample, "cause": self.cause}
        self._end_events = (moved, NewEvent("run.ended", ended, self.id))

    def _break(self, error: Exception) -> None:
        """An error of labd's own stops this run where it is, and no other; a person ends it."""
        log.error("run failed", run=self.id, exc_info=error)
        cause = f"labd failed in this run ({error!r}); stop or abort it"
        self._post("run.failed", error=repr(error))
        if self.lifecycle.at in ENDING:
            if self.lifecycle.at is State.ABORTING:
                raise error
            self._abort("labd", cause)
            return
        self._broken = self.cause = cause
        self._hold(cause)

    # ── the journal ──────────────────────────────────────────────────────────────────────────────────────────────
    def _post(self, event: str, data: Mapping[str, Any] | None = None, **more: Any) -> None:
        self._journal.post(NewEvent(event, {**(data or {}), **more}, self.id))

    def _transit(self, command: Command, by: str = "labd", cause: str | None = None) -> None:
        self._journal.post(self._moved(command, by, cause))

    def _moved(self, command: Command, by: str = "labd", cause: str | None = None) -> NewEvent:
        before, after = self.lifecycle.command(command)
        self.since = clock.stamp()
        if cause is not None or after is State.EXECUTE:
            self.cause = cause
        told = {"from": before.value, "to": after.value, "command": command.value, "by": by, "cause": cause}
        return NewEvent("run.state", told, self.id)
