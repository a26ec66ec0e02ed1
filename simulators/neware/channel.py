"""One channel of the cycler: it runs its test by itself, whoever listens.

Nothing ticks: the test is brought up to now whenever somebody asks. Its state is the cycler's memory, plain values
that outlive the program, as the data base of a real one does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from simulators.holder import Holder
from simulators.neware.schedule import (
    CC_CHARGE,
    CC_DISCHARGE,
    CV_CHARGE,
    CV_DISCHARGE,
    END,
    LOOP,
    NAMES,
    REST,
    Schedule,
    Step,
    read_schedule,
)

WORKING, FINISH, STOP, PROTECT, PAUSE = "working", "finish", "stop", "protect", "pause"
REACH = 5.0  # V that the channel goes to when no current flows
TICK = 0.1  # s; the resolution of its clock
RUNS = 102000  # log_code of a test that runs
PROTECTED = 100021  # log_code of one that protection has ended; the number is this simulator's own
MAX_SLICE = 60.0  # s


class Channel:
    """A channel: what it does, and all rows of its last test.

    Args:
        unit: `21-1-1`.
        holder: the cell's place.
        memory: its part of the world's memory.
        rng: for noise.
        wall: s since the epoch.
    """

    def __init__(
        self,
        unit: str,
        holder: Holder,
        memory: MutableMapping[str, Any],
        rng: random.Random,
        wall: Callable[[], float],
    ) -> None:
        self.unit = unit
        self.holder = holder
        self.memory = memory
        self._gauss = rng.gauss
        self._wall = wall
        self._schedule: Schedule | None = None
        if "state" not in memory:
            memory.update(state=FINISH, testid=0, barcode="", rows=[], log=[], log_code=0)
        if memory.get("schedule"):
            self._schedule = read_schedule(memory["schedule"])
        self.voltage, self.current = 0.0, 0.0

    @property
    def state(self) -> str:
        return str(self.memory["state"])

    @property
    def rows(self) -> list[list[Any]]:
        """seqid, stepid, cycleid, steptype, testtime (ms), atime, V, A, Ah, Wh."""
        return self.memory["rows"]  # type: ignore[no-any-return]

    @property
    def step(self) -> Step | None:
        """The step that it is in, while it works."""
        if self._schedule is None or self.state not in (WORKING, PAUSE):
            return None
        return self._schedule.steps[int(self.memory["index"])]

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    def start(self, text: str, barcode: str, testid: int) -> None:
        """Begins a test. Raises BadSchedule."""
        schedule = read_schedule(text)
        self.advance()
        now = self._wall()
        self._schedule = schedule
        self.memory.clear()
        self.memory.update(state=WORKING, testid=testid, barcode=barcode, schedule=text, log_code=RUNS, rows=[], log=[])
        self.memory.update(index=0, cycle=1, passes={}, began=now, at=now)
        self.memory.update(step_at=0.0, charge=0.0, energy=0.0, beyond=0.0)
        self._log(100000)
        self._enter()

    def end(self, state: str = STOP, log_code: int = 0) -> None:
        """Ends the test where it is; nothing flows any more."""
        if self.state in (WORKING, PAUSE):
            self.memory.update(state=state, log_code=log_code)
            self._log(log_code or 100001)
        self.current = 0.0

    def pause(self, *, on: bool) -> None:
        if on and self.state == WORKING:
            self.memory["state"] = PAUSE
        elif not on and self.state == PAUSE:
            self.memory.update(state=WORKING, at=self._wall())

    def _log(self, code: int) -> None:
        self.memory["log"].append([len(self.rows) or 1, code, self._stamp()])

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def advance(self) -> None:
        """Brings test and cell up to now."""
        now = self._wall()
        while self.state == WORKING and self.memory["at"] < now - TICK / 2:
            self._slice(now)
        if self.state != WORKING:
            self.voltage, self.current = self.holder.advance(now)

    def _slice(self, now: float) -> None:
        schedule, step, memory = self._schedule, self.step, self.memory
        assert schedule is not None
        assert step is not None
        done = memory["step_at"]
        to_record = schedule.interval - math.fmod(done + 1e-6, schedule.interval)
        left = math.inf if step.time is None else step.time - done
        dt = _ticks(min(now - memory["at"], to_record + 1e-6, left, MAX_SLICE))
        before = self.holder.snapshot()
        over = self._impose(step, dt)
        if over and dt > TICK:
            dt = self._crossing(step, dt, before)
        self._count(dt)
        timed = step.time is not None and memory["step_at"] >= step.time - TICK / 2
        if over or timed or abs(math.remainder(memory["step_at"], schedule.interval)) < TICK / 2:
            self._record(step)
        if self._beyond(schedule, dt):
            self.end(PROTECT, PROTECTED)
        elif over or timed:
            memory["index"] += 1
            self._enter()

    def _impose(self, step: Step, dt: float) -> bool:
        """Lets so many seconds pass in a step; gives whether its end is reached."""
        now = self.memory["at"] + dt
        if step.kind == REST:
            self.voltage, self.current = self.holder.advance(now)
            return False
        if step.kind in (CC_CHARGE, CC_DISCHARGE):
            sign = 1.0 if step.kind == CC_CHARGE else -1.0
            self.voltage, self.current = self.holder.advance(now, current=sign * (step.current or 0.0), limit=REACH)
            return step.stop_voltage is not None and sign * (self.voltage - step.stop_voltage) >= 0
        top = step.current if step.current is not None else 0.1
        self.voltage, self.current = self.holder.advance(now, voltage=step.voltage, limit=top)
        return step.stop_current is not None and abs(self.current) <= step.stop_current

    def _crossing(self, step: Step, dt: float, before: Any) -> float:
        """The first tick of a slice at which the step's end is reached; leaves the cell there."""
        low, high = 0, round(dt / TICK)
        while high - low > 1:
            middle = (low + high) // 2
            self.holder.restore(before)
            if self._impose(step, middle * TICK):
                high = middle
            else:
                low = middle
        self.holder.restore(before)
        self._impose(step, high * TICK)
        return high * TICK

    def _count(self, dt: float) -> None:
        memory = self.memory
        memory["at"] += dt
        memory["step_at"] = round(memory["step_at"] + dt, 1)
        memory["charge"] += abs(self.current) * dt / 3600
        memory["energy"] += abs(self.current * self.voltage) * dt / 3600

    def _beyond(self, schedule: Schedule, dt: float) -> bool:
        outside = any(
            (low is not None and value < low) or (high is not None and value > high)
            for value, (low, high) in ((self.voltage, schedule.voltage), (self.current, schedule.current))
        )
        self.memory["beyond"] = self.memory["beyond"] + dt if outside else 0.0
        return outside and self.memory["beyond"] >= schedule.delay

    def _enter(self) -> None:
        """Comes to a step: goes round loops, ends at the end, and records the first point of any other."""
        memory = self.memory
        while (step := self.step) is not None:
            if step.kind == END:
                self.end(FINISH)
            elif step.kind == LOOP:
                passed = memory["passes"].get(str(step.number), 0) + 1
                memory["passes"][str(step.number)] = passed
                memory["cycle"] += 1
                again = passed < step.count
                memory["index"] = step.start_step - 1 if again else memory["index"] + 1
                if not again:
                    memory["passes"].pop(str(step.number))
            else:
                memory.update(step_at=0.0, charge=0.0, energy=0.0)
                self._impose(step, 0.0)
                self._record(step)
                return

    def _record(self, step: Step) -> None:
        memory = self.memory
        quiet = step.kind == REST
        self.rows.append(
            [
                len(self.rows) + 1,
                step.number,
                memory["cycle"],
                NAMES[step.kind],
                round(memory["step_at"] * 1e3),
                self._stamp(),
                self.voltage + self._gauss(0.0, 3e-5),
                0.0 if quiet else self.current * (1 + self._gauss(0.0, 3e-6)),
                memory["charge"],
                memory["energy"],
            ]
        )

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self.memory["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")


def _ticks(seconds: float) -> float:
    return max(1, round(seconds / TICK)) * TICK


__all__ = ["CV_CHARGE", "CV_DISCHARGE", "FINISH", "PAUSE", "PROTECT", "STOP", "WORKING", "Channel"]
