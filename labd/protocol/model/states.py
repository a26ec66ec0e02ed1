"""The states of a protocol: what keys each kind has."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field, StrictInt, Tag

from labd.protocol.messages import Ending
from labd.protocol.model.base import (
    Branch,
    Catch,
    Condition,
    Next,
    Part,
    Target,
    Text,
    Value,
    VisitLimit,
    by_key,
    tag,
)
from labd.protocol.model.steps import (
    AskStep,
    CallStep,
    DoStep,
    ParallelStep,
    RepeatStep,
    SetStep,
    Step,
    WaitStep,
)


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
            tag({dict: "@limit", VisitLimit: "@limit"}, "@times"),
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
    by_key(STATE_KINDS),
]
