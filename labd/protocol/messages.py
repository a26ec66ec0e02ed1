"""What the protocol machine and the runtime say to each other: commands one way, events the other.

`token` says which line of the run speaks: "" is the main line; parallel branches have names of their own.
`step_id` is unique in a run: state, visit, place in the state, and attempt when a step is done again (`crimp:1/2~2`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import JsonValue

from labd.sdk import Bounds, Quantity

Ending = Literal["complete", "scrapped", "stopped", "aborted"]
FailureKind = Literal["timeout", "rejected", "fault", "unreachable", "cancelled"]
"""`cancelled`: it was ended because the run leaves the state; no protocol catches that."""

Argument = Quantity | str | int | float | bool | list["Argument"] | None
"""A parameter's value on its way to a device: a quantity carries its unit."""


@dataclass(frozen=True, slots=True)
class Input:
    """A typed answer that a question asks for; `min` and `max` are in `unit`, which is its dimension's default unit."""

    type: str
    unit: str = ""
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] = ()

    def problem(self, value: object) -> str | None:
        """What is wrong with an answer, in words, or None."""
        wanted: dict[str, tuple[type, ...]] = {
            "quantity": (int, float),
            "number": (int, float),
            "integer": (int,),
            "boolean": (bool,),
        }
        right = isinstance(value, wanted.get(self.type, (str,)))
        if not right or (isinstance(value, bool) and self.type != "boolean"):
            return f"{value!r} is no {self.type}"
        if self.choices and value not in self.choices:
            return f"{value!r} is none of {', '.join(self.choices)}"
        if isinstance(value, (int, float)):
            return Bounds(self.min, self.max).problem(float(value), self.unit)
        return None


# ── commands: what the runtime shall do ──────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Enter:
    """A state begins: reserve its roles, all at once, then feed `Entered`. The state before it has ended.

    Args:
        visit: how often the state has been entered, this time included.
        because: why the run came here, in words.
    """

    state: str
    roles: frozenset[str]
    visit: int = 1
    because: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Do:
    """Order an action; feed `Done` or `Failed`. `within` is in seconds; None leaves the driver's own limit."""

    step_id: str
    role: str
    action: str
    parameters: Mapping[str, Argument]
    within: float | None = None
    as_: str | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """Put a question to the operator; feed `Answered`, or `Expired` after `within` seconds."""

    step_id: str
    text: str
    choices: tuple[str, ...]
    input: Input | None = None
    within: float | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds; feed `Elapsed`. Goes on while the run is held; `urgency` is of its end.

    A wait's step_id is its step's; those of watches and windows begin with `watch:` and `window:`.
    """

    step_id: str
    seconds: float
    urgency: Literal["window", "watch", "next"] = "next"
    token: str = ""


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for a condition over live signals: feed `Observed` whenever they change, `Expired` after `within` s."""

    step_id: str
    condition: str
    within: float | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """What waits under this id is not wanted any more.

    Of an action the outcome is still fed: a ONCE action is never cut in its middle, it is left to its outcome or ended
    by its own `cancel`; what may be repeated is cut, and `Failed("cancelled")` is fed.
    """

    step_id: str
    because: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Clean:
    """The steps of `cleanup` begin, or (`over`) have ended."""

    over: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True)
class HoldRun:
    """Hold the run; feed `Resume` when the operator goes on: the same step again, or one of `continue_at`."""

    reason: str
    continue_at: tuple[str, ...] = ()
    token: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """The protocol has ended."""

    outcome: Ending
    state: str
    because: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A value that was worked out, for the journal: it is never worked out again.

    Args:
        what: what was decided: `next`, `with volume`, `set cycles_done`, `if`.
        value: the value; a quantity with its unit, `{"v": 7.8, "u": "kN"}`.
        expression: as it stands in the protocol.
        because: the names that it used, with their values.
    """

    what: str
    value: JsonValue
    expression: str = ""
    because: str = ""
    step_id: str = ""
    token: str = ""


Command = Enter | Do | Ask | Sleep | Await | Cancel | Clean | HoldRun | End | Decided


# ── events: what has happened ────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Entered:
    """The roles of the state are reserved."""

    state: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """An action's order is on its way to the device: what begins and ends windows."""

    step_id: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Unsent:
    """An order that was on its way has come to nothing for certain: as if `Sent` had not been said. It may follow."""

    step_id: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """Signals have changed; `Machine.update` has told how."""

    token: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """An action was done; quantities of its result are floats in default units."""

    step_id: str
    result: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """An action failed for a known reason; an unknown outcome is reconciled by the runtime before it says anything."""

    step_id: str
    kind: FailureKind
    message: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The operator's word: a choice, or a typed value in its default unit, or both."""

    step_id: str
    choice: str = ""
    value: Any = None
    by: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """A wait is over."""

    step_id: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody answered a question in time, or what was waited for did not come about."""

    step_id: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """The operator goes on after a hold: with the same step, or at a state."""

    at: str | None = None
    by: str = ""
    token: str = ""


Event = Entered | Sent | Unsent | Done | Failed | Answered | Elapsed | Expired | Observed | Resume
