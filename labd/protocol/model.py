"""The shape of a protocol file, version 1: what keys there are and where. What they mean together is the checker's.

Values that may be expressions (`=volume`) stay as they were written; `labd.protocol.values` gives them their types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictInt, Tag

from labd.files.source import Path
from labd.protocol.messages import Ending

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
    model_config = ConfigDict(frozen=True, extra="forbid")


def _tag(kinds: Mapping[type, str], otherwise: str) -> Discriminator:
    """Tells the forms of a value apart by its type. Tags begin with @, so that they are no part of a path."""

    def form(value: object) -> str:
        return next((tag for kind, tag in kinds.items() if isinstance(value, kind)), otherwise)

    return Discriminator(form)


# ── parameters and roles ─────────────────────────────────────────────────────────────────────────────────────────
class Parameter(Part):
    """What whoever starts a run fills in. A quantity's dimension is that of its default or bounds."""

    type: ParameterType
    default: Value = None
    min: Value = None
    max: Value = None
    choices: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    summary: Text = ""


class RoleUse(Part):
    """A kind of device that the protocol needs, and how many of its channels."""

    role: Name
    channels: Annotated[StrictInt, Field(ge=1, le=1000)] = 1


# ── targets ──────────────────────────────────────────────────────────────────────────────────────────────────────
class HoldTarget(Part):
    """Holds the run with a reason; the operator goes on with the same step, or at one of the states."""

    hold: Text
    continue_at: tuple[Name, ...] = ()


Target = Annotated[
    Annotated[Name, Tag("@state")] | Annotated[HoldTarget, Tag("@hold")],
    _tag({dict: "@hold", HoldTarget: "@hold"}, "@state"),
]


class Branch(Part):
    """One way on: the first whose condition holds is taken; the last has none."""

    if_: Condition | None = Field(None, alias="if")
    go: Target


Next = Annotated[
    Annotated[Name, Tag("@state")]
    | Annotated[HoldTarget, Tag("@hold")]
    | Annotated[tuple[Branch, ...], Field(min_length=1), Tag("@ways")],
    _tag({dict: "@hold", HoldTarget: "@hold", list: "@ways", tuple: "@ways"}, "@state"),
]


class Catch(Part):
    """Where an action that failed leads; what is not caught holds the run. An unknown outcome is never caught."""

    timeout: Target | None = None
    rejected: Target | None = None
    fault: Target | None = None
    unreachable: Target | None = None

    def __contains__(self, kind: object) -> bool:
        """Whether a class of error is caught: `"fault" in state.catch`."""
        return kind in type(self).model_fields and getattr(self, str(kind)) is not None


class VisitLimit(Part):
    """How often a state may be entered, and where a further visit leads instead."""

    times: Annotated[StrictInt, Field(ge=1, le=1_000_000)]
    otherwise: Target = "hold"


# ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────
class Retry(Part):
    """An action done again after a known outcome: when it was rejected, or when `if` over its result holds.

    `times` is how often again, `delay` how long to wait before.
    """

    times: Annotated[StrictInt, Field(ge=1, le=1_000)]
    delay: Value = None
    if_: Condition | None = Field(None, alias="if")


class DoStep(Part):
    """An action of a role: `press.crimp`."""

    do: Text
    with_: dict[Text, Value] = Field(default_factory=dict, alias="with")
    within: Value = None
    as_: Name | None = Field(None, alias="as")
    retry: Retry | None = None


class UntilSpec(Part):
    """A condition to wait for, over live signals and results, and how long at most."""

    until: Condition
    within: Value = None


class WaitStep(Part):
    """A time to wait, or a condition to wait for."""

    wait: Annotated[
        Annotated[UntilSpec, Tag("@until")] | Annotated[Value, Tag("@time")],
        _tag({dict: "@until", UntilSpec: "@until"}, "@time"),
    ]


class InputSpec(Part):
    """A typed answer to a question; a quantity's dimension is that of its bounds."""

    type: Literal["quantity", "integer", "number", "boolean", "text", "choice"]
    min: Value = None
    max: Value = None
    choices: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None


