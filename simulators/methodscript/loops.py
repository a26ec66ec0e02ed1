"""The measurement loops: what is imposed, when a point is due, and what is read then."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

from simulators.methodscript import errors
from simulators.methodscript.errors import ScriptAborted, ScriptFault
from simulators.methodscript.machine import Machine
from simulators.methodscript.parser import Block, Operand, Parser, Statement
from simulators.methodscript.potentiostat import GALVANOSTATIC, Potentiostat

# Numbers behind `M` in the output.
LSV, CV, CA, CP, OCP, EIS, GEIS = 0x0, 0x5, 0x7, 0xA, 0xB, 0xD, 0xE
_HIGH_SPEED = 3  # set_pgstat_mode
_OPTIONS = ("add_meas", "meta_msk", "poly_we")


class _Loop:
    """What all measurement loops share: the body, further readings, the lines around the points."""

    code = 0

    def __init__(self, statement: Statement, parser: Parser) -> None:
        if parser.inside_meas:
            raise statement.error(errors.NESTED)
        self.line = statement.line
        self.body = Block()
        self.more: list[tuple[str, Operand]] = []
        self.scans: int | None = None

    def options(self, statement: Statement, parser: Parser, *, scans: bool = False) -> None:
        for name, text in statement.options((*_OPTIONS, "nscans") if scans else _OPTIONS):
            if name == "nscans":
                if not text.rstrip("i").isdigit() or int(text.rstrip("i")) < 1:
                    raise statement.error(errors.OPTION)
                self.scans = int(text.rstrip("i"))
            elif name == "add_meas":
                words = text.split()
                target = parser.lookup(words[-1], self.line) if len(words) == 3 else None
                if target is None:
                    raise statement.error(errors.OPTION)
                self.more.append((words[1], target))

    async def __call__(self, machine: Machine) -> None:
        self.prepare(machine.front)
        machine.line(f"M{self.code:04X}")
        machine.measuring = True
        try:
            await self.points(machine)
        except ScriptAborted:
            machine.line("*")
            raise
        finally:
            machine.measuring = machine.skip = False
            machine.saved()
        machine.line("*")

    def prepare(self, front: Potentiostat) -> None:
        """Checks what can be checked before the first point. Raises ScriptFault."""
        raise NotImplementedError

    async def points(self, machine: Machine) -> None:
        raise NotImplementedError

    def fault(self, code: int) -> ScriptFault:
        return ScriptFault(code, self.line)

    def within_reach(self, front: Potentiostat, *values: float) -> None:
        if front.galvanostatic:
            low, high = -front.model.current, front.model.current
        else:
            low, high = front.model.potential
        if any(not low * 1.0001 <= value <= high * 1.0001 for value in values):
            raise self.fault(errors.POTENTIAL)

    def read_more(self, front: Potentiostat) -> None:
        """The readings that `add_meas(…)` asked for."""
        for kind, target in self.more:
            if kind[0] == "a":
                target.set(front.voltage, kind, front.status_v, front.scale_v)
            elif kind in ("ba", "bb"):
                target.set(front.current, kind, front.status_i, front.scale_i)
            elif kind == "da":
                target.set(front.set_potential, kind)
            elif kind == "db":
                target.set(front.set_current, kind)

    async def act(self, machine: Machine) -> bool | None:
        """Runs the body. True: the loop is broken off."""
        if self.more:
            self.read_more(machine.front)
        if self.body.pure:
            return self.body.run_pure(machine)
        return await self.body.run(machine)


class _Timed(_Loop):
    """CA, CP and OCP: one thing imposed, a point each interval; the first after one interval."""

    def __init__(self, statement: Statement, parser: Parser, code: int) -> None:
        super().__init__(statement, parser)
        self.code = code
        self.potential = statement.variable()
        self.current = statement.variable() if code != OCP else None
        self.imposed = statement.value() if code != OCP else None
        self.interval, self.duration = statement.value(), statement.value()
        self.options(statement, parser)

    def prepare(self, front: Potentiostat) -> None:
        interval = float(self.interval.value)
        if interval <= 0 or self.duration.value <= 0:
            raise self.fault(errors.RANGE)
        if interval < front.model.interval:
            raise self.fault(errors.TIMING)
        if self.imposed is None:
            if front.on:
                raise self.fault(errors.CELL_IS_ON)
            return
        if front.galvanostatic != (self.code == CP):
            raise self.fault(errors.MODE_UNFIT)
        if not front.on:
            raise self.fault(errors.CELL_IS_OFF)
        self.within_reach(front, float(self.imposed.value))
        front.impose(float(self.imposed.value))

    async def points(self, machine: Machine) -> None:
        front, clock = machine.front, machine.loop.time
        interval = float(self.interval.value)
        count = max(1, math.floor(float(self.duration.value) / interval + 1e-6))
        begun = clock()
        for index in range(1, count + 1):
            due = begun + index * interval
            await machine.sleep_until(due)
            if machine.skip:
                return
            front.read()
            late = machine.measured(self.line, clock() - due, interval)
            if self.code == CA:
                self.potential.set(front.set_potential, "da", late | front.status_v)
            else:
                self.potential.set(front.voltage, "ab", late | front.status_v, front.scale_v)
            if self.current is not None:
                self.current.set(front.current, "ba", late | front.status_i, front.scale_i)
            if await self.act(machine):
                return


class _Sweep(_Loop):
    """LSV and CV: the potential goes on by a step, each time after step / scan rate."""

    def __init__(self, statement: Statement, parser: Parser, code: int) -> None:
        super().__init__(statement, parser)
        self.code = code
        self.potential, self.current = statement.variable(), statement.variable()
        self.corners = [statement.value() for _ in range(2 if code == LSV else 3)]
        self.step, self.rate = statement.value(), statement.value()
        self.options(statement, parser, scans=code == CV)

    def prepare(self, front: Potentiostat) -> None:
        if front.galvanostatic or front.mode == 0:
            raise self.fault(errors.MODE_UNFIT)
        if not front.on:
            raise self.fault(errors.CELL_IS_OFF)
        if self.step.value <= 0 or self.rate.value <= 0:
            raise self.fault(errors.RANGE)
        if self.step.value / self.rate.value < front.model.interval:
            raise self.fault(errors.TIMING)
        self.within_reach(front, *(float(corner.value) for corner in self.corners))

    def _path(self) -> Iterator[float]:
        corners = [float(corner.value) for corner in self.corners]
        if self.code == CV:
            corners.append(corners[0])
        step = float(self.step.value)
        yield corners[0]
        for begin, end in pairwise(corners):
            count = max(1, round(abs(end - begin) / step)) if end != begin else 0
            for index in range(1, count + 1):
                yield begin + (end - begin) * index / count

    async def points(self, machine: Machine) -> None:
        front, clock = machine.front, machine.loop.time
        dt = float(self.step.value) / float(self.rate.value)
        due = clock()
        for scan in range(self.scans or 1):
            if self.scans is not None:
                machine.line(f"C{scan:04X}")
            for potential in self._path():
                front.impose(potential)
                due += dt
                await machine.sleep_until(due)
                if machine.skip:
                    break
                front.read()
                late = machine.measured(self.line, clock() - due, dt)
                self.potential.set(potential, "da", late | front.status_v)
                self.current.set(front.current, "ba", late | front.status_i, front.scale_i)
                if await self.act(machine):
                    machine.skip = True
                    break
            if self.scans is not None:
                machine.line("-")
            if machine.skip:
                return


class _Impedance(_Loop):
    """EIS and GEIS: frequencies spaced evenly in their logarithm; some periods each, and not under 0.3 s."""

    def __init__(self, statement: Statement, parser: Parser, code: int) -> None:
        super().__init__(statement, parser)
        self.code = code
        self.frequency, self.real, self.imaginary = (statement.variable() for _ in range(3))
        self.amplitude, self.first, self.last, self.count, self.bias = (statement.value() for _ in range(5))
        self.options(statement, parser)

    def prepare(self, front: Potentiostat) -> None:
        model = front.model
        if front.mode != (GALVANOSTATIC if self.code == GEIS else _HIGH_SPEED):
            raise self.fault(errors.MODE_UNFIT)
        if not front.on:
            raise self.fault(errors.CELL_IS_OFF)
        top = model.current if self.code == GEIS else model.max_amplitude
        if not 0 < self.amplitude.value <= top:
            raise self.fault(errors.AMPLITUDE)
        if min(self.first.value, self.last.value) <= 0 or max(self.first.value, self.last.value) > model.max_frequency:
            raise self.fault(errors.FREQUENCY)
        if self.count.value < 1:
            raise self.fault(errors.RANGE)
        self.within_reach(front, float(self.bias.value))
        front.impose(float(self.bias.value))

    async def points(self, machine: Machine) -> None:
        front, clock = machine.front, machine.loop.time
        count, first = int(self.count.value), float(self.first.value)
        ratio = float(self.last.value) / first
        for index in range(count):
            frequency = first * ratio ** (index / (count - 1)) if count > 1 else first
            await machine.sleep_until(clock() + 0.3 + 4.0 / frequency)
            if machine.skip:
                return
            front.read()
            machine.measured(self.line, 0.0, 1.0)
            z = front.impedance(frequency)
            self.frequency.set(frequency, "dc")
            self.real.set(z.real, "cc", front.status_i, front.scale_i)
            self.imaginary.set(z.imag, "cd", front.status_v, front.scale_v)
            if await self.act(machine):
                return


def build(kind: type[_Loop], code: int) -> Callable[[Statement, Parser], None]:
    """The builder of a measurement loop's command."""

    def builder(statement: Statement, parser: Parser) -> None:
        loop = kind(statement, parser, code)  # type: ignore[call-arg]
        around = parser.block
        parser.open("meas", statement, loop.body, lambda: around.add_waiting(loop))

    return builder


MEASUREMENT_LOOPS: dict[str, Callable[[Statement, Parser], None]] = {
    "meas_loop_ca": build(_Timed, CA),
    "meas_loop_cp": build(_Timed, CP),
    "meas_loop_ocp": build(_Timed, OCP),
    "meas_loop_lsv": build(_Sweep, LSV),
    "meas_loop_cv": build(_Sweep, CV),
    "meas_loop_eis": build(_Impedance, EIS),
    "meas_loop_geis": build(_Impedance, GEIS),
}
