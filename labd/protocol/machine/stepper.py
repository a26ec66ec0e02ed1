"""How a line goes on from step to step: what the machine does by itself, and what it has others do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labd.expr import ExpressionError
from labd.protocol.machine.decider import Decider
from labd.protocol.machine.lines import Line, Loop
from labd.protocol.machine.snapshot import to_json
from labd.protocol.machine.vigil import Vigil
from labd.protocol.messages import Ask, Await, Command, Decided, Do, Done, Failed, Sleep
from labd.protocol.program import (
    AgainOp,
    AskOp,
    CallOp,
    DoOp,
    ForkOp,
    Goto,
    Hold,
    JoinOp,
    JumpOp,
    Op,
    Program,
    RepeatOp,
    SetOp,
    StateProgram,
    TurnOp,
    UnlessOp,
    UntilOp,
    WaitOp,
    Way,
)
from labd.protocol.values import argument

if TYPE_CHECKING:
    from labd.protocol.machine.machine import Machine

_ON, _STOP = object(), object()  # the line goes on with its next operation; it does not, for now


class Stepper(ABC):
    """Runs the lines of the present state. What leaves the state, or holds, is the machine's affair."""

    _program: Program
    _known: Decider
    _vigil: Vigil

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._line: Line | None = None  # the one that goes on now
        self._ready: deque[Line] = deque()  # those that go on after it
        self._visits: dict[str, int] = {}
        self._attempts: dict[str, int] = {}  # how often each step of this visit was begun, by label
        self._acted = False  # whether an action of this visit was sent
        self._unsure = ""  # the step of that action, while it may still come to nothing
        self._cleaning: frozenset[str] | None = None  # the roles that cleanup may use, while it is under way
        self._out: list[Command] = []

    # ── what the machine decides ─────────────────────────────────────────────────────────────────────────────────
    @property
    @abstractmethod
    def state(self) -> str:
        """The protocol's state."""

    @abstractmethod
    def _here(self) -> StateProgram:
        """The state that the lines are in."""

    @abstractmethod
    def _finished(self) -> None:
        """The main line has come to the end of its steps."""

    @abstractmethod
    def _go(self, way: Way, because: str) -> None:
        """The main line takes a way."""

    @abstractmethod
    def _hold_line(self, line: Line, reason: str, continue_at: tuple[str, ...], again: str) -> None:
        """A line cannot go on."""

    @abstractmethod
    def _failed(self, line: Line, op: Op, event: Failed) -> None:
        """A step of a line has failed, and is not done again."""

    @abstractmethod
    def _child(self, line: Line, op: CallOp, parameters: Mapping[str, Any]) -> Machine:
        """The machine of a called protocol."""

    @abstractmethod
    def _from_child(self, line: Line, commands: list[Command]) -> None:
        """Passes on what a called protocol's machine says."""

    # ── where a line is ──────────────────────────────────────────────────────────────────────────────────────────
    def _op(self, line: Line) -> Op | None:
        ops = self._here().ops if self.state or self._cleaning is not None else ()
        return ops[line.at] if line.at < len(ops) else None

    def _whereabouts(self) -> tuple[int, str, int | None]:
        line = self._line
        op = self._op(line) if line is not None else None
        index = line.loops[-1].index if line is not None and line.loops else None
        return self._visits.get(self.state, 0), self._step_id(op) if op is not None else "", index

    @contextmanager
    def _at(self, line: Line) -> Iterator[None]:
        """What is decided within is decided for this line."""
        before, self._line = self._line, line
        try:
            yield
        finally:
            self._line = before

    def _step_id(self, op: Op) -> str:
        attempt = self._attempts.get(op.label, 1)
        again = f"~{attempt}" if attempt > 1 else ""
        return f"{self._here().name}:{self._visits.get(self._here().name, 1)}/{op.label}{again}"

    # ── on from step to step ─────────────────────────────────────────────────────────────────────────────────────
    def _next_step(self, line: Line) -> None:
        line.pending, line.sent, line.tries = None, False, 0
        line.at += 1
        self._run(line)

    def _run(self, line: Line) -> None:
        """On from the present step, to the next one that somebody has to carry out, or to the line's end.

        A line that is set going by another (a branch, a call that has ended) goes on after it, never inside it.
        """
        self._ready.append(line)
        if len(self._ready) > 1:
            return
        try:
            while self._ready:
                following = self._ready[0]
                if self._lines.get(following.token) is following:  # else one before it has led elsewhere
                    with self._at(following):
                        self._walk(following)
                self._ready.popleft()
        finally:
            self._ready.clear()

    def _walk(self, line: Line) -> None:
        while (op := self._op(line)) is not None:
            try:
                command = self._carry_out(line, op)
            except ExpressionError as error:
                if self._cleaning is None:
                    self._hold_line(line, f"{self._here().name}, step {op.label}: {error}", (), "step")
                    return
                self._known.decided("skip", f"{self._here().name}, step {op.label}: {error}")
                self._pass_over(line, op)
                continue
            if command is _STOP:
                return
            if command is not _ON:
                line.pending, line.last, line.sent = command, line.at, False  # type: ignore[assignment]
                self._out.append(line.pending)  # type: ignore[arg-type]
                return
        self._finished()

    def _pass_over(self, line: Line, op: Op) -> None:
        """Behind a step of cleanup whose values nobody can tell; a condition's steps are passed over with it."""
        ops = self._here().ops
        match op:
            case UnlessOp(to=to):
                end = ops[to - 1]
                line.at = end.to if isinstance(end, JumpOp) and end.label == op.label else to
            case RepeatOp():
                top = ops[line.at + 1]
                assert isinstance(top, TurnOp)
                line.at = top.to
            case AgainOp():
                self._loop_over(line, op.to)
            case _:
                line.at += 1

    def _carry_out(self, line: Line, op: Op) -> object:
        """Does what the machine does by itself; gives _ON, _STOP, or the command for what it does not."""
        if not isinstance(op, (JumpOp, JoinOp, TurnOp, AgainOp)):
            self._attempts[op.label] = self._attempts.get(op.label, 0) + 1
        if isinstance(op, (WaitOp, UntilOp, AskOp)):
            return self._wait(line, op)
        found: object
        match op:
            case DoOp():
                found = self._do(line, op)
            case CallOp():
                found = self._call(line, op)
            case ForkOp():
                found = self._fork(line, op)
            case JoinOp():
                found = self._join(line, op)
            case _:
                found = self._by_itself(line, op)
        return found

    def _by_itself(self, line: Line, op: Op) -> object:
        match op:
            case JumpOp():
                line.at = op.to
            case UnlessOp():
                line.at = line.at + 1 if self._known.test("if", op.condition) else op.to
            case SetOp():
                for name, slot in op.values.items():
                    self._known.results[name] = self._known.value(f"set {name}", slot)
                line.at += 1
            case RepeatOp():
                line.loops.append(self._loop(op))
                line.at += 1
            case TurnOp():
                self._turn(line, op)
            case AgainOp():
                return self._again(line, op)
        return _ON

    # ── actions and waits ────────────────────────────────────────────────────────────────────────────────────────
    def _do(self, line: Line, op: DoOp) -> object:
        if self._cleaning is not None and op.role not in self._cleaning:
            self._known.decided("skip", f"{op.name}: no device serves {op.role} now")
            line.at += 1
            return _ON
        if self._blocked(line, op):
            return _STOP
        parameters = {}
        for name, slot in op.parameters.items():
            value = self._known.value(f"with {name}", slot)
            parameters[name] = None if value is None else argument(value, slot.type)
        within = self._known.value("within", op.within) if op.within is not None else None
        return Do(self._step_id(op), op.role, op.action.name, parameters, within, op.as_, line.token)

    def _blocked(self, line: Line, op: DoOp | CallOp) -> bool:
        """Whether a window does not let the state's first action begin yet; its timer sets the line going again."""
        line.blocked = "" if self._acted or self._cleaning is not None else self._vigil.blocks(self.state)
        if line.blocked:
            self._attempts[op.label] -= 1
            self._known.decided("wait", "a time window does not let it begin yet")
        return bool(line.blocked)

    def _wait(self, line: Line, op: WaitOp | UntilOp | AskOp) -> object:
        if isinstance(op, WaitOp):
            return Sleep(self._step_id(op), self._known.value("wait", op.seconds), token=line.token)
        within = self._known.value("within", op.within) if op.within is not None else None
        if isinstance(op, UntilOp):
            return self._until(line, op, within)
        text = op.text(self._known.values())
        return Ask(self._step_id(op), text, tuple(op.choices), op.input, within, line.token)

    def _until(self, line: Line, op: UntilOp, within: float | None) -> object:
        try:
            if op.condition(self._known.values()):
                self._known.test("wait until", op.condition)
                line.at += 1
                return _ON
        except ExpressionError:
            pass  # perhaps the signal is only read now; what is not there at the next reading holds the run
        return Await(self._step_id(op), op.condition.text, within, line.token)

    def _observed(self, line: Line) -> None:
        """Signals have changed while a line may wait for them."""
        op = self._op(line)
        if not isinstance(line.pending, Await) or not isinstance(op, UntilOp):
            return
        try:
            with self._at(line):
                holds = bool(op.condition(self._known.values()))
                if holds:
                    self._known.test("wait until", op.condition)
        except ExpressionError as error:
            if self._cleaning is None:
                self._call_back(line)
                self._hold_line(line, f"{self.state}, step {op.label}: {error}", (), "step")
            return
        if holds:
            self._call_back(line)
            self._next_step(line)

    @abstractmethod
    def _call_back(self, line: Line) -> None:
        """What a line waits for is not waited for any more."""

    def _done(self, line: Line, op: DoOp, event: Done) -> None:
        result = to_json(event.result)
        if op.as_ is not None:
            self._known.results[op.as_] = result
        if not self._tried_again(line, op, rejected=False):
            self._next_step(line)

    def _tried_again(self, line: Line, op: DoOp, *, rejected: bool) -> bool:
        """Does an action again where its `retry` says so."""
        retry = op.retry
        if retry is None or line.tries >= retry.times or self._cleaning is not None:
            return False
        try:
            self._known.outside["rejected"] = rejected  # type: ignore[assignment]
            if not rejected and (retry.condition is None or not self._known.test("retry", retry.condition)):
                return False
            delay = self._known.value("delay", retry.delay) if retry.delay is not None else 0.0
        except ExpressionError as error:
            again = "step" if rejected else "done step"
            self._hold_line(line, f"{self.state}, step {op.label}, retry: {error}", (), again)
            return True
        finally:
            self._known.outside.pop("rejected", None)
        line.tries += 1
        self._known.decided("again", line.tries)
        line.pending, line.sent = None, False
        if delay > 0:
            line.pending = Sleep(f"{self._step_id(op)}+{line.tries}", delay, token=line.token)
            self._out.append(line.pending)
        else:
            self._run(line)
        return True

    def _elapsed(self, line: Line, op: Op) -> None:
        """A wait is over: the step's own, or the delay before an action that is done again."""
        if isinstance(op, WaitOp):
            self._next_step(line)
        else:
            line.pending = None
            self._run(line)

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _loop(self, op: RepeatOp) -> Loop:
        if op.over is not None:
            items = list(self._known.value("repeat over", op.over))
            return Loop(op.label, len(items), items=items)
        if op.times is not None:
            return Loop(op.label, int(self._known.value("repeat times", op.times)))
        return Loop(op.label, op.at_most or 1)

    def _turn(self, line: Line, op: TurnOp) -> None:
        loop = line.loops[-1]
        if loop.index >= loop.turns:
            self._loop_over(line, op.to)
            return
        loop.index += 1
        if loop.items is not None and op.as_ is not None:
            self._known.results[op.as_] = loop.items[loop.index - 1]
        line.at += 1

    def _loop_over(self, line: Line, to: int) -> None:
        line.loops.pop()
        line.at, line.last = to, None  # the same step again would be one inside the loop, which is over

    def _again(self, line: Line, op: AgainOp) -> object:
        loop = line.loops[-1]
        if op.until is None:
            line.at = op.top
            return _ON
        if self._known.test("until", op.until):
            self._loop_over(line, op.to)
            return _ON
        if loop.index < loop.turns:
            line.at = op.top
            return _ON
        because = f"{op.until.text} did not come about in {loop.turns} turns"
        if self._cleaning is not None:
            self._loop_over(line, op.to)
            return _ON
        if isinstance(op.otherwise, Goto):
            self._go(op.otherwise, because)
            return _STOP
        reason = because
        continue_at: tuple[str, ...] = ()
        if isinstance(op.otherwise, Hold):
            reason = f"{op.otherwise.reason(self._known.values())} ({because})"
            continue_at = op.otherwise.continue_at
        loop.index = 0  # going on with the same step is another round of as many turns
        line.at = op.top
        self._hold_line(line, reason, continue_at, "step")
        return _STOP

    # ── branches ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _fork(self, line: Line, op: ForkOp) -> object:
        branches = []
        for name, start in op.branches.items():
            loops = [Loop(loop.label, loop.turns, loop.index, loop.items) for loop in line.loops]
            branch = Line(f"{op.label}.{name}", start, loops=loops)
            self._lines[branch.token] = branch
            branches.append(branch)
        for branch in branches:
            self._run(branch)
        return _STOP

    def _join(self, line: Line, op: JoinOp) -> object:
        """A branch has ended; with the last one the line goes on that began them."""
        del self._lines[line.token]
        label = line.token.removesuffix(f".{op.branch}")
        for parent in tuple(self._lines.values()):
            fork = self._op(parent)
            if isinstance(fork, ForkOp) and fork.label == label:
                if not any(f"{label}.{name}" in self._lines for name in fork.branches):
                    parent.at, parent.last = fork.to, None
                    self._run(parent)
                break
        return _STOP

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _call(self, line: Line, op: CallOp) -> object:
        if self._blocked(line, op):
            return _STOP
        parameters = {name: self._known.value(f"with {name}", slot) for name, slot in op.parameters.items()}
        line.call = self._step_id(op)
        line.last = line.at
        line.child = self._child(line, op, parameters)
        self._from_child(line, line.child.start())
        return _STOP

    def _tell(self, decided: Decided) -> None:
        self._out.append(decided)

    def _take(self) -> list[Command]:
        commands, self._out = self._out, []
        return commands
