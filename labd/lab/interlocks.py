"""Interlocks at work: conditions on which the lab acts by itself, looked at with every poll, also without a run.

labd is no safety function: what must not fail stands in hardware. An interlock adds to that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import structlog

from labd import clock
from labd.expr import did_you_mean
from labd.journal import Journal, JournalError, NewEvent
from labd.lab.bus import DeviceState, Happening, SignalsRead
from labd.lab.conditions import Found
from labd.lab.device import POLL_LIMIT, Device
from labd.lab.lab import Lab
from labd.lab.rules import Rule, Then

log = structlog.get_logger(__name__)

KEPT = "interlock/"
GRACE = 3.0  # idle poll periods that a signal may be missing before its interlock trips


class GuardError(Exception):
    """What is asked of an interlock, an alarm or a device's maintenance cannot be done now; the text says why."""


class UnknownNameError(GuardError):
    """There is no such interlock, alarm or device."""


class Order(Protocol):
    """Holds, stops or aborts the runs that use devices (None: all); gives their ids once that is durable."""

    async def __call__(self, then: Then, by: str, cause: str, devices: Collection[str] | None) -> list[str]: ...


MakeSafe = Callable[[str, str], Awaitable[str | None]]
"""Makes a device safe, with the cause; gives what went wrong, or None."""


@dataclass(frozen=True, slots=True)
class Tripped:
    """That an interlock has tripped.

    Args:
        since: when.
        because: on what it read.
        reason: the whole of it in words.
        acted: whether devices were told, and its event is in the journal.
    """

    since: str
    because: str
    reason: str
    acted: bool = False

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Tripped:
        """As the journal keeps it."""
        return cls(kept["since"], kept["because"], kept["reason"], kept.get("acted", False))


@dataclass(slots=True)
class Watch:
    """One interlock at work.

    Args:
        found: what its condition said last.
        known: whether that could ever be told since the daemon's start.
        true_since: from when on it holds, on the monotonic clock, later by the time in which nobody could tell;
            None once it is known not to.
        unknown_since: from when on nobody can tell; None while somebody can.
        due: when it trips, if nothing changes.
        blind: whether its devices are locked because nobody could ever tell.
        acting: what was last ordered, under way or done.
    """

    rule: Rule
    found: Found
    known: bool = False
    true_since: float | None = None
    unknown_since: float | None = None
    due: float | None = None
    blind: bool = False
    tripped: Tripped | None = None
    acting: asyncio.Task[None] | None = None

    @property
    def fine(self) -> bool:
        """Whether it is known not to hold, as far as was looked."""
        return self.true_since is None and self.unknown_since is None

    def begin(self, now: float, grace: float) -> float:
        """Notes that it holds, or that nobody can tell; gives when it trips if that stays so.

        Not to know is no holding: it neither counts nor breaks what was known before, and has a time of its own.
        """
        if not self.found.holds:
            self.unknown_since = now if self.unknown_since is None else self.unknown_since
            return self.unknown_since + self.rule.patience + grace
        if self.true_since is None:
            self.true_since = now
        elif self.unknown_since is not None:
            self.true_since += now - self.unknown_since
        self.unknown_since = None
        return self.true_since + self.rule.patience

    @property
    def id(self) -> str:
        """Of its alarm and its barrier."""
        return f"interlock-{self.rule.name}"


