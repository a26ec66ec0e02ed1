"""Sentences about steps and the ways out of a state, for `labd explain`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labd.expr import Text, field_type
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.model import (
    AskStep,
    CallStep,
    DoStep,
    EndState,
    HoldTarget,
    IfStep,
    InputSpec,
    ParallelStep,
    RepeatStep,
    SetStep,
    State,
    Step,
    StepsState,
    UntilSpec,
    WaitStep,
    Working,
)
from labd.protocol.parameters import declared
from labd.protocol.views.phrases import (
    action_words,
    is_name,
    kind_words,
    listed,
    place_words,
    role_words,
    sentence,
    value_words,
)
from labd.sdk import Action


@dataclass(frozen=True, slots=True)
class Line:
    """One line or paragraph.

    Args:
        depth: how many characters it is indented.
        mark: what stands before it: `-`, `1.`.
        hang: how many characters its further lines are indented; less than 0 lets them stand under the first.
    """

    text: str
    depth: int = 0
    mark: str = ""
    hang: int = -1


class Sentences:
    """The sentences of one protocol; what is met for the first time is told in full.

    Args:
        protocol: which.
        facts: what its devices can do.
        numbers: of its states.
    """

    def __init__(self, protocol: Protocol, facts: LabFacts, numbers: Mapping[str, int]) -> None:
        self.protocol = protocol
        self.facts = facts
        self.numbers = numbers
        self.state = ""  # the one that is told
        self.kinds = {name: use.role for name, use in protocol.roles.items()}
        self._introduced: set[str] = set()

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────
    def body(self, state: State, depth: int) -> Iterator[Line]:
        """What is done in a state: sentences of one step, a list of several."""
        assert not isinstance(state, EndState)
        if isinstance(state, StepsState) and len(state.steps) > 1:
            yield from self.steps(state.steps, depth)
        else:
            for step in state.body:
                yield from self._step(step, depth, "")

    def steps(self, steps: tuple[Step, ...], depth: int) -> Iterator[Line]:
        """A list of steps."""
        for step in steps:
            yield from self._step(step, depth, "-")

    def _step(self, step: Step, depth: int, mark: str) -> Iterator[Line]:
        tell: Callable[[Any, int, str], Iterator[Line]]
        kinds: dict[type[Any], Callable[[Any, int, str], Iterator[Line]]] = {
            DoStep: self._do,
            WaitStep: self._wait,
            AskStep: self._ask,
            SetStep: self._set,
            IfStep: self._if,
            RepeatStep: self._repeat,
            ParallelStep: self._parallel,
            CallStep: self._call,
        }
        tell = next(found for kind, found in kinds.items() if isinstance(step, kind))
        yield from tell(step, depth, mark)

    def _do(self, step: DoStep, depth: int, mark: str) -> Iterator[Line]:
        role, _, name = step.do.partition(".")
        action = self.facts.roles[self.kinds[role]].actions[name]
        words = action_words(self.kinds[role], action, step.with_, lambda key, raw: self._given(action, key, raw))
        within = f", within {self._value(step.within)}" if step.within is not None else ""
        result = f"; the result is `{step.as_}`" if step.as_ is not None else ""
        text = sentence(f"{self._role(role)} {words}{within}{result}")
        if step.retry is not None:
            retry = step.retry
            when = "it is rejected" if retry.if_ is None else f"`{retry.if_}`"
            delay = f", after {self._value(retry.delay)}" if retry.delay is not None else ""
            times = "once more" if retry.times == 1 else f"again, up to {retry.times} times"
            text += f" If {when}, this is done {times}{delay}."
        yield Line(text, depth, mark)

    def _role(self, name: str) -> str:
        kind = self.kinds[name]
        if name in self._introduced or name == kind:
            return f"the {name}"
        self._introduced.add(name)
        return f"the {name} ({role_words(kind)})"

    def _given(self, action: Action, key: str, raw: Any) -> str:
        """A parameter's value in words."""
        field = action.parameters.model_fields.get(key)
        kind = field_type(field) if field is not None else None
        if not isinstance(kind, Text) or kind.names not in ("place", "source"):
            return self._value(raw)
        words = place_words(raw, self.kinds)
        words = self._introduce(is_name(raw), words)
        if kind.names == "place" or action.name != "transfer":
            return words
        parameter = self.protocol.parameters.get(is_name(raw))
        place = parameter.type == "position" if parameter is not None else "/" in str(raw) or "." in str(raw)
        return f"from {words}" if place else f"of {words}"

    def _value(self, raw: Any) -> str:
        return self._introduce(is_name(raw), value_words(raw))

    def _introduce(self, name: str, words: str) -> str:
        """A parameter that is met for the first time is told with its default and bounds."""
        if name not in self.protocol.parameters or name in self._introduced:
            return words
        self._introduced.add(name)
        spec = self.protocol.parameters[name]
        parts = [f"{value_words(spec.default)} by default"] if spec.default is not None else []
        if spec.min is not None and spec.max is not None:
            parts.append(f"{value_words(spec.min)} to {value_words(spec.max)}")
        return f"{words} ({', '.join(parts)})" if parts else words

    def _wait(self, step: WaitStep, depth: int, mark: str) -> Iterator[Line]:
        if isinstance(step.wait, UntilSpec):
            most = f", {self._value(step.wait.within)} at most" if step.wait.within is not None else ""
            yield Line(sentence(f"wait until `{step.wait.until}`{most}"), depth, mark)
        else:
            yield Line(sentence(f"wait {self._value(step.wait)}"), depth, mark)

    def _ask(self, step: AskStep, depth: int, mark: str) -> Iterator[Line]:
        result = f" The answer is `{step.as_}`." if step.as_ is not None else ""
        yield Line(f"The operator is asked: “{' '.join(step.ask.split())}”{result}", depth, mark)
        inner = depth + (2 if mark else 0)
        for choice, target in step.choices.items():
            yield Line(sentence(f"“{choice}”: {self.target(target)}"), inner, "-")
        if step.input is not None:
            yield Line(sentence(f"the answer is {self._input(step.input)}"), inner)
        if step.within is not None:
            led = self.target(step.otherwise if step.otherwise is not None else "hold")
            yield Line(sentence(f"if nobody answers within {self._value(step.within)}, {led}"), inner)

    def _input(self, spec: InputSpec) -> str:
        kind = declared(spec, (), lambda *_: None)
        return kind_words(spec, kind.type) if kind is not None else spec.type

    def _set(self, step: SetStep, depth: int, mark: str) -> Iterator[Line]:
        values = [f"`{name}` = {self._value(raw)}" for name, raw in step.set.items()]
        yield Line(sentence(f"it is noted: {listed(values)}"), depth, mark)

    def _if(self, step: IfStep, depth: int, mark: str) -> Iterator[Line]:
        inner = depth + (2 if mark else 0)
        yield Line(f"If `{step.if_}`:", depth, mark)
        yield from self.steps(step.then, inner)
        if step.else_:
            yield Line("Else:", inner)
            yield from self.steps(step.else_, inner)

    def _repeat(self, step: RepeatStep, depth: int, mark: str) -> Iterator[Line]:
        spec = step.repeat
        inner = depth + (2 if mark else 0)
        if spec.times is not None:
            text = f"These steps are done {self._value(spec.times)} times:"
        elif spec.over is not None:
            text = f"These steps are done once for each `{spec.as_}` of {self._value(spec.over)}:"
        else:
            text = f"These steps are done until `{spec.until}`, {spec.at_most} times at most:"
        yield Line(text, depth, mark)
        yield from self.steps(step.steps, inner)
        if spec.until is not None:
            led = self.target(spec.otherwise if spec.otherwise is not None else "hold")
            yield Line(sentence(f"if it has not come about by then, {led}"), inner)

    def _parallel(self, step: ParallelStep, depth: int, mark: str) -> Iterator[Line]:
        inner = depth + (2 if mark else 0)
        yield Line("At the same time, until all have ended:", depth, mark)
        for name, steps in step.parallel.items():
            yield Line(f"{name}:", inner, "-")
            yield from self.steps(steps, inner + 2)

    def _call(self, step: CallStep, depth: int, mark: str) -> Iterator[Line]:
        called = self.protocol.calls[step.call]
        first = step.call not in self._introduced
        self._introduced.add(step.call)
        version = f" {called.version}" if first else ""
        summary = f" ({called.summary.rstrip('.')})" if called.summary and first else ""
        given = [f"{name} = {self._argument(called, name, raw)}" for name, raw in step.with_.items()]
        roles = [f"our {ours} as its {its}" for its, ours in step.roles.items()]
        more = f", with {listed([*given, *roles])}" if given or roles else ""
        result = f"; what it gives is `{step.as_}`" if step.as_ is not None else ""
        yield Line(sentence(f"the protocol {called.name}{version} is done{summary}{more}{result}"), depth, mark)
        others = [
            state.end for state in called.states.values() if isinstance(state, EndState) and state.end != "complete"
        ]
        if first and others:
            ends = listed(list(dict.fromkeys(others)), "or")
            text = f"if it ends {ends}, so does this one, at once; only after its complete end it goes on"
            yield Line(sentence(text), depth + (2 if mark else 0))

    def _argument(self, called: Protocol, name: str, raw: Any) -> str:
        """What a called protocol is given."""
        place = called.parameters[name].type == "position"
        return self._introduce(is_name(raw), place_words(raw, self.kinds)) if place else self._value(raw)

    # ── ways ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def target(self, target: Any) -> str:
        """Where something leads: `go to rest`, `hold the run: …`."""
        if isinstance(target, HoldTarget):
            at = f", or at {listed(list(target.continue_at), 'or')}" if target.continue_at else ""
            reason = " ".join(target.hold.split())
            return f"the run is held (“{reason}”); the operator goes on with the same step{at}, or stops"
        if target == "hold":
            return "the run is held, and the operator decides"
        if target == self.state:
            return f"do {target} again"
        return f"go to {self._numbered(target)}"

    def _numbered(self, state: str) -> str:
        return f"{state} ({self.numbers[state]})" if state in self.numbers else state

    def ways(self, state: Working, depth: int) -> Iterator[Line]:
        """What leads out of a state, and how often it may be entered."""
        for watch in state.watch:
            since = f" has held for {self._value(watch.for_)}" if watch.for_ is not None else ""
            text = f"all the while: as soon as `{watch.if_}`{since}, {self.target(watch.go)}"
            yield Line(sentence(text), depth)
        if state.catch is not None:
            for kind, words in _FAILURES.items():
                target = getattr(state.catch, kind)
                if target is not None:
                    yield Line(sentence(f"if {words}, {self.target(target)}"), depth)
        yield from self._next(state, depth)
        limit = state.visit_limit
        if limit is not None:
            times = "once" if limit.times == 1 else f"{limit.times} times"
            text = f"this state is entered {times} at most; instead of once more, {self.target(limit.otherwise)}"
            yield Line(sentence(text), depth)

    def _next(self, state: Working, depth: int) -> Iterator[Line]:
        ways = state.ways
        if len(ways) == 1 and ways[0].if_ is None:
            yield Line(sentence(f"then {self.target(ways[0].go)}"), depth)
            return
        words = ["if", *["else, if"] * len(ways)]
        for word, way in zip(words, ways, strict=False):
            text = (
                f"{word} `{way.if_}`, {self.target(way.go)}" if way.if_ is not None else f"else {self.target(way.go)}"
            )
            yield Line(sentence(text), depth)


_FAILURES = {
    "timeout": "something takes too long",
    "rejected": "a device refuses an action",
    "fault": "a device stops itself",
    "unreachable": "a device cannot be reached",
}
