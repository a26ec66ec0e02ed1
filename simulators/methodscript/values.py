"""Numbers as MethodSCRIPT writes them: literals in scripts, packages in the output."""

from __future__ import annotations

import math
import re

FACTORS = {
    "a": 1e-18,
    "f": 1e-15,
    "p": 1e-12,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    " ": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
}
_OFFSET = 0x8000000
_LIMIT = 0x7FFFFFF  # largest number of seven digits after the offset is taken off
_FINEST = [(_LIMIT * factor, 1.0 / factor, prefix) for prefix, factor in FACTORS.items()]
_LITERAL = re.compile(r"(?:([+-]?\d+)([afpnumkMGTPEi]?)|0x([0-9A-Fa-f]+)i?|0b([01]+)i?)\Z")


def literal(text: str) -> float | int | None:
    """A literal's value: `-500m`, `10i`, `0x0F`, `0b101`; None when it is none. There is no decimal point."""
    found = _LITERAL.match(text)
    if found is None:
        return None
    digits, prefix, hexadecimal, binary = found.groups()
    if hexadecimal is not None:
        return int(hexadecimal, 16)
    if binary is not None:
        return int(binary, 2)
    number = int(digits)
    if abs(number) > 0x7FFFFFFF:
        return None
    if prefix == "i":
        return number
    # Divided, where the factor is below one: 500m is 0.5 and not 0.5000000000000001.
    factor = FACTORS[prefix or " "]
    return number * factor if factor >= 1 else number / round(1 / factor)


def encode(kind: str, value: float) -> str:
    """A value as it stands in a package: type, seven hex digits, prefix; the finest prefix that holds it."""
    if isinstance(value, int):
        return f"{kind}{max(-_LIMIT, min(_LIMIT, value)) + _OFFSET:07X}i"
    if value != value:  # noqa: PLR0124 - the quickest test for NaN
        return kind + "     nan"
    size = -value if value < 0 else value
    if size == 0.0:
        return kind + "8000000 "
    for limit, inverse, prefix in _FINEST:
        if size <= limit:
            return f"{kind}{round(value * inverse) + _OFFSET:07X}{prefix}"
    return f"{kind}{_OFFSET + int(math.copysign(_LIMIT, value)):07X}E"


def package(kind: str, value: float, status: int = 0, scale: int | None = None) -> str:
    """A value with its metadata: status bits, and the range's code where there is one."""
    text = encode(kind, value)
    if scale is not None:
        return f"{text},1{status:X},2{scale:02X}"
    return f"{text},1{status:X}" if status else text
