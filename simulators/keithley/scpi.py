"""SCPI as an instrument reads it: long and short forms, chains with `;`, and the path that a chain keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

Handler = Callable[[str], str | None]
"""Carries a command out with its parameters as text; gives the answer of a query, None of a command."""


class ScpiError(Exception):
    """What goes into the event log: number and text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.text = text


UNDEFINED = (-113, "Undefined header")
BAD_DATA = (-104, "Data type error")
OUT_OF_RANGE = (-222, "Parameter data out of range")
MISSING = (-109, "Missing parameter")
ILLEGAL = (-224, "Illegal parameter value")


@lru_cache(maxsize=256)
def header(pattern: str) -> re.Pattern[str]:
    """`SOURce#:VOLTage[:LEVel]` as what matches its long and short forms; `#` is a channel number that may lack."""
    parts: list[str] = []
    for piece in re.findall(r"\[|\]|:|#|\*?[A-Za-z]+", pattern):
        if piece == "[":
            parts.append("(?:")
        elif piece == "]":
            parts.append(")?")
        elif piece == "#":
            parts.append("1?")
        elif piece == ":":
            parts.append(":")
        else:
            short = "".join(letter for letter in piece if not letter.islower())
            rest = piece[len(short) :].upper()
            parts.append(re.escape(short) + (f"(?:{rest})?" if rest else ""))
    return re.compile("".join(parts))


def commands(line: str) -> Iterator[tuple[str, bool, str]]:
    """The commands of a line: header from the root in capitals, whether it asks, and its parameters."""
    path = ""
    for piece in _split(line, ";"):
        text = piece.strip()
        if not text:
            continue
        found = re.match(r"(\*?[A-Za-z0-9_:]+)(\?)?\s*(.*)", text, re.DOTALL)
        if found is None:
            yield text.upper(), False, ""
            continue
        name, asks, rest = found[1].upper(), found[2] is not None, found[3].strip()
        if not name.startswith("*"):
            name = name[1:] if name.startswith(":") else path + name
            path = name[: name.rfind(":") + 1]
        yield name, asks, rest


def _split(text: str, at: str) -> Iterator[str]:
    """Parts of a text, those in quotes kept whole."""
    start, quote = 0, ""
    for index, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == at:
            yield text[start:index]
            start = index + 1
    yield text[start:]


def parameters(text: str) -> list[str]:
    """Parameters by commas, without quotes and blanks around them."""
    return [one.strip().strip("\"'") for one in _split(text, ",")] if text.strip() else []


def number(text: str, low: float, high: float) -> float:
    """One number within bounds. Raises ScpiError."""
    if not text:
        raise ScpiError(*MISSING)
    try:
        value = float(text)
    except ValueError:
        raise ScpiError(*BAD_DATA) from None
    if not low <= value <= high:
        raise ScpiError(*OUT_OF_RANGE)
    return value


def switch(text: str) -> bool:
    """ON, OFF, 1 or 0. Raises ScpiError."""
    if text.upper() in {"ON", "1"}:
        return True
    if text.upper() in {"OFF", "0"}:
        return False
    raise ScpiError(*(BAD_DATA if text else MISSING))
