"""Actions that a person orders by hand, outside any run: with the unit leased, journaled, and asked about in doubt."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from labd import clock
from labd.expr import did_you_mean
from labd.journal import Journal, NewEvent, SignalStore
from labd.lab.device import Device
from labd.lab.interlocks import GuardError, UnknownNameError
from labd.lab.lab import Lab
from labd.protocol.messages import Do
from labd.run.acts import Act, Doing, OnePerformer, last_try, value_of
from labd.run.orders import OrderRefusedError, make_order
from labd.run.outcomes import Did, Failed, Order, Settled, Unsettled
from labd.run.past import READ, LostActionError, Tried
from labd.run.questions import SETTLE
from labd.run.reservations import Bound, Reservations
from labd.sdk import Effect, Result, with_units

log = structlog.get_logger(__name__)

KEPT = "by-hand/"
STEP = "by hand"
PATIENCE = 10.0  # s; how long a device that cannot be reached is tried
REMEMBERED = 200  # acts that have ended, for whoever asks


class ByHand:
    """The orders by hand of one lab.

    Args:
        lab, journal, signals, reservations: what it works with.
        using: the runs that have a device, by its id.
        worker: the run that works on a sample, or will.
    """

    def __init__(
        self,
        lab: Lab,
        journal: Journal,
        signals: SignalStore,
        reservations: Reservations,
        using: Callable[[str], list[str]],
        worker: Callable[[str], str | None],
    ) -> None:
        self._lab = lab
        self._journal = journal
        self._signals = signals
        self._reservations = reservations
        self._using = using
        self._worker = worker
        self._numbers = itertools.count(1)
        self._doing: dict[str, Doing] = {}
        self._ended: dict[str, Act] = {}
        self._group: asyncio.TaskGroup | None = None
        self._leaving = False

    # ── what others ask ──────────────────────────────────────────────────────────────────────────────────────────
    def acts(self, device: str) -> list[Act]:
        """Those of a device that are under way, or wait for a person's word."""
        return [doing.act for doing in self._doing.values() if doing.act.device == device]

    def act(self, act_id: str) -> Act:
        """One of them, also one that has ended. Raises UnknownNameError."""
        doing = self._doing.get(act_id)
        found = doing.act if doing is not None else self._ended.get(act_id)
        if found is None:
            raise UnknownNameError(f"there is no action {act_id!r}; the journal has those of before")
        return found

    async def wait(self, act_id: str, seconds: float) -> Act:
        """Waits until it has ended, or a person must say what became of it; so many s at most."""
        doing = self._doing.get(act_id)
        if doing is not None and doing.act.state == "running":
            try:
                async with asyncio.timeout(clock.of_machine(seconds)):
                    await doing.changed.wait()
            except TimeoutError:
                pass
        return self.act(act_id)

    # ── ordering ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def order(
        self,
        device_id: str,
        action: str,
        parameters: Mapping[str, Any],
        *,
        unit: str | None = None,
        by: str,
        cause: str | None = None,
    ) -> Act:
        """Leases a unit and has it do something; who ordered it is durable when this returns, the action begins.

        Args:
            device_id: which device.
            action: of its driver.
            parameters: texts (`7.8 kN`) or JSON values.
            unit: which of them; None where it has one.
            by: who orders it.
            cause: why.

        Raises:
            UnknownNameError: no such device, or no such unit.
            GuardError: a run has it, somebody else works with it, it is down, barred, or lacks material.
            OrderRefusedError: no such action, or parameters that do not fit.
        """
        device = self.device(device_id)
        bound = self._bound(device, unit)
        self.check_free(device, bound.unit)
        act_id = f"by-hand-{clock.now():%Y%m%d-%H%M%S}-{next(self._numbers)}"
        order = self._made(act_id, bound, action, parameters)
        shown = with_units(order.parameters)
        act = Act(act_id, device_id, bound.unit, action, shown, order.sample, by, cause, started=clock.stamp())
        doing = Doing(act, order, self._performer(act_id))
        shortage = self._lab.inventory.shortage(doing.performer.recorder.deed(order))
        if shortage is not None and device.upkeep is None:
            raise GuardError(f"{order.name}: {shortage.text}")
        self._take(doing)
        try:
            told = {name: getattr(act, name) for name in ("device", "unit", "action", "sample", "by", "cause")}
            self._keep(act)
            await self._journal.append(NewEvent("action.by_hand", {**told, "parameters": dict(shown)}, act_id))
        except BaseException:
            self._forget(doing)
            raise
        self._spawn(doing, self._perform(doing))
        return act

    def device(self, name: str) -> Device:
        """One of the lab. Raises UnknownNameError."""
        if name not in self._lab.devices:
            raise UnknownNameError(f"there is no device {name!r}; {did_you_mean(name, self._lab.devices, 'there is')}")
        return self._lab.devices[name]

    def _bound(self, device: Device, unit: str | None) -> Bound:
        units = device.driver.units
        if unit is None and len(units) > 1:
            raise UnknownNameError(f"{device.id} has several units; say which with --unit: {', '.join(units)}")
        chosen = units[0] if unit is None else unit
        if chosen not in units:
            raise UnknownNameError(
                f"{device.id} has no unit {chosen!r}; it has {', '.join(units) or 'one, without a name'}"
            )
        return Bound(device.id, device, chosen, self._lab.place_of(device, chosen))

    def check_free(self, device: Device, unit: str) -> None:
        """Whether a person may work with a unit now. Raises GuardError that says who has it, or what stands against it.

        In maintenance a person answers for the device: then what bars runs does not bar him.
        """
        if self._group is None or self._leaving:
            raise GuardError("the daemon is starting or stopping: say it again in a moment")
        holder = self._reservations.holder(device.id, unit)
        if holder is not None and holder in self._doing:
            act = self._doing[holder].act
            state = "waits to be told what became of" if act.state == "unknown" else "is busy with"
            raise GuardError(f"{device.id} {state} {act.action}, which {act.by} ordered by hand ({act.id})")
        runs = [holder] if holder is not None else self._using(device.id) if len(device.driver.units) == 1 else []
        if runs:
            has = "has" if len(runs) == 1 else "have"
            raise GuardError(f"{', '.join(runs)} {has} {device.id}: wait for its end, or stop it")
        if device.upkeep is None:
            barred = self._lab.barriers.reason_for((device.id,))
            if barred is not None:
                mend = f"`labd maintenance {device.id} --reason …` lets a person answer for it"
                raise GuardError(f"{device.id} is barred: {barred}. {mend}")
        if not device.connected:
            raise GuardError(f"{device.id} is down: {device.problem}")

    def _made(self, act_id: str, bound: Bound, action: str, parameters: Mapping[str, Any]) -> Order:
        declared = bound.device.driver.actions.get(action)
        if declared is None:
            mend = did_you_mean(action, bound.device.driver.actions, "it has")
            raise OrderRefusedError(f"{bound.device.id} has no action {action!r}; {mend}")
        unknown = [name for name in parameters if name not in declared.parameters.model_fields]
        if unknown:
            mend = did_you_mean(unknown[0], declared.parameters.model_fields, "it has")
            raise OrderRefusedError(f"{bound.device.id}.{action} has no parameter {unknown[0]!r}; {mend}")
        sample = self._sample(act_id, bound, action, str(parameters.get("place", "")))
        values = {
            name: value_of(value, declared.parameters.model_fields[name], name) for name, value in parameters.items()
        }
        command = Do(STEP, bound.role, action, values)
        return make_order(self._lab, act_id, sample, STEP, bound, command)

    def _sample(self, act_id: str, bound: Bound, action: str, place: str) -> str:
        """What is acted on: what an arm takes up or holds, else what is in the unit's place. A run's own is its own."""
        at = place if action == "pick" and place else bound.place
        places = self._lab.places
        found = (places.sample_at(at) or places.part_for(at)) if at else None
        run = self._worker(found) if found is not None else None
        if run is not None:
            raise GuardError(f"{found} is there, on which {run} works: wait for its end, or stop it")
        return found or act_id

    def _performer(self, act_id: str) -> OnePerformer:
        jitter = random.Random(f"{self._lab.config.seed}:{act_id}")
        return OnePerformer(self._lab, self._journal, self._signals, jitter)

    def _take(self, doing: Doing) -> None:
        self._doing[doing.act.id] = doing
        self._reservations.occupy(doing.act.id, (doing.order.bound.key,))
        self._lab.inventory.begin(doing.act.id, STEP, doing.performer.recorder.deed(doing.order))

    def _forget(self, doing: Doing) -> None:
        self._lab.inventory.end(doing.act.id, STEP)
        self._doing.pop(doing.act.id, None)
        self._reservations.vacate(doing.act.id)

    def _spawn(self, doing: Doing, work: Any) -> None:
        assert self._group is not None
        doing.task = self._group.create_task(work, name=doing.act.id)

    # ── doing ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _perform(self, doing: Doing) -> None:
        doing.performer.allow(STEP, PATIENCE)
        self._settled(doing, await doing.performer.perform(doing.order))

    def _settled(self, doing: Doing, settled: Settled) -> None:
        match settled:
            case Did(result, conflict):
                self._end(doing, "done", result, conflict)
            case Failed(kind, message):
                self._end(doing, "failed", None, f"{kind}: {message}")
            case Unsettled() as unsettled:
                doing.unsettled = unsettled
                name, why = doing.order.name, unsettled.message
                asked = f"Nobody knows whether {name} happened: {why}. Look at it: was it done?"
                doing.act = replace(doing.act, state="unknown", message=asked)
                self._lab.alarms.tell(doing.act.id, "problem", doing.act.device, asked)
                doing.changed.set()

    def _end(self, doing: Doing, state: str, result: Result | None, message: str | None, by: str | None = None) -> None:
        told = with_units(result) if result is not None else None
        doing.act = act = replace(doing.act, state=state, result=told, message=message, ended=clock.stamp())
        with self._journal.together():
            data = {"device": act.device, "unit": act.unit, "action": act.action, "outcome": state, "message": message}
            self._journal.post(NewEvent("action.by_hand_ended", {**data, "by": by or act.by}, act.id))
            self._journal.keep(f"{KEPT}{act.id}", None)
        self._lab.alarms.end(act.id)
        self._ended[act.id] = act
        while len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._forget(doing)
        doing.changed.set()

    # ── what a person says ───────────────────────────────────────────────────────────────────────────────────────
    async def answer(self, act_id: str, choice: str, by: str) -> Act:
        """A person says what became of an action that nobody knows about: `done`, `not done` or `scrap`; durable then.

        Raises:
            UnknownNameError: no such action.
            GuardError: it is not asked about, or no such choice.
        """
        act = self.act(act_id)
        doing = self._doing.get(act_id)
        if doing is None or doing.unsettled is None:
            raise GuardError(f"{act.action} of {act.device} is {act.state}: nothing is asked about it")
        if choice not in SETTLE:
            raise GuardError(f"{choice!r} is none of: {', '.join(SETTLE)}")
        unsettled, doing.unsettled = doing.unsettled, None
        recorder, order, conflict = doing.performer.recorder, doing.order, None
        if choice == "done" and unsettled.result is not None:
            conflict = recorder.done(order, unsettled.intent, unsettled.result, verdict=SETTLE[choice], by=by)
        else:
            recorder.settle(order, unsettled.intent, SETTLE[choice], by=by)
            conflict = recorder.moved(order, None) if choice == "done" else None
        state = "done" if choice == "done" else "failed"
        message = conflict or f"{choice}, {by} says"
        self._end(doing, state, unsettled.result if choice == "done" else None, message, by)
        await self._journal.append(
            NewEvent("command.accepted", {"command": "answer", "by": by, "choice": choice}, act_id)
        )
        return self.act(act_id)

    async def cancel(self, act_id: str, by: str) -> Act:
        """Ends one that is under way, in order where its driver can, else its unit is made safe; waits for its end.

        Raises as `answer` does.
        """
        doing = self._doing.get(act_id)
        if doing is None or doing.act.state != "running":
            raise GuardError(f"{act_id} is {self.act(act_id).state}: there is nothing to cancel")
        self._journal.post(NewEvent("command.accepted", {"command": "cancel", "by": by}, act_id))
        await self._stop(doing, f"cancelled by {by}")
        return self.act(act_id)

    async def _stop(self, doing: Doing, why: str) -> None:
        bound = doing.order.bound
        if not doing.order.action.cancellable and doing.order.action.effect is not Effect.READ:
            await doing.performer.make_safe(bound, doing.act.id, why)
        await doing.performer.end(why)
        if doing.act.state == "running":
            self._end(doing, "failed", None, why)

    def end_all(self, why: str) -> None:
        """Ends all that is under way, for a stop or an abort of the whole lab; does not wait for their ends."""
        for doing in list(self._doing.values()):
            if doing.act.state == "running" and self._group is not None:
                self._group.create_task(self._stop(doing, why), name=f"ends {doing.act.id}")

    # ── a life of the daemon ─────────────────────────────────────────────────────────────────────────────────────
    def _keep(self, act: Act) -> None:
        names = ("device", "unit", "action", "sample", "by", "cause", "started")
        told = {name: getattr(act, name) for name in names}
        self._journal.keep(f"{KEPT}{act.id}", {**told, "parameters": dict(act.parameters)})

    async def take_up(self, group: asyncio.TaskGroup) -> None:
        """Takes up what was under way, or asked about, when the daemon ended. Before anything is given to runs."""
        self._group = group
        for name, told in (await self._journal.kept(KEPT)).items():
            act = Act(id=name.removeprefix(KEPT), **told)
            tried = last_try(await self._journal.events(run=act.id, kinds=READ))
            try:
                if tried is None:
                    raise LostActionError("labd ended before anything was sent")  # noqa: TRY301 - told as the others
                order = tried.order(self._lab, act.sample, {}, None)
            except LostActionError as error:
                self._drop(act, str(error))
                continue
            doing = Doing(act, order, self._performer(act.id))
            self._take(doing)
            if not tried.open:
                self._end(doing, "done" if tried.done else "failed", tried.result(order), None)
            elif order.action.effect is not Effect.ONCE:
                doing.performer.recorder.failed(
                    order, "action.failed", tried.intent(order), error="cancelled", message="labd ended meanwhile"
                )
                self._end(doing, "failed", None, "labd ended meanwhile")
            else:
                doing.performer.after_restart = True
                self._spawn(doing, self._resume(doing, tried))

    async def _resume(self, doing: Doing, tried: Tried) -> None:
        why = "labd ended while it was under way"
        self._settled(doing, await doing.performer.resume(doing.order, tried.intent(doing.order), why))

    def _drop(self, act: Act, why: str) -> None:
        data = {"device": act.device, "unit": act.unit, "action": act.action, "outcome": "failed", "message": why}
        self._journal.post(NewEvent("action.by_hand_ended", {**data, "by": act.by}, act.id))
        self._journal.keep(f"{KEPT}{act.id}", None)
        self._ended[act.id] = replace(act, state="failed", message=why, ended=clock.stamp())

    async def leave(self) -> None:
        """Begins nothing new, and waits for what acts to come to its outcome: the daemon ends."""
        self._leaving = True
        doings = [doing for doing in self._doing.values() if doing.task is not None and not doing.task.done()]
        await asyncio.gather(*(doing.performer.leave_off() for doing in doings))
        for doing in doings:
            if doing.task is not None:
                doing.task.cancel()
        tasks = [doing.task for doing in doings if doing.task is not None]
        if tasks:
            await asyncio.wait(tasks)
