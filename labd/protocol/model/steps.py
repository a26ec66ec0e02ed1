"""The steps of a state: what keys each kind has."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictInt, Tag

from labd.protocol.model.base import (
    Condition,
    Name,
    Part,
    Target,
    Text,
    Value,
    by_key,
    tag,
)


# ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────
class Retry(Part):
    """An action done again after a known outcome: when it was rejected, or when `if` over its result holds.

    Args:
        times: how often again, at most.
        delay: how long to wait before each.
        if: when, over its result (`not picked.gripped`) or `rejected`; an action that is done once needs it.
    """

    times: Annotated[StrictInt, Field(ge=1, le=1_000)]
    delay: Value = None
    if_: Condition | None = Field(None, alias="if")


class DoStep(Part):
    """An action of a role: `press.crimp`.

    Args:
        do: the role by its local name, a dot, and the action: `press.crimp`.
        with: the action's parameters.
        within: its time limit; without it the driver's own holds.
        as: the name of its result, whose fields expressions may use: `pressed.peak_force`.
        retry: when it is done again, and how often.
    """

    do: Text
    with_: dict[Text, Value] = Field(default_factory=dict, alias="with")
    within: Value = None
    as_: Name | None = Field(None, alias="as")
    retry: Retry | None = None


class UntilSpec(Part):
    """A condition to wait for, over live signals and results, and how long at most.

    Args:
        until: the condition.
        within: how long at most; after that it has failed with `timeout`.
    """

    until: Condition
    within: Value = None


class WaitStep(Part):
    """A time to wait, or a condition to wait for.

    Args:
        wait: a duration, or `{until: condition, within: time}`.
    """

    wait: Annotated[
        Annotated[UntilSpec, Tag("@until")] | Annotated[Value, Tag("@time")],
        tag({dict: "@until", UntilSpec: "@until"}, "@time"),
    ]


class InputSpec(Part):
    """A typed answer to a question; a quantity's dimension is that of its bounds.

    Args:
        type: the kind of value.
        min: the least value; it gives a quantity its unit.
        max: the greatest value.
        choices: the values that there are; of `choice` only.
    """

    type: Literal["quantity", "integer", "number", "boolean", "text", "choice"]
    min: Value = None
    max: Value = None
    choices: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None


class AskStep(Part):
    """A question to the operator, with `{expression}` holes in its text.

    Args:
        ask: the question; `{expression}` holes are filled when it is asked.
        choices: the answers, and where each leads.
        input: a typed answer; the steps after it go on with it.
        within: how long the answer may take.
        otherwise: where no answer `within` the time leads; without it the run is held.
        as: the name of the answer, with the fields `choice`, `value` and `by`.
    """

    ask: Annotated[Text, Field(min_length=1)]
    choices: dict[Text, Target] = Field(default_factory=dict)
    input: InputSpec | None = None
    within: Value = None
    otherwise: Target | None = None
    as_: Name | None = Field(None, alias="as")


class SetStep(Part):
    """Variables of the run, each typed by its first `set`.

    Args:
        set: names and their values: `{tries: =tries + 1}`.
    """

    set: Annotated[dict[Name, Value], Field(min_length=1)]


class IfStep(Part):
    """Steps that are done only when a condition holds, and others when it does not.

    Args:
        if: the condition.
        then: the steps when it holds.
        else: the steps when it does not.
    """

    if_: Condition = Field(alias="if")
    then: Annotated[tuple[Step, ...], Field(min_length=1)]
    else_: tuple[Step, ...] = Field((), alias="else")


class CallStep(Part):
    """Another protocol, `name@1`, done as a part of this one; what its `results` name is the result.

    An end of it that is not `complete` is the end of this one too, after the `cleanup` of both.

    Args:
        call: the protocol's name and major version.
        with: its parameters; the others have their defaults.
        roles: its local names of roles, and ours for them; those of the same name need not be written.
        as: the name of its results.
    """

    call: Annotated[Text, Field(min_length=1)]
    with_: dict[Text, Value] = Field(default_factory=dict, alias="with")
    roles: dict[Name, Name] = Field(default_factory=dict)
    as_: Name | None = Field(None, alias="as")


class ParallelStep(Part):
    """Branches that are done at the same time; all must end. They have no way out of the state.

    Args:
        parallel: the branches by name, each a list of steps; one that fails cancels the others in order.
    """

    parallel: Annotated[
        dict[Name, Annotated[tuple[Step, ...], Field(min_length=1)]], Field(min_length=2, max_length=64)
    ]


class RepeatSpec(Part):
    """How often: so many `times`, once for each item of a list, or until a condition holds after a turn.

    Args:
        times: how many turns.
        over: a list; one turn for each of its items.
        as: the name of the item in each turn; with `over`.
        until: a condition, tried after each turn.
        at_most: the greatest number of turns; with `until`.
        otherwise: where the last turn leads when the condition never held; without it the run is held.
    """

    times: Value = None
    over: Value = None
    as_: Name | None = Field(None, alias="as")
    until: Condition | None = None
    at_most: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    otherwise: Target | None = None


class RepeatStep(Part):
    """Steps that are done again; `index` counts the turns from 1.

    Args:
        repeat: how often: one of `times`, `over` and `until`.
        steps: the steps of one turn.
    """

    repeat: RepeatSpec
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


STEP_KINDS: dict[str, type[Part]] = {
    "do": DoStep,
    "wait": WaitStep,
    "ask": AskStep,
    "set": SetStep,
    "if": IfStep,
    "call": CallStep,
    "parallel": ParallelStep,
    "repeat": RepeatStep,
}
"""The key that tells what kind a step is."""


Step: TypeAlias = Annotated[
    Annotated[DoStep, Tag("@do")]
    | Annotated[WaitStep, Tag("@wait")]
    | Annotated[AskStep, Tag("@ask")]
    | Annotated[SetStep, Tag("@set")]
    | Annotated[IfStep, Tag("@if")]
    | Annotated[CallStep, Tag("@call")]
    | Annotated[ParallelStep, Tag("@parallel")]
    | Annotated[RepeatStep, Tag("@repeat")],
    by_key(STEP_KINDS),
]

for kind in (IfStep, ParallelStep, RepeatStep):
    kind.model_rebuild()  # steps within steps: now that there is a Step
