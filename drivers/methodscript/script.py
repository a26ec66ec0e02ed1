"""Techniques as MethodSCRIPT.

Commands and their order of arguments: MethodSCRIPT manual; PalmSens/MethodSCRIPT_Examples bd1a44a,
MethodSCRIPTs/Measurement_Loops. Names of variables are single letters, which every firmware takes: `t` time, `p`
potential, `c` current, `n` cycle, `s` half cycle. Every package begins with `t`, so that time is the instrument's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from enum import IntEnum

from drivers.methodscript.models import Model

LONGEST_LINE = 127  # characters, of which LF is one
POTENTIOSTATIC, GALVANOSTATIC = 3, 6  # set_pgstat_mode: high speed; galvanostat
_PREFIXES = (("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9), ("p", -12), ("f", -15), ("a", -18))
_CLEAR_BAND = 5.850535  # Hz·s; bandwidth for points so many seconds apart (PalmSens' battery cycling example)


class Half(IntEnum):
    """The part of a cycle that a package belongs to, as the script says it in `s`."""

    CHARGE = 1
    HOLD = 2  # at the upper potential
    REST_CHARGED = 3
    DISCHARGE = 4
    REST_DISCHARGED = 5


def si(value: float) -> str:
    """A number as MethodSCRIPT writes it: an integer with an SI prefix, seven digits: `4200m`, `10`, `-1500u`.

    Raises:
        ValueError: not finite, or smaller than 1 atto.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written in MethodSCRIPT")
    exact = Decimal(f"{value:.6e}")
    for prefix, exponent in _PREFIXES:
        scaled = exact.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{prefix}" if scaled else "0"
    raise ValueError(f"{value} cannot be written in MethodSCRIPT")


def script(lines: Iterable[str]) -> str:
    """What is sent to run a script: `e`, its lines, an empty line.

    Raises:
        ValueError: a line is longer than the instrument reads.
    """
    body = list(lines)
    for line in body:
        if len(line) >= LONGEST_LINE:
            raise ValueError(f"a line of {len(line)} characters is longer than the instrument reads: {line!r}")
    return "\n".join(["e", *body, "", ""])


CELL_OFF = script(["set_pgstat_chan 0", "cell_off"])


def _variables(names: str) -> list[str]:
    return [f"var {name}" for name in names]


def _package(names: str) -> list[str]:
    return ["timer_get t", "pck_start", *(f"pck_add {name}" for name in names), "pck_end"]


def _leave_if(condition: str) -> list[str]:
    return [f"if {condition}", "breakloop", "endif"]


def _bandwidth(interval: float) -> str:
    return f"set_max_bandwidth {si(float(f'{min(_CLEAR_BAND / interval, 200e3):.3g}'))}"


def _measuring_voltage(model: Model) -> list[str]:
    widest = si(max(abs(limit) for limit in model.voltage))
    return [f"set_range ab {widest}", f"set_autoranging ab {widest} {widest}"]


def _galvanostat(model: Model, current: float, interval: float) -> list[str]:
    size = si(abs(current))
    return [
        f"set_pgstat_mode {GALVANOSTATIC}",
        _bandwidth(interval),
        *_measuring_voltage(model),
        f"set_range db {size}",
        f"set_autoranging db {size} {size}",
        "set_i 0",
        "cell_on",
    ]


def _potentiostat(model: Model, low: float, high: float, start: str, bandwidth: str, largest: float) -> list[str]:
    return [
        f"set_pgstat_mode {POTENTIOSTATIC}",
        bandwidth,
        f"set_range_minmax da {si(low)} {si(high)}",
        f"set_range ba {si(largest)}",
        f"set_autoranging ba {si(min(model.least_range, largest))} {si(largest)}",
        f"set_e {start}",
        "cell_on",
    ]


def _at_rest(model: Model, interval: float) -> list[str]:
    return [f"set_pgstat_mode {POTENTIOSTATIC}", _bandwidth(interval), *_measuring_voltage(model), "cell_off"]


_FINALLY = ["on_finished:", "cell_off"]


def open_circuit(model: Model, duration: float, interval: float) -> str:
    """Records the potential of a cell that is switched off. Packages: t, p."""
    return script(
        [
            *_variables("tp"),
            "set_pgstat_chan 0",
            *_at_rest(model, interval),
            "timer_start",
            f"meas_loop_ocp p {si(interval)} {si(duration)}",
            *_package("tp"),
            "endloop",
            *_FINALLY,
        ]
    )


def constant_current(
    model: Model, current: float, duration: float, interval: float, low: float | None, high: float | None
) -> str:
    """Drives a current until a potential (V) or a time (s) is reached. Packages: t, p, c."""
    return script(
        [
            *_variables("tpc"),
            "set_pgstat_chan 0",
            *_galvanostat(model, current, interval),
            "timer_start",
            f"meas_loop_cp p c {si(current)} {si(interval)} {si(duration)}",
            *_package("tpc"),
            *([] if high is None else _leave_if(f"p >= {si(high)}")),
            *([] if low is None else _leave_if(f"p <= {si(low)}")),
            "endloop",
            *_FINALLY,
        ]
    )


def _guard(ceiling: float | None) -> list[str]:
    """Leaves the loop when the current (A) is beyond what the cell stands, either way."""
    return [] if ceiling is None else [*_leave_if(f"c >= {si(ceiling)}"), *_leave_if(f"c <= {si(-ceiling)}")]


