"""What people and interlocks tell runs to do: one run, or all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from labd.journal import Journal, NewEvent
from labd.lab.bus import RunState
from labd.lab.lab import Lab
from labd.lab.rules import Then
from labd.run.lifecycle import Command, CommandRefusedError, Lifecycle, State
from labd.run.parked import abort_parked
from labd.run.reservations import Reservations
from labd.run.roll import Roll
from labd.run.run import Run


@dataclass(slots=True)
class _OrderToAll:
    """An order to many runs, and those that have taken it: their tasks, and whether they have obeyed."""

    command: Command
    by: str
    cause: str | None
    devices: Collection[str] | None
    given: dict[str, tuple[asyncio.Task[None], asyncio.Future[None]]] = field(default_factory=dict)


class Commanding(Roll):
    """The orders of a lab's runs.

    Args:
        lab: where they act.
        journal: where orders are written.
    """

    def __init__(self, lab: Lab, journal: Journal) -> None:
        super().__init__()
        self.lab = lab
        self.journal = journal
        self.reservations = Reservations(lab)
        self._closing = False
        self._settled = asyncio.Event()  # no run is being taken up
        self._early: list[_OrderToAll] = []  # orders to all that came meanwhile
        self._unbegun: dict[str, list[_OrderToAll]] = {}  # holds that came while a run was being started
        self._orders_to_all = 0
        self._ending = asyncio.Lock()  # of runs that were not taken up: one at a time

    async def command(
        self,
        run_id: str,
        command: Command,
        *,
        by: str,
        cause: str | None = None,
        at: str | None = None,
        accepted: Callable[[], None] = lambda: None,
    ) -> RunState:
        """Gives a run a command; taken and durable when this returns.

        Args:
            run_id: which one.
            command: what it is told.
            by: who, or what, gives it.
            cause: why.
            at: where it goes on.
            accepted: called once nothing refuses it any more; what it posts is durable with the command (of `clear`,
                and of a run that was not taken up, it is not called).

        Raises:
            UnknownRunError: no such run.
            CommandRefusedError: its state does not allow it.
        """
        await self._settled.wait()
        if command is Command.CLEAR:
            return await self._clear(run_id, by)
        if command is Command.UNHOLD and self._closing:
            raise CommandRefusedError("the daemon is stopping: say it again once it was started")
        parked = self._parked.get(run_id)
        if parked is not None:
            if command not in (Command.STOP, Command.ABORT):
                raise CommandRefusedError(f"{run_id}: {parked.cause}")
            if await self._close(run_id, command, by, cause):
                return await self.state(run_id)
        run = self._live(run_id)  # also one that was parked, and was resumed or ended meanwhile
        await self._obeyed(run, run.command(command, by, cause, at))
        await self._accept(run_id, {"command": command.value, "by": by, "cause": cause, "at": at}, accepted)
        return await self.state(run_id)

    async def _obeyed(self, run: Run, order: asyncio.Future[None]) -> None:
        """Waits until a run has taken an order up, so that what it does for it is durable before it is acknowledged."""
        if not order.done():
            task = self._tasks[run.id]
            await asyncio.wait({order, task}, return_when=asyncio.FIRST_COMPLETED)
        if not order.done():
            raise CommandRefusedError(f"{run.id} has ended meanwhile ({run.outcome})")

    async def answer(
        self,
        run_id: str,
        choice: str,
        *,
        value: object = None,
        by: str,
        which: str | None = None,
        accepted: Callable[[], None] = lambda: None,
    ) -> RunState:
        """Answers a run's question, the one with the id `which`; durable when this returns.

        `accepted` is called, and raised what, as by `command`.
        """
        await self._settled.wait()
        self._live(run_id).answer(choice, value, by, which)
        await self._accept(run_id, {"command": "answer", "by": by, "choice": choice}, accepted)
        return await self.state(run_id)

    async def command_all(
        self, command: Command, *, by: str, cause: str | None = None, devices: Collection[str] | None = None
    ) -> list[str]:
        """Gives every run a command that it can take now; taken and durable when this returns. Gives their ids.

        Args:
            command: hold, stop or abort.
            by: who, or what, gives it.
            cause: why.
            devices: only the runs that work with one of these now, or whose sample one of them holds; None: all.
        """
        order = _OrderToAll(command, by, cause, devices)
        self._orders_to_all += devices is None
        self._give(order, list(self._runs.values()))
        if not self._settled.is_set():
            self._early.append(order)  # runs are being taken up: it reaches each before it goes on
            await self._settled.wait()
        for task, obeyed in order.given.values():
            await asyncio.wait({task, obeyed}, return_when=asyncio.FIRST_COMPLETED)
        if order.given:
            told = {"command": command.value, "by": by, "cause": cause, "at": None}
            await self.journal.append(*(NewEvent("command.accepted", told, run_id) for run_id in order.given))
        ends = devices is None and command in (Command.STOP, Command.ABORT)
        parked = list(self._parked) if ends else []
        return [*order.given, *[run_id for run_id in parked if await self._close(run_id, command, by, cause)]]

    def _give(self, order: _OrderToAll, runs: Iterable[Run]) -> None:
        for run in runs:
            if order.devices is not None and not run.uses(order.devices):
                continue
            if order.command in run.lifecycle.allowed():
                order.given[run.id] = self._tasks[run.id], run.command(order.command, order.by, order.cause)
            elif order.command is Command.HOLD and run.lifecycle.at is State.IDLE:
                order.given[run.id] = self._tasks[run.id], asyncio.get_running_loop().create_future()
                self._unbegun.setdefault(run.id, []).append(order)

    def _give_late(self, run: Run) -> None:
        """A run that was being started takes commands now: it is told to hold before it does anything."""
        for order in self._unbegun.pop(run.id, ()):
            _, told = order.given[run.id]
            self._give(order, (run,))
            _, obeyed = order.given[run.id]
            obeyed.add_done_callback(lambda _, told=told: told.done() or told.set_result(None))  # type: ignore[misc]
            order.given[run.id] = self._tasks[run.id], told

    async def _ordered(self, then: Then, by: str, cause: str, devices: Collection[str] | None) -> list[str]:
        """What an interlock orders."""
        return await self.command_all(Command(then), by=by, cause=cause, devices=devices)

    def _using(self, device: str) -> list[str]:
        return [run.id for run in self._runs.values() if run.uses((device,))]

    async def _accept(
        self, run_id: str, data: dict[str, str | None], accepted: Callable[[], None] = lambda: None
    ) -> None:
        accepted()
        await self.journal.append(NewEvent("command.accepted", dict(data), run_id))

    async def _clear(self, run_id: str, by: str) -> RunState:
        """Clears an aborted run; for any ended run, says that a person has taken its sample out of the lab."""
        state = await self._clearable(run_id)
        events = []
        if state.state == State.ABORTED.value:
            cycle = Lifecycle(State.ABORTED)
            for command in (Command.CLEAR, Command.DONE):
                before, after = cycle.command(command)
                data = {"from": before.value, "to": after.value, "command": command.value, "by": by, "cause": None}
                events.append(NewEvent("run.state", dict(data), run_id))
        place = self.lab.places.place_of(state.sample)
        if place is not None:
            events.append(
                NewEvent("sample.moved", {"sample": state.sample, "from": place, "to": None, "by": by}, run_id)
            )
            events += self.lab.inventory.left(place, by)
        gripper = self.lab.places.part_of(state.sample)
        if gripper is not None:
            events += self.lab.inventory.let_go(gripper, by)
            told = {"sample": state.sample, "place": gripper, "held": False, "by": by}
            events.append(NewEvent("part.moved", dict(told), run_id))
        if not events:
            raise CommandRefusedError(f"{run_id} is {state.state} and its sample has left the lab: nothing to clear")
        # At once, for whoever asks while it is written: nobody clears it a second time, or begins with what has gone.
        self.lab.places.move(state.sample, None)
        if gripper is not None:
            self.lab.places.carry(gripper, None)
        if state.state == State.ABORTED.value:
            self._past[run_id] = replace(state, state=State.STOPPED.value)
        await self.journal.append(*events)
        return await self.state(run_id)

    async def _clearable(self, run_id: str) -> RunState:
        """A run that may be cleared. Raises CommandRefusedError: it is at work, or an arm says that it holds it."""
        held = await self._held_still((await self.state(run_id)).sample)
        state = await self.state(run_id)
        if state.ended is None:
            raise CommandRefusedError(f"clear is not possible while {run_id} is {state.state}; stop or abort it first")
        worker = self.worker(state.sample)
        if worker is not None:
            raise CommandRefusedError(f"{worker} works on {state.sample} now: clear that one, once it has ended")
        if held is not None:
            arm, _, _ = held.partition("/")
            mend = f"take it out (of a simulated arm: labd unload {held}), then clear"
            raise CommandRefusedError(f"{arm} still holds what {state.sample} has in it: {mend}")
        return state

    async def _held_still(self, sample: str) -> str | None:
        """The gripper that holds the sample, or a part for it, by its own signal; None also where it cannot tell."""
        places = self.lab.places
        for device in self.lab.devices.values():
            for unit in device.driver.units:
                spot = self.lab.place_of(device, unit) if device.driver.role == "arm" else None
                if spot is None or sample not in (places.sample_at(spot), places.part_for(spot)):
                    continue
                # What was read last may be of before a person took it out: it is read once more.
                if device.live(unit).get("gripped") and await device.witnesses.signal(unit, "gripped") is not False:
                    return spot
        return None

    async def stop_all(self, by: str, cause: str) -> None:
        """Stops every run in order, and waits for their ends. No new run is taken."""
        await self._end_all(Command.STOP, by, cause)

    async def abort_all(self, by: str, cause: str) -> None:
        """Aborts every run that has not ended, and waits for their ends. No new run is taken."""
        await self._end_all(Command.ABORT, by, cause)

    async def _end_all(self, command: Command, by: str, cause: str) -> None:
        self._closing = True
        for run in list(self._runs.values()):
            if command in run.lifecycle.allowed():
                run.command(command, by, cause)
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def leave_all(self) -> None:
        """Lets go of all runs, for the next daemon to go on with them. No new run is taken.

        Nothing new is begun; what acts comes to its outcome, but for actions that go on without labd
        (`on_loss: continue`): they are left to their devices, and taken up again.
        """
        self._closing = True
        await asyncio.gather(*(run.leave_off() for run in self._runs.values()))
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _close(self, run_id: str, command: Command, by: str, cause: str | None) -> bool:
        """Aborts a run that was not taken up, for a stop too; gives whether it was that still."""
        async with self._ending:
            if run_id not in self._parked:
                return False
            ended = await abort_parked(self.lab, self.journal, self._parked[run_id], by, cause)
            del self._parked[run_id]
            self._past[run_id] = ended
            self.reservations.vacate(run_id)
            self.lab.inventory.release(run_id)
            self.lab.bus.tell(ended)
            await self._accept(run_id, {"command": command.value, "by": by, "cause": cause, "at": None})
            return True
