"""Lines of a run: the main one of a state, and one for each branch of a `parallel` that is under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from labd.protocol.machine.snapshot import command_from_json, to_json
from labd.protocol.messages import Command

if TYPE_CHECKING:
    from labd.protocol.machine.machine import Machine


@dataclass(slots=True)
class Loop:
    """A `repeat` under way: `index` counts its turns from 1; `turns` is how many there are, `items` over what."""

    label: str
    turns: int
    index: int = 0
    items: list[Any] | None = None


@dataclass(slots=True)
class Line:
    """Where one line is.

    Args:
        token: "" for the main line; for a branch the label of its step and its name, `2.heat`.
        at: the operation that is next, or under way.
        last: the operation that somebody carried out last in this visit.
        pending: the command whose outcome it waits for.
        sent: whether the pending action's order is on its way.
        again: what "the same step again" means while it is held: step, done step, ways, callee, or enter <state>.
        tries: how often the present action was done again.
        blocked: the timer of the window that does not let its action begin yet.
        loops: the `repeat`s that it is in, the innermost last.
        call: the id of the step that calls another protocol now.
        child: that protocol's machine.
    """

    token: str = ""
    at: int = 0
    last: int | None = None
    pending: Command | None = None
    sent: bool = False
    again: str = ""
    tries: int = 0
    blocked: str = ""
    loops: list[Loop] = field(default_factory=list)
    call: str = ""
    child: Machine | None = None

    def waits_for(self, step_id: str) -> bool:
        """Whether it is this step's outcome that it waits for, itself."""
        return getattr(self.pending, "step_id", None) == step_id

    def as_json(self) -> dict[str, JsonValue]:
        return {
            "token": self.token,
            "at": self.at,
            "last": self.last,
            "pending": to_json(self.pending),
            "sent": self.sent,
            "again": self.again,
            "tries": self.tries,
            "blocked": self.blocked,
            "loops": [
                {"label": loop.label, "turns": loop.turns, "index": loop.index, "items": to_json(loop.items)}
                for loop in self.loops
            ],
            "call": self.call,
            "child": self.child.snapshot() if self.child is not None else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Line:
        """The line that was written down, less its child."""
        pending = data["pending"]
        return cls(
            token=data["token"],
            at=data["at"],
            last=data["last"],
            pending=command_from_json(pending) if pending is not None else None,
            sent=data["sent"],
            again=data["again"],
            tries=data["tries"],
            blocked=data["blocked"],
            loops=[Loop(**loop) for loop in data["loops"]],
            call=data["call"],
        )