class AskStep(Part):
    """A question to the operator, with `{expression}` holes in its text."""

    ask: Annotated[Text, Field(min_length=1)]
    choices: dict[Text, Target] = Field(default_factory=dict)
    input: InputSpec | None = None
    within: Value = None
    otherwise: Target | None = None
    as_: Name | None = Field(None, alias="as")


class SetStep(Part):
    """Variables of the run, each typed by its first `set`."""

    set: Annotated[dict[Name, Value], Field(min_length=1)]


class IfStep(Part):
    """Steps that are done only when a condition holds, and others when it does not."""

    if_: Condition = Field(alias="if")
    then: Annotated[tuple[Step, ...], Field(min_length=1)]
    else_: tuple[Step, ...] = Field((), alias="else")


class CallStep(Part):
    """Another protocol, `name@1`, done as a part of this one; what its `results` name is the result."""

    call: Annotated[Text, Field(min_length=1)]
    with_: dict[Text, Value] = Field(default_factory=dict, alias="with")
    roles: dict[Name, Name] = Field(default_factory=dict)
    as_: Name | None = Field(None, alias="as")


class ParallelStep(Part):
    """Branches that are done at the same time; all must end. They have no way out of the state."""

    parallel: Annotated[
        dict[Name, Annotated[tuple[Step, ...], Field(min_length=1)]], Field(min_length=2, max_length=64)
    ]


class RepeatSpec(Part):
    """How often: so many `times`, once for each item of a list, or until a condition holds after a turn."""

    times: Value = None
    over: Value = None
    as_: Name | None = Field(None, alias="as")
    until: Condition | None = None
    at_most: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    otherwise: Target | None = None


class RepeatStep(Part):
    """Steps that are done again; `index` counts the turns from 1."""

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


def _step_tag(value: object) -> str | None:
    for key, kind in STEP_KINDS.items():
        if isinstance(value, kind) or (isinstance(value, dict) and key in value):
            return f"@{key}"
    return None


Step: TypeAlias = Annotated[
    Annotated[DoStep, Tag("@do")]
    | Annotated[WaitStep, Tag("@wait")]
    | Annotated[AskStep, Tag("@ask")]
    | Annotated[SetStep, Tag("@set")]
    | Annotated[IfStep, Tag("@if")]
    | Annotated[CallStep, Tag("@call")]
    | Annotated[ParallelStep, Tag("@parallel")]
    | Annotated[RepeatStep, Tag("@repeat")],
    Discriminator(_step_tag),
]


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────
class Watch(Part):
    """A condition over live signals while a state is active; when it has held `for` a time, the state is left."""

    if_: Condition = Field(alias="if")
    for_: Value = Field(None, alias="for")
    go: Target


class Working(Part):
    """What all states but the last ones have."""

    summary: Text = ""
    watch: tuple[Watch, ...] = ()
    next: Next | None = None
    catch: Catch | None = None
    max_visits: (
        Annotated[
            Annotated[StrictInt, Field(ge=1, le=1_000_000), Tag("@times")] | Annotated[VisitLimit, Tag("@limit")],
            _tag({dict: "@limit", VisitLimit: "@limit"}, "@times"),
        ]
        | None
    ) = None

    @property
    def body(self) -> tuple[Step, ...]:
        """The steps, also of a state that is one step itself."""
        raise NotImplementedError

    @property
    def ways(self) -> tuple[Branch, ...]:
        """`next` as a list of ways, whichever form it was written in."""
        if self.next is None:
            return ()
        return self.next if isinstance(self.next, tuple) else (Branch(go=self.next),)

    @property
    def visit_limit(self) -> VisitLimit | None:
        limit = self.max_visits
        return VisitLimit(times=limit) if isinstance(limit, int) else limit


