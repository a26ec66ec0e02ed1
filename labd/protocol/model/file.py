"""A whole protocol file, and the walk over its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Annotated, Any, Literal

from pydantic import Field, Tag

from labd.files.source import Path
from labd.protocol.model.base import (
    NAME,
    Name,
    Parameter,
    Part,
    RoleUse,
    Target,
    Text,
    Value,
    tag,
)
from labd.protocol.model.states import (
    EndState,
    State,
    StepsState,
)
from labd.protocol.model.steps import (
    IfStep,
    ParallelStep,
    RepeatStep,
    Step,
)

_BUILDING = Lock()


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
        results: what comes of it, by name: kept with the run's end, and returned to a protocol that calls it.
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
            tag({dict: "@use", RoleUse: "@use"}, "@role"),
        ],
    ] = Field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    start: Name
    states: Annotated[dict[Name, State], Field(min_length=1)]
    cleanup: tuple[Step, ...] = ()
    results: dict[Name, Value] = Field(default_factory=dict)


def file_of(tree: Mapping[str, Any]) -> ProtocolFile:
    """A file of what its YAML says. The models are built with the first one, by one thread. Raises ValidationError."""
    with _BUILDING:
        ProtocolFile.model_rebuild()
    return ProtocolFile.model_validate(tree)


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
