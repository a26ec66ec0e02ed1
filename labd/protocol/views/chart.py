"""A protocol as boxes and arrows: what Mermaid and SVG both draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from labd.protocol.checker import compiled
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.messages import Ending
from labd.protocol.model import (
    AskStep,
    CallStep,
    DoStep,
    EndState,
    IfStep,
    ParallelStep,
    RepeatSpec,
    RepeatStep,
    SetStep,
    Step,
    UntilSpec,
    WaitStep,
)
from labd.protocol.program import AgainOp, AskOp, Hold, Program, StateProgram, Way
from labd.protocol.steps import HELD, LATE

MOST_LINES = 7
_LISTED = 2  # a hold with more states to go on at lists them instead of drawing arrows


@dataclass(frozen=True, slots=True)
class Box:
    """A state, or a hold with its reason.

    Args:
        name: unique; of a state its own.
        summary: the state's one line.
        lines: what is done in it, in short.
        roles: the devices that it needs, by local name.
        limit: how often it may be entered, in words.
        hold: whether it is a hold and no state.
    """

    name: str
    summary: str = ""
    lines: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    limit: str = ""
    end: Ending | None = None
    hold: bool = False


Kind = Literal["next", "choice", "catch", "watch", "limit", "resume"]


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one box to another; `labels` are its conditions, of which any one leads there."""

    source: str
    target: str
    labels: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Span:
    """A time window between two states: `dose.start → crimp.start within 4 min, else scrap`."""

    begin: str
    finish: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A whole protocol. `cleanup` is what is done on stop, abort and scrap, in short."""

    title: str
    summary: str
    start: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    spans: tuple[Span, ...]
    cleanup: tuple[str, ...]
    roles: Mapping[str, str]


def chart(protocol: Protocol, facts: LabFacts | None = None) -> Chart:
    """The boxes and arrows of a protocol. Raises InputErrors for one that fails its check."""
    program = compiled(protocol, facts)
    drawing = _Drawing(protocol, program)
    for name in program.states:
        drawing.state(name)
    return Chart(
        f"{protocol.name} {protocol.version}",
        protocol.summary,
        program.start,
        tuple(drawing.boxes.values()),
        drawing.merged(),
        tuple(_spans(protocol)),
        tuple(_short_steps(protocol.file.cleanup)),
        {name: use.role for name, use in protocol.roles.items()},
    )


class _Drawing:
    def __init__(self, protocol: Protocol, program: Program) -> None:
        self.protocol = protocol
        self.program = program
        self.boxes: dict[str, Box] = {}
        self.ways: list[tuple[str, str, str, Kind]] = []
        self.entered = {
            way.state for name in program.states for way in _drawn(program.states[name]) if not isinstance(way, Hold)
        }

    def state(self, name: str) -> None:
        """A state with its arrows."""
        state, model = self.program.states[name], self.protocol.states[name]
        if isinstance(model, EndState):
            self.boxes[name] = Box(name, _line(model.summary), end=model.end)
            return
        limit = ""
        if state.limit is not None:
            times, way = state.limit
            limit = f"{times} visit{'s' if times > 1 else ''} at most"
            limit += ", then hold" if way is HELD else ""
        lines = tuple(_short_steps(model.body))
        self.boxes[name] = Box(name, _line(model.summary), _at_most(lines), tuple(sorted(state.roles)), limit)
        for label, way, kind in self._ways(state):
            self._arrow(name, way, label, kind)

    def _ways(self, state: StateProgram) -> Iterator[tuple[str, Way, Kind]]:
        model = self.protocol.states[state.name]
        for condition, way in state.ways:
            yield condition.text if condition is not None else ("else" if len(state.ways) > 1 else ""), way, "next"
        for op in state.ops:
            if isinstance(op, AskOp):
                yield from ((choice, way, "choice") for choice, way in op.choices.items())
                if op.within is not None:
                    yield "no answer in time", op.otherwise, "choice"
            elif isinstance(op, AgainOp) and op.otherwise is not None:
                yield f"not in time: {op.until.text if op.until else ''}", op.otherwise, "next"
        for rule, watch in zip(state.watches, getattr(model, "watch", ()), strict=True):
            since = f" for {_shown(watch.for_)}" if watch.for_ is not None else ""
            yield f"watch: {watch.if_}{since}", rule.way, "watch"
        for kind, way in state.catch.items():
            yield f"catch: {kind}", way, "catch"
        if state.limit is not None and state.limit[1] is not HELD:
            yield f"after {state.limit[0]} visit{'s' if state.limit[0] > 1 else ''}", state.limit[1], "limit"

    def _arrow(self, source: str, way: Way, label: str, kind: Kind) -> None:
        if not isinstance(way, Hold):
            self.ways.append((source, way.state, label, kind))
            return
        reason = "" if way in (HELD, LATE) else _line(way.reason.text)
        name = next((box.name for box in self.boxes.values() if box.hold and self._same(box, source, reason, way)), "")
        if not name:
            name = f"hold_{sum(box.hold for box in self.boxes.values()) + 1}"
            drawn = [at for at in way.continue_at if len(way.continue_at) <= _LISTED or at not in self.entered]
            lines = (f"goes on at {', '.join(way.continue_at)}",) if len(drawn) < len(way.continue_at) else ()
            self.boxes[name] = Box(name, reason, lines, hold=True)
            self.ways += [(name, at, "operator", "resume") for at in drawn]
        self.ways.append((source, name, label, kind))

    def _same(self, box: Box, source: str, reason: str, way: Hold) -> bool:
        """Whether a hold was drawn already: of the same state, or anywhere with the same words."""
        if box.summary != reason:
            return False
        return any(target == box.name and (reason or begin == source) for begin, target, *_ in self.ways) and (
            {target for begin, target, *_ in self.ways if begin == box.name} <= set(way.continue_at)
        )

    def merged(self) -> tuple[Arrow, ...]:
        """One arrow for each pair of boxes; those that lead back into their own box included."""
        found: dict[tuple[str, str], tuple[list[str], Kind]] = {}
        for source, target, label, kind in self.ways:
            labels, _ = found.setdefault((source, target), ([], kind))
            if label not in labels:
                labels.append(label)
        return tuple(
            Arrow(source, target, tuple(labels) if labels != [""] else (), kind)
            for (source, target), (labels, kind) in found.items()
        )


def _drawn(state: StateProgram) -> Iterator[Way]:
    yield from state.targets()
    if state.limit is not None:
        yield state.limit[1]


def _spans(protocol: Protocol) -> Iterator[Span]:
    for window in protocol.file.windows:
        least = f"at least {_shown(window.at_least)}" if window.at_least is not None else ""
        most = f"within {_shown(window.within)}" if window.within is not None else ""
        otherwise = f", else {target_text(window.otherwise)}" if window.within is not None else ""
        times = " and ".join(part for part in (least, most) if part)
        text = f"{window.from_} → {window.to} {times}{otherwise}"
        yield Span(window.from_.partition(".")[0], window.to.partition(".")[0], text)


def target_text(target: Any) -> str:
    """A target in a few words: a state's name, or `hold`."""
    return target if isinstance(target, str) else "hold"


