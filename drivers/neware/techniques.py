"""A test of the cycler: its steps as ordered, and what its rows come to."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from drivers.neware.schedule import (
    CC_CHARGE,
    CC_DISCHARGE,
    CV_CHARGE,
    CV_DISCHARGE,
    REST,
    Protection,
    Step,
    schedule,
)
from drivers.neware.wire import Record
from labd.sdk import Rejected, Result
from labd.sdk.roles import (
    ConstantCurrentResult,
    ConstantVoltageResult,
    CycleResult,
    OpenCircuitResult,
)

Row = tuple[float | None, ...]
_TICK = 0.5  # s; a step that ended so near to its time limit ended by it


class Test(ABC):
    """One test. Rows come in the order of their numbers, each once; the result is of all that have come.

    Args:
        steps: what the cycler does.
        interval: s between two rows.
        repeat: how often the steps are done.
    """

    with_cycle = False  # whether the number of the cycle is a column

    def __init__(self, steps: Sequence[Step], interval: float, repeat: int = 1) -> None:
        self.steps = tuple(steps)
        self.interval = interval
        self.repeat = repeat
        self.taken = 0
        self.cancelled = False
        self.time = 0.0  # s since the beginning
        self.last: Record | None = None
        self.cycle = 1
        self._before = 0.0  # s of the steps that are over
        self._flow = 0.0  # sum of the currents; its sign tells which way

    def text(self, name: str, protection: Protection) -> str:
        """The step file."""
        return schedule(name, self.steps, protection, self.interval, self.repeat)

    def take(self, record: Record) -> Row:
        """The row of a record, in the columns of the action's data."""
        if self.last is not None and (record.step != self.last.step or record.time < self.last.time):
            self._before += self.last.time
            # the cycler's own count of cycles depends on its set-up; the way back to the first step does not
            self.cycle += record.step <= self.last.step
        self.taken = record.number
        self.last = record
        self.time = self._before + record.time
        self._take(record)
        current = 0.0 if self.step.kind == REST else record.current
        row = (self.time, record.voltage, current)
        return (*row, self.cycle) if self.with_cycle else row

    @property
    def step(self) -> Step:
        """The step of the last row."""
        number = 1 if self.last is None else self.last.step
        return self.steps[min(number, len(self.steps)) - 1]

    def result(self) -> Result:
        """What it came to. Raises Rejected: there is no row."""
        if self.last is None:
            raise Rejected("it ended before its first record: there is nothing to report")
        return self._result(self.last)

    def _take(self, record: Record) -> None:
        self._flow += record.current

    @property
    def _signed(self) -> float:
        """The charge of the last step, mAh; positive when it charged."""
        return 0.0 if self.last is None else math.copysign(self.last.charge, self._flow)

    @abstractmethod
    def _result(self, last: Record) -> Result: ...

    def _reason(self, otherwise: str) -> str:
        return "cancelled" if self.cancelled else otherwise

    def _timed(self, last: Record) -> bool:
        return self.step.time is not None and last.time >= self.step.time - _TICK


class OpenCircuit(Test):
    def __init__(self, duration: float, interval: float) -> None:
        super().__init__([Step(REST, time=duration)], interval)
        self._sum = 0.0

    def _take(self, record: Record) -> None:
        self._sum += record.voltage

    def _result(self, last: Record) -> OpenCircuitResult:
        return OpenCircuitResult(final_voltage=last.voltage, mean_voltage=self._sum / last.number)


class ConstantCurrent(Test):
    """`stop` is where it ends: the voltage that was asked for, or else the cell's limit."""

    def __init__(self, current: float, time: float, stop: float, interval: float, *, asked: bool) -> None:
        kind = CC_CHARGE if current > 0 else CC_DISCHARGE
        super().__init__([Step(kind, current=abs(current), time=time, stop_voltage=stop)], interval)
        self._asked = asked

    def _result(self, last: Record) -> ConstantCurrentResult:
        reason = "time" if self._timed(last) else "voltage" if self._asked else "limit"
        return ConstantCurrentResult(charge=self._signed, final_voltage=last.voltage, reason=self._reason(reason))


class ConstantVoltage(Test):
    def __init__(
        self, voltage: float, time: float, until: float | None, ceiling: float, interval: float, *, charges: bool
    ) -> None:
        kind = CV_CHARGE if charges else CV_DISCHARGE
        step = Step(kind, voltage=voltage, current=ceiling, time=time, stop_current=until)
        super().__init__([step], interval)

    def _result(self, last: Record) -> ConstantVoltageResult:
        reason = "time" if self._timed(last) else "current"
        return ConstantVoltageResult(charge=self._signed, final_current=last.current, reason=self._reason(reason))


class Cycle(Test):
    with_cycle = True

    def __init__(
        self,
        drive: float,
        voltage: tuple[float, float],
        cycles: int,
        cv_until: float | None,
        rest: float,
        interval: float,
        half_limit: float,
    ) -> None:
        lower, upper = voltage
        pause = [Step(REST, time=rest)] if rest else []
        hold = Step(CV_CHARGE, current=drive, voltage=upper, time=half_limit, stop_current=cv_until)
        steps = [
            Step(CC_CHARGE, current=drive, time=half_limit, stop_voltage=upper),
            *([hold] if cv_until is not None else []),
            *pause,
            Step(CC_DISCHARGE, current=drive, time=half_limit, stop_voltage=lower),
            *pause,
        ]
        super().__init__(steps, interval, cycles)
        self._drive = drive
        self._ends: dict[tuple[int, int], Record] = {}  # the last row of each cycle and step

    def _take(self, record: Record) -> None:
        self._ends[self.cycle, record.step] = record

    def _result(self, last: Record) -> CycleResult:
        discharge = next(number for number, step in enumerate(self.steps, 1) if step.kind == CC_DISCHARGE)
        into = [number for number, step in enumerate(self.steps, 1) if step.kind in (CC_CHARGE, CV_CHARGE)]
        counted = sorted(cycle for cycle, number in self._ends if number == discharge)
        if self.cancelled and counted and last.step == discharge and not self._whole(last):
            counted.pop()
        out = [self._ends[cycle, discharge].charge for cycle in counted]
        charged = [
            sum(self._ends[cycle, number].charge for number in into if (cycle, number) in self._ends)
            for cycle in counted
        ]
        timed = [cycle for cycle in counted if self._was_timed(cycle)]
        reason = "cycles" if not timed else f"cycles; the time limit ended a half of {', '.join(map(str, timed))}"
        return CycleResult(
            capacities=out,
            coulombic_efficiencies=[100 * one / all_ if all_ else 0.0 for one, all_ in zip(out, charged, strict=True)],
            capacity=out[-1] if out else 0.0,
            reason=self._reason(reason),
            current=self._drive,
        )

    def _whole(self, last: Record) -> bool:
        stop = self.step.stop_voltage
        return stop is not None and last.voltage <= stop + 1e-3

    def _was_timed(self, cycle: int) -> bool:
        ends = [(self.steps[number - 1], end) for (of, number), end in self._ends.items() if of == cycle]
        return any(
            step.kind in (CC_CHARGE, CC_DISCHARGE) and step.time is not None and end.time >= step.time - _TICK
            for step, end in ends
        )
