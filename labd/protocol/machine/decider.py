"""What a run knows, and the values that it works out from it; each is told once, for the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.expr import Expression, ExpressionError, Flaw
from labd.protocol.machine.snapshot import to_json
from labd.protocol.messages import Decided
from labd.protocol.values import Slot, argument, out_of_bounds


@dataclass(slots=True)
class Decider:
    """The names of a run with their values.

    Args:
        parameters: what the run was started with.
        tell: takes each decision.
        here: how often the present state was entered, the step that is decided for ("" after the last one), and the
            turn of the innermost `repeat`, None outside.
        outside: what stands where, and the devices' signals, as the runtime said last.
        results: of actions and questions, and variables.
    """

    parameters: Mapping[str, Any]
    tell: Callable[[Decided], None]
    here: Callable[[], tuple[int, str, int | None]]
    outside: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """All names that an expression may use."""
        visits, _, index = self.here()
        found = {**self.outside, **self.parameters, **self.results, "visits": visits}
        if index is not None:
            found["index"] = index
        return found

    def decided(self, what: str, value: Any, expression: str = "", because: str = "") -> None:
        """Tells what was decided, and from what."""
        self.tell(Decided(what, to_json(value), expression, because, self.here()[1]))

    def value(self, what: str, slot: Slot) -> Any:
        """A value in its default unit.

        Raises:
            ExpressionError: it has none now, or one out of its bounds.
        """
        if slot.expression is None:
            return slot.fixed
        values = self.values()
        value = slot(values)
        told = argument(value, slot.expression.type)
        self.decided(what, told, slot.expression.text, slot.expression.because(values))
        problem = out_of_bounds(value, slot.type, slot.bounds)
        if problem:
            raise ExpressionError([Flaw(f"{what}: {problem}", kind="value")])
        return value

    def test(self, what: str, condition: Expression) -> bool:
        """Whether a condition holds. Raises ExpressionError when that cannot be told now."""
        values = self.values()
        holds = bool(condition(values))
        self.decided(what, holds, condition.text, condition.because(values))
        return holds
