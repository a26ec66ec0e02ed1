"""What an instrument says while a script runs, line by line.

A value is two letters of type, seven hex digits less 0x8000000, and an SI prefix: `da7F85F3Fu` is -0.499905 V. The
digits are cut first, since `a`, `f` and `E` are also prefixes. `cd` is Im(Z) itself, negative for a capacitance:
PalmSens' own plot of a spectrum turns its sign to draw -Z'' (MethodSCRIPT_Examples bd1a44a, plot_eis.py).

Source: MethodSCRIPT and the communication protocols of EmStat Pico and EmStat4.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_EXPONENTS = {
    "a": -18,
    "f": -15,
    "p": -12,
    "n": -9,
    "u": -6,
    "m": -3,
    " ": 0,
    "i": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_OFFSET = 0x8000000
_NAN = "     nan"
_VALUE = re.compile(r"([a-z]{2})(?:([0-9A-F]{7})([afpnum kMGTPEi])|(     nan))((?:,[0-9A-F]+)*)")
_ERROR = re.compile(r"([A-Za-z]?)!([0-9A-F]{4})(?:: Line (\d+)(?:, Col (\d+))?)?")
_MARK = re.compile(r"M[0-9A-F]{4}|C[0-9A-F]{4}|L|[*+-]")

OVERLOAD = 0x2 | 0x8  # of the status: overload, and the warning of one

ERRORS = {
    "0003": "unknown command",
    "0006": "not allowed in this mode: a script runs, or none does",
    "0032": "critical overload: too much current or potential; check cell, leads and range",
    "005A": "the timing is impossible; take a longer interval",
    "4001": "unknown script command; is the firmware up to date?",
    "7FFF": "fatal error: switch the instrument off and on",
}


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a package, in V, A, Ω, Hz, s; NaN where the instrument could not tell."""

    type: str
    value: float
    status: int = 0
    range: int | None = None

    @property
    def overload(self) -> bool:
        return bool(self.status & OVERLOAD)


@dataclass(frozen=True, slots=True)
class Package:
    """A `P` line; empty for a bare one."""

    values: tuple[Value, ...]

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(value.type for value in self.values)


@dataclass(frozen=True, slots=True)
class Error:
    """`e!4001: Line 2, Col 20`: what it echoes is empty for an error at run time."""

    echo: str
    code: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        meaning = ERRORS.get(self.code)
        at = f" in line {self.line} of the script" if self.line is not None else ""
        return f"error {self.code}{at}" + (f": {meaning}" if meaning else "")


@dataclass(frozen=True, slots=True)
class Text:
    """What a script said by `send_string`."""

    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Begin or end of a loop: `M0007` … `*`, `C0001` … `-`, `L` … `+`."""

    text: str


@dataclass(frozen=True, slots=True)
class Echo:
    """A command repeated: it is carried out."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The empty line: the script is over."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A line that is none of these: damaged on the way, or from something else."""

    text: str


Event = Package | Error | Text | Mark | Echo | End | Garbage


def read_value(text: str) -> Value:
    """Reads one value with its metadata.

    Raises:
        ValueError: it is none.
    """
    match = _VALUE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no MethodSCRIPT value")
    kind, digits, prefix, _, metadata = match.groups()
    # by way of the decimal text, so that 453668 µ is 0.453668 and not 0.45366799999999996
    number = float(f"{int(digits, 16) - _OFFSET}e{_EXPONENTS[prefix]}") if digits else math.nan
    status, range_ = 0, None
    for token in metadata.split(",")[1:]:
        if token[0] == "1":
            status = int(token[1:] or "0", 16)
        elif token[0] == "2" and len(token) > 1:
            range_ = int(token[1:], 16)
    return Value(kind, number, status, range_)


def read(line: str) -> Event:  # noqa: PLR0911 -- one return a kind of line
    """Reads one line, without its end; never raises."""
    if not line:
        return End()
    error = _ERROR.fullmatch(line)
    if error:
        echo, code, row, column = error.groups()
        return Error(echo, code, int(row) if row else None, int(column) if column else None)
    if line[0] == "P":
        try:
            return Package(tuple(read_value(part) for part in line[1:].split(";") if part))
        except ValueError:
            return Garbage(line)
    if line[0] == "T":
        return Text(line[1:])
    if _MARK.fullmatch(line):
        return Mark(line)
    if line in {"e", "Z", "Y", "h", "H"}:
        return Echo(line)
    return Garbage(line)
