"""A device of the lab under supervision: connecting, polling, what it reads, and how well it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeVar

import structlog

from labd import clock
from labd.lab.bounded import Hangs, bounded
from labd.lab.bus import Bus, DeviceAbout, DeviceState, Health, SignalsRead, Value
from labd.lab.evidence import Witnesses
from labd.lab.pacing import pause
from labd.lab.securing import Owed
from labd.lab.upkeep import Upkeep
from labd.sdk import About, DeviceError, Driver, Reading, Signals, Unreachable
from labd.sdk.actions import Schemas
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
_PLAIN = {"number", "integer", "boolean", "string"}


@dataclass(frozen=True, slots=True)
class Poll:
    """Seconds between two polls: while nothing acts on the device, and while something does."""

    idle: float = 10.0
    busy: float = 1.0


def _no_look() -> None:
    """Who watches hears of it in another way."""


async def _no_other(name: str, cause: str) -> None:
    """Nothing else makes it safe."""


@dataclass(slots=True)
class Supervised:
    """A configured device. `run()` keeps it connected and polled until cancelled.

    Args:
        id: its name in lab.yaml.
        kind: its driver's name.
        driver: the driver, not yet connected.
        bus: who is told.
        poll: the periods of its polls.
        on_signals: where every poll's signals go (the signal store), by unit.
        jitter: for the waits between two tries to connect.
        on_secured: told of each unit that was made safe on a new connection: device, unit, problem, cause.
        on_lost: told when the link is lost while it acts.
        on_unsafe: makes it safe through another device, if there is one; given its name and the cause.
        on_owed: told what of it is to be made safe before it is used, why by unit (empty: all), when that has changed.
        upkeep: set while a person works on it.
    """

    id: str
    kind: str
    driver: Driver
    bus: Bus
    poll: Poll = field(default_factory=Poll)
    on_signals: Callable[[str, str, Signals], None] = lambda *_: None
    jitter: random.Random = field(default_factory=random.Random)
    on_secured: Callable[[str, str, str | None, str], None] = lambda *_: None
    on_lost: Callable[[str], None] = lambda _: None
    on_unsafe: Callable[[str, str], Awaitable[None]] = field(default=_no_other)
    on_owed: Callable[[str, Mapping[str, str]], None] = lambda *_: None
    upkeep: Upkeep | None = None
    health: Health = "down"
    problem: str | None = "not connected yet"
    since: str = ""
    about: About | None = None
    signals: dict[str, Value] = field(default_factory=dict)
    read_at: float | None = None
    read_stamp: str = ""
    _seq: int = 0
    _acting: dict[str, str] = field(default_factory=dict)  # action id -> run
    _watched: dict[str, Callable[[], None]] = field(default_factory=dict)  # who decides by its signals now
    _owed: Owed = field(default_factory=Owed)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _hanging: dict[asyncio.Future[Any], str] = field(default_factory=dict)  # what its driver does not end
    witnesses: Witnesses = field(init=False)

    def __post_init__(self) -> None:
        self.witnesses = Witnesses(self.driver, self._bounded)
        self._owed.on_change = lambda due: self.on_owed(self.id, due)

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    @property
    def _period(self) -> float:
        """Seconds between two polls now: often while it acts, or while a run watches it."""
        return self.poll.busy if self._acting or self._watched else self.poll.idle

    def watch(self, who: str, *, on: bool, look: Callable[[], None] = _no_look) -> None:
        """Says that a run or an interlock decides by its signals, or no more: they are read as often as in action.

        `look` is called whenever they were read or its health has changed; it must not block and must not raise.
        """
        if on and who not in self._watched:
            self._watched[who] = look
            self._wake.set()
        elif not on:
            self._watched.pop(who, None)

    def _let_look(self) -> None:
        for look in tuple(self._watched.values()):
            look()

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
                if self._hanging:  # no second conversation beside it; closing the link may end it
                    if "close" not in self._hanging.values():
                        await self._close()
                elif await self._connect() and await self._poll_until_lost():
                    wait = BACKOFF[0]
                await asyncio.sleep(wait * self.jitter.uniform(0.75, 1.25))
                wait = min(wait * 2, BACKOFF[1])
        finally:
            self._ready.clear()
            await self._close()

    async def _connect(self) -> bool:
        try:
            self.about = await self._bounded("connect", self.driver.connect(), CONNECT_LIMIT)
        except Hangs:
            pass  # that is told already
        except TimeoutError:
            self._set("down", f"no answer within {CONNECT_LIMIT:g} s of connecting")
        except DeviceError as error:
            self._set("down", str(error))
        except Exception as error:  # what a driver did not foresee is that device's fault, not the daemon's death
            log.exception("driver failed", device=self.id)
            self._set("down", f"its driver failed: {error!r}")
        else:
            if await self._secure():
                self.bus.tell(self.describe())
                return True
        await self._close()
        return False

    async def _secure(self) -> bool:
        """Makes safe what is due, before anything else; gives whether the device answers.

        While a person works on it nothing moves by itself: it stays due.
        """
        if self.upkeep is not None:
            return True

        async def safe_state(unit: str | None) -> None:
            await self._bounded("safe_state", self.driver.safe_state(unit), SAFE_LIMIT)

        problem = await self._owed.pay(safe_state, SAFE_LIMIT, partial(self.on_secured, self.id))
        if problem is not None and not self._hanging:  # that a driver hangs is told already
            self._set("down", f"it could not be made safe: {problem}")
        return problem is None

    @property
    def _is_due(self) -> bool:
        """Whether it is to be made safe before it is used."""
        return bool(self._owed.due) and self.upkeep is None

    def owe_safe(self, why: str, unit: str | None = None) -> None:
        """Has a unit (None: all) made safe as soon as it can be told; until then it is not used."""
        self._owed.owe(unit, why)
        self._pay_first()

    def work_on(self, upkeep: Upkeep | None) -> None:
        """Says that a person works on it, or (None) no more: what is due then is done before it is used."""
        self.upkeep = upkeep
        self._pay_first()

    def _pay_first(self) -> None:
        if self._is_due:
            self._ready.clear()
            self._wake.set()

    def _be_ready(self) -> None:
        if not self._is_due:
            self._ready.set()

    async def _close(self) -> None:
        """Closes the link, whatever the driver makes of that."""
        try:
            await self._bounded("close", self.driver.close(), CLOSE_LIMIT)
        except TimeoutError:
            log.warning("link did not close", device=self.id, limit=CLOSE_LIMIT)
        except Exception:
            log.exception("driver failed", device=self.id)

    async def _poll_until_lost(self) -> bool:
        """Polls for as long as the device answers; gives whether it ever did."""
        failed, ever = 0, False
        while await self._is_to_be_polled():
            try:
                read = _by_unit(await self.witnesses.read())
                values = _values(read)
            except Hangs:
                break
            except (DeviceError, TimeoutError) as error:
                failed += 1
                self._stale()
                self._be_ready()
                self._set("degraded", str(error) or f"no reading within {POLL_LIMIT:g} s")
                if failed >= FAILED_POLLS or isinstance(error, Unreachable):
                    break
            except Exception as error:
                log.exception("driver failed", device=self.id)
                failed += 1
                self._stale()
                self._be_ready()
                self._set("degraded", f"its driver failed: {error!r}")
                if failed >= FAILED_POLLS:
                    break
            else:
                self._take(read, values)  # not within `try`: what a listener raises is no failure of the driver
                failed, ever = 0, True
                self._be_ready()  # not before: who decides by its signals finds them read, where they can be
                self._set("ok", None)
            if not self._is_due:  # it may be since this reading began
                await self._until_next_poll()
        self._ready.clear()
        if self._owed.lose():
            self.on_lost(self.id)
        self._set("down", self.problem or "the link is lost")
        await self._close()
        return ever

    async def _is_to_be_polled(self) -> bool:
        """Whether the link is still used; what is due is done first."""
        if _cancelled() or self._hanging:
            return False
        return not self._is_due or await self._secure()

    async def _until_next_poll(self) -> None:
        self._wake.clear()
        timer = asyncio.get_running_loop().call_later(pause(self.id, self._period), self._wake.set)
        try:  # `asyncio.timeout` ends what waits by an exception: thousands of times a second, that is dear
            await self._wake.wait()
        finally:
            timer.cancel()

    def _take(self, read: Mapping[str, Signals], values: dict[str, Value]) -> None:
        for unit, signals in read.items():
            self.on_signals(self.id, unit, signals)
        self.signals = values
        self.read_at = clock.monotonic()
        self._seq += 1
        self.read_stamp = clock.stamp()
        self.bus.tell(SignalsRead(self.id, self._seq, self.read_stamp, values))
        self._let_look()

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
        self._let_look()

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
        self._let_look()

    def state(self) -> DeviceState:
        problem = self.problem if self.upkeep is None else "; ".join(filter(None, (self.problem, str(self.upkeep))))
        return DeviceState(self.id, self.health, problem, self.since or clock.stamp(), self.busy_with)

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
            Schemas(self.driver.actions),
            dict(_units_of(type(self.driver).Signals)),
            dict(_types_of(type(self.driver).Signals)),
            max(self.poll.idle, self.poll.busy),
            str(self.driver.quality),
            self.driver.quirks,
        )

    async def wait_ready(self) -> None:
        """Waits until the device is connected, and its signals were read, or tried to be."""
        await self._ready.wait()

    # ── drivers that do not end ──────────────────────────────────────────────────────────────────────────────────
    async def _bounded(self, what: str, work: Awaitable[_T], limit: float | None) -> _T:
        """Work of the driver with a deadline; one that does not end takes the device down, and nobody else."""

        def left(task: asyncio.Future[Any]) -> None:
            self._hanging[task] = what
            task.add_done_callback(self._freed)
            self._ready.clear()
            self._stale()
            log.error("driver hangs", device=self.id, what=what)
            self._set("down", f"its driver hangs: {what} does not end; when it stays so, restart labd")
            self._wake.set()

        return await bounded(work, limit, left)

    def _freed(self, task: asyncio.Future[Any]) -> None:
        del self._hanging[task]
        log.warning("driver hangs no more", device=self.id)


def _by_unit(reading: Reading) -> Mapping[str, Signals]:
    return {"": reading} if isinstance(reading, Signals) else reading


def _values(read: Mapping[str, Signals]) -> dict[str, Value]:
    """What was read, by the name that it has on the bus."""
    values: dict[str, Value] = {}
    for unit, signals in read.items():
        prefix = f"{unit}." if unit else ""
        for name, quantity in _units_of(type(signals)).items():
            value = getattr(signals, name)
            values[prefix + name] = Value(value, quantity, "bad" if value is None else "good")
    return values


@lru_cache
def _units_of(signals: type[Signals]) -> Mapping[str, str]:
    """The unit of each signal; worked out once, for every poll asks."""
    return {name: unit_of(field_) or "" for name, field_ in signals.model_fields.items()}


@lru_cache
def _types_of(signals: type[Signals]) -> Mapping[str, str]:
    """What JSON Schema calls the value of each signal; `string` for what has several types."""
    found: dict[str, str] = {}
    for name, schema in signals.model_json_schema().get("properties", {}).items():
        kinds = {one.get("type", "string") for one in schema.get("anyOf", [schema])} - {"null"}
        found[name] = kinds.pop() if len(kinds) == 1 and kinds <= _PLAIN else "string"
    return found


def _cancelled() -> bool:
    """Whether this task was told to end, also where a library swallowed the cancellation."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
