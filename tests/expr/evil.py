"""Texts that are long, deep or many of something, each up to the greatest length."""

from __future__ import annotations

from itertools import cycle, islice, product
from string import ascii_lowercase

from labd.expr.parser import LONGEST


def _many(parts: list[str], between: str, before: str = "", after: str = "") -> str:
    """As many of some parts, again and again, as a text holds."""
    found = before
    room = LONGEST - len(after)
    for part in islice(cycle(parts), LONGEST):
        longer = found + (between if found != before else "") + part
        if len(longer) > room:
            break
        found = longer
    return found + after


_WORDS = ["".join(letters) for letters in product("bdfgjq", repeat=3)]
_UNITS = [
    prefix + unit for prefix in ("", "k", "m", "M", "G", "n", "p", "c", "d", "T") for unit in ("m", "s", "A", "J")
]

EVIL: dict[str, str] = {
    "unknown names": _many(_WORDS, "+"),
    "one unknown name": _many(["z"], "+"),
    "long unknown names": _many([letter * 40 for letter in ascii_lowercase], "+"),
    "unknown units": _many([f"1{word}" for word in _WORDS], "+"),
    "unknown products of units": _many([f"1 {'*'.join(word)}" for word in _WORDS], "+"),
    "known units": _many([f"1{unit}" for unit in _UNITS], "*"),
    "known products of units": _many([f"1 {a}*{b}/{b}" for a, b in product(_UNITS, _UNITS)], "+"),
    "a unit of 999 factors": _many(["m"], "*", "1 "),
    "a unit of one long word": "1 " + "a" * (LONGEST - 2),
    "a unit of many digits": "1 m" + "1" * (LONGEST - 3),
    "a power of many digits": "1 m^" + "9" * (LONGEST - 4),
    "products of quantities": _many(["1 m"], "*"),
    "products of names": _many(["force", "volume"], "*"),
    "quotients of names": _many(["force", "volume"], "/"),
    "misspelt choices": _many(["tip=='alwys'"], " and "),
    "a list of misspelt choices": _many(["'alwys'"], ",", "tip in [", "]"),
    "open brackets": "(" * LONGEST,
    "closed brackets": ")" * LONGEST,
    "bracket in bracket": "(" * 999 + "1" + ")" * 999,
    "list in list": "[" * 999 + "1" + "]" * 999,
    "open lists": "[" * LONGEST,
    "call in call": "abs(" * 400 + "1" + ")" * 400,
    "not not": "not " * 499 + "true",
    "minus minus": "-" * (LONGEST - 1) + "1",
    "one minus": "1" + "-" * (LONGEST - 1),
    "fields of fields": _many(["a"], ".", "a."),
    "unknown fields": _many(["pressed.peek"], "+"),
    "a long list": _many(["1"], ",", "[", "]"),
    "a long list of lists": _many(["[1]"], ",", "[", "]"),
    "a long sum": _many(["1"], "+"),
    "a long product": _many(["9999999999"], "*"),
    "a long quotient": _many(["1"], "/"),
    "a long and": _many(["sound"], " and "),
    "many arguments": _many(["force"], ",", "min(", ")"),
    "many comparisons": _many(["1"], "<"),
    "wrong comparisons": _many(["(force<volume)"], " and "),
    "many choices": _many(["1 if sound else "], "", "", "1"),
    "only ifs": _many(["if"], " "),
    "a long text": "'" + "a" * (LONGEST - 2) + "'",
    "only quotes": "'" * LONGEST,
    "a text without an end": '"' + "a" * (LONGEST - 1),
    "a long number": "9" * LONGEST,
    "a long exponent": "1e" + "9" * (LONGEST - 2),
    "a long fraction": "0." + "3" * (LONGEST - 2),
    "many points": "1" + ".1" * 999,
    "many exponents": _many(["1e1"], ""),
    "numbers without operators": _many(["1"], " "),
    "blanks": " " * LONGEST,
    "blanks within a quantity": "1" + " " * (LONGEST - 2) + "V",
    "blanks before what is no unit": "1" + " " * (LONGEST - 2) + "@",
    "powers": _many(["9"], "**"),
    "unknown functions": _many(["f(1)"], "+"),
    "a long function": "q" * (LONGEST - 3) + "(1)",
    "emoji": "😀" * LONGEST,
    "nothing but NUL": "\x00" * LONGEST,
    "micro": _many(["1µ"], ""),
    "one too long": "1" * (LONGEST + 1),
    "far too long": "(" * 200_000,
}