class StepsState(Working):
    """A state of several steps."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @property
    def body(self) -> tuple[Step, ...]:
        return self.steps


class _OneStep(Working):
    @property
    def body(self) -> tuple[Step, ...]:
        return (self,)  # type: ignore[return-value]  # each child below is a step too


class DoState(_OneStep, DoStep):
    """A state of one action."""


class WaitState(_OneStep, WaitStep):
    """A state of one wait."""


class AskState(_OneStep, AskStep):
    """A state of one question."""


class SetState(_OneStep, SetStep):
    """A state that sets variables."""


class CallState(_OneStep, CallStep):
    """A state of one called protocol."""


class ParallelState(_OneStep, ParallelStep):
    """A state of branches."""


class RepeatState(_OneStep, RepeatStep):
    """A state of steps that are done again."""


class EndState(Part):
    """Where a run ends, and as what."""

    end: Ending
    summary: Text = ""


STATE_KINDS: dict[str, type[Part]] = {
    "end": EndState,
    "repeat": RepeatState,
    "steps": StepsState,
    "do": DoState,
    "ask": AskState,
    "wait": WaitState,
    "set": SetState,
    "call": CallState,
    "parallel": ParallelState,
}
"""The key that tells what kind a state is."""


def _state_tag(value: object) -> str | None:
    for key, kind in STATE_KINDS.items():
        if isinstance(value, kind) or (isinstance(value, dict) and key in value):
            return f"@{key}"
    return None


State: TypeAlias = Annotated[
    Annotated[EndState, Tag("@end")]
    | Annotated[StepsState, Tag("@steps")]
    | Annotated[DoState, Tag("@do")]
    | Annotated[AskState, Tag("@ask")]
    | Annotated[WaitState, Tag("@wait")]
    | Annotated[SetState, Tag("@set")]
    | Annotated[CallState, Tag("@call")]
    | Annotated[ParallelState, Tag("@parallel")]
    | Annotated[RepeatState, Tag("@repeat")],
    Discriminator(_state_tag),
]


# ── windows ──────────────────────────────────────────────────────────────────────────────────────────────────────
Edge = Annotated[Text, Field(pattern=rf"^{NAME}\.(start|end)$")]


class Window(Part):
    """A hard time window: from one state's start or end to another's, at most `within` and `at_least` so long.

    A state starts when its first action was sent, and ends with its last outcome; of a state that is visited again
    the latest counts. When it expires, the run goes to `otherwise`, after the ONCE action that is running.
    """

    from_: Edge = Field(alias="from")
    to: Edge
    within: Value = None
    at_least: Value = None
    otherwise: Target | None = None


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────
class ProtocolFile(Part):
    """One protocol: one state machine."""

    labd: Literal[1]
    protocol: Name
    version: Annotated[Text, Field(pattern=r"^\d+\.\d+\.\d+$")]
    summary: Text = ""
    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    roles: dict[
        Name,
        Annotated[
            Annotated[Name, Tag("@role")] | Annotated[RoleUse, Tag("@use")],
            _tag({dict: "@use", RoleUse: "@use"}, "@role"),
        ],
    ] = Field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    start: Name
    states: Annotated[dict[Name, State], Field(min_length=1)]
    cleanup: tuple[Step, ...] = ()
    results: dict[Name, Value] = Field(default_factory=dict)


def steps_of(file: ProtocolFile) -> Iterator[tuple[Path, Step]]:
    """Every step with its place in the file, in the file's order; those of `cleanup` last."""
    for name, state in file.states.items():
        if not isinstance(state, EndState):
            path: Path = ("states", name)
            if isinstance(state, StepsState):
                yield from _all_within(state.steps, (*path, "steps"))
            else:
                for step in state.body:
                    yield from _within(step, path)
    yield from _all_within(file.cleanup, ("cleanup",))


def _all_within(steps: tuple[Step, ...], path: Path) -> Iterator[tuple[Path, Step]]:
    for index, step in enumerate(steps):
        yield from _within(step, (*path, index))


def _within(step: Step, path: Path) -> Iterator[tuple[Path, Step]]:
    yield path, step
    match step:
        case IfStep():
            yield from _all_within(step.then, (*path, "then"))
            yield from _all_within(step.else_, (*path, "else"))
        case RepeatStep():
            yield from _all_within(step.steps, (*path, "steps"))
        case ParallelStep():
            for name, steps in step.parallel.items():
                yield from _all_within(steps, (*path, "parallel", name))
