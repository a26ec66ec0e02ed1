"""A run that goes on after the daemon's end: from exactly where it was, by its journal and by what its devices say.

Nothing is decided twice, and no ONCE action is ordered again unless its device or a person says that it did not happen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.protocol import messages as m
from labd.protocol.machine import Machine
from labd.protocol.machine.snapshot import command_from_json
from labd.run.agenda import Urgency
from labd.run.lifecycle import PAUSED, Lifecycle, State
from labd.run.outcomes import Failed, Order, Settled, Unsettled
from labd.run.past import Past, Tried, question_of
from labd.run.performer import Performer
from labd.run.questions import OpenOutcome
from labd.run.reconciling import RECONNECT_LIMIT
from labd.run.reservations import Bound, Reservations
from labd.run.run import Run
from labd.run.times import seconds_left
from labd.sdk import Effect, Intent

AGAIN = ("unreachable", "unknown", "cut")
"""Kinds of failures after which an action is ordered again: it was about to be when the daemon ended."""


class LostDeviceError(Exception):
    """A device that a run had is not in the lab any more; the text names it."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of a run from before the daemon's end.

    Args:
        state: the fold of its journal.
        position: what was kept of it.
        past: its actions and questions.
        why: what became of the daemon, in words.
        hold: why it must not go on by itself, or None.
    """

    state: RunState
    position: Mapping[str, Any]
    past: Past
    why: str
    hold: str | None = None

    def bounds(self, lab: Lab, which: str = "bounds") -> dict[str, Bound]:
        """The units that it had. Raises LostDeviceError: the lab has no such device any more."""
        found = {}
        for name, told in self.position[which].items():
            for device_id in (told["device"], *(other for other, _ in told["more"])):
                if device_id not in lab.devices:
                    raise LostDeviceError(device_id)
            device, unit = lab.devices[told["device"]], told["unit"]
            more = tuple((device_id, other) for device_id, other in told["more"])
            found[name] = Bound(name, device, unit, lab.place_of(device, unit), more)
        return found

    def check_actions(self, lab: Lab, machine: Machine) -> None:
        """Raises LostActionError where an action that is to be taken up is not there any more."""
        waiting = {getattr(command, "step_id", "") for command in machine.pending} | {*machine.outstanding}
        for step, tried in self.past.tried.items():
            if tried.open or step in waiting:
                tried.acts(lab)


class ResumedRun(Run):
    """A run taken up from where it was kept.

    Raises:
        LostDeviceError: a device that it had is not in the lab any more.
        LostActionError: an action that it waits for is not there any more.
    """

    def __init__(
        self,
        before: Before,
        order: int,
        machine: Machine,
        home: str,
        performer: Performer,
        reservations: Reservations,
    ) -> None:
        state, position = before.state, before.position
        bounds = before.bounds(performer.lab)
        before.check_actions(performer.lab, machine)
        super().__init__(state.run, order, machine, state.sample, home, performer, reservations)
        self._before = before
        self.lifecycle = Lifecycle(State(state.state))
        self.started, self.since, self.cause = state.started, state.since, state.cause
        self._bounds = bounds
        self._served = before.bounds(performer.lab, "served")
        self._deferred = [command_from_json(command) for command in position["deferred"]]
        self._machine_holds = position["machine_holds"]
        self._final = position["final"]
        self._window = position.get("window")  # not in a position that an older labd kept
        if "forecast" in position:  # not in a position that an older labd kept
            self.forecast.take_up(position["forecast"], paused=self.lifecycle.at in PAUSED)
        self._desk.count_from(before.past.questions)
        self._unknown = list(position["unknown"])
        if position["cleaned"]:
            self._cleaned.set()
        reservations.restore(self.id, self.sample, bounds, self._needs.of(machine.state))

    def _start(self) -> None:
        if self.lifecycle.at in PAUSED:
            self._performer.hold()
        self._agenda.put(Urgency.RESULT, self._take_up)

    # ── taking up ────────────────────────────────────────────────────────────────────────────────────────────────
    def _take_up(self) -> None:
        before = self._before
        told = {"why": before.why, "state": self.machine.state, "packml": self.lifecycle.state}
        self._post("run.resumed", told)
        if before.past.broken is not None:
            self._stay_broken(before.past)
            return
        if before.hold is not None:
            self._hold(before.hold)
        self._refresh()
        if self.over:
            self._end_after_all()
            return
        if not self.machine.state and not self.machine.pending:
            self._begin()
            return
        self._take_up_supply(self._before.past.supplies())
        self._take_up_waiting([command for command in self.machine.pending if command not in self._deferred])
        for step in self.machine.outstanding:
            self._take_up_left(step)
        self._dispatch([])  # so that devices know who watches them
        self._agenda.spawn(self._look_whether_quiet(), "looks whether it is quiet")

    def _take_up_waiting(self, waiting: Sequence[m.Command]) -> None:
        """What the machine waits for."""
        for command in waiting:
            tried = self._before.past.tried.get(command.step_id) if isinstance(command, m.Do) else None
            if tried is not None and (tried.open or tried.done):
                self._feed(m.Sent(tried.intended.data["step"]))
        asked = [command for command in waiting if self._was_asked(command)]
        for command in asked:
            self._take_up_command(command)
        self._take_up_times()  # a window that is over leads elsewhere before anything is ordered
        for command in waiting:
            if command in self.machine.pending and command not in asked:
                self._take_up_command(command)

    async def _look_whether_quiet(self) -> None:
        """Begins after all that was taken up: what is still on the wire counts."""
        self._agenda.put(Urgency.RESULT, self._check_quiet)

    def _was_asked(self, command: m.Command) -> bool:
        """Whether people have seen this question: what leads elsewhere takes it back."""
        return isinstance(command, m.Ask) and self._before.past.question(command.step_id)[0] is not None

    def _stay_broken(self, past: Past) -> None:
        """An error of labd's own had stopped it: where it was since is not sure, and a person ends it."""
        self._broken = self.cause = f"labd failed in this run ({past.broken}); stop or abort it"
        self._unknown += [str(tried.intended.data["action"]) for tried in past.tried.values() if tried.open]
        if not self.over:
            self._hold(self._broken)
            self._check_quiet()
        else:
            self._end_after_all()

    def _take_up_times(self) -> None:
        sleeps = self._before.position["times"]["sleeps"]
        running = {*self.machine.timers, *(getattr(command, "step_id", "") for command in self.machine.pending)}
        for step, told in sleeps.items():
            command = command_from_json(told["command"])
            if step not in running or not isinstance(command, m.Sleep):
                continue
            seconds = seconds_left(told, command.seconds)
            if seconds > 0 or command.urgency == "next":
                self._begin_sleep(command, seconds)
            else:
                self._times.sleep(command, 0.0)
                urgency = Urgency.WINDOW if command.urgency == "window" else Urgency.WATCH
                self._elapsed(m.Elapsed(step, token=command.token), urgency)

    def _left(self, step: str, whole: float) -> float:
        return seconds_left(self._before.position["times"]["limits"].get(step), whole)

    def _take_up_command(self, command: m.Command) -> None:
        match command:
            case m.Do():
                self._take_up_action(command)
            case m.Ask():
                self._take_up_question(command)
            case m.Await(within=float(within)):
                self._begin_await(command, self._left(command.step_id, within))
            case m.Enter():
                self._dispatch([command])
            case _:
                pass  # times are taken up above; a hold, and what needs nothing, stays as it is

    def _take_up_question(self, command: m.Ask) -> None:
        asked, closed = self._before.past.question(command.step_id)
        if asked is None:
            self._dispatch([command])
            return
        question = question_of(asked, command.token)
        if closed is None:
            self._desk.take_up(question)
            if command.within is not None:
                self._let_expire(command, question, self._left(command.step_id, command.within))
        elif closed.kind == "question.answered":
            data = closed.data
            answered = m.Answered(question.step, data["choice"], data["value"], data["by"], token=question.token)
            self._agenda.put(Urgency.RESULT, lambda: self._answered(answered))
        else:
            self._agenda.put(Urgency.RESULT, lambda: self._feed(m.Expired(question.step, token=question.token)))

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _take_up_action(self, command: m.Do) -> None:
        """The journal's word on an action that the machine waits for; where it has none, the device's."""
        tried = self._before.past.tried.get(command.step_id)
        if command.within is not None:
            self._rest[command.step_id] = self._left(command.step_id, command.within)
        if tried is None:
            self._dispatch([command])
            return
        order = tried.order(self._performer.lab, self.sample, self._bounds, command.within)
        once = order.action.effect is Effect.ONCE
        if tried.done:
            self._later(command, order, tried.did(order))
        elif tried.open and once:
            self._take_up_once(command, order, tried, None)
        elif tried.open:
            self._cut(tried)
            self._order_again(command)
        elif tried.last.kind == "action.failed" and tried.last.data["error"] not in AGAIN:
            self._take_up_failure(command, order, tried, once=once)
        else:
            self._order_again(command)

    def _take_up_failure(self, command: m.Do, order: Order, tried: Tried, *, once: bool) -> None:
        kind, message = str(tried.last.data["error"]), str(tried.last.data["message"])
        if kind not in ("rejected", "timeout", "cancelled") and once:
            unsettled = Unsettled("fault", tried.intent(order), message)
            if tried.asked is None:
                self._later(command, order, unsettled)
            else:
                self._take_up_asked(OpenOutcome(command, order, unsettled), tried)
        else:
            known = kind if kind in ("rejected", "timeout", "cancelled") else "fault"
            self._later(command, order, Failed(known, message))  # type: ignore[arg-type]

    def _take_up_once(self, command: m.Do, order: Order, tried: Tried, left: str | None) -> None:
        """An action that may have happened: a person's answer, or the question, or the device's word."""
        if tried.asked is not None:
            unsettled = Unsettled("unknown", tried.intent(order), str(tried.asked.data["text"]))
            known = tried.asked.data.get("known")
            if known is not None:
                unsettled = replace(unsettled, result=tried.result(order, known))
            self._take_up_asked(OpenOutcome(command, order, unsettled), tried)
            return
        if command.within is not None:  # should it be ordered again
            self._performer.allow(command.step_id, self._rest.get(command.step_id, command.within))
        self._agenda.spawn(self._settle_by_device(command, order, tried, left), f"settles {command.step_id}")

    def _take_up_asked(self, asked: OpenOutcome, tried: Tried) -> None:
        assert tried.asked is not None
        question = question_of(tried.asked, asked.command.token)
        self._rest.pop(asked.command.step_id, None)  # should a person say that it was not done, it begins anew
        if tried.answer is None:
            self._desk.take_up(question, asked)
            if self.lifecycle.at is State.EXECUTE:
                self._hold(f"the outcome of {asked.order.name} is unknown")
            return
        choice, by = tried.answer.data["choice"], tried.answer.data["by"]
        self._agenda.put(Urgency.RESULT, lambda: self._apply(asked, choice, asked.unsettled.result, {"by": by}))

    async def _settle_by_device(self, command: m.Do, order: Order, tried: Tried, left: str | None) -> None:
        why = f"{self._before.why} while it was under way"
        settled = await self._performer.resume(order, tried.intent(order), why, left)
        self._agenda.put(Urgency.RESULT, lambda: self._settled(command, order, settled))

    def _order_again(self, command: m.Do) -> None:
        self._feed(m.Unsent(command.step_id))
        if command in self.machine.pending:
            self._dispatch([command])

    def _cut(self, tried: Tried) -> None:
        """Closes the attempt at an action that may be repeated."""
        told = {"action_id": tried.id, "error": "cut", "message": f"{self._before.why}; it may be repeated"}
        self._post("action.failed", told)

    def _later(self, command: m.Do, order: Order, settled: Settled) -> None:
        self._agenda.put(Urgency.RESULT, lambda: self._settled(command, order, settled))

    def _take_up_left(self, step: str) -> None:
        """An action of a state that is being left: its outcome is awaited, and it is never ordered again."""
        left = "its state was being left"
        tried = self._before.past.tried.get(step)
        if tried is None:
            failed = m.Failed(step, "cancelled", f"{left}; it was not sent")
            self._agenda.put(Urgency.RESULT, lambda: self._feed(failed))
            return
        order = tried.order(self._performer.lab, self.sample, self._bounds, None)
        command = m.Do(step, order.bound.role, order.action.name, {})
        if tried.done:
            self._later(command, order, tried.did(order))
        elif tried.open and order.action.effect is Effect.ONCE:
            self._take_up_once(command, order, tried, left)
        else:
            if tried.open:
                self._cut(tried)
            self._later(command, order, Failed("cancelled", left))

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _end_after_all(self) -> None:
        """It was ending when the daemon ended: its devices are made safe, and it ends."""
        self._securing = True
        under_way: list[tuple[Order, Intent]] = []
        for tried in self._before.past.tried.values():
            if not tried.open:
                continue
            order = tried.order(self._performer.lab, self.sample, self._bounds, None)
            if order.action.effect is Effect.ONCE:
                under_way.append((order, tried.intent(order)))
            else:
                self._cut(tried)
        self._agenda.spawn(self._end_at_last(under_way), "ends")

    async def _end_at_last(self, under_way: Sequence[tuple[Order, Intent]]) -> None:
        """Once its devices are back, or RECONNECT_LIMIT is over. What had been under way is told as they have it."""
        acting = self.lifecycle.at
        devices = {bound.device.id: bound.device for bound in self._bounds.values()}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECONNECT_LIMIT):
                await asyncio.gather(*(device.wait_ready() for device in devices.values()))
        if acting is State.ABORTING:
            await self._make_safe()
        why = f"{self._before.why} while the run was being ended"
        for order, intent in under_way:
            settled = await self._performer.resume(order, intent, why, left="the run was being ended")
            if isinstance(settled, Unsettled):
                self._unknown.append(order.name)
        if acting is State.STOPPING:
            await self._make_safe()
        if acting is not State.COMPLETING or (self._final == "scrapped" and self.machine.cleans):
            await self._clean()
        self._agenda.put(Urgency.RESULT, lambda: self._finish(acting))
