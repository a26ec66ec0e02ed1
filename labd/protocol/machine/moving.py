"""How a run gets from state to state: ways, holds, and states that are left while something is under way in them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import transitions

from labd.expr import ExpressionError
from labd.protocol.machine.flow import HELD, OUTSIDE, Flow, to
from labd.protocol.machine.lines import Line
from labd.protocol.machine.snapshot import to_json
from labd.protocol.machine.stepper import Stepper
from labd.protocol.machine.vigil import Alarm
from labd.protocol.messages import (
    Ask,
    Await,
    Cancel,
    Clean,
    Command,
    Do,
    Done,
    End,
    Ending,
    Enter,
    Event,
    Failed,
    HoldRun,
    Resume,
    Sent,
    Sleep,
    Unsent,
)
from labd.protocol.program import CallOp, Goto, Hold, StateProgram, Way

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


class Mover(Stepper):
    """The states of one run, and the holds between."""

    _moves: transitions.Machine

    def __init__(self) -> None:
        super().__init__()
        self._pending: Command | None = None  # what the whole waits for: Enter, End
        self._hold: HoldRun | None = None  # a hold of the whole, while its lines stay where they are
        self._held_in: str | None = None
        self._leaving: Leaving | None = None
        self._later: tuple[str, str] | None = None  # a state to go to, and why, once the run is not held any more
        self._to_clean: list[Line] = []  # lines whose called protocols are cleaned up after
        self._flow = Flow()

    @property
    def state(self) -> str:
        """The protocol's state; while held, the one that it was held in; empty before the start."""
        current = self._held_in if self._flow.state == HELD else self._flow.state
        return "" if current is None or current == OUTSIDE else current

    @property
    def held(self) -> bool:
        return self._flow.state == HELD

    @property
    def ended(self) -> bool:
        return isinstance(self._pending, End)

    @property
    def hold(self) -> HoldRun | None:
        """Why it is held, the first reason where there are several."""
        if self._hold is not None:
            return self._hold
        return next((line.pending for line in self._lines.values() if isinstance(line.pending, HoldRun)), None)

    @abstractmethod
    def _call_op(self, line: Line) -> CallOp | None:
        """The call that a line is in."""

    @abstractmethod
    def _outward(self, line: Line, command: Command) -> Command:
        """A called protocol's command, as one of this one's."""

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
        self._lines, self._attempts, self._acted, self._unsure = {}, {}, False, ""
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

    def _take_way(self, line: Line, way: Way, because: str) -> None:
        """A way of one line: a hold is that line's own, and no other's."""
        if isinstance(way, Hold):
            self._hold_at(line, way, because, "")
        else:
            self._go(way, because)

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
        if isinstance(event, Unsent):
            left.sent = False
            self._unmark(event.step_id)
            return
        left.sent = left.sent or isinstance(event, (Sent, Done))
        if left.sent:
            self._mark(event.step_id, ended=not isinstance(event, Sent))  # type: ignore[union-attr]
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

    def _mark(self, step: str, *, ended: bool) -> None:
        """An action of the present state was sent, or has ended."""
        try:
            if not self._acted:
                self._acted, self._unsure = True, step
                self._vigil.began(self.state)
            if self._unsure and (ended or step != self._unsure):
                self._unsure = ""
                self._vigil.sure()
            if ended:
                self._vigil.acted(self.state)
        except ExpressionError as error:
            self._hold_whole(str(error), ())

    def _unmark(self, step: str) -> None:
        """An action of the present state was not sent after all; if it was the first, the state has not begun."""
        if step == self._unsure:
            self._acted, self._unsure = False, ""
            able = not self.held and self._leaving is None
            self._alarm(self._vigil.undone(self.state, able=able))

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
