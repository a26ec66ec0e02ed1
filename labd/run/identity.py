"""What runs need to know of their sample: its active mass for C-rates, and who is told when nobody said it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from labd.expr import Missing
from labd.lab.samples import Samples
from labd.protocol import Protocol
from labd.protocol.model import DoStep, steps_of
from labd.sdk import Action, Quantity

HOW = {"active_mass": "--active-mass '12.3 mg'", "specific_capacity": "--about specific_capacity='160 mAh/g'"}
UNITS = {"active_mass": "g", "specific_capacity": "mAh/g"}
_ASKED = re.compile(r"\bsample\.(active_mass|specific_capacity)\b")


class OrderRefusedError(Exception):
    """An order that must not be sent; the text says why and how to mend it."""


def said_of(samples: Samples, sample: str) -> dict[str, Any]:
    """What expressions see of a sample beside its place; `Missing` with the mend where nobody said it."""
    known = samples.registered(sample)
    found: dict[str, Any] = {"barcode": (known.barcode if known is not None else None) or ""}
    for name in HOW:
        value = getattr(known, name) if known is not None else None
        found[name] = Missing(f"is not known: {_mend(sample, name)}") if value is None else value
    return found


def own_capacity(
    samples: Samples, sample: str, action: Action, values: Mapping[str, Any], where: str
) -> dict[str, Quantity]:
    """The sample's active mass and specific capacity, for an order at a C-rate that does not give them.

    Raises:
        OrderRefusedError: nobody said them.
    """
    if not _by_mass(values) or "active_mass" not in action.parameters.model_fields:
        return {}
    found: dict[str, Quantity] = {}
    for name in _left(values):
        value = getattr(samples.registered(sample), name, None)
        if value is None:
            raise OrderRefusedError(f"{where}: {_lacks(sample, name)}")
        found[name] = Quantity(value, UNITS[name])
    return found


def unsaid(samples: Samples, sample: str, protocol: Protocol) -> str | None:
    """What a protocol, or one that it calls, asks of its sample and nobody said, in words; None where all is known.

    So a run does not stand still after hours for what could be told before it.
    """
    known = samples.registered(sample)
    name = next((name for name in asked_of(protocol) if getattr(known, name, None) is None), None)
    return _lacks(sample, name) if name is not None else None


def asked_of(protocol: Protocol) -> tuple[str, ...]:
    """What a protocol asks of its sample: `active_mass`, `specific_capacity`."""
    return tuple(dict.fromkeys(_asked(protocol)))


def _asked(protocol: Protocol) -> Iterator[str]:
    for text in _texts(protocol.file.model_dump(exclude={"summary"})):
        yield from _ASKED.findall(text)
    for _, step in steps_of(protocol.file):
        if isinstance(step, DoStep) and _cycles(protocol, step) and _by_mass(step.with_):
            yield from _left(step.with_)
    for called in protocol.calls.values():
        yield from _asked(called)


def _cycles(protocol: Protocol, step: DoStep) -> bool:
    role, _, action = step.do.partition(".")
    return action == "cycle" and role in protocol.roles and protocol.roles[role].role == "potentiostat"


def _by_mass(values: Mapping[str, Any]) -> bool:
    """Whether a step gives a C-rate, and no capacity that it is of."""
    return values.get("c_rate") is not None and values.get("current") is None and values.get("capacity") is None


def _left(values: Mapping[str, Any]) -> list[str]:
    return [name for name in HOW if values.get(name) is None]


def _texts(value: Any) -> Iterator[str]:
    """All texts of a file but its summaries, which only people read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name != "summary":
                yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _lacks(sample: str, name: str) -> str:
    return f"nobody said the {name.replace('_', ' ')} of {sample}: {_mend(sample, name)}"


def _mend(sample: str, name: str) -> str:
    return f"register it, labd sample {sample} {HOW[name]}"
