"""The written side of one action: its events in the journal, the rows of its data, and the move of the sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from labd import clock
from labd.journal import Journal, NewEvent, SeriesInfo, SignalError, SignalStore
from labd.lab.inventory import Deed
from labd.lab.lab import Lab
from labd.run.outcomes import Order
from labd.run.samples import moves, takes_part
from labd.sdk import Intent, OutcomeUnknown, Result, Verdict, with_units
from labd.sdk.quantities import unit_of

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Recorder:
    """Writes down what becomes of a run's actions."""

    lab: Lab
    journal: Journal
    signals: SignalStore

    def post(self, order: Order, kind: str, intent: Intent, **data: Any) -> None:
        """An event of an action; durable with the next commit."""
        self.journal.post(NewEvent(kind, {"action_id": intent.id, **data}, order.run))

    async def intend(self, order: Order, intent: Intent, attempt: int) -> None:
        """Writes the intent; it is durable when this returns."""
        bound = order.bound
        intended = NewEvent(
            "action.intended",
            {
                "action_id": intent.id,
                "state": order.state,
                "step": order.step,
                "role": bound.role,
                "device": bound.device.id,
                "unit": bound.unit,
                "action": order.action.name,
                "effect": order.action.effect.value,
                "on_loss": order.action.on_loss.value,
                "parameters": with_units(order.parameters),
                "sample": order.sample,
                "attempt": attempt + 1,
                "baseline": dict(intent.baseline),
            },
            order.run,
            clock.stamp(intent.at),
        )
        await self.journal.append(intended, NewEvent("action.sent", {"action_id": intent.id}, order.run))

    def done(self, order: Order, intent: Intent, result: Result, **more: Any) -> str | None:
        """Journals that an action was done (reconciled, when `more` says by whom), with the sample's move."""
        with self.journal.together():
            self.post(order, "action.reconciled" if more else "action.done", intent, result=with_units(result), **more)
            self.lab.inventory.done(self.deed(order, intent), result, **_said(more))
            return self.moved(order, result)

    def settle(self, order: Order, intent: Intent, verdict: str, **more: Any) -> None:
        """Journals what somebody said of an action of which nobody knew, without a result.

        What was done, or scrapped with its sample, has used what was ordered.
        """
        deed, said = self.deed(order, intent), _said(more)
        with self.journal.together():
            self.post(order, "action.reconciled", intent, verdict=verdict, **more)
            if verdict == Verdict.NOT_DONE.value:
                self.lab.inventory.undone(deed, **said)
            else:
                self.lab.inventory.done(deed, None, **{"because": verdict, **said})

    def failed(self, order: Order, kind: str, intent: Intent, **data: Any) -> None:
        """Journals that an action was not done, or that nobody knows; what it may have used is in doubt."""
        deed = self.deed(order, intent)
        with self.journal.together():
            self.post(order, kind, intent, **data)
            if kind == "action.unknown":
                self.lab.inventory.doubt(deed)
            else:
                self.lab.inventory.tips_of(deed)

    def deed(self, order: Order, intent: Intent | None = None) -> Deed:
        """An order, as the inventory reads it."""
        bound = order.bound
        gripper = self.lab.place_of(bound.device, bound.unit) if bound.device.driver.role == "arm" else None
        action_id = intent.id if intent is not None else ""
        return Deed(order.run, order.sample, action_id, bound.device, gripper, order.action.name, order.parameters)

    def moved(self, order: Order, result: Result | None) -> str | None:
        """Journals and applies where the sample is after an arm's action.

        Gives in words why that cannot be, when the lab believes another sample to be there; then nothing is moved.
        """
        place = moves(self.lab, order.sample, order.bound, order.action.name, order.parameters, result)
        if place is None:
            self._part_moved(order, result)
            return None
        before = self.lab.places.place_of(order.sample)
        there = self.lab.places.sample_at(place)
        if there is not None and there != order.sample:
            told = {"sample": order.sample, "from": before, "to": place, "there": there}
            self.journal.post(NewEvent("sample.conflict", told, order.run))
            return (
                f"{order.name} says that it put {order.sample} at {place}, where {there} is entered; "
                f"look, and clear the run of the one that is not there"
            )
        self.journal.post(NewEvent("sample.moved", {"sample": order.sample, "from": before, "to": place}, order.run))
        self.lab.places.move(order.sample, place)
        return None

    def _part_moved(self, order: Order, result: Result | None) -> None:
        """Journals and applies that the arm took a part for the sample, or set it down."""
        held = takes_part(self.lab, order.sample, order.bound, order.action.name, result)
        gripper = self.lab.place_of(order.bound.device, order.bound.unit)
        if held is None or gripper is None:
            return
        self.journal.post(NewEvent("part.moved", {"sample": order.sample, "place": gripper, "held": held}, order.run))
        self.lab.places.carry(gripper, order.sample if held else None)

    def rows(self, order: Order, intent: Intent) -> Rows:
        """The series of an action's data, open from here; of no action that streams none."""
        data = order.action.data
        if data is None:
            return Rows(self.signals, None)
        columns = tuple((name, unit_of(field_) or "") for name, field_ in data.model_fields.items())
        started = clock.stamp(intent.at)
        device, name = order.bound.device.id, order.action.name
        self.signals.create(SeriesInfo(intent.id, device, intent.unit, order.run, name, started, columns))
        return Rows(self.signals, intent.id)


class Rows:
    """The rows of one action, from its first attempt at the wire until nothing more can come of it."""

    def __init__(self, signals: SignalStore, series: str | None) -> None:
        self._signals = signals
        self._series = series

    def append(self, row: tuple[float | None, ...]) -> None:
        if self._series is not None:
            self._signals.append(self._series, row)

    async def count(self) -> int:
        """How many rows there are, also from before a restart of the daemon.

        Raises:
            OutcomeUnknown: the disk does not tell; then the action cannot be taken up without doubling them.
        """
        if self._series is None:
            return 0
        try:
            return await self._signals.count(self._series)
        except SignalError as error:
            raise OutcomeUnknown(f"what is kept of its data cannot be read: {error}") from error

    async def close(self) -> None:
        """Puts all rows on the disk. Harmless when closed."""
        series, self._series = self._series, None
        if series is None:
            return
        try:
            await self._signals.finish(series)
        except SignalError as error:
            # The rows are kept in memory and tried again; a disk that is full must not hide that an action was done.
            log.warning("samples are not on the disk yet", series=series, problem=str(error))


def _said(more: Mapping[str, Any]) -> dict[str, Any]:
    """Who settled an action, and why, for the stock's entries."""
    told = {"by": more.get("by"), "because": more.get("why")}
    return {key: value for key, value in told.items() if value is not None}
