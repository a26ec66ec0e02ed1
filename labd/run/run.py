"""One run: one execution of one protocol for one sample.

The protocol's machine and the PackML life cycle decide, synchronously; this class does what they say, in tasks of its
own group, and feeds what happens back to them, one happening at a time, the most urgent first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from labd import clock
from labd.expr import Missing
from labd.lab.bus import DeviceState, RunState
from labd.protocol import messages as m
from labd.protocol.machine import Machine
from labd.protocol.machine.snapshot import to_json
from labd.protocol.machine.vigil import WINDOW
from labd.run.agenda import Urgency
from labd.run.forecast import Forecast
from labd.run.identity import said_of
from labd.run.lifecycle import PAUSED, CommandRefusedError
from labd.run.performer import Performer
from labd.run.planning.site import unit_name
from labd.run.questions import SETTLE
from labd.run.reservations import Bound, Reservations
from labd.run.scheduling.claims import Needs
from labd.run.times import limits_as_json
from labd.run.waiting import Waiting

ENTERING = "enters"
POSITION = 1  # version of what `_keep` writes
CLEANUP_LIMIT = 1800.0  # s; how long the steps of `cleanup` may take together


class Run(Waiting):
    """A run from Idle to its end. `main()` is its task; commands and answers come from any other.

    Args:
        id: its name.
        order: its place in the line for devices; the least goes first.
        machine: what it executes.
        sample, home: what it works on, and where that was at the start.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the word of the field
        order: int,
        machine: Machine,
        sample: str,
        home: str,
        performer: Performer,
        reservations: Reservations,
    ) -> None:
        super().__init__(id, sample, performer)
        self.order = order
        self.machine = machine
        self.protocol = machine.protocol
        self.home = home
        self.forecast = Forecast(machine.outlook, lambda: performer.elapsed)
        self._reservations = reservations
        kinds = {name: (role.role, role.channels) for name, role in self.protocol.roles.items()}
        self._needs = Needs(machine.program, kinds, machine.parameters, performer.lab.scarce())
        self._deferred: list[m.Command] = []  # what the machine said while the run was held
        self._gathering = False  # what it says is kept with that, until all is known
        self._machine_holds = False  # and the run is held for it
        self._window: str | None = None  # the time window that has led it elsewhere, in words
        self._served: dict[str, Bound] = {}  # the devices that served it last, by role
        self._cleaned = asyncio.Event()
        self._deaf = performer.lab.bus.subscribe(self._heard, DeviceState)

    async def main(self) -> None:
        """As of any life; it listens to its devices until it ends."""
        try:
            await super().main()
        finally:
            self._deaf()
            self._blind()
            self._inventory.end(self.id)
            self._reservations.ended(self.id)

    def _begin(self) -> None:
        if not self.over:
            self._refresh()
            self._dispatch(self.machine.start())

    def _release(self) -> None:
        for bound in self._bounds.values():
            bound.device.watch(self.id, on=False)
        self._reservations.release(self.id, self._bounds)
        self._bounds = {}

    # ── what the machine says ────────────────────────────────────────────────────────────────────────────────────
    def _refresh(self) -> None:
        """Tells the machine what stands where and what the devices' signals are now."""
        names: dict[str, dict[str, Any]] = {
            "sample": {
                "id": self.sample,
                "position": self._performer.lab.places.place_of(self.sample) or "",
                "home": self.home,
                **said_of(self._performer.lab.samples, self.sample),
            },
            "run": {"id": self.id},
        }
        for name, bound in self._bounds.items():
            unread = Missing(f"{bound.device.id} tells no value of it now")
            live = bound.device.live(bound.unit).items()
            names[name] = {signal: unread if value is None else value for signal, value in live}
            names[name] |= {"place": bound.place or "", "device": bound.device.id}
        self.machine.update(names)

    def _feed(self, event: m.Event) -> None:
        if (self.over and not self._cleaning) or self._broken is not None:
            return
        self._refresh()
        self._dispatch(self.machine.feed(event))

    def _dispatch(self, commands: Sequence[m.Command]) -> None:
        """Obeys; while the run is held nothing new starts, but waits begin and what waits can be called off."""
        self._same = self._same and not commands
        for command in commands:
            if isinstance(command, m.Decided):
                told = {"what": command.what, "value": command.value, "step": command.step_id}
                told |= {"expression": command.expression, "because": command.because}
                self._post("protocol.decided", told)
            elif self._waiting and not isinstance(command, (m.Sleep, m.Cancel)):
                self._deferred.append(command)
                if isinstance(command, m.HoldRun) and self._machine_holds:
                    self.cause = f"{self.cause}; {command.reason}"  # one word of a person lets all lines go on
            elif not self.over or self._cleaning:
                self._obey(command)
        for bound in self._bounds.values():
            bound.device.watch(self.id, on=self.machine.watching and self._may_look, look=self._read)

    @property
    def _may_look(self) -> bool:
        """Whether signals can lead anywhere: until it is over, and in its cleanup."""
        return not self.over or self._cleaning

    @property
    def _waiting(self) -> bool:
        """Whether nothing new starts now."""
        return self._gathering or self.lifecycle.at in PAUSED

    def _obey(self, command: m.Command) -> None:
        match command:
            case m.Enter():
                self._led(command.because)
                self._release()
                self.forecast.enter(command.state, command.visit)
                self._waits.call_off(ENTERING)
                self._waits.begin(ENTERING, self._enter(command), f"enters {command.state}")
            case m.Do():
                self._do(command)
            case m.Ask():
                self._ask(command)
            case m.Sleep():
                self._begin_sleep(command, command.seconds)
            case m.Await(within=float(within)):
                self._begin_await(command, within)
            case m.Cancel():
                self._cancel(command)
            case m.HoldRun():
                self._machine_holds = True
                self._hold(command.reason)
            case m.Clean() | m.End():
                self._close(command)

    def _cancel(self, command: m.Cancel) -> None:
        """Calls off what waits under an id; of an action the outcome is awaited."""
        step = command.step_id
        self._times.over(step)
        self._supplied_now(step, command.because)
        waited, asked = self._waits.call_off(step), self._desk.withdraw_step(step, command.because)
        if waited or asked:
            return
        deferred = next((one for one in self._deferred if getattr(one, "step_id", None) == step), None)
        if deferred is not None:
            self._deferred.remove(deferred)
            if isinstance(deferred, m.Do):
                failed = m.Failed(step, "cancelled", command.because, token=deferred.token)
                self._agenda.put(Urgency.RESULT, lambda: self._feed(failed))
            return
        self._agenda.spawn(self._performer.leave(step, command.because), f"leaves {step}")

    async def _enter(self, command: m.Enter) -> None:
        roles = {name: self.protocol.roles[name].role for name in sorted(command.roles)}
        channels = {name: self.protocol.roles[name].channels for name in roles}
        need = self._needs.of(command.state)
        asked = clock.monotonic()
        bounds = await self._reservations.acquire(self.id, self.order, self.sample, roles, channels, need)
        # From here no await: a cancellation must not lose what was just reserved.
        self._bounds = bounds
        self._served |= bounds
        waited = round(clock.monotonic() - asked, 3)
        self._agenda.put(Urgency.RESULT, lambda: self._entered(command, waited))

    def _entered(self, command: m.Enter, waited: float) -> None:
        if self.over or command not in self.machine.pending:
            return  # a window has led elsewhere meanwhile
        self.forecast.begin()
        bindings = {name: str(bound) for name, bound in self._bounds.items()}
        told = {"state": command.state, "visits": command.visit, "because": command.because, "bindings": bindings}
        more = {name: [unit_name(*key) for key in bound.more] for name, bound in self._bounds.items() if bound.more}
        told |= {"more": more} if more else {}
        self._post("protocol.entered", told, waited=waited)  # s, for its devices: no part of the state before
        self._feed(m.Entered(command.state, token=command.token))

    # ── hold, stop, abort, end ───────────────────────────────────────────────────────────────────────────────────
    def _check_unhold(self, at: str | None) -> None:
        if self._desk.outcome is not None:
            choices = " | ".join(SETTLE)
            raise CommandRefusedError(f"answer first: labd answer {self.id} '{choices}'")
        barred = self._performer.lab.barriers.reason_for(self._devices)
        if barred is not None:
            raise CommandRefusedError(f"{self.id} cannot go on: {barred}")
        holds = self.machine.hold if self._machine_holds or self.machine.held else None
        if at is None:
            done = self.machine.repeats
            if done is not None and self._machine_holds and holds is not None:
                ways = ", ".join(holds.continue_at or self.protocol.states)
                raise CommandRefusedError(
                    f"{done} was done, and would be done again: say where to go on, "
                    f"labd unhold {self.id} --at STATE (one of: {ways})"
                )
            return
        if not self.machine.goes_on_at(at):
            raise CommandRefusedError(f"the protocol has no state {at!r}")
        if holds is None:
            raise CommandRefusedError(f"{self.id} was held by a person: it goes on where it is, not at {at}")
        if holds.continue_at and at not in holds.continue_at:
            raise CommandRefusedError(f"the protocol lets it go on at {', '.join(holds.continue_at)}, not at {at}")

    def _go_on(self, by: str, at: str | None) -> None:
        """What windows, then watches, say of the time of the hold goes before all that would begin now."""
        late, self._late = sorted(self._late, key=lambda one: one[0]), []
        self._gathering = True
        try:
            for elapsed in (one for urgency, one in late if urgency is Urgency.WINDOW):
                self._times.over(elapsed.step_id)
                self._feed(elapsed)
            if self.machine.held and (self._machine_holds or at is not None):
                self._machine_holds = False
                self._deferred = [command for command in self._deferred if not isinstance(command, m.HoldRun)]
                self._feed(m.Resume(at, by))
            self._look()
            for elapsed in (one for urgency, one in late if urgency is not Urgency.WINDOW):
                self._times.over(elapsed.step_id)
                self._feed(elapsed)
        finally:
            self._gathering = False
        deferred, self._deferred = self._deferred, []
        self._dispatch(sorted(deferred, key=lambda command: not isinstance(command, m.HoldRun)))

    def _leave(self, why: str) -> None:
        self._unknown += [asked.order.name for asked in self._desk.withdraw(why)]
        self._deferred.clear()
        self._dry.clear()
        self._late.clear()
        self._times.forget()
        self._waits.forget()
        self._agenda.forget_waiting()

    def _close(self, command: m.Clean | m.End) -> None:
        if isinstance(command, m.Clean):
            self._post("cleanup.ended" if command.over else "cleanup.started")
            if command.over:
                self._cleaned.set()
            return
        self._led(command.because)
        self._final = command.outcome
        results = self.machine.results_told() if command.outcome == "complete" else {}
        told = {"state": command.state, "outcome": command.outcome, "because": command.because}
        self._post("protocol.ended", told | ({"results": results} if results else {}))
        self._waits.forget()
        self._agenda.forget_waiting()
        why = f"the protocol ended in {command.state}" + (f": {self._window}" if self._window else "")
        if command.outcome == "aborted":
            self._abort("protocol", why)
        elif command.outcome == "stopped":
            self._stop("protocol", why)
        else:
            if self._window is not None:
                self.cause = self._window
            self._complete(clean=command.outcome == "scrapped" and self.machine.cleans)

    def _led(self, because: str) -> None:
        """A window that led it off its way is what it ended for, whatever came on that other way."""
        if because.startswith(WINDOW) and self._window is None:
            self._window = because

    async def _clean(self) -> None:
        if self._cleaning or self._cleaned.is_set() or not self.machine.cleans:
            self._cleaned.set()  # a second, more urgent end does not begin it anew
            return
        self._performer.reopen()
        self._cleaning = True
        self._agenda.put(Urgency.RESULT, self._begin_cleanup)
        try:
            async with asyncio.timeout(CLEANUP_LIMIT):
                await self._cleaned.wait()
        except TimeoutError:
            self._cleaned.set()
            self._post("cleanup.ended", problem=f"it was not over after {CLEANUP_LIMIT:g} s")
        finally:
            self._cleaning = False
            await self._performer.end("the cleanup has ended")

    def _begin_cleanup(self) -> None:
        """Takes the devices that the run had, as far as they are there and nobody else has them now."""
        own = {
            name: bound for name, bound in self._served.items() if self._reservations.take(self.id, self.sample, bound)
        }
        self._bounds = {**self._bounds, **own}
        self._refresh()
        self._dispatch(self.machine.clean_up(frozenset(own)))

    # ── where it is ──────────────────────────────────────────────────────────────────────────────────────────────
    def _keep(self) -> None:
        """Keeps where the run is, unless it only looked and saw nothing new."""
        same, self._same = self._same, False
        if same:
            return
        times = self._times.as_json()
        times["limits"] |= limits_as_json(self._performer.allowed, paused=self._performer.held)
        position = {
            "position": POSITION,
            "machine": self.machine.snapshot(),
            "bounds": {name: _told(bound) for name, bound in self._bounds.items()},
            "served": {name: _told(bound) for name, bound in self._served.items()},
            "deferred": [to_json(command) for command in self._deferred],
            "machine_holds": self._machine_holds,
            "times": times,
            "forecast": self.forecast.as_json(),
            "final": self._final,
            "window": self._window,
            "unknown": list(self._unknown),
            "cleaned": self._cleaning or self._cleaned.is_set(),
        }
        self._journal.keep(self._key, position)

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────
    @property
    def waits_for(self) -> str | None:
        """Why it waits, in words, or None."""
        return self._reservations.waiting(self.id)

    def uses(self, devices: Collection[str]) -> bool:
        """Whether it works with one of these devices now, or one of them holds its sample."""
        return not self._devices.isdisjoint(devices)

    @property
    def _devices(self) -> set[str]:
        """The devices that it works with now, and the one that holds its sample."""
        here = self._performer.lab.places.place_of(self.sample) or ""
        return self._reservations.held_by(self.id) | {here.partition("/")[0]} - {""}

    def told(self) -> RunState:
        ended = self.ended
        return RunState(
            run=self.id,
            protocol=self.protocol.name,
            version=str(self.protocol.version),
            sample=self.sample,
            state=self.lifecycle.state,
            protocol_state=self.machine.state or None,
            since=self.since,
            progress=1.0 if ended else self.forecast.progress,
            expected_end=None if self.over or self.lifecycle.at in PAUSED else self.forecast.expected_end,
            outcome=self.outcome if ended else None,
            cause=self.cause if self.cause is not None else self.waits_for or self._performer.settling,
            question=self.question.told() if self.question else None,
            started=self.started,
            ended=self.ended_at,
        )


def _told(bound: Bound) -> dict[str, Any]:
    return {"device": bound.device.id, "unit": bound.unit, "more": [list(key) for key in bound.more]}
