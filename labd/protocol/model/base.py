"""What all parts of a protocol are made of: names, values, parameters, roles, and where ways lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictInt, Tag

NAME = r"[A-Za-z][A-Za-z0-9_]{0,63}"


def as_written(value: object) -> object:
    """A text, where YAML would read a number: `version: 1.10` is no float."""
    return getattr(value, "text", value)


Text = Annotated[str, BeforeValidator(as_written)]
Name = Annotated[Text, Field(pattern=f"^{NAME}$")]
Condition = Annotated[Text, Field(min_length=1)]
Value: TypeAlias = Any
"""A literal (`35 µL`, `3`, `true`, `always`, a list), or an expression that begins with `=`."""

ParameterType = Literal["quantity", "integer", "number", "boolean", "text", "choice", "material", "position"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def tag(kinds: Mapping[type, str], otherwise: str) -> Discriminator:
    """Tells the forms of a value apart by its type. Tags begin with @, so that they are no part of a path."""

    def form(value: object) -> str:
        return next((tag for kind, tag in kinds.items() if isinstance(value, kind)), otherwise)

    return Discriminator(form)


def by_key(kinds: Mapping[str, type[Part]]) -> Discriminator:
    """Tells the kinds of a step or state apart by the key that only one of them has; the first in the table counts."""

    def found(value: object) -> str | None:
        for key, kind in kinds.items():
            if isinstance(value, kind) or (isinstance(value, dict) and key in value):
                return f"@{key}"
        return None

    return Discriminator(found)


# ── parameters and roles ─────────────────────────────────────────────────────────────────────────────────────────
class Parameter(Part):
    """What whoever starts a run fills in. A quantity's dimension is that of its default or bounds.

    Args:
        type: the kind of value.
        default: its value where none is given; a parameter without one has to be given.
        min: the least value; of `quantity`, `integer` and `number`.
        max: the greatest value; of `quantity`, `integer` and `number`.
        choices: the values that there are; of `choice` only, which needs them.
        summary: one line for whoever fills it in.
    """

    type: ParameterType
    default: Value = None
    min: Value = None
    max: Value = None
    choices: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    summary: Text = ""


class RoleUse(Part):
    """A kind of device that the protocol needs, and how many of its channels.

    Args:
        role: the kind of device: `potentiostat`.
        channels: how many units of it (channels, nests) one run needs.
    """

    role: Name
    channels: Annotated[StrictInt, Field(ge=1, le=1000)] = 1


# ── targets ──────────────────────────────────────────────────────────────────────────────────────────────────────
class HoldTarget(Part):
    """Holds the run with a reason; the operator goes on with the same step, or at one of the states.

    Args:
        hold: why, for the operator; a text with `{expression}` holes.
        continue_at: the states at which the operator may go on instead.
    """

    hold: Text
    continue_at: tuple[Name, ...] = ()


Target = Annotated[
    Annotated[Name, Tag("@state")] | Annotated[HoldTarget, Tag("@hold")],
    tag({dict: "@hold", HoldTarget: "@hold"}, "@state"),
]


class Branch(Part):
    """One way on: the first whose condition holds is taken; the last has none.

    Args:
        if: the condition; the last way has none.
        go: where it leads.
    """

    if_: Condition | None = Field(None, alias="if")
    go: Target


Next = Annotated[
    Annotated[Name, Tag("@state")]
    | Annotated[HoldTarget, Tag("@hold")]
    | Annotated[tuple[Branch, ...], Field(min_length=1), Tag("@ways")],
    tag({dict: "@hold", HoldTarget: "@hold", list: "@ways", tuple: "@ways"}, "@state"),
]


class Catch(Part):
    """Where an action that failed leads; what is not caught holds the run. An unknown outcome is never caught.

    Args:
        timeout: it took longer than `within`, or a wait `until` did; of actions that may be repeated (READ, STATE).
        rejected: the device refused it: nothing moved.
        fault: the device stopped itself: a person must look.
        unreachable: the device did not answer, and nothing was sent.
    """

    timeout: Target | None = None
    rejected: Target | None = None
    fault: Target | None = None
    unreachable: Target | None = None

    def __contains__(self, kind: object) -> bool:
        """Whether a class of error is caught: `"fault" in state.catch`."""
        return kind in type(self).model_fields and getattr(self, str(kind)) is not None


class VisitLimit(Part):
    """How often a state may be entered, and where a further visit leads instead.

    Args:
        times: how often it may be entered.
        otherwise: where one visit more leads; without it the run is held.
    """

    times: Annotated[StrictInt, Field(ge=1, le=1_000_000)]
    otherwise: Target = "hold"