def _shown(raw: Any) -> str:
    """A value as it was written, an expression without its sign."""
    text = str(getattr(raw, "text", raw))
    return text[1:].strip() if text.startswith("=") else text


def _line(text: str) -> str:
    return " ".join(text.split())


def _at_most(lines: tuple[str, ...]) -> tuple[str, ...]:
    return lines if len(lines) <= MOST_LINES else (*lines[: MOST_LINES - 1], "…")


# ── steps in short ───────────────────────────────────────────────────────────────────────────────────────────────
def _short_steps(steps: tuple[Step, ...], indent: str = "") -> Iterator[str]:
    for step in steps:
        for line in _short(step):
            yield f"{indent}{line}"


def _short(step: Step) -> Iterator[str]:
    match step:
        case DoStep():
            yield step.do
        case WaitStep(wait=UntilSpec() as spec):
            yield f"wait until {spec.until}" + (f", {_shown(spec.within)} at most" if spec.within is not None else "")
        case WaitStep():
            yield f"wait {_shown(step.wait)}"
        case AskStep():
            yield f"ask: {_line(step.ask)}"
        case SetStep():
            yield f"set {', '.join(step.set)}"
        case CallStep():
            yield f"call {step.call}"
        case _:
            yield from _short_nested(step)


def _short_nested(step: IfStep | RepeatStep | ParallelStep) -> Iterator[str]:
    match step:
        case IfStep():
            yield f"if {step.if_}"
            yield from _short_steps(step.then, "  ")
            if step.else_:
                yield "else"
                yield from _short_steps(step.else_, "  ")
        case RepeatStep():
            yield _turns(step.repeat)
            yield from _short_steps(step.steps, "  ")
        case ParallelStep():
            for name, steps in step.parallel.items():
                yield f"∥ {name}: {'; '.join(line.strip() for line in _short_steps(steps))}"


def _turns(spec: RepeatSpec) -> str:
    if spec.times is not None:
        return f"repeat {_shown(spec.times)} times"
    if spec.over is not None:
        return f"for each {spec.as_} of {_shown(spec.over) if not isinstance(spec.over, list) else 'a list'}"
    return f"repeat until {spec.until}, {spec.at_most} times at most"
