"""A bench for one trial: a fresh world, the simulator, the wire, the driver; and what a look at the world shows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from labd import clock
from labd.sdk import (
    Action,
    Call,
    DeviceError,
    Driver,
    Intent,
    Labware,
    OutcomeUnknown,
    Parameters,
    Position,
    Reading,
    Result,
    Setup,
    Signals,
    Unreachable,
)
from labd.testing.subject import Subject, usual
from labd.testing.wire import Wire
from simulators._kit.pty import PtyError
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import Cell, World

_T = TypeVar("_T")

CONNECT_LIMIT = 60.0  # s; this and the next are the runtime's own
POLL_LIMIT = 20.0
SAFE_LIMIT = 15.0
ENDS_WITHIN = 10.0  # s after it was cancelled
RECOVERY = 10  # polls after which a driver is itself again
FAILED_POLLS = 3  # in a row, after which the runtime connects anew
SEED = 3

_ADDRESSES = (
    *("tcp://127.0.0.1:0", "127.0.0.1:0", "http://127.0.0.1:0", "modbus://127.0.0.1:0"),
    *("opc.tcp://127.0.0.1:0", "TCPIP::127.0.0.1::0::SOCKET", "ports/{name}", "serial://ports/{name}"),
)


@dataclass
class Stage:
    """What is on the bench."""

    subject: Subject
    world: World
    simulator: Simulator
    wire: Wire
    setup: Setup
    driver: Driver
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def again(self) -> Driver:
        """The program was killed: another one, that knows nothing, is connected in its place."""
        await self.driver.close()
        self.driver = self.subject.driver(self.setup)
        await self.connect()
        return self.driver

    async def connect(self) -> None:
        """As the runtime does: again and again, for a while."""
        for last in (*[False] * RECOVERY, True):
            try:
                await within(CONNECT_LIMIT, self.driver.connect(), "connect")
            except (Unreachable, OutcomeUnknown):
                if last:
                    raise
                await asyncio.sleep(2.0)
            else:
                return

    async def poll(self) -> Reading:
        """One poll as the runtime does it: cut off after its limit."""
        try:
            reading = await within(POLL_LIMIT, self.driver.read_state(), "read_state")
        except TimeoutError as error:
            raise OutcomeUnknown(f"no reading within {POLL_LIMIT:g} s") from error
        for unit, signals in by_unit(reading).items():
            assert isinstance(signals, self.driver.Signals), f"read_state gave {type(signals).__name__} for {unit!r}"
            for name, value in signals:
                assert not isinstance(value, float) or math.isfinite(value), f"signal {name} is {value}"
        return reading

    async def recovered(self) -> Reading:
        """The first reading on a wire that is sound again, as the runtime gets it: by polls, and by connecting anew.

        Raises:
            AssertionError: there is none after so many polls.
        """
        trouble: DeviceError | None = None
        for tried in range(1, RECOVERY + 1):
            try:
                if trouble is not None and (tried % FAILED_POLLS == 0 or isinstance(trouble, Unreachable)):
                    await self.driver.close()
                    await within(CONNECT_LIMIT, self.driver.connect(), "connect")
                return await self.poll()
            except DeviceError as error:
                trouble = error
                await asyncio.sleep(1.0)
        raise AssertionError(f"the wire is sound, and {RECOVERY} polls later there is no reading: {trouble}")

    async def intend(self, action: Action, parameters: Parameters) -> Intent:
        """What stands in the journal before the action's first byte."""
        unit = self.driver.units[0]
        baseline = await within(POLL_LIMIT, self.driver.baseline(action.name, unit), "baseline")
        return Intent(f"run-1-{next(self._numbers):03d}", action.name, unit, parameters, baseline, clock.now())

    def order(self, intent: Intent) -> asyncio.Task[Result]:
        """The action, under way."""
        action = self.driver.actions[intent.action]
        call = Call(intent.id, intent.unit, intent.baseline)
        task = asyncio.ensure_future(self.driver.invoke(action, intent.parameters, call))
        task.add_done_callback(_heard)
        return task

    async def act(self, action: Action, parameters: Parameters) -> tuple[Intent, Result]:
        """Does an action to its end, within its own time limit."""
        intent = await self.intend(action, parameters)
        result = await within(action.time_limit(parameters), self.order(intent), action.name)
        assert isinstance(result, action.result), f"{action.name} gave {type(result).__name__}"
        return intent, result

    async def act_before(self, number: int) -> None:
        """Does all acts before the one of this number."""
        for action, parameters in self.subject.acts()[:number]:
            await self.act(action, parameters)

    def seen(self) -> dict[str, float]:
        """What stands in the world now, and what the trial's `effect` tells, as numbers by name."""
        self.simulator.step(0.0)
        found = {f"effect {name}": float(value) for name, value in self.subject.trial.effect(self.simulator).items()}
        for place, well in self.world.wells():
            found[f"{place}: µL"] = well.volume
        for place, item in self.world.items():
            found[f"{place}: {item.id}"] = 1.0
            if isinstance(item, Cell):
                found[f"{item.id}: µL"] = item.volume
                found[f"{item.id}: kN"] = item.crimp_force or 0.0
                found[f"{item.id}: parts"] = len(item.parts)
                found[f"{item.id}: damage"] = len(item.damage)
        return found


