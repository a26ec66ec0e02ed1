"""One device of the lab under supervision: connecting, polling, health, and handing actions to its driver."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from labd import clock
from labd.lab.bus import Bus, DeviceAbout, DeviceState, Health, SignalsRead, Value
from labd.lab.limit import Limit
from labd.sdk import (
    About,
    Action,
    Call,
    DeviceError,
    Driver,
    Effect,
    Fault,
    Intent,
    Outcome,
    OutcomeUnknown,
    Parameters,
    Reading,
    Result,
    Signals,
    Unreachable,
    Verdict,
)
from labd.sdk.quantities import unit_of

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

CONNECT_LIMIT = 60.0  # s
POLL_LIMIT = 20.0  # s
SAFE_LIMIT = 15.0  # s
CLOSE_LIMIT = 10.0  # s
BACKOFF = (1.0, 30.0)  # s; least and greatest wait before the next try to connect
FAILED_POLLS = 3  # in a row, before the link counts as lost
STALE_AFTER = 3.0  # poll periods


class TimeLimit(DeviceError):
    """A READ or STATE action did not end within its time limit."""

    @property
    def kind(self) -> str:
        return "timeout"


@dataclass(frozen=True, slots=True)
class Poll:
    """Seconds between two polls: while nothing acts on the device, and while something does."""

    idle: float = 10.0
    busy: float = 1.0


@dataclass(slots=True)
class Device:
    """A configured device. `run()` keeps it connected and polled until cancelled.

    Args:
        id: its name in lab.yaml.
        kind: its driver's name.
        driver: the driver, not yet connected.
        bus: who is told.
        poll: the periods of its polls.
        on_signals: where every poll's signals go (the signal store), by unit.
        jitter: for the waits between two tries to connect.
    """

    id: str
    kind: str
    driver: Driver
    bus: Bus
    poll: Poll = field(default_factory=Poll)
    on_signals: Callable[[str, str, Signals], None] = lambda *_: None
    jitter: random.Random = field(default_factory=random.Random)
    health: Health = "down"
    problem: str | None = "not connected yet"
    since: str = ""
    about: About | None = None
    signals: dict[str, Value] = field(default_factory=dict)
    read_at: float | None = None
    read_stamp: str = ""
    _seq: int = 0
    _acting: dict[str, str] = field(default_factory=dict)  # action id -> run
    _watched: set[str] = field(default_factory=set)  # runs that decide by its signals now
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    @property
    def _period(self) -> float:
        """Seconds between two polls now: often while it acts, or while a run watches it."""
        return self.poll.busy if self._acting or self._watched else self.poll.idle

    def watch(self, run: str, *, on: bool) -> None:
        """Says that a run decides by its signals from now on, or no more: then they are read as often as in action."""
        if on and run not in self._watched:
            self._watched.add(run)
            self._wake.set()
        elif not on:
            self._watched.discard(run)

    @property
    def busy_with(self) -> tuple[str, ...]:
        """The runs whose actions it carries out now."""
        return tuple(dict.fromkeys(self._acting.values()))

    # ── supervision ──────────────────────────────────────────────────────────────────────────────────────────────
    async def run(self) -> None:
        """Connects, polls, and connects again with a jittered, growing wait, for as long as the lab lives."""
        wait = BACKOFF[0]
        try:
            while not _cancelled():
                if await self._connect() and await self._poll_until_lost():
                    wait = BACKOFF[0]
                await asyncio.sleep(wait * self.jitter.uniform(0.75, 1.25))
                wait = min(wait * 2, BACKOFF[1])
        finally:
            self._ready.clear()
            await self._close()

    async def _connect(self) -> bool:
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                self.about = await self.driver.connect()
        except TimeoutError:
            self._set("down", f"no answer within {CONNECT_LIMIT:g} s of connecting")
        except DeviceError as error:
            self._set("down", str(error))
        except Exception as error:  # what a driver did not foresee is that device's fault, not the daemon's death
            log.exception("driver failed", device=self.id)
            self._set("down", f"its driver failed: {error!r}")
        else:
            self.bus.tell(self.describe())
            return True
        await self._close()
        return False

    async def _close(self) -> None:
        """Closes the link, whatever the driver makes of that."""
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                await self.driver.close()
        except TimeoutError:
            log.warning("link did not close", device=self.id, limit=CLOSE_LIMIT)
        except Exception:
            log.exception("driver failed", device=self.id)

    async def _poll_until_lost(self) -> bool:
        """Polls for as long as the device answers; gives whether it ever did."""
        failed, ever = 0, False
        while not _cancelled():
            try:
                async with asyncio.timeout(POLL_LIMIT):
                    self._take(await self.driver.read_state())
            except (DeviceError, TimeoutError) as error:
                failed += 1
                self._stale()
                self._ready.set()
                self._set("degraded", str(error) or f"no reading within {POLL_LIMIT:g} s")
                if failed >= FAILED_POLLS or isinstance(error, Unreachable):
                    break
            except Exception as error:
                log.exception("driver failed", device=self.id)
                failed += 1
                self._stale()
                self._ready.set()
                self._set("degraded", f"its driver failed: {error!r}")
                if failed >= FAILED_POLLS:
                    break
            else:
                failed, ever = 0, True
                self._ready.set()  # not before: who decides by its signals finds them read, where they can be
                self._set("ok", None)
            self._wake.clear()
            period = self._period
            try:
                async with asyncio.timeout(period):
                    await self._wake.wait()
            except TimeoutError:
                pass
        self._ready.clear()
        self._set("down", self.problem or "the link is lost")
        await self._close()
        return ever

    def _take(self, reading: Reading) -> None:
        by_unit: Mapping[str, Signals] = {"": reading} if isinstance(reading, Signals) else reading
        values: dict[str, Value] = {}
        for unit, signals in by_unit.items():
            for name, field_ in type(signals).model_fields.items():
                value = getattr(signals, name)
                key = f"{unit}.{name}" if unit else name
                values[key] = Value(value, unit_of(field_) or "", "bad" if value is None else "good")
            self.on_signals(self.id, unit, signals)
        self.signals = values
        self.read_at = clock.monotonic()
        self._seq += 1
        self.read_stamp = clock.stamp()
        self.bus.tell(SignalsRead(self.id, self._seq, self.read_stamp, values))

    def _stale(self) -> None:
        """Marks what was read last as no longer so, and says so, under the time when it was read."""
        if not any(value.q == "good" for value in self.signals.values()):
            return
        self.signals = {
            name: Value(value.v, value.u, "stale" if value.q == "good" else value.q)
            for name, value in self.signals.items()
        }
        self._seq += 1
        self.bus.tell(SignalsRead(self.id, self._seq, self.read_stamp, self.signals))

    def live(self, unit: str) -> dict[str, Any]:
        """The last good values of a unit's signals by name; a stale or bad one is None."""
        period = self._period
        fresh = self.read_at is not None and clock.monotonic() - self.read_at <= STALE_AFTER * period + POLL_LIMIT
        prefix = f"{unit}." if unit else ""
        return {
            name.removeprefix(prefix): value.v if fresh and value.q == "good" else None
            for name, value in self.signals.items()
            if name.startswith(prefix)
        }

    def _set(self, health: Health, problem: str | None) -> None:
        if (health, problem) == (self.health, self.problem) and self.since:
            return
        if health != self.health or not self.since:
            self.since = clock.stamp()
            level = log.info if health == "ok" else log.warning
            level("device " + health, device=self.id, problem=problem)
        self.health, self.problem = health, problem
        self.bus.tell(self.state())

    def state(self) -> DeviceState:
        return DeviceState(self.id, self.health, self.problem, self.since or clock.stamp(), self.busy_with)

    def describe(self) -> DeviceAbout:
        about = self.about or About()
        return DeviceAbout(
            self.id,
            self.kind,
            self.driver.role,
            about.model,
            about.serial,
            about.firmware,
            self.driver.units,
            {name: action.schema() for name, action in self.driver.actions.items()},
            {name: unit_of(field_) or "" for name, field_ in type(self.driver).Signals.model_fields.items()},
        )

    async def wait_ready(self) -> None:
        """Waits until the device is connected, and its signals were read, or tried to be."""
        await self._ready.wait()

    # ── what the runtime asks of it ──────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, Any]:
        """What `outcome` will compare against. Raises DeviceError as the driver does."""
        return await self._guard(action, POLL_LIMIT, lambda: self.driver.baseline(action, unit))

    async def invoke(self, action: Action, parameters: Parameters, call: Call, run: str, limit: Limit) -> Result:
        """Runs an action within a time limit.

        Raises:
            DeviceError: as the driver does, with device and action filled in.
            TimeLimit: a READ or STATE action was late.
            OutcomeUnknown: a ONCE action was late: it may have happened.
        """
        if not self.connected:
            raise self._named(Unreachable(f"the device is down: {self.problem}"), action.name)
        self._begin(call.id, run)
        try:
            async with limit:
                return await self.driver.invoke(action, parameters, call)
        except TimeoutError as error:
            late = f"no outcome within {limit.whole:g} s"
            kind = OutcomeUnknown if action.effect is Effect.ONCE else TimeLimit
            raise self._named(kind(late), action.name) from error
        except DeviceError as error:
            if isinstance(error, (Unreachable, OutcomeUnknown)):
                self._wake.set()  # polls at once, so that a lost link shows soon
            raise self._named(error, action.name) from error.__cause__
        except Exception as error:
            log.exception("driver failed", device=self.id, action=action.name)
            raise self._named(Fault(f"its driver failed: {error!r}"), action.name) from error
        finally:
            self._ended(call.id)

    def _begin(self, action_id: str, run: str) -> None:
        self._acting[action_id] = run
        self._wake.set()
        self.bus.tell(self.state())

    def _ended(self, action_id: str) -> None:
        del self._acting[action_id]
        self._wake.set()
        self.bus.tell(self.state())

    async def outcome(self, intent: Intent) -> Outcome:
        """Asks the device what became of an action; UNKNOWN when it cannot be asked."""
        try:
            return await self._guard(intent.action, POLL_LIMIT, lambda: self.driver.outcome(intent))
        except DeviceError as error:
            return Outcome(Verdict.UNKNOWN, f"the device could not be asked: {error.message}")

    async def attach(self, intent: Intent, call: Call, run: str, limit: float) -> Result:
        """Takes up an action that is still running."""
        self._begin(call.id, run)
        try:
            return await self._guard(intent.action, limit, lambda: self.driver.attach(intent, call))
        finally:
            self._ended(call.id)

    async def cancel(self, action_id: str) -> None:
        """Ends a running action in order. Raises Rejected where the device has no way to."""
        await self._guard("cancel", SAFE_LIMIT, lambda: self.driver.cancel(action_id))

    async def safe_state(self, unit: str | None = None) -> str | None:
        """Makes a unit safe; gives what went wrong, or None. Never raises."""
        try:
            await self._guard("safe_state", SAFE_LIMIT, lambda: self.driver.safe_state(unit))
        except DeviceError as error:
            log.warning("safe state failed", device=self.id, unit=unit, problem=str(error))
            return str(error)
        return None

    async def _guard(self, what: str, limit: float, work: Callable[[], Awaitable[_T]]) -> _T:
        """Runs one exchange with a deadline; whatever goes wrong comes out as a DeviceError."""
        if not self.connected:
            raise self._named(Unreachable(f"the device is down: {self.problem}"), what)
        try:
            async with asyncio.timeout(limit):
                return await work()
        except TimeoutError as error:
            raise self._named(OutcomeUnknown(f"no answer within {limit:g} s"), what) from error
        except DeviceError as error:
            raise self._named(error, what) from error.__cause__
        except Exception as error:
            log.exception("driver failed", device=self.id, what=what)
            raise self._named(Fault(f"its driver failed: {error!r}"), what) from error

    def _named(self, error: DeviceError, action: str) -> DeviceError:
        error.device, error.action = self.id, action
        return error


def _cancelled() -> bool:
    """Whether this task was told to end, also where a library swallowed the cancellation."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
