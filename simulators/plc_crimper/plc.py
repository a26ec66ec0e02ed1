"""The PLC's program: commands, statuses, interlocks, recipe and counter.

Nothing here runs by itself. What is due is kept with its time and done when somebody looks (`advance`), so hours
without a client cost nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from simulators._kit.agenda import Agenda
from simulators.plc_crimper.press import CLOSED, OPEN_WITHIN, Stack, Stroke, Travel

MOST_FORCE = 12.0  # kN that the frame bears; a recipe above it is not taken
LONGEST_DWELL = 60.0  # s
SLOWEST_STROKE = 30.0  # s without the dwell before the stroke is given up
HEARTBEAT = 0.5  # s between two toggles


class Alarm(IntEnum):
    """Input register 12."""

    NONE = 0
    ESTOP = 1
    GUARD = 2
    LIGHT_CURTAIN = 3
    OVERLOAD = 4
    STROKE_TIME = 5
    HEARTBEAT = 6


@dataclass
class Crimp:
    """What a stroke did to the nest: highest force (kN), how long it was held (s), and when it ended (lab s)."""

    cycle: int
    force: float
    dwell: float
    displacement: float
    at: float
    whole: bool


@dataclass
class Status:
    """The status bits that the program keeps; what switches and sensors say is computed when read."""

    running: bool = False
    stopped: bool = False
    reset_done: bool = False
    hand: bool = False
    auto: bool = True
    initialised: bool = True
    recipe_ready: bool = False
    cycle_done: bool = False


class Plc:
    """The program on its hardware. Times are lab seconds on one clock of the caller's; forces kN.

    Args:
        memory: what survives power: counter, recipe, peak, ram position. `cycles` is the cycle counter.
        faults: the switches; see `simulators.plc_crimper.CrimperSimulator`.
        nest: tells what the ram will meet.
        crimped: is told what a stroke did, at its end or when it was broken off.
        rng: the spread of delays and of the force control.
        heartbeat_limit: s that the client's heartbeat may stand still while something moves, before all stops; None:
            it is not watched. It is watched from its first beat on.
    """

    def __init__(
        self,
        memory: MutableMapping[str, Any],
        faults: MutableMapping[str, Any],
        nest: Callable[[random.Random], Stack],
        crimped: Callable[[Crimp], None],
        rng: random.Random,
        heartbeat_limit: float | None = None,
    ) -> None:
        self._heartbeat_limit = heartbeat_limit
        self._beaten: float | None = None  # when the client's heartbeat beat last
        self.memory = memory
        self.faults = faults
        self.status = Status(initialised=bool(memory.get("initialised", True)))
        self.stroke: Stroke | None = None
        self.travel = Travel(0.0, float(memory.get("ram", 0.0)), float(memory.get("ram", 0.0)))
        self.alarm = Alarm(memory.get("alarm", 0))
        self._nest = nest
        self._crimped = crimped
        self._rng = rng
        self._agenda = Agenda()
        self._commands: dict[str, bool] = {}
        self._heard = 0.0  # when the last command takes effect

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def advance(self, now: float) -> None:
        """Does all that was due until now, each at its own time, and looks at the interlocks."""
        self._agenda.advance(now)
        cause = self._cause()
        if cause is not Alarm.NONE and self.alarm is Alarm.NONE:
            self._trip(cause, self.now)

    @property
    def next_due(self) -> float | None:
        """When something happens next without anybody's doing."""
        return self._agenda.next

    @property
    def now(self) -> float:
        """How far `advance` has got, s."""
        return self._agenda.now

    def _soon(self, act: Callable[[float], None]) -> None:
        """A PLC takes a few scans and a contactor's time, 50 to 200 ms, and obeys in the order of its orders."""
        self._heard = max(self._heard, self.now + self._rng.uniform(0.05, 0.2))
        self._agenda.put(self._heard, act)

    # ── what can be read ─────────────────────────────────────────────────────────────────────────────────────────
    @property
    def ram(self) -> float:
        """Where it is, mm from the top."""
        return (self.stroke or self.travel).position(self.now)

    @property
    def force(self) -> float:
        """kN, now, as its cell measures it."""
        offset = float(self.faults.get("force_offset", 0.0))
        return offset + (self.stroke.force(self.now) if self.stroke else 0.0)

    @property
    def peak(self) -> float:
        """kN, of the running stroke, else of the last one."""
        return self.stroke.peak_until(self.now) if self.stroke else float(self.memory.get("peak", 0.0))

    @property
    def displacement(self) -> float:
        """Compression at the peak, mm."""
        if self.stroke:
            return self.stroke.stack.compression(self.stroke.peak_until(self.now))
        return float(self.memory.get("displacement", 0.0))

    @property
    def cycles(self) -> int:
        return int(self.memory.get("cycles", 0))

    @property
    def estop(self) -> bool:
        return bool(self.faults.get("estop"))

    @property
    def guard_closed(self) -> bool:
        return not self.faults.get("guard_open")

    @property
    def light_curtain_clear(self) -> bool:
        return not self.faults.get("light_curtain")

    @property
    def running(self) -> bool:
        """The running bit as it leaves the PLC, with its faults: a contact that never closes or is welded."""
        if self.faults.get("busy_never"):
            return False
        if self.status.running:
            return True
        return bool(self.faults.get("busy_stuck")) and self.cycles > 0

    @property
    def ram_open(self) -> bool:
        return self.ram <= OPEN_WITHIN

    @property
    def ram_closed(self) -> bool:
        return self.ram >= CLOSED - 0.01

    def blocked(self) -> tuple[float, float | None] | None:
        """From when until when (None: no end in sight) the ram is in the way of the nest."""
        if self.stroke is not None:
            return self.stroke.start, self.stroke.end
        if self.travel.target > OPEN_WITHIN:
            return self.travel.start, None
        return (self.travel.start, self.travel.end) if self.travel.end > self.now else None

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────
    def command(self, name: str, value: bool, recipe: Callable[[], tuple[float, float]] | None = None) -> None:
        """A command coil was written. Rising edges act; two statuses fall again when their command is taken back."""
        before = self._commands.get(name, False)
        self._commands[name] = value
        if name == "heartbeat_out":
            if value is not before:
                self._hear_beat()
            return
        if value and not before and not self._dead(name):
            if name == "recipe_request":
                assert recipe is not None
                force, dwell = recipe()
                self._soon(lambda _: self._take_recipe(force, dwell))
            else:
                self._soon(getattr(self, f"_do_{name}"))
        elif before and not value and name == "reset":
            self._soon(lambda _: setattr(self.status, "reset_done", False))
        elif before and not value and name == "recipe_request":
            self._soon(lambda _: setattr(self.status, "recipe_ready", False))

    def _hear_beat(self) -> None:
        self._beaten = self.now
        if self._heartbeat_limit is not None:
            self._agenda.put(self.now + self._heartbeat_limit, self._miss_beat)

    def _miss_beat(self, at: float) -> None:
        """What moves stops when its client is gone: nobody would see what comes of it."""
        moving = self.stroke is not None or self.travel.end > at
        if moving and self._beat_is_late(at) and self.alarm is Alarm.NONE:
            self._trip(Alarm.HEARTBEAT, at)

    def _beat_is_late(self, at: float) -> bool:
        limit, last = self._heartbeat_limit, self._beaten
        return limit is not None and last is not None and at - last >= limit - 1e-9

    def commanded(self, name: str) -> bool:
        """The coil, read back."""
        return self._commands.get(name, False)

    def _dead(self, name: str) -> bool:
        """Fault `dead`: a list of coils that do nothing, or how many of their next commands are lost."""
        dead = self.faults.get("dead") or {}
        if not isinstance(dead, MutableMapping):
            return name in dead
        if not dead.get(name):
            return False
        if dead[name] is not True:
            dead[name] = int(dead[name]) - 1
        return True

    def _take_recipe(self, force: float, dwell: float) -> None:
        if not (0 < force <= MOST_FORCE and 0 <= dwell <= LONGEST_DWELL):
            return  # a recipe that cannot be: ready never comes
        self.memory["force"] = force
        self.memory["dwell"] = dwell
        self.status.recipe_ready = True

    def _do_start(self, at: float) -> None:
        ready = self.status.auto and self.status.initialised and self.alarm is Alarm.NONE
        if not ready or self.stroke is not None or self.estop:
            return
        if self._beat_is_late(at):
            self._trip(Alarm.HEARTBEAT, at)
            return
        self.status.running = True
        if (cause := self._cause()) is not Alarm.NONE:  # an open guard or a broken light curtain is an alarm at once
            self._trip(cause, at)
            return
        self.status.stopped = False
        self.status.cycle_done = False
        cycle = self.cycles + 1
        target = float(self.memory.get("force", 7.8))
        stack = self._nest(self._rng)
        peak = target * self._rng.gauss(1.0, 0.004) * self._of_cycle("force_short", "fraction", cycle, 1.0)
        stroke = Stroke(at, stack, peak, float(self.memory.get("dwell", 2.0)), origin=self.travel.position(at))
        self.stroke = stroke
        if self._hits("overload", cycle):
            self._agenda.put(stroke.peaked, lambda t: self._trip(Alarm.OVERLOAD, t))
        elif self._hits("stroke_time", cycle):
            # The ram sticks on its way down; the watchdog of the stroke gives up.
            self.stroke = replace(stroke, halt=stroke.touched)
            self._agenda.put(at + SLOWEST_STROKE, lambda t: self._trip(Alarm.STROKE_TIME, t))
            return
        elif (tripped := self._estop_time(stroke, cycle)) is not None:
            self._agenda.put(tripped, self._press_estop)
        self._agenda.put(stroke.end, lambda t: self._finish(stroke, t))

    def _estop_time(self, stroke: Stroke, cycle: int) -> float | None:
        if not self._hits("estop_in_stroke", cycle):
            return None
        setting = self.faults["estop_in_stroke"]
        after = setting.get("after") if isinstance(setting, Mapping) else None
        return stroke.when_force(1.0) if after is None else stroke.start + float(after)

    def _press_estop(self, at: float) -> None:
        self.faults["estop"] = True
        self._trip(Alarm.ESTOP, at)

    def _do_stop(self, at: float) -> None:
        if self.stroke is not None:
            self._break_off(at)
            self._move(0.0, at)
        self.status.running = False
        self.status.stopped = True

    def _do_reset(self, at: float) -> None:
        if self._cause() is not Alarm.NONE:
            return  # what tripped it is still there
        self.alarm = Alarm.NONE
        self.memory["alarm"] = int(Alarm.NONE)
        self.status.reset_done = True
        self.status.stopped = False
        if self.stroke is None and self.ram > OPEN_WITHIN:
            self._move(0.0, at)

    def _do_hand(self, _at: float) -> None:
        self.status.hand, self.status.auto = True, False

    def _do_auto(self, _at: float) -> None:
        self.status.hand, self.status.auto = False, True

    def _do_init(self, at: float) -> None:
        if self.alarm is not Alarm.NONE or self.stroke is not None:
            return
        self.status.initialised = False
        self.status.stopped = False
        self._move(0.0, at)
        self._agenda.put(self.travel.end + 0.1, self._initialised)

    def _initialised(self, _at: float) -> None:
        self.status.initialised = True
        self.memory["initialised"] = True

    def _do_open_ram(self, at: float) -> None:
        self._move_freely(0.0, at)

    def _do_close_ram(self, at: float) -> None:
        self._move_freely(CLOSED, at)

    def _move_freely(self, target: float, at: float) -> None:
        if self.stroke is None and self.alarm is Alarm.NONE and self._cause() is Alarm.NONE:
            self._move(target, at)

    def _move(self, target: float, at: float) -> None:
        self.travel = Travel(at, self.travel.position(at), target)
        self.memory["ram"] = target

    # ── the stroke's end ─────────────────────────────────────────────────────────────────────────────────────────
    def _finish(self, stroke: Stroke, at: float) -> None:
        if self.stroke is not stroke:
            return  # it was broken off before
        cycle = self.cycles + 1
        self.memory.update(cycles=cycle, peak=stroke.peak, displacement=stroke.displacement, ram=0.0)
        self.stroke = None
        self.travel = Travel(at, 0.0, 0.0)
        self.status.running = False
        self.status.cycle_done = True
        self._crimped(Crimp(cycle, stroke.peak, stroke.dwell, stroke.displacement, stroke.released, whole=True))

    def _break_off(self, at: float) -> None:
        stroke = self.stroke
        assert stroke is not None
        force, dwell, ram = stroke.peak_until(at), stroke.dwell_until(at), stroke.position(at)
        displacement = stroke.stack.compression(force)
        self.memory.update(peak=force, displacement=displacement, ram=ram)
        self.stroke = None
        self.travel = Travel(at, ram, ram)
        if force > 0:
            self._crimped(Crimp(self.cycles + 1, force, dwell, displacement, at, whole=False))

    def _trip(self, alarm: Alarm, at: float) -> None:
        self.alarm = alarm
        self.memory["alarm"] = int(alarm)
        self.status.running = False
        if self.stroke is not None:
            self._break_off(at)
        else:
            here = self.travel.position(at)
            self.travel = Travel(at, here, here)

    def _cause(self) -> Alarm:
        """What keeps the machine from moving at this moment. The guard is only asked for while it moves by itself."""
        if self.estop:
            return Alarm.ESTOP
        moving = self.stroke is not None or self.status.running
        if not self.guard_closed and moving:
            return Alarm.GUARD
        if not self.light_curtain_clear and moving:
            return Alarm.LIGHT_CURTAIN
        return Alarm.NONE

    # ── faults that a cycle has ──────────────────────────────────────────────────────────────────────────────────
    def _hits(self, name: str, cycle: int) -> bool:
        setting = self.faults.get(name)
        if isinstance(setting, Mapping):
            return setting.get("cycle") in (None, cycle)
        return bool(setting)

    def _of_cycle(self, name: str, key: str, cycle: int, otherwise: float) -> float:
        if not self._hits(name, cycle):
            return otherwise
        setting = self.faults[name]
        return float(setting[key] if isinstance(setting, Mapping) else setting)