def by_unit(reading: Reading) -> Mapping[str, Signals]:
    """A reading's signals by unit."""
    return {"": reading} if isinstance(reading, Signals) else reading


def _heard(task: asyncio.Future[Any]) -> None:
    """What became of a task was heard, though nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


async def within(limit: float, doing: Awaitable[_T], what: str) -> _T:
    """As the runtime bounds what a driver does; what does not end when it is cancelled hangs, and breaks the contract.

    Raises:
        TimeoutError: it took longer, and was cancelled.
    """
    task = asyncio.ensure_future(doing)
    task.add_done_callback(_heard)
    done, _ = await asyncio.wait({task}, timeout=limit)
    if not done:
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=ENDS_WITHIN)
        assert done, f"{what} hangs: it was cancelled after {limit:g} s, and goes on {ENDS_WITHIN:g} s later"
        if task.cancelled() or task.exception() is not None:
            raise TimeoutError(f"{what} takes longer than {limit:g} s")
    return task.result()


@contextlib.asynccontextmanager
async def stage(subject: Subject, directory: Path, *, wired: bool = True) -> AsyncIterator[Stage]:
    """A bench with the device on it, connected.

    Args:
        subject: what stands on it.
        directory: for ptys.
        wired: whether the wire stands between; without it polls cost less.

    Raises:
        AssertionError: the driver has no simulator, or takes no address that its simulator listens at.
    """
    assert subject.simulator is not None, "there is no simulator of its device: its quality is `draft`"
    problems: list[str] = []
    for number, settings in enumerate(settings_of(subject)):
        made = directory / f"bench{number}"
        try:
            async with contextlib.AsyncExitStack() as stack:
                found = await _set_up(subject, settings, made, stack, wired=wired)
                yield found
                return
        except _NotSo as error:
            problems.append(f"{settings}: {error}")
    listed = "\n  ".join(problems)
    raise AssertionError(f"name the settings in its simulator's `trial`; none of these will do:\n  {listed}")


class _NotSo(Exception):
    """With these settings driver and simulator do not come together."""


def settings_of(subject: Subject) -> list[dict[str, Any]]:
    """The trial's settings, what is required besides made up; where they lack an address, with each that may be one."""
    fields = subject.driver.Settings.model_fields
    key = next((key for key in ("address", "port", "resource", "endpoint", "url") if key in fields), None)
    wanted = {name: usual(field) for name, field in fields.items() if field.is_required() and name != key}
    said = {**{name: value for name, value in wanted.items() if value is not None}, **subject.trial.settings}
    if key is None or key in said:
        return [said]
    return [{**said, key: address.format(name=subject.name)} for address in _ADDRESSES]


async def _set_up(
    subject: Subject, settings: dict[str, Any], directory: Path, stack: contextlib.AsyncExitStack, *, wired: bool
) -> Stage:
    assert subject.simulator is not None
    trial, name = subject.trial, subject.name
    world = World(SEED)
    world.furnish(trial.deck)
    trial.furnish(world)
    try:
        subject.driver.Settings.model_validate(settings)
        simulator = subject.simulator(
            Bench(name, world, settings, dict(trial.options), trial.positions, trial.deck, directory)
        )
        found = await simulator.start()
        stack.push_async_callback(simulator.stop)
    except (ValidationError, ValueError, KeyError, OSError, PtyError) as error:
        raise _NotSo(str(error)) from error
    wire = Wire(directory)
    stack.push_async_callback(wire.stop)
    setup = Setup(
        name,
        {**settings, **(await wire.before(found) if wired else found)},
        {place: Position(tuple(one["pose"])) for place, one in trial.positions.items()},
        tuple(Labware(one["place"], one["labware"], one.get("contents", {})) for one in trial.deck),
    )
    driver = subject.driver(setup)
    made = Stage(subject, world, simulator, wire, setup, driver)
    stack.push_async_callback(lambda: made.driver.close())  # noqa: PLW0108 - another one may stand there by then
    await asyncio.sleep(trial.age)
    await made.connect()
    return made
