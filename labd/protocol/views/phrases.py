"""How values, places and standard actions are told in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from labd.expr import Measure, Type
from labd.protocol.model import InputSpec, Parameter
from labd.protocol.values import expression_of
from labd.sdk import Action

Say = Callable[[str], str]

ACTIONS: dict[str, tuple[str, ...]] = {
    "pipetting_robot.transfer": (
        "transfers {volume}",
        " {source}",
        " to {destination}",
        ", at {flow_rate}",
        ", and mixes {mix_after} times",
    ),
    "pipetting_robot.mix": ("mixes {volume} {times} times in {place}",),
    "crimper.crimp": ("presses to {force}", ", keeps it for {dwell}", " and opens again"),
    "arm.pick": ("takes what lies at {place}", ", gripping with {force}"),
    "arm.place": ("puts what it holds down at {place}",),
    "arm.move": ("moves to {position}",),
    "pump.aspirate": ("draws in {volume}", ", at {rate}"),
    "pump.dispense": ("gives {volume} to its outlet", ", at {rate}"),
    "pump.prime": ("fills its lines", " with {volume}", ", at {rate}"),
    "gripper.grip": ("closes until it holds something", ", with {force}"),
    "gripper.release": ("opens", " to {width}"),
    "thermostat.set_temperature": ("sets the bath to {temperature}",),
    "potentiostat.open_circuit": ("records the open-circuit voltage for {duration}", ", every {interval}"),
    "potentiostat.constant_current": (
        "drives a current of {current}",
        " until {until_voltage} is reached",
        ", for {until_time} at most",
        ", and records every {interval}",
    ),
    "potentiostat.constant_voltage": (
        "keeps the voltage at {voltage}",
        " until the current has fallen to {until_current}",
        ", for {until_time} at most",
        ", and records every {interval}",
    ),
    "potentiostat.cycle": (
        "charges to {upper} and discharges to {lower}, {cycles} times",
        ", at {current}",
        ", at a C-rate of {c_rate}",
        ", for a capacity of {capacity}",
        ", for an active mass of {active_mass}",
        ", for {specific_capacity}",
        ", holding the upper voltage until {cv_until}",
        ", with {rest} of rest after each half",
        ", and records every {interval}",
    ),
    "potentiostat.cyclic_voltammetry": (
        "sweeps the potential from {start} to {vertex1}, to {vertex2} and back",
        " at {scan_rate}",
        ", {scans} times",
    ),
    "potentiostat.impedance": (
        "measures the impedance from {f_max} down to {f_min}",
        ", with {points_per_decade} points a decade",
        ", with an amplitude of {amplitude}",
        ", at {dc}",
    ),
}
"""Pieces of the sentence about an action; a piece is said when all that it names is given."""

_HOLE = re.compile(r"\{(\w+)\}")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SPACE = re.compile(r"[ \t\r\n]+")
_UNIT = re.compile(r"(?<=\d) (?=[A-Za-zµΩ°%])")


def action_words(role: str, action: Action, given: Mapping[str, Any], say: Callable[[str, Any], str]) -> str:
    """What a device does: `transfers 35 µL of LP57 to …`; what the words leave out is added, `with new_tip = once`.

    Args:
        role: the kind of device.
        action: what it is told to do.
        given: its parameters as they were written.
        say: a parameter's value in words.
    """
    pieces = ACTIONS.get(f"{role}.{action.name}")
    if pieces is None or not set(_HOLE.findall(pieces[0])) <= given.keys():
        summary = action.summary.partition(". ")[0].rstrip(".")
        pieces = (f"{summary[:1].lower()}{summary[1:]}".replace("{", "(").replace("}", ")"),)
    said: set[str] = set()
    words = ""
    for piece in pieces:
        named = _HOLE.findall(piece)
        if all(name in given for name in named):
            words += _HOLE.sub(lambda found: say(found[1], given[found[1]]), piece)
            said |= set(named)
    words = words.replace(" at where ", " where ").replace(" in where ", " where ")
    rest = [f"{name} = {say(name, raw)}" for name, raw in given.items() if name not in said]
    return f"{words}, with {listed(rest)}" if rest else words


def value_words(raw: Any) -> str:
    """A value as it was written: literals plainly, a name or an expression between backquotes."""
    text = expression_of(raw)
    if text is not None:
        return f"`{text.strip()}`"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, list):
        return listed([value_words(item) for item in raw])
    return str(getattr(raw, "text", raw)) or "nothing"


def place_words(raw: Any, roles: Mapping[str, str]) -> str:
    """A place: `=sample.position` is where the sample is, `=press.place` the press's own."""
    text = (expression_of(raw) or "").strip()
    if text == "sample.position":
        return "where the sample is"
    if text == "sample.home":
        return "where the sample was at the start"
    owner, dot, what = text.partition(".")
    if dot and what == "place" and owner in roles:
        return f"the {owner}"
    return value_words(raw)


def is_name(raw: Any) -> str:
    """The one name that an expression consists of, or ""."""
    text = (expression_of(raw) or "").strip()
    return text if _PLAIN.fullmatch(text) else ""


def bounds_words(spec: Parameter | InputSpec) -> str:
    """`from 10 µL to 100 µL`, as they were written."""
    if spec.min is not None and spec.max is not None:
        return f"from {value_words(spec.min)} to {value_words(spec.max)}"
    if spec.min is not None:
        return f"of {value_words(spec.min)} or more"
    return f"of {value_words(spec.max)} at most" if spec.max is not None else ""


def kind_words(spec: Parameter | InputSpec, kind: Type) -> str:
    """`a volume from 10 µL to 100 µL`."""
    words = str(kind) if isinstance(kind, Measure) or spec.type == "choice" else _KINDS[spec.type]
    article = "" if spec.type in ("choice", "boolean") else "an " if words[:1] in "aeiou" else "a "
    return f"{article}{words} {bounds_words(spec)}".strip()


_KINDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "text": "text",
    "material": "material",
    "position": "place",
}


def role_words(role: str) -> str:
    """`a pipetting robot`, `an arm`."""
    words = role.replace("_", " ")
    return f"an {words}" if words[:1] in "aeiou" else f"a {words}"


def listed(parts: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else ""


def whole(text: str) -> str:
    """A text in one line, in which no number can lose its unit."""
    return _UNIT.sub("\u00a0", _SPACE.sub(" ", text))


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text[-1:] in '.?!:…' else '.'}"
