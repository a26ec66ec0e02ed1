"""Devices whose link was lost while they acted: which of their units are made safe before anything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from labd.lab.bounded import Hangs
from labd.sdk import Action, Effect, OnLoss, OutcomeUnknown, Unreachable

log = structlog.get_logger(__name__)

SafeState = Callable[[str | None], Awaitable[None]]


@dataclass(slots=True)
class Owed:
    """The units of one device that are to be made safe, once any exchange with it is possible again.

    That is owed for an action which says `on_loss: stop` and was under way, or of which nobody knew the outcome, when
    the link was lost; and for a device that could not be made safe when somebody wanted that.

    Args:
        on_change: told what is due, why by unit, whenever that has changed.
    """

    on_change: Callable[[Mapping[str, str]], None] = lambda _: None
    _open: dict[str, str] = field(default_factory=dict)  # unit by action id
    _due: dict[str, str] = field(default_factory=dict)  # why, by unit

    def begin(self, action_id: str, unit: str, action: Action) -> None:
        """An action is begun. An older one of its unit stays open: that something else was ordered proves nothing."""
        if action.on_loss is OnLoss.STOP and action.effect is not Effect.READ:
            self._open[action_id] = unit

    def settle(self, action_id: str) -> None:
        """Its outcome is known."""
        self._open.pop(action_id, None)

    def end_well(self, action_id: str) -> None:
        """It was done: where it was to stop with its link, what stood open on its unit before is over, too."""
        unit = self._open.get(action_id)
        if unit is not None:
            self._open = {one: other for one, other in self._open.items() if other != unit}

    def owe(self, unit: str | None, why: str) -> None:
        """Says that a unit (None: all) is to be made safe as soon as that is possible."""
        if (unit or "") not in self._due:
            self._due[unit or ""] = why
            self.on_change(self._due)

    def lose(self) -> bool:
        """The link is lost; gives whether something acted then."""
        lost = bool(self._open)
        for action_id, unit in self._open.items():
            self.owe(unit, f"the link was lost while {action_id} was under way")
        self._open.clear()
        return lost

    def made_safe(self, unit: str | None) -> None:
        """A unit (None: all) was made safe."""
        self._open = {one: other for one, other in self._open.items() if unit and other != unit}
        left = {other: why for other, why in self._due.items() if unit and other != unit}
        if left != self._due:
            self._due = left
            self.on_change(left)

    async def pay(
        self, safe_state: SafeState, limit: float, tell: Callable[[str, str | None, str], None]
    ) -> str | None:
        """Makes safe what is due; gives why the device does not answer, or None. Never raises.

        Args:
            safe_state: the driver's, with a deadline.
            limit: that deadline, s.
            tell: told of each unit: its name, what went wrong, and why it was due.
        """
        for unit, why in self.due.items():
            problem: str | None = None
            try:
                await safe_state(unit or None)
            except (Unreachable, OutcomeUnknown) as error:
                return str(error)
            except Hangs as error:
                return str(error)
            except TimeoutError:
                return f"no answer within {limit:g} s"
            except Exception as error:  # it answers, and a person must look: its own words stand in the journal
                log.exception("safe state failed", unit=unit)
                problem = str(error)
            self.made_safe(unit or None)
            tell(unit, problem, why)
        return None

    @property
    def due(self) -> dict[str, str]:
        """Why, by unit; empty for all of a device."""
        return {"": self._due[""]} if "" in self._due else dict(self._due)