@dataclass(slots=True)
class Interlocks:
    """All interlocks of a lab.

    Args:
        lab, journal: what is watched, and where it is told.
        order: what gives commands to runs.
        make_safe: what makes a device safe.
    """

    lab: Lab
    journal: Journal
    order: Order
    make_safe: MakeSafe
    watches: dict[str, Watch] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _group: asyncio.TaskGroup | None = None

    def __post_init__(self) -> None:
        nothing = Found(None, "nothing was read yet")
        self.watches = {rule.name: Watch(rule, nothing) for rule in self.lab.rules}

    async def take_up(self) -> None:
        """Takes up what had tripped when the last daemon ended; one that is no longer in lab.yaml has ended."""
        for name, kept in (await self.journal.kept(KEPT)).items():
            watch = self.watches.get(name.removeprefix(KEPT))
            if watch is None:
                why = "it is no longer in lab.yaml"
                self.journal.keep(name, None)
                self.journal.post(
                    NewEvent("interlock.cleared", {"name": name.removeprefix(KEPT), "by": "labd", "why": why})
                )
                continue
            watch.tripped = Tripped.of(kept)
            self._lock(watch)

    async def run(self) -> None:
        """Watches until cancelled."""
        forget = self.lab.bus.subscribe(self._heard, SignalsRead, DeviceState)
        try:
            async with asyncio.TaskGroup() as self._group:
                for watch in self.watches.values():
                    if watch.tripped is not None:
                        watch.acting = self._group.create_task(self._repeat(watch, watch.tripped))
                while True:
                    self._wake.clear()
                    for watch in self.watches.values():
                        self._look(watch)
                    await self._until_due()
        finally:
            self._group = None
            forget()

    async def _until_due(self) -> None:
        """Waits until the next one may trip for the time that has passed, or until that has changed."""
        due = min((watch.due for watch in self.watches.values() if watch.due is not None), default=None)
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - clock.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _heard(self, happening: Happening) -> None:
        if isinstance(happening, (SignalsRead, DeviceState)):
            for watch in self.watches.values():
                if happening.device in watch.rule.condition.devices:
                    self._look(watch)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _look(self, watch: Watch) -> None:
        """Looks at one condition as it is now, and trips, waits or ends accordingly."""
        watch.found = watch.rule.condition.look(self.lab.devices)
        watch.known = watch.known or watch.found.holds is not None
        if watch.found.holds is False:
            self._fine(watch)
            return
        if watch.found.holds is None and watch.rule.builtin:
            return  # an E-stop that nobody can read is not pressed: its device is down, and acts for no run
        now = clock.monotonic()
        if watch.fine:
            self._watch_closely(watch, on=True)
        due = watch.begin(now, self._grace(watch.rule))
        if watch.tripped is not None:
            return
        if now < due:
            if watch.due != due:
                watch.due = due
                self._wake.set()
            return
        watch.due = None
        if watch.known:
            self._trip(watch)
        elif not watch.blind:
            self._blind(watch)

    def _fine(self, watch: Watch) -> None:
        watch.true_since = watch.unknown_since = watch.due = None
        if watch.blind:
            watch.blind = False
            self._unlock(watch)
        if watch.tripped is not None and not watch.rule.latch:
            self._end(watch)
        if watch.tripped is None:
            self._watch_closely(watch, on=False)

    def _watch_closely(self, watch: Watch, *, on: bool) -> None:
        """Has the devices of its condition read as often as in action, while it does not hold for certain."""
        for name in watch.rule.condition.devices:
            self.lab.devices[name].watch(watch.id, on=on)

    def _grace(self, rule: Rule) -> float:
        return GRACE * max(self.lab.devices[name].poll.idle for name in rule.condition.devices)

    # ── tripping ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _trip(self, watch: Watch) -> None:
        rule, found = watch.rule, watch.found
        at = clock.now().astimezone()
        what = rule.condition.text if found.holds else f"nobody knows whether {rule.condition.text}"
        reason = f"interlock {rule.name}: {what} ({found.because}) since {at:%H:%M}"
        watch.tripped, watch.blind = Tripped(clock.stamp(), found.because, reason), False
        log.warning("interlock tripped", interlock=rule.name, because=found.because, then=rule.then)
        assert self._group is not None
        watch.acting = self._group.create_task(self._act(watch, watch.tripped), name=watch.id)
        self._lock(watch)
        with contextlib.suppress(JournalError):  # it acts all the same, and its event meets that error again
            self._keep(watch, watch.tripped)
        self._wake.set()

    def _keep(self, watch: Watch, tripped: Tripped) -> None:
        self.journal.keep(f"{KEPT}{watch.rule.name}", asdict(tripped))

    def _lock(self, watch: Watch) -> None:
        """What everybody sees at once: the alarm, and that nothing new begins."""
        assert watch.tripped is not None
        rule, reason = watch.rule, watch.tripped.reason
        mend = f"once that is over: labd clear --interlock {rule.name}" if rule.latch else "it ends when that is over"
        about = rule.condition.devices[0] if len(rule.condition.devices) == 1 else "lab"
        self.lab.alarms.tell(watch.id, "problem" if rule.then == "hold" else "critical", about, f"{reason}; {mend}")
        self.lab.barriers.set(watch.id, f"{reason}; {mend}", rule.devices)

    def _unlock(self, watch: Watch) -> None:
        self.lab.barriers.lift(watch.id)
        self.lab.alarms.end(watch.id)

    def _blind(self, watch: Watch) -> None:
        """Nobody could tell since the daemon's start: nothing begins, nobody is to clear it, nothing is ended."""
        rule = watch.rule
        watch.blind = True
        reason = f"interlock {rule.name}: nobody could tell yet whether {rule.condition.text} ({watch.found.because})"
        self.lab.alarms.tell(watch.id, "problem", "lab", f"{reason}; it ends with the first reading")
        self.lab.barriers.set(watch.id, reason, rule.devices)

    async def _act(self, watch: Watch, tripped: Tripped) -> None:
        """What is done to runs and devices, and its event. None of it waits for the disk but the event."""
        rule = watch.rule
        runs, secured = await asyncio.gather(
            self.order(rule.then, f"interlock {rule.name}", tripped.reason, rule.devices),
            self._secure(rule, tripped.reason),
            return_exceptions=True,  # a journal that is broken must not keep a device from being told
        )
        for found in (runs, secured):
            if isinstance(found, BaseException):
                raise found
        data: dict[str, Any] = {"name": rule.name, "condition": rule.condition.text, "because": tripped.because}
        data |= {"then": rule.then, "devices": list(rule.devices) if rule.devices is not None else None}
        data |= {"cause": tripped.reason, "runs": runs}
        with self.journal.together():
            self.journal.post(NewEvent("interlock.tripped", data, at=tripped.since))
            if watch.tripped is tripped:
                watch.tripped = replace(tripped, acted=True)
                self._keep(watch, watch.tripped)

    async def _repeat(self, watch: Watch, tripped: Tripped) -> None:
        """After a restart: runs that were taken up again are given the order once more, and what was left is done.

        A device that it could not make safe is, as soon as it is back: that is owed, and outlives the daemon.
        """
        if not tripped.acted:
            await self._act(watch, tripped)
            return
        by = f"interlock {watch.rule.name}"
        await self.order(watch.rule.then, by, tripped.reason, watch.rule.devices)

    async def _secure(self, rule: Rule, cause: str) -> None:
        """Makes its devices safe; those that a stopped run still acts on are made safe at the end of that run."""
        if rule.then == "hold":
            return
        names = rule.devices if rule.devices is not None else tuple(self.lab.devices)
        now = [name for name in names if rule.then == "abort" or not self.lab.devices[name].busy_with]
        await asyncio.gather(*(self.make_safe(name, cause) for name in now))

    # ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _end(self, watch: Watch) -> None:
        """One that does not latch ends by itself; the runs that it held wait for a person."""
        before = watch.acting
        self._forget(watch)
        assert self._group is not None
        ended = NewEvent("interlock.cleared", {"name": watch.rule.name, "by": "labd", "why": watch.found.because})
        watch.acting = self._group.create_task(self._tell_after(watch, before, ended), name=watch.id)

    async def _tell_after(self, watch: Watch, before: asyncio.Task[None] | None, event: NewEvent) -> None:
        """Its end, once what it did is told: until then the next daemon would have to do that."""
        if before is not None:
            await asyncio.wait([before])
        with self.journal.together():
            self.journal.post(event)
            if watch.tripped is None:
                self.journal.keep(f"{KEPT}{watch.rule.name}", None)

    def _forget(self, watch: Watch) -> None:
        watch.tripped = None
        self._unlock(watch)
        if watch.fine:
            self._watch_closely(watch, on=False)

    async def clear(self, name: str, by: str) -> Watch:
        """Clears a latched interlock, once its devices were read anew; durable when this returns.

        Raises:
            UnknownNameError: there is no such interlock.
            GuardError: it has not tripped, or its condition still holds or cannot be told.
        """
        watch = self.watches.get(name)
        if watch is None:
            raise UnknownNameError(f"there is no interlock {name!r}; {did_you_mean(name, self.watches, 'there is')}")
        if watch.tripped is None:
            raise GuardError(f"interlock {name} has not tripped: there is nothing to clear")
        if watch.acting is not None:
            await asyncio.wait([watch.acting])
        await asyncio.gather(*(_read_anew(self.lab.devices[name]) for name in watch.rule.condition.devices))
        self._look(watch)
        if watch.found.holds is not False and watch.tripped is not None:
            text, so = watch.rule.condition.text, "still holds" if watch.found.holds else "cannot be told now"
            raise GuardError(f"interlock {name} cannot be cleared: {text} {so} ({watch.found.because})")
        tripped = watch.tripped
        cleared = NewEvent("interlock.cleared", {"name": name, "by": by, "why": watch.found.because})
        await self.journal.append(cleared, forget=f"{KEPT}{name}")
        if watch.tripped is tripped and tripped is not None:  # and not one that has come since
            self._forget(watch)
        return watch


async def _read_anew(device: Device) -> None:
    """Has a device polled now, and waits for that; not for long, and not at all while it is down."""
    before, read = device.read_at, asyncio.Event()
    forget = device.bus.subscribe(lambda _: read.set() if device.read_at != before else None)
    device.watch("clear", on=True)
    try:
        async with asyncio.timeout(POLL_LIMIT if device.connected else 0.0):
            await read.wait()
    except TimeoutError:
        pass
    finally:
        device.watch("clear", on=False)
        forget()
