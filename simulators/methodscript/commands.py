"""The commands of a script, each with the form of its arguments and what it does."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from simulators.methodscript import errors
from simulators.methodscript.errors import ScriptAborted, ScriptFault
from simulators.methodscript.loops import MEASUREMENT_LOOPS
from simulators.methodscript.machine import Machine
from simulators.methodscript.parser import Block, Operand, Parser, Statement, Var

Builder = Callable[[Statement, Parser], None]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_ITERATION = 1e-3  # s that a turn of a plain loop takes at least
_BREAK = True


# ── variables ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _var(s: Statement, p: Parser) -> None:
    name = s.new_name()
    p.program.names[name] = Var()


def _array(s: Statement, p: Parser) -> None:
    name = s.new_name()
    size = s.number()
    if not 0 < size <= 100_000:
        raise s.error(errors.RANGE)
    p.program.arrays[name] = [Var() for _ in range(size)]


def _store(s: Statement, p: Parser) -> None:
    target, source, kind = s.variable(), s.value(), s.kind()

    def run(_: Machine) -> None:
        target.set(source.value, kind)

    p.block.add(run)


def _copy(s: Statement, p: Parser) -> None:
    source, target = s.variable(), s.variable()

    def run(_: Machine) -> None:
        target.set(source.value, source.kind, source.status, source.scale)

    p.block.add(run)


def _divide(a: float, b: float) -> float:
    if b == 0:
        return float("nan")
    return a // b if isinstance(a, int) and isinstance(b, int) else a / b


def _arithmetic(act: Callable[[float, float], float]) -> Builder:
    def builder(s: Statement, p: Parser) -> None:
        target, other = s.variable(), s.value()

        def run(_: Machine) -> None:
            target.set(act(target.value, other.value), target.kind, target.status, target.scale)

        p.block.add(run)

    return builder


def _alter(s: Statement, p: Parser) -> None:
    target, kind = s.variable(), s.kind()

    def run(_: Machine) -> None:
        target.set(target.value, kind, target.status, target.scale)

    p.block.add(run)


# ── flow ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _test(s: Statement) -> Callable[[], bool]:
    left, sign, right = s.comparison()
    compare = _COMPARE[sign]
    return lambda: compare(left.value, right.value)


def _if(s: Statement, p: Parser) -> None:
    body, around = Block(), p.block
    s.branches.append((_test(s), body))

    def close() -> None:
        branches = s.branches
        if all(block.pure for _, block in branches):

            def run(machine: Machine) -> bool | None:
                for test, block in branches:
                    if test():
                        return block.run_pure(machine)
                return None

            around.add(run)
            return

        async def wait(machine: Machine) -> bool | None:
            for test, block in branches:
                if test():
                    return await block.run(machine)
            return None

        around.add_waiting(wait)

    p.open("if", s, body, close)


def _elseif(s: Statement, p: Parser) -> None:
    body = Block()
    p.branch(s, body)
    opener = p.opener
    assert opener is not None
    opener.branches.append((_test(s), body))


def _else(s: Statement, p: Parser) -> None:
    body = Block()
    p.branch(s, body)
    opener = p.opener
    assert opener is not None
    opener.branches.append((lambda: True, body))


def _loop(s: Statement, p: Parser) -> None:
    test, body, around = _test(s), Block(), p.block

    async def run(machine: Machine) -> None:
        machine.line("L")
        try:
            while test():
                turn = machine.loop.time()
                if await body.run(machine):
                    break
                if machine.loop.time() < turn + _ITERATION:
                    await machine.sleep_until(turn + _ITERATION)
        except ScriptAborted:
            machine.line("+")
            raise
        machine.line("+")

    p.open("loop", s, body, lambda: around.add_waiting(run))


def _breakloop(s: Statement, p: Parser) -> None:
    if not p.inside_loop:
        raise s.error(errors.MISPLACED)
    p.block.add(lambda _: _BREAK)


def _abort(_: Statement, p: Parser) -> None:
    def run(_: Machine) -> None:
        raise ScriptAborted

    p.block.add(run)


def _wait(s: Statement, p: Parser) -> None:
    duration = s.value()

    async def run(machine: Machine) -> None:
        await machine.sleep_until(machine.loop.time() + float(duration.value))

    p.block.add_waiting(run)


def _timer_start(_: Statement, p: Parser) -> None:
    def run(machine: Machine) -> None:
        machine.timer = machine.loop.time()

    p.block.add(run)


def _timer_get(s: Statement, p: Parser) -> None:
    target = s.variable()

    def run(machine: Machine) -> None:
        target.set(machine.loop.time() - machine.timer, "eb")

    p.block.add(run)


# ── output ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _pck_start(s: Statement, p: Parser) -> None:
    s.options(("meta_msk",))

    def run(machine: Machine) -> None:
        machine.parts = []

    p.block.add(run)


def _pck_add(s: Statement, p: Parser) -> None:
    source, line = s.variable(), s.line

    def run(machine: Machine) -> None:
        if machine.parts is None:
            raise ScriptFault(errors.PACKAGE, line)
        machine.add(source.kind, source.value, source.status, source.scale)

    p.block.add(run)


def _pck_end(s: Statement, p: Parser) -> None:
    line = s.line

    def run(machine: Machine) -> None:
        if machine.parts is None:
            raise ScriptFault(errors.PACKAGE, line)
        machine.end_package()

    p.block.add(run)


def _send_string(s: Statement, p: Parser) -> None:
    filled, text = s.text()
    pieces: list[str | Operand] = []
    for index, piece in enumerate(re.split(r"\{([^}]*)\}", text) if filled else [text]):
        found = p.lookup(piece, s.line) if index % 2 else piece
        if found is None:
            raise s.error(errors.UNDECLARED)
        pieces.append(found)

    def run(machine: Machine) -> None:
        machine.line("T" + "".join(piece if isinstance(piece, str) else f"{piece.value:.6g}" for piece in pieces))

    p.block.add(run)


def _script_output(s: Statement, p: Parser) -> None:
    mode = s.number()

    def run(machine: Machine) -> None:
        machine.muted = not mode & 1

    p.block.add(run)


# ── the potentiostat ─────────────────────────────────────────────────────────────────────────────────────────────────
def _mode(s: Statement, p: Parser) -> None:
    mode, line = s.value(), s.line

    def run(machine: Machine) -> None:
        if not machine.front.set_mode(int(mode.value)):
            raise ScriptFault(errors.PGSTAT_MODE, line)

    p.block.add(run)


def _range(s: Statement, p: Parser) -> None:
    kind, size = s.kind(), s.value()

    def run(machine: Machine) -> None:
        machine.front.set_range(kind, float(size.value), float(size.value))

    p.block.add(run)


def _span(s: Statement, p: Parser) -> None:
    kind, low, high, line = s.kind(), s.value(), s.value(), s.line

    def run(machine: Machine) -> None:
        reach = machine.front.model.potential
        for value in (low.value, high.value):
            if kind == "da" and not reach[0] <= value <= reach[1]:
                raise ScriptFault(errors.POTENTIAL, line)
        machine.front.set_range(kind, float(low.value), float(high.value))

    p.block.add(run)


def _set(s: Statement, p: Parser) -> None:
    value, line, galvanostatic = s.value(), s.line, s.name == "set_i"

    def run(machine: Machine) -> None:
        front = machine.front
        low, high = (-front.model.current, front.model.current) if galvanostatic else front.model.potential
        if front.galvanostatic != galvanostatic:
            raise ScriptFault(errors.MODE_UNFIT, line)
        if not low <= value.value <= high:
            raise ScriptFault(errors.POTENTIAL, line)
        front.impose(float(value.value))

    p.block.add(run)


def _cell(s: Statement, p: Parser) -> None:
    on, line = s.name == "cell_on", s.line
    if on:
        s.options(("ocp",))  # starts at the measured potential: there is no transient here to spare

    def run(machine: Machine) -> None:
        if on and machine.front.mode == 0:
            raise ScriptFault(errors.MODE_UNFIT, line)
        machine.front.switch(on=on)

    p.block.add(run)


def _meas(s: Statement, p: Parser) -> None:
    duration, target, kind = s.value(), s.variable(), s.kind()

    async def run(machine: Machine) -> None:
        front = machine.front
        await machine.sleep_until(machine.loop.time() + float(duration.value))
        front.read()
        if kind == "ba":
            target.set(front.current, kind, front.status_i, front.scale_i)
        elif kind.startswith("a"):
            target.set(front.voltage, kind, front.status_v, front.scale_v)
        elif kind in ("ed", "ef"):
            target.set(25.0, kind)
        else:
            target.set(0.0, kind)

    p.block.add_waiting(run)


# ── structure ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _endloop(s: Statement, p: Parser) -> None:
    p.close(("loop", "meas"), s)


def _endif(s: Statement, p: Parser) -> None:
    p.close(("if",), s)


def _ignored(s: Statement, _: Parser) -> None:
    s.rest()


COMMANDS: dict[str, Builder] = {
    "var": _var,
    "array": _array,
    "store_var": _store,
    "copy_var": _copy,
    "add_var": _arithmetic(operator.add),
    "sub_var": _arithmetic(operator.sub),
    "mul_var": _arithmetic(operator.mul),
    "div_var": _arithmetic(_divide),
    "alter_vartype": _alter,
    "if": _if,
    "elseif": _elseif,
    "else": _else,
    "endif": _endif,
    "loop": _loop,
    "endloop": _endloop,
    "breakloop": _breakloop,
    "abort": _abort,
    "wait": _wait,
    "timer_start": _timer_start,
    "timer_get": _timer_get,
    "pck_start": _pck_start,
    "pck_add": _pck_add,
    "pck_end": _pck_end,
    "send_string": _send_string,
    "set_script_output": _script_output,
    "set_pgstat_mode": _mode,
    "set_range": _range,
    "set_range_minmax": _span,
    "set_autoranging": _span,
    "set_e": _set,
    "set_i": _set,
    "cell_on": _cell,
    "cell_off": _cell,
    "meas": _meas,
    **MEASUREMENT_LOOPS,
    # Settings without an effect on what is simulated.
    **dict.fromkeys(
        (
            "set_pgstat_chan",
            "set_max_bandwidth",
            "set_pot_range",
            "set_cr",
            "set_ir_comp",
            "set_acquisition_frac",
            "set_acquisition_frac_autoadjust",
            "set_channel_sync",
            "set_gpio",
            "set_gpio_cfg",
            "set_gpio_pullup",
            "notify_led",
            "beep",
        ),
        _ignored,
    ),
}
