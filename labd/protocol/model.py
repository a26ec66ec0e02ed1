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
    _tag({dict: "@hold", HoldTarget: "@hold"}, "@state"),
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
    _tag({dict: "@hold", HoldTarget: "@hold", list: "@ways", tuple: "@ways"}, "@state"),
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
        _tag({dict: "@until", UntilSpec: "@until"}, "@time"),
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
    """A condition over live signals while a state is active; when it has held `for` a time, the state is left.

    Args:
        if: the condition.
        for: how long it must hold without a break; without it at once.
        go: where it leads.
    """

    if_: Condition = Field(alias="if")
    for_: Value = Field(None, alias="for")
    go: Target


class Working(Part):
    """What all states but the last ones have.

    Args:
        summary: one line: what the state is for.
        watch: conditions on live signals while the state is active; the first that holds leads away.
        next: the state that follows, or a list of `{if, go}` that is tried in order.
        catch: where an action that failed leads, by the class of the error.
        max_visits: how often the state may be entered; every cycle of states needs one.
    """

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
    """A state of several steps.

    Args:
        steps: the steps, in order.
    """

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
    """Where a run ends, and as what.

    Args:
        end: the outcome: `complete` (the sample is as it should be), `scrapped` (it is not), `stopped` or
            `aborted`.
        summary: one line.
    """

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

    Args:
        from: where it begins: `dose.start`, `dose.end`.
        to: where it ends.
        within: how long it may last at most.
        at_least: how long it lasts at least: the second state is not begun before.
        otherwise: where the run goes when it expires; without it the run is held.
    """

    from_: Edge = Field(alias="from")
    to: Edge
    within: Value = None
    at_least: Value = None
    otherwise: Target | None = None


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────
class ProtocolFile(Part):
    """One protocol: one state machine.

    Args:
        labd: the version of the language.
        protocol: the protocol's name.
        version: the protocol's own version, three numbers; a `call` names the first.
        summary: one line: what it is for.
        parameters: what whoever starts a run fills in, by name; each run records its values.
        roles: the kinds of device that it needs, by local name; lab.yaml says which machines those are.
        windows: hard time windows of the chemistry.
        start: the first state.
        states: the states by name.
        cleanup: steps that are done on stop, abort and scrap, where devices still answer.
        results: what it returns when another protocol calls it, by name.
    """

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
