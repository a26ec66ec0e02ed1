"""What a person has ordered by hand: one act, how it is done, and how it is read back from the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.journal import Event
from labd.protocol.messages import Argument
from labd.run.orders import OrderRefusedError
from labd.run.outcomes import Failed, Order, Settled, Unsettled
from labd.run.past import Tried
from labd.run.performer import Performer
from labd.sdk import UnitError
from labd.sdk.quantities import unit_of
from labd.sdk.units import parse


@dataclass(frozen=True, slots=True)
class Act:
    """One order by hand.

    Args:
        id: `by-hand-20261128-141500-1`; it stands in the journal where a run's id would.
        device, unit, action, parameters: what was ordered, quantities with their units.
        sample: what it is done to; where nothing known stands there, the id.
        by, cause: who ordered it, and why.
        state: `running`, `done`, `failed`, or `unknown`: then a person must say, and the unit is kept until then.
        result: with units, where it has one.
        message: what went wrong, or what is asked.
        started, ended: RFC 3339.
    """

    id: str
    device: str
    unit: str
    action: str
    parameters: Mapping[str, Any]
    sample: str
    by: str
    cause: str | None
    state: str = "running"
    result: Mapping[str, Any] | None = None
    message: str | None = None
    started: str = ""
    ended: str | None = None


@dataclass(slots=True)
class Doing:
    act: Act
    order: Order
    performer: OnePerformer
    task: asyncio.Task[None] | None = None
    unsettled: Unsettled | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class OnePerformer(Performer):
    """Orders nothing anew that was under way before a restart: whoever wanted it may not be there any more."""

    after_restart = False

    async def perform(self, order: Order) -> Settled:
        if self.after_restart:
            return Failed("cancelled", "it was not done, its device says; order it anew if it is still wanted")
        return await super().perform(order)


def last_try(events: list[Event]) -> Tried | None:
    """The last attempt, and what the journal says last of it; None where nothing was intended."""
    tried: Tried | None = None
    for event in events:
        if event.kind == "action.intended":
            tried = Tried(event, event)
        elif tried is not None and event.data.get("action_id") == tried.id:
            tried.last = event
    return tried


def value_of(value: Any, declared: Any, name: str) -> Argument:
    """A parameter as typed. Raises OrderRefusedError: no quantity, or none with a unit."""
    unit = unit_of(declared)
    if not isinstance(value, str) or unit is None:
        return value  # type: ignore[no-any-return]
    try:
        return parse(value, unit)
    except UnitError as error:
        raise OrderRefusedError(f"{name}: {error}") from error
