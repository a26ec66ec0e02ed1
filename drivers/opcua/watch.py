"""Reading: values that are good and young enough, and orders as a profile has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import structlog

from drivers.opcua.profile import Measured, Order, Watched, Worded
from labd import clock
from labd.io.opcua import OpcUaLink, Value
from labd.sdk import UnitError, units

log = structlog.get_logger(__name__)


class Ages:
    """How long each value has not been renewed by its source.

    By our clock since its source's time stamp was last seen to move, and at first sight by the server's own two stamps:
    no clock of a PLC need agree with ours, and a server that answers with what it once heard is found out, also when it
    is connected anew.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime | None, float]] = {}

    def young(self, watched: Watched, value: Value) -> bool:
        """Whether its source has renewed it within its `max_age`."""
        now = clock.monotonic()
        stamp, since = self._seen.get(watched.node, (None, now))
        if watched.node not in self._seen or stamp != value.source:
            since = now - (value.age or 0.0)
            self._seen[watched.node] = (value.source, since)
        return watched.max_age is None or now - since <= watched.max_age


class Reader:
    """Reads nodes of one server in one request, and says once what it does not believe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ages = Ages()
        self._told: set[str] = set()

    async def read(self, link: OpcUaLink, wanted: Iterable[Watched]) -> dict[str, Any]:
        """Values by node; None where the status is bad or the value too old. Raises as the link does."""
        watched = {one.node: one for one in wanted}
        values = await link.read(list(watched))
        found = {}
        for (node, one), value in zip(watched.items(), values, strict=True):
            young = self._ages.young(one, value)
            found[node] = value.value if value.good and young else None
            if value.good and young:
                self._told.discard(node)
            elif node not in self._told:
                self._told.add(node)
                why = f"its status is {value.status}" if not value.good else f"it is older than {one.max_age:g} s"
                log.warning("a value is not believed", device=self._name, node=node, why=why)
        return found


def number(measured: Measured | None, found: Mapping[str, Any], unit: str) -> float | None:
    """A measured number in a unit; None where there is none."""
    value = found.get(measured.node) if measured is not None else None
    if measured is None or isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    try:
        return units.convert(value * measured.factor, measured.unit, unit)
    except UnitError:
        return None


def word(worded: Worded | None, found: Mapping[str, Any]) -> str | None:
    """A state in our words; None where it is in none of them."""
    return None if worded is None else worded.words.get(str(found.get(worded.node)))


def count(node: str | None, found: Mapping[str, Any]) -> int | None:
    """A counter; None where it is none."""
    value = found.get(node) if node is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


async def send(link: OpcUaLink, order: Order, **given: str) -> None:
    """Carries out an order of a profile, with what it gives in place of `{recipe}` and `{id}`. Raises as the link."""

    def filled(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        for name, text in given.items():
            value = value.replace(f"{{{name}}}", text)
        return value

    if order.call is not None:
        await link.call(order.call, [(filled(one.value), one.type) for one in order.arguments])
    else:
        assert order.write is not None
        await link.write(order.write, filled(order.value), order.type)
