"""Watches of the present state, and time windows between states: what may take a run out of a state from outside.

Each condition and window has at most one timer; the timers themselves are the runtime's, by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import JsonValue

from labd.expr import ExpressionError
from labd.protocol.machine.decider import Decider
from labd.protocol.messages import Cancel, Command, Sleep
from labd.protocol.program import Program, WatchRule, Way, WindowRule

WINDOW = "the time window "
"""So begins the reason of a way that a window has led."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a watch or a window says: take a way, or (None) hold, because."""

    way: Way | None
    because: str


@dataclass(slots=True)
class Watched:
    """One watch: since when what is seen; `seen` is "true", "unknown" or "" for a condition that does not hold."""

    seen: str = ""
    timer: str = ""
    why: str = ""


@dataclass(slots=True)
class Opened:
    """One window: its timers, "" while they do not run; `late` when it expired while nothing could be done.

    `met` when the action that ends it is on its way, which may still come to nothing.
    """

    within: str = ""
    least: str = ""
    late: bool = False
    met: bool = False


@dataclass(slots=True)
class Vigil:
    """The watches and windows of one machine.

    Args:
        program, known: what is watched, and by which values.
        out: takes the commands that start and cancel timers.
    """

    program: Program
    known: Decider
    out: Callable[[Command], None]
    watches: list[Watched] = field(default_factory=list)
    windows: list[Opened] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.windows = self.windows or [Opened() for _ in self.program.windows]

    # ── watches ──────────────────────────────────────────────────────────────────────────────────────────────────
    def enter(self, state: str) -> None:
        """Begins the watches of a state."""
        self.watches = [Watched() for _ in self.program.states[state].watches]

    def rest(self) -> None:
        """Ends all watches' timers: the state is left, or the run is held."""
        for watched in self.watches:
            self._cancel(watched.timer)
        self.watches = [Watched() for _ in self.watches]

    def observe(self, state: str) -> Alarm | None:
        """Looks at all conditions; gives the first that leads out of the state now."""
        for index, rule in enumerate(self.program.states[state].watches):
            watched = self.watches[index]
            seen, why = self._look(rule)
            if seen == watched.seen:
                watched.why = why
                continue
            self._cancel(watched.timer)
            self.watches[index] = watched = Watched(seen, "", why)
            if not seen:
                continue
            try:
                seconds = float(self.known.value("for", rule.seconds))
            except ExpressionError as error:
                return Alarm(None, f"watch, for: {error}")
            if seconds <= 0:
                return self._tripped(rule, watched)
            watched.timer = self._start(f"watch:{index}", seconds, "watch")
        return None

    def _look(self, rule: WatchRule) -> tuple[str, str]:
        values = self.known.values()
        try:
            holds = bool(rule.condition(values))
        except ExpressionError as error:
            return "unknown", str(error)
        return ("true", rule.condition.because(values)) if holds else ("", "")

    def _tripped(self, rule: WatchRule, watched: Watched) -> Alarm:
        if watched.seen == "unknown":
            return Alarm(None, f"nobody can tell whether {rule.condition.text}: {watched.why}")
        self.known.decided("watch", value=True, expression=rule.condition.text, because=watched.why)
        return Alarm(rule.way, f"{rule.condition.text} ({watched.why})")

    # ── windows ──────────────────────────────────────────────────────────────────────────────────────────────────
    def began(self, state: str) -> None:
        """The first action of a state is on its way: windows to it are met, and end once that is `sure`.

        Raises:
            ExpressionError: a time of a window has no value now.
        """
        for index, rule in enumerate(self.program.windows):
            if rule.finish == (state, "start"):
                self.windows[index].met = True
            if rule.begin == (state, "start"):
                self._open(index, rule)

    def sure(self) -> None:
        """What was on its way has come to its device."""
        for index, opened in enumerate(self.windows):
            if opened.met:
                self._close(index)

    def undone(self, state: str, *, able: bool) -> Alarm | None:
        """What was on its way has come to nothing: the state has not begun, and its windows are open as before."""
        alarm: Alarm | None = None
        for index, (rule, opened) in enumerate(zip(self.program.windows, tuple(self.windows), strict=True)):
            if rule.begin == (state, "start"):
                self._close(index)
            opened.met = False
            if opened.late and able and alarm is None and rule.finish == (state, "start"):
                alarm = self._expired(index)
        return alarm

    def acted(self, state: str) -> None:
        """An action of a state has ended; if it is the last, the state has. Raises as `began`."""
        for index, rule in enumerate(self.program.windows):
            if rule.begin == (state, "end"):
                self._open(index, rule)

    def left(self, state: str) -> None:
        """A state was left, or nothing can be done in it any more."""
        for index, rule in enumerate(self.program.windows):
            if rule.finish == (state, "end"):
                self._close(index)

    def came(self, state: str) -> None:
        """A state is entered; windows whose end cannot follow any more are closed."""
        for index, inside in enumerate(self.program.inside):
            if state not in inside:
                self._close(index)

    def _open(self, index: int, rule: WindowRule) -> None:
        self._close(index)
        opened = self.windows[index]
        if rule.within is not None:
            seconds = float(self.known.value(f"window {rule.name}", rule.within))
            opened.within = self._start(f"window:{index}", seconds, "window")
        if rule.at_least is not None:
            seconds = float(self.known.value(f"window {rule.name}, at least", rule.at_least))
            opened.least = self._start(f"least:{index}", seconds, "next") if seconds > 0 else ""

    def _close(self, index: int) -> None:
        opened = self.windows[index]
        self._cancel(opened.within)
        self._cancel(opened.least)
        self.windows[index] = Opened()

    def blocks(self, state: str) -> str:
        """The timer that does not let a state begin yet, or ""."""
        for rule, opened in zip(self.program.windows, self.windows, strict=True):
            if rule.finish == (state, "start") and opened.least:
                return opened.least
        return ""

    def late(self) -> Alarm | None:
        """A window that expired while the run was held."""
        for index, opened in enumerate(self.windows):
            if opened.late and not opened.met:
                return self._expired(index)
        return None

    def _expired(self, index: int) -> Alarm:
        rule = self.program.windows[index]
        self.windows[index] = Opened()
        passed = f"{rule.limit} passed"
        self.known.decided(f"window {rule.name}", "expired", because=passed)
        return Alarm(rule.otherwise, f"{WINDOW}{rule.name} has expired: {passed}")

    # ── timers ───────────────────────────────────────────────────────────────────────────────────────────────────
    def elapsed(self, timer: str, state: str, *, able: bool) -> Alarm | None:
        """One of its timers has ended; while nothing can be done (not `able`), windows are remembered."""
        for index, watched in enumerate(self.watches):
            if watched.timer == timer:
                watched.timer = ""
                return self._tripped(self.program.states[state].watches[index], watched) if able else None
        for index, opened in enumerate(self.windows):
            if opened.least == timer:
                opened.least = ""
            elif opened.within == timer:
                opened.within = ""
                if able and not opened.met:
                    return self._expired(index)
                opened.late = True
        return None

    def owns(self, timer: str) -> bool:
        """Whether it waits for this timer."""
        return timer in self.timers()

    def timers(self) -> Iterator[str]:
        """The ids of the timers that run."""
        for watched in self.watches:
            if watched.timer:
                yield watched.timer
        for opened in self.windows:
            yield from (timer for timer in (opened.within, opened.least) if timer)

    def end(self) -> None:
        """Ends everything: the run ends."""
        self.rest()
        for index in range(len(self.windows)):
            self._close(index)

    def _start(self, name: str, seconds: float, urgency: Any) -> str:
        self.count += 1
        timer = f"{name}:{self.count}"
        self.out(Sleep(timer, seconds, urgency))
        return timer

    def _cancel(self, timer: str) -> None:
        if timer:
            self.out(Cancel(timer))

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────────
    def as_json(self) -> dict[str, JsonValue]:
        return {
            "watches": [asdict(watched) for watched in self.watches],
            "windows": [asdict(opened) for opened in self.windows],
            "count": self.count,
        }

    def take_up(self, data: Mapping[str, Any]) -> None:
        """Becomes what was written down."""
        self.watches = [Watched(**watched) for watched in data["watches"]]
        self.windows = [Opened(**opened) for opened in data["windows"]]
        self.count = data["count"]
