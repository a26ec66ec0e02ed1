"""The protocol's machine: fed with what happened, it says what to do next. No I/O, no clock.

Built on `transitions`: one state of it for each state of the protocol, and `hold` beside them; a move that the
protocol does not have cannot be made. What is decided is decided once: a snapshot holds the decisions themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from pydantic import JsonValue

from labd.expr import ExpressionError
from labd.protocol.checker import compiled
from labd.protocol.decider import Decider
from labd.protocol.facts import LabFacts
from labd.protocol.flow import HELD, OUTSIDE, Flow, moves_of, to
from labd.protocol.lines import Line
from labd.protocol.loader import Protocol
from labd.protocol.messages import (
    Answered,
    Ask,
    Await,
    Cancel,
    Clean,
    Command,
    Do,
    Done,
    Elapsed,
    End,
    Ending,
    Enter,
    Entered,
    Event,
    Expired,
    Failed,
    HoldRun,
    Observed,
    Resume,
    Sent,
    Sleep,
)
from labd.protocol.program import AskOp, CallOp, DoOp, ForkOp, Goto, Hold, Op, Program, StateProgram, UntilOp, Way
from labd.protocol.progress import Remaining
from labd.protocol.snapshot import command_from_json, to_json
from labd.protocol.stepper import Stepper
from labd.protocol.vigil import Alarm, Vigil

SNAPSHOT = 2
MAIN = ""


class OutOfTurn(ValueError):
    """An event that cannot happen now, such as a Resume of a run that is not held."""


@dataclass(slots=True)
class LeftOver:
    """An action under way in a state that is being left: the name of its result, and whether its order was sent."""

    as_: str | None
    sent: bool


@dataclass(slots=True)
class Leaving:
    """A state that is left while actions are still under way in it.

    Args:
        to: the state that follows, or the ending of the run.
        forced: a person sends it there, whatever `max_visits` says.
        waiting: the actions whose outcomes are awaited, by their steps.
    """

    to: str
    because: str
    ending: bool = False
    forced: bool = False
    waiting: dict[str, LeftOver] = field(default_factory=dict)


class Machine(Stepper):
    """One run's way through a protocol.

    The order of things: `start()` gives the first commands; the runtime carries them out, calls `update()` with what
    expressions may see of the outside, and feeds each event; the answer is the next commands. An event of a step that
    is no longer waited for (an answer that crosses its own expiry) changes nothing.

    Args:
        protocol: as loaded.
        parameters: what `bind_parameters` gave.
        facts: the lab that it was checked for; without them the standard roles.
        program: its program, where it is compiled already.

    Raises:
        InputErrors: the protocol does not pass its check.
    """

    def __init__(
        self,
        protocol: Protocol,
        parameters: Mapping[str, Any],
        facts: LabFacts | None = None,
        program: Program | None = None,
    ) -> None:
        super().__init__()
        self.protocol = protocol
        self._facts = facts
        self._program = program or compiled(protocol, facts)
        self._pending: Command | None = None  # what the whole waits for: Enter, End
        self._hold: HoldRun | None = None  # a hold of the whole, while its lines stay where they are
        self._held_in: str | None = None
        self._leaving: Leaving | None = None
        self._later: tuple[str, str] | None = None  # a state to go to, and why, once the run is not held any more
        self._to_clean: list[Line] = []
        self._known = Decider(dict(parameters), self._tell, self._whereabouts)
        self._vigil = Vigil(self._program, self._known, self._out_one)
        self._remaining = Remaining.of(self._program)
        self._flow = Flow()
        self._moves = moves_of(self._program, self._flow)

    # ── what the runtime asks ────────────────────────────────────────────────────────────────────────────────────
    @property
    def state(self) -> str:
        """The protocol's state; while held, the one that it was held in; empty before the start."""
        current = self._held_in if self._flow.state == HELD else self._flow.state
        return "" if current is None or current == OUTSIDE else current

    @property
    def held(self) -> bool:
        return self._flow.state == HELD

    @property
    def visits(self) -> Mapping[str, int]:
        """How often each state has been entered."""
        return dict(self._visits)

    @property
    def results(self) -> Mapping[str, Any]:
        """Results of actions and variables so far, in default units."""
        return dict(self._known.results)

    @property
    def hold(self) -> HoldRun | None:
        """Why it is held, the first reason where there are several."""
        if self._hold is not None:
            return self._hold
        return next((line.pending for line in self._lines.values() if isinstance(line.pending, HoldRun)), None)

    @property
    def pending(self) -> tuple[Command, ...]:
        """The commands whose outcome it waits for; after a restore, what the runtime has to take up."""
        whole = [command for command in (self._hold, self._pending) if command is not None]
        inner: list[Command] = []
        for line in self._lines.values():
            if line.child is not None:
                inner += [self._outward(line, command) for command in line.child.pending]
            elif line.pending is not None:
                inner.append(line.pending)
        return (*whole, *inner)

    @property
    def timers(self) -> tuple[str, ...]:
        """The ids of the watches' and windows' timers that run."""
        inner = [
            f"{line.call}>{timer}"
            for line in self._lines.values()
            if line.child is not None
            for timer in line.child.timers
        ]
        return (*self._vigil.timers(), *inner)

    @property
    def watching(self) -> bool:
        """Whether it wants `Observed` now: a state with watches is active, or a condition is waited for."""
        if self._cleaning is None and (self.held or self._leaving is not None or not self._lines):
            return False
        return (self._cleaning is None and bool(self._vigil.watches)) or any(
            isinstance(line.pending, Await) or (line.child is not None and line.child.watching)
            for line in self._lines.values()
        )

    @property
    def repeats(self) -> str | None:
        """The ONCE action that was done, and that going on with the same step would do a second time; or None."""
        for line in self._lines.values() if self.held else ():
            op = self._op(line)
            if line.again == "done step" and isinstance(op, CallOp):
                return op.call
            if line.again == "done step" and isinstance(op, DoOp) and op.once:
                return op.name
            if line.again == "callee" and line.child is not None and line.child.repeats is not None:
                return line.child.repeats
        return None

    @property
    def ended(self) -> bool:
        return isinstance(self._pending, End)

    @property
    def progress(self) -> float:
        """From 0 to 1, by the longest way that is left."""
        if self.ended:
            return 1.0
        main = self._lines.get(MAIN)
        return self._remaining.progress(self.state, main.at if main is not None else 0) if self.state else 0.0

    @property
    def cleans(self) -> bool:
        """Whether there is something to clean up: its own, or that of a called protocol that is under way."""
        lines = (*self._lines.values(), *self._to_clean)
        return any(line.child is not None and line.child.cleans for line in lines) or self._program.cleanup is not None

    def awaited(self, step_id: str) -> bool:
        """Whether a step's action, said not to have been done, is to be done again; not so when its state is left."""
        for line in self._lines.values():
            if line.child is not None and step_id.startswith(f"{line.call}>"):
                return line.child.awaited(step_id.removeprefix(f"{line.call}>"))
        return self._cleaning is None and (self._leaving is None or step_id not in self._leaving.waiting)

    def roles_of(self, state: str) -> frozenset[str]:
        """All roles that a state's steps use, in `do` or by name."""
        return self._program.states[state].roles

    def catches(self, kind: str, step_id: str) -> bool:
        """Whether the state that a step stands in says where a failure of this kind leads."""
        for line in self._lines.values():
            if line.child is not None and step_id.startswith(f"{line.call}>"):
                return line.child.catches(kind, step_id.removeprefix(f"{line.call}>"))
        return bool(self.state) and kind in self._here().catch

    # ── what the runtime tells ───────────────────────────────────────────────────────────────────────────────────
    def update(self, names: Mapping[str, Mapping[str, Any]]) -> None:
        """Sets what expressions see of the outside: `sample`, `run`, and each role's place, device and signals.

        Each name replaces what it held; a value that there is none of now is a `labd.expr.Missing` with its reason.
        """
        self._known.outside.update(names)
        for line in self._lines.values():
            if line.child is not None:
                line.child.update(self._inward(line))

    def start(self) -> list[Command]:
        """Enters the first state."""
        if self._flow.state != OUTSIDE:
            raise OutOfTurn("the run has started before")
        self._go(Goto(self._program.start), "the run starts")
        return self._take()

    def feed(self, event: Event) -> list[Command]:
        """Says what has happened; gives what is to be done next.

        Raises:
            OutOfTurn: the event cannot happen now.
        """
        match event:
            case Resume():
                self._resume(event)
            case Entered():
                if not isinstance(self._pending, Enter) or self._pending.state != event.state:
                    raise OutOfTurn(f"{event.state} was not to be entered")
                self._pending = None
                self._begin(event.state)
            case Observed():
                self._observe()
            case _:
                self._happened(event)
        if self._acted and self._pending is None and self._leaving is None and not self._acts_again():
            self._vigil.left(self.state)
        return self._take()

    def _acts_again(self) -> bool:
        """Whether some action may still follow in the present state."""
        ops, seen = self._here().ops, set[int]()
        waiting = [line.at for line in self._lines.values()]
        branching = {at for at in waiting if at < len(ops) and isinstance(ops[at], ForkOp)}
        waiting = [ops[at].to if at in branching else at for at in waiting]  # type: ignore[union-attr]
        while waiting:
            at = waiting.pop()
            if at >= len(ops) or at in seen:
                continue
            if isinstance(ops[at], (DoOp, CallOp)):
                return True
            seen.add(at)
            waiting += self._here().following(at)
        return False

    def _begin(self, state: str) -> None:
        self._vigil.enter(state)
        self._lines = {MAIN: Line()}
        late = self._vigil.late() if not self.held else None
        if late is not None:
            self._alarm(late)
        if self._leaving is None and self.state == state and self._pending is None:
            self._run(self._lines[MAIN])

    def clean_up(self, roles: frozenset[str]) -> list[Command]:
        """Begins the steps of `cleanup`, those of called protocols first; `Clean(over=True)` says when they have ended.

        What fails in them is told and passed over: they are the way out.

        Args:
            roles: those that a device still serves.
        """
        self._vigil.end()
        self._leaving = None
        self._cleaning = roles
        self._to_clean += [line for line in self._lines.values() if line.child is not None]
        self._clean_next()
        return self._take()

    def _out_one(self, command: Command) -> None:
        self._out.append(command)

    def _take(self) -> list[Command]:
        commands, self._out = self._out, []
        return commands

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────
    def _happened(self, event: Sent | Done | Failed | Answered | Elapsed | Expired) -> None:
        if self._leaving is not None and event.step_id in self._leaving.waiting:
            self._left_over(event)
            return
        for line in tuple(self._lines.values()):
            if line.child is not None and event.step_id.startswith(f"{line.call}>"):
                self._edges(line, event)
                inner = replace(event, step_id=event.step_id.removeprefix(f"{line.call}>"))
                with self._at(line):
                    self._from_child(line, line.child.feed(inner))
                return
            if line.waits_for(event.step_id):
                self._edges(line, event)
                if not isinstance(event, Sent):
                    with self._at(line):
                        self._outcome(line, event)
                return
        if isinstance(event, Elapsed) and self._vigil.owns(event.step_id):
            able = not self.held and self._leaving is None and not self.ended
            self._alarm(self._vigil.elapsed(event.step_id, self.state, able=able))
            for line in tuple(self._lines.values()):
                if line.blocked == event.step_id:
                    line.blocked = ""
                    self._run(line)

    def _edges(self, line: Line, event: Event) -> None:
        """Begins and ends windows."""
        if self._cleaning is not None or not isinstance(event, (Sent, Done, Failed)):
            return
        if isinstance(event, Failed) and not line.sent:
            return  # it never came to its device
        if not isinstance(self._op(line), (DoOp, CallOp)):
            return
        line.sent = True
        self._mark(ended=not isinstance(event, Sent))

    def _mark(self, *, ended: bool) -> None:
        """An action of the present state was sent, or has ended."""
        try:
            if not self._acted:
                self._acted = True
                self._vigil.began(self.state)
            if ended:
                self._vigil.acted(self.state)
        except ExpressionError as error:
            self._hold_whole(str(error), ())

    def _outcome(self, line: Line, event: Done | Failed | Answered | Elapsed | Expired) -> None:
        op = self._op(line)
        assert op is not None
        match event, op:
            case Done(), DoOp():
                self._done(line, op, event)
            case Failed(), _:
                self._failed(line, op, event)
            case Elapsed(), _:
                self._elapsed(line, op)
            case Answered(), AskOp():
                self._answered(line, event, op)
            case Expired(), AskOp():
                line.pending = None
                self._take_way(line, op.otherwise, "nobody answered in time")
            case Expired(), UntilOp():
                self._failed(line, op, Failed(event.step_id, "timeout", f"{op.condition.text} did not come about"))
            case _:
                raise OutOfTurn(f"{type(event).__name__} does not answer {type(line.pending).__name__}")

    def _failed(self, line: Line, op: Op, event: Failed) -> None:
        if isinstance(op, DoOp) and event.kind == "rejected" and self._tried_again(line, op, rejected=True):
            return
        name = op.name if isinstance(op, DoOp) else f"step {op.label}"
        what = f"{name}: {event.message or event.kind}"
        if self._cleaning is not None:
            self._known.decided("skip", what)
            self._next_step(line)
            return
        line.pending = None
        way = self._here().catch.get(event.kind)
        if way is None:
            self._hold_line(line, what, (), "step")
            return
        self._known.decided(f"catch {event.kind}", event.message, "", what)
        if line.token == MAIN or isinstance(way, Hold):
            self._take_way(line, way, what)
        else:
            self._leave(way.state, what)

    def _take_way(self, line: Line, way: Way, because: str) -> None:
        """A way of one line: a hold is that line's own, and no other's."""
        if isinstance(way, Hold):
            self._hold_at(line, way, because, "")
        else:
            self._go(way, because)

    def _answered(self, line: Line, event: Answered, op: AskOp) -> None:
        if op.choices and event.choice not in op.choices:
            raise OutOfTurn(f"{event.choice!r} is none of the choices: {', '.join(op.choices)}")
        if op.input is not None:
            problem = op.input.problem(event.value)
            if problem:
                raise OutOfTurn(problem)
        if op.as_ is not None:
            answer = {"choice": event.choice, "value": event.value, "by": event.by}
            self._known.results[op.as_] = {name: value for name, value in answer.items() if value not in (None, "")}
        if op.choices:
            line.pending = None
            self._go(op.choices[event.choice], f"{event.by or 'the operator'} chose: {event.choice}")
        else:
            self._next_step(line)

    # ── watches and windows ──────────────────────────────────────────────────────────────────────────────────────
    def _observe(self) -> None:
        if not self.watching:
            return
        for line in tuple(self._lines.values()):
            if self._lines.get(line.token) is not line:
                continue  # one before it has led elsewhere
            if line.child is not None:
                self._from_child(line, line.child.feed(Observed()))
            else:
                self._observed(line)
        if self.watching and self._cleaning is None:
            self._alarm(self._vigil.observe(self.state))

    def _alarm(self, alarm: Alarm | None) -> None:
        """A watch or a window leads out of the state, or holds the run."""
        if alarm is None:
            return
        if isinstance(alarm.way, Goto):
            self._leave(alarm.way.state, alarm.because)
        elif alarm.way is None:
            self._hold_whole(alarm.because, ())
        else:
            reason = alarm.way.reason(self._known.values())
            self._hold_whole(f"{reason} ({alarm.because})", alarm.way.continue_at)

    # ── leaving a state while something is under way ─────────────────────────────────────────────────────────────
    def _leave(self, target: str, because: str, *, ending: bool = False, forced: bool = False) -> None:
        """Calls everything off that is under way, and goes on when the last outcome is in."""
        self._vigil.rest()
        self._hold = self.hold if self.held else None  # of a line that ends; the reason is still the reason
        if ending:
            self._to_clean += [line for line in self._lines.values() if line.child is not None]
        self._leaving = Leaving(target, because, ending, forced, self._call_off(because))
        self._left()

    def _call_off(self, because: str) -> dict[str, LeftOver]:
        """Ends all lines; gives the actions whose outcomes are still to come."""
        waiting = dict(self._leaving.waiting) if self._leaving is not None else {}
        lines, self._lines = self._lines, {}
        for line in lines.values():
            if line.child is not None:
                line.child._vigil.end()  # noqa: SLF001 - another machine of the same kind
                found = line.child._call_off(because)  # noqa: SLF001
                waiting |= {f"{line.call}>{step_id}": LeftOver(None, left.sent) for step_id, left in found.items()}
                self._out += [self._outward(line, command) for command in line.child._take()]  # noqa: SLF001
            elif isinstance(line.pending, (Do, Ask, Await, Sleep)):
                self._out.append(Cancel(line.pending.step_id, because, line.token))
                if isinstance(line.pending, Do):
                    waiting[line.pending.step_id] = LeftOver(line.pending.as_, line.sent)
        return waiting

    def _call_back(self, line: Line) -> None:
        if line.pending is not None and not isinstance(line.pending, (Enter, End, HoldRun)):
            self._out.append(Cancel(line.pending.step_id, token=line.token))  # type: ignore[union-attr]

    def _left_over(self, event: Event) -> None:
        """An outcome of a state that is being left."""
        assert self._leaving is not None
        left = self._leaving.waiting[event.step_id]  # type: ignore[union-attr]
        left.sent = left.sent or isinstance(event, (Sent, Done))
        if left.sent:
            self._mark(ended=not isinstance(event, Sent))
        if isinstance(event, (Done, Failed)):
            del self._leaving.waiting[event.step_id]
            if isinstance(event, Done) and left.as_ is not None:
                self._known.results[left.as_] = to_json(event.result)
            self._left()

    def _left(self) -> None:
        leaving = self._leaving
        if leaving is None or leaving.waiting or self.held:
            return
        self._leaving = None
        self._lines = {}
        if leaving.ending:
            self._end(leaving.to, self.state, leaving.because)  # type: ignore[arg-type]
        elif leaving.forced:
            self._vigil.left(self.state)
            self._moves.set_state(HELD)  # from a hold a person may send it anywhere
            self._enter(leaving.to, leaving.because)
        else:
            self._go(Goto(leaving.to), leaving.because)

    # ── holds ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _hold_line(self, line: Line, reason: str, continue_at: tuple[str, ...], again: str) -> None:
        line.again, line.pending = again, HoldRun(reason, continue_at, line.token)
        self._to_hold(line.pending)

    def _hold_whole(self, reason: str, continue_at: tuple[str, ...]) -> None:
        """Holds the run; its lines stay where they are."""
        self._hold = HoldRun(reason, continue_at)
        self._to_hold(self._hold)

    def _to_hold(self, hold: HoldRun) -> None:
        self._vigil.rest()
        if not self.held:
            self._held_in = self.state
            self._flow.trigger(to(HELD))
        self._out.append(hold)

    def _hold_at(self, line: Line, way: Hold, because: str, again: str) -> None:
        """Holds where the protocol says so: "the same step again" is then the last one that was carried out."""
        reason = way.reason(self._known.values())
        if because not in ("", reason):
            reason = f"{reason} ({because})"
        if not again:
            again = "ways" if line.last is None else "done step" if line.at > line.last else "step"
            line.at = line.at if line.last is None else line.last
        self._hold_line(line, reason, way.continue_at, again)

    def _resume(self, event: Resume) -> None:
        if not self.held:
            raise OutOfTurn("the protocol is not held")
        by = event.by or "the operator"
        callee = self._callee_of(event.at)
        if event.at is not None and callee is None and event.at not in self._program.states:
            raise OutOfTurn(f"there is no state {event.at!r}")
        before, self._held_in, self._hold = self._held_in, None, None
        later, self._later = self._later, None
        if before:
            self._flow.trigger(to(before))
        if event.at is not None and callee is None:
            self._release_lines()
            self._leave(event.at, f"{by} went on at {event.at}", forced=True)
        elif self._leaving is not None:
            self._release_lines()
            self._left()
        elif (late := self._vigil.late()) is not None:
            self._later = later if not isinstance(late.way, Goto) else None  # held once more, it is kept
            self._alarm(late)
        elif later is not None:
            self._release_lines()
            self._go(Goto(later[0]), later[1])
        else:
            self._resume_lines(callee, event, by)

    def _release_lines(self) -> None:
        """No line is held any more: where they were is left."""
        for line in self._lines.values():
            line.again = ""
            line.pending = None if isinstance(line.pending, HoldRun) else line.pending

    def _resume_lines(self, callee: Line | None, event: Resume, by: str) -> None:
        for line in tuple(self._lines.values()):
            if line.again and self._lines.get(line.token) is line:
                at = event.at.partition(":")[2] if line is callee and event.at is not None else None
                self._resume_line(line, by, at)

    def _callee_of(self, at: str | None) -> Line | None:
        """The line whose called protocol has a state that a person may go on at, `mix@1:dose`."""
        for line in self._lines.values():
            op, (call, _, state) = self._call_op(line), (at or "").partition(":")
            if line.again == "callee" and op is not None and op.call == call and line.child is not None:
                inner = line.child._callee_of(state)  # noqa: SLF001 - another machine of the same kind
                if inner is not None or state in op.program.states:
                    return line
        return None

    def goes_on_at(self, at: str) -> bool:
        """Whether a person may go on there after a hold: a state, or that of a called protocol, `mix@1:dose`."""
        return at in self._program.states or self._callee_of(at) is not None

    def _resume_line(self, line: Line, by: str, at: str | None) -> None:
        again, line.again, line.pending = line.again, "", None
        with self._at(line):
            if again.startswith("enter "):
                self._lines = {}
                self._enter(again.removeprefix("enter "), f"{by} went on")
            elif again == "ways":
                self._finished()
            elif again == "callee" and line.child is not None:
                self._from_child(line, line.child.feed(Resume(at, by)))
            else:
                self._run(line)

    # ── ways ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _here(self) -> StateProgram:
        if self._cleaning is not None and self._program.cleanup is not None:
            return self._program.cleanup
        return self._program.states[self.state]

    def _finished(self) -> None:
        if self._cleaning is not None:
            self._lines = {}
            self._out.append(Clean(over=True))
            return
        line = self._lines[MAIN]
        for condition, way in self._here().ways:
            if condition is None:
                self._take_way(line, way, "")
                return
            target = way.state if isinstance(way, Goto) else HELD
            try:
                holds = self._known.test(f"next {target}", condition)
            except ExpressionError as error:
                self._hold_line(line, f"{self.state}, next: {error}", (), "ways")
                return
            if holds:
                self._take_way(line, way, f"{condition.text} ({condition.because(self._known.values())})")
                return

    def _go(self, way: Way, because: str) -> None:
        """Takes a way; a state that is full leads where its limit says."""
        if self.held and isinstance(way, Goto):
            self._later = (way.state, because)
            return
        line = self._lines.setdefault(MAIN, Line())
        passed: set[str] = set()
        again = ""
        while isinstance(way, Goto):
            limit = self._program.states[way.state].limit
            if limit is None or self._visits.get(way.state, 0) < limit[0]:
                self._enter(way.state, because)
                return
            because = f"{way.state} was entered {limit[0]} times"
            full = way.state
            again = f"enter {full}"
            if full in passed:
                self._hold_line(line, because, (), again)
                return
            passed.add(full)
            way = limit[1]
        self._hold_at(line, way, because, again)

    def _enter(self, state: str, because: str) -> None:
        if self.state:
            self._vigil.left(self.state)
        self._vigil.rest()
        self._flow.trigger(to(state))
        self._held_in = None
        program = self._program.states[state]
        self._visits[state] = self._visits.get(state, 0) + 1
        self._vigil.came(state)
        self._lines, self._attempts, self._acted = {}, {}, False
        if program.end is not None:
            self._end(program.end, state, because)
        else:
            self._vigil.watches = []
            self._pending = Enter(state, program.roles, self._visits[state], because)
            self._out.append(self._pending)

    def _end(self, outcome: Ending, state: str, because: str) -> None:
        self._vigil.end()
        self._pending = End(outcome, state, because)
        self._out.append(self._pending)

    # ── called protocols ─────────────────────────────────────────────────────────────────────────────────────────
    def _child(self, line: Line, op: CallOp, parameters: Mapping[str, Any]) -> Machine:
        child = Machine(self.protocol.calls[op.call], parameters, self._facts, op.program)
        line.child = child
        child.update(self._inward(line))
        return child

    def _inward(self, line: Line) -> dict[str, Mapping[str, Any]]:
        """What a called protocol sees of the outside, under its own names."""
        op = self._call_op(line)
        outside = self._known.outside
        roles = op.roles if op is not None else {}
        found = {theirs: outside[ours] for theirs, ours in roles.items() if ours in outside}
        return found | {name: outside[name] for name in ("sample", "run") if name in outside}

    def _outward(self, line: Line, command: Command) -> Command:
        """A called protocol's command, as one of this one's."""
        token = f"{line.token}>{command.token}"
        if isinstance(command, Do):
            op = self._call_op(line)
            role = op.roles[command.role] if op is not None else command.role
            return replace(command, step_id=f"{line.call}>{command.step_id}", role=role, token=token)
        if isinstance(command, (Enter, HoldRun, End, Clean)):
            return replace(command, token=token)
        return replace(command, step_id=f"{line.call}>{command.step_id}", token=token)

    def _from_child(self, line: Line, commands: list[Command]) -> None:
        waiting = deque(commands)
        while waiting:
            command, child, op = waiting.popleft(), line.child, self._call_op(line)
            if child is None or op is None:
                return  # it has ended
            match command:
                case Enter(state=state, because=because):
                    self._known.decided(f"enter {op.call}:{state}", because)
                    waiting.extendleft(reversed(child.feed(Entered(state))))
                case HoldRun(reason=reason, continue_at=continue_at):
                    states = tuple(f"{op.call}:{state}" for state in continue_at)
                    self._hold_line(line, f"{op.call}: {reason}", states, "callee")
                case End():
                    self._returned(line, op, child, command)
                case Clean(over=over):
                    if over:
                        self._clean_next()
                case _:
                    self._out.append(self._outward(line, command))

    def _returned(self, line: Line, op: CallOp, child: Machine, end: End) -> None:
        if end.outcome != "complete":
            self._leave(end.outcome, f"{op.call} ended {end.outcome} in {end.state}", ending=True)
            return
        try:
            results = child.returned()
        except ExpressionError as error:
            self._hold_line(line, f"{op.call}, results: {error}", (), "done step")
            return
        finally:
            line.child, line.call = None, ""
        if op.as_ is not None:
            self._known.results[op.as_] = results
        self._known.decided(f"{op.call} returns", results)
        line.last = None  # the same step again is not the whole call
        self._next_step(line)

    def returned(self) -> dict[str, Any]:
        """What it returns to the one that calls it. Raises ExpressionError for a result without a value."""
        return {name: self._known.value(f"results {name}", slot) for name, slot in self._program.results.items()}

    def _clean_next(self) -> None:
        """The cleanup of the next called protocol that was under way; at last its own."""
        if self._cleaning is None:
            return
        while self._to_clean:
            line = self._to_clean.pop(0)
            op = self._call_op(line)
            if line.child is None or op is None:
                continue
            roles = frozenset(theirs for theirs, ours in op.roles.items() if ours in self._cleaning)
            self._lines = {line.token: line}
            line.child.update(self._inward(line))
            self._from_child(line, line.child.clean_up(roles))
            return
        self._lines = {MAIN: Line()}
        self._attempts = {}
        if self._program.cleanup is None:
            self._finished()
            return
        self._visits[self._program.cleanup.name] = 1
        self._out.append(Clean())
        self._run(self._lines[MAIN])

    def _call_op(self, line: Line) -> CallOp | None:
        """The call that a line is in, also while cleanup is under way."""
        ops = self._program.states[self.state].ops if self.state else ()
        op = ops[line.at] if line.at < len(ops) else None
        return op if isinstance(op, CallOp) else None

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────────
    def snapshot(self) -> dict[str, JsonValue]:
        """All that a machine is, as JSON; what `update` told is not part of it."""
        return {
            "snapshot": SNAPSHOT,
            "protocol": self.protocol.name,
            "digest": self.protocol.digest,
            "parameters": to_json(self._known.parameters),
            "state": self._flow.state,
            "held_in": self._held_in,
            "hold": to_json(self._hold),
            "pending": to_json(self._pending),
            "leaving": to_json(asdict(self._leaving)) if self._leaving is not None else None,
            "later": to_json(self._later),
            "lines": [line.as_json() for line in self._lines.values()],
            "cleaning": to_json(self._cleaning),
            "to_clean": [line.as_json() for line in self._to_clean],
            "attempts": dict(self._attempts),
            "acted": self._acted,
            "visits": dict(self._visits),
            "results": to_json(self._known.results),
            "vigil": self._vigil.as_json(),
        }

    @classmethod
    def restore(
        cls,
        protocol: Protocol,
        parameters: Mapping[str, Any],
        snapshot: Mapping[str, Any],
        facts: LabFacts | None = None,
        program: Program | None = None,
    ) -> Self:
        """A machine as it was when it was written down; nothing is worked out again.

        Raises:
            ValueError: the snapshot is of another protocol, or of another version of labd.
        """
        if snapshot.get("snapshot") != SNAPSHOT:
            raise ValueError(f"this labd reads snapshots of version {SNAPSHOT}, not {snapshot.get('snapshot')!r}")
        if snapshot["digest"] != protocol.digest:
            raise ValueError(f"the snapshot is of another text of {snapshot['protocol']}")
        machine = cls(protocol, parameters, facts, program)
        machine._take_up(snapshot)
        return machine

    def _take_up(self, data: Mapping[str, Any]) -> None:
        self._moves.set_state(data["state"])
        self._held_in = data["held_in"]
        self._hold = command_from_json(data["hold"]) if data["hold"] is not None else None  # type: ignore[assignment]
        self._pending = command_from_json(data["pending"]) if data["pending"] is not None else None
        self._leaving = _leaving_from(data["leaving"])
        self._later = tuple(data["later"]) if data["later"] is not None else None
        self._cleaning = frozenset(data["cleaning"]) if data["cleaning"] is not None else None
        self._attempts = dict(data["attempts"])
        self._acted = data["acted"]
        self._visits = dict(data["visits"])
        self._known.results = dict(data["results"])
        self._vigil.take_up(data["vigil"])
        self._lines = {line["token"]: self._line_from(line) for line in data["lines"]}
        self._to_clean = [self._line_from(line) for line in data["to_clean"]]

    def _line_from(self, data: Mapping[str, Any]) -> Line:
        line = Line.from_json(data)
        op = self._call_op(line)
        if data["child"] is not None and op is not None:
            given = data["child"]["parameters"]
            line.child = Machine.restore(self.protocol.calls[op.call], given, data["child"], self._facts, op.program)
        return line


def _leaving_from(data: Mapping[str, Any] | None) -> Leaving | None:
    if data is None:
        return None
    waiting = {step: LeftOver(**left) for step, left in data["waiting"].items()}
    return Leaving(**{**data, "waiting": waiting})