def _hold(
    voltage: float, duration: float, interval: float, until: float | None, names: str, ceiling: float | None = None
) -> list[str]:
    end = (
        []
        if until is None
        else [f"if c <= {si(until)}", f"if c >= {si(-until)}", "breakloop", "endif", "endif"]  # |c| <= until
    )
    return [
        f"meas_loop_ca p c {si(voltage)} {si(interval)} {si(duration)}",
        *_package(names),
        *_guard(ceiling),
        *end,
        "endloop",
    ]


def constant_voltage(
    model: Model,
    voltage: float,
    duration: float,
    interval: float,
    until: float | None,
    largest: float,
    ceiling: float | None = None,
) -> str:
    """Keeps a potential until the current (A) has fallen, or a time (s) is reached. Packages: t, p, c.

    It ends at once when the current is beyond `ceiling` (A).
    """
    return script(
        [
            *_variables("tpc"),
            "set_pgstat_chan 0",
            *_potentiostat(model, voltage, voltage, si(voltage), _bandwidth(interval), largest),
            "timer_start",
            *_hold(voltage, duration, interval, until, "tpc", ceiling),
            *_FINALLY,
        ]
    )


def cycle(
    model: Model,
    current: float,
    lower: float,
    upper: float,
    cycles: int,
    cv_until: float | None,
    rest: float,
    interval: float,
    half_cycle_limit: float,
) -> str:
    """Charges and discharges, all cycles in one script, so that the instrument needs nobody. Packages: t, p, c, n, s.

    In packages of a rest `c` is what was measured last; the cell is off.
    """

    def half(number: Half) -> str:
        return f"store_var s {int(number)}i ee"

    def pause(number: Half) -> list[str]:
        if not rest:
            return []
        step = min(interval, rest)
        return [
            half(number),
            *_at_rest(model, step),
            f"meas_loop_ocp p {si(step)} {si(rest)}",
            *_package("tpcns"),
            "endloop",
        ]

    def drive(number: Half, signed: float, end: str) -> list[str]:
        return [
            half(number),
            *_galvanostat(model, signed, interval),
            f"meas_loop_cp p c {si(signed)} {si(interval)} {si(half_cycle_limit)}",
            *_package("tpcns"),
            *_leave_if(end),
            "endloop",
            "cell_off",
        ]

    hold = (
        []
        if cv_until is None
        else [
            half(Half.HOLD),
            *_potentiostat(model, upper, upper, si(upper), _bandwidth(interval), current),
            *_hold(upper, half_cycle_limit, interval, cv_until, "tpcns"),
            "cell_off",
        ]
    )
    return script(
        [
            *_variables("tpcns"),
            "store_var c 0 ba",
            "store_var n 1i ee",
            "set_pgstat_chan 0",
            "timer_start",
            f"loop n <= {cycles}i",
            *drive(Half.CHARGE, current, f"p >= {si(upper)}"),
            *hold,
            *pause(Half.REST_CHARGED),
            *drive(Half.DISCHARGE, -current, f"p <= {si(lower)}"),
            *pause(Half.REST_DISCHARGED),
            "add_var n 1i",
            "endloop",
            *_FINALLY,
        ]
    )


def cyclic_voltammetry(
    model: Model,
    start: float,
    vertex1: float,
    vertex2: float,
    step: float,
    scan_rate: float,
    scans: int,
    largest: float,
    ceiling: float | None = None,
) -> str:
    """Sweeps start, vertex 1, vertex 2, start (V) in steps (V) at a rate (V/s). Packages: t, p, c.

    It ends at once when the current is beyond `ceiling` (A).
    """
    repeated = f" nscans({scans})" if scans > 1 else ""
    low, high = min(start, vertex1, vertex2), max(start, vertex1, vertex2)
    return script(
        [
            *_variables("tpc"),
            "set_pgstat_chan 0",
            *_potentiostat(model, low, high, si(start), _bandwidth(step / scan_rate), largest),
            "timer_start",
            f"meas_loop_cv p c {si(start)} {si(vertex1)} {si(vertex2)} {si(step)} {si(scan_rate)}{repeated}",
            *_package("tpc"),
            *_guard(ceiling),
            "endloop",
            *_FINALLY,
        ]
    )


def impedance(
    model: Model, f_max: float, f_min: float, points: int, amplitude: float, dc: float | None, largest: float
) -> str:
    """Measures Z' and Z'' from the highest to the lowest frequency (Hz). Packages: f, r, j.

    Without a dc potential the cell's own, measured for 0.5 s just before, is kept (`p`).
    """
    bandwidth = f"set_max_bandwidth {si(model.frequency[1])}"
    level = "p" if dc is None else si(dc)
    measure_first = (
        [*_at_rest(model, 0.1), "meas_loop_ocp p 100m 500m", "endloop"] if dc is None else []  # leaves the last in p
    )
    low, high = model.voltage if dc is None else (dc - amplitude, dc + amplitude)
    return script(
        [
            *_variables("pfrj"),
            "set_pgstat_chan 0",
            *measure_first,
            *_potentiostat(model, low, high, level, bandwidth, largest),
            f"meas_loop_eis f r j {si(amplitude)} {si(f_max)} {si(f_min)} {points}i {level}",
            "pck_start",
            "pck_add f",
            "pck_add r",
            "pck_add j",
            "pck_end",
            "endloop",
            *_FINALLY,
        ]
    )


def glance(model: Model) -> str:
    """One look at the potential of a cell that is switched off. Packages: p."""
    return script(
        [
            "var p",
            "set_pgstat_chan 0",
            *_at_rest(model, 0.1),
            "meas_loop_ocp p 100m 100m",
            "pck_start",
            "pck_add p",
            "pck_end",
            "endloop",
            *_FINALLY,
        ]
    )
