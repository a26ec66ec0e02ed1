"""The protocol's machine: fed with what happened, it says what to do next. No I/O, no clock.

Built on `transitions`: one state of it for each state of the protocol, and `hold` beside them; a move that the
protocol does not have cannot be made. What is decided is decided once: a snapshot holds the decisions themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import JsonValue

from labd.expr import ExpressionError
from labd.protocol.checker import compiled
from labd.protocol.decider import Decider
from labd.protocol.facts import LabFacts
from labd.protocol.flow import HELD, OUTSIDE, Flow, moves_of, to
from labd.protocol.loader import Protocol
from labd.protocol.messages import (
    Answered,
    Ask,
    Command,
    Decided,
    Do,
    Done,
    Elapsed,
    End,
    Enter,
    Entered,
    Event,
    Expired,
    Failed,
    HoldRun,
    Input,
    Resume,
    Sleep,
)
from labd.protocol.program import (
    AskOp,
    DoOp,
    Goto,
    Hold,
    JumpOp,
    Op,
    SetOp,
    StateProgram,
    UnlessOp,
    WaitOp,
    Way,
)
from labd.protocol.progress import Remaining
from labd.protocol.snapshot import command_from_json, to_json
from labd.protocol.values import argument

SNAPSHOT = 1


class OutOfTurn(ValueError):
    """An event that cannot happen now, such as a Resume of a run that is not held."""


class Machine:
    """One run's way through a protocol.

    The order of things: `start()` gives the first commands; the runtime carries them out, calls `update()` with what
    expressions may see of the outside, and feeds each event; the answer is the next commands. An event of a step that
    is no longer waited for (an answer that crosses its own expiry) changes nothing.

    Args:
        protocol: as loaded.
        parameters: what `bind_parameters` gave.
        facts: the lab that it was checked for; without them the standard roles.

    Raises:
        InputErrors: the protocol does not pass its check.
    """

    def __init__(self, protocol: Protocol, parameters: Mapping[str, Any], facts: LabFacts | None = None) -> None:
        self.protocol = protocol
        self._program = compiled(protocol, facts)
        self._visits: dict[str, int] = {}
        self._at = 0  # the operation of the state that is next, or under way
        self._attempts: dict[str, int] = {}  # how often each step of this visit was begun, by label
        self._last: int | None = None  # the operation that somebody carried out last in this visit
        self._pending: Command | None = None
        self._again = ""  # what "the same step again" means while held: step, done step, ways, or enter <state>
        self._held_in: str | None = None
        self._out: list[Command] = []
        self._known = Decider(dict(parameters), self._tell, self._whereabouts)
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
    def pending(self) -> Command | None:
        """The command whose outcome the machine waits for; after a restore, what the runtime has to take up."""
        return self._pending

    @property
    def repeats(self) -> str | None:
        """The ONCE action that was done, and that going on with the same step would do a second time; or None."""
        op = self._op() if self.held and self._again == "done step" else None
        return f"{op.role}.{op.action}" if isinstance(op, DoOp) and op.once else None

    @property
    def ended(self) -> bool:
        return isinstance(self._pending, End)

    @property
    def progress(self) -> float:
        """From 0 to 1, by the longest way that is left."""
        if self.ended:
            return 1.0
        return self._remaining.progress(self.state, self._at) if self.state else 0.0

    def roles_of(self, state: str) -> frozenset[str]:
        """All roles that a state's steps use, in `do` or by name."""
        return self._program.states[state].roles

    # ── what the runtime tells ───────────────────────────────────────────────────────────────────────────────────
    def update(self, names: Mapping[str, Mapping[str, Any]]) -> None:
        """Sets what expressions see of the outside: `sample`, `run`, and each role's place, device and signals.

        Each name replaces what it held; a value that there is none of now is a `labd.expr.Missing` with its reason.
        """
        self._known.outside.update(names)

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
        if isinstance(event, Resume):
            self._resume(event)
        elif isinstance(event, Entered):
            if not isinstance(self._pending, Enter) or self._pending.state != event.state:
                raise OutOfTurn(f"{event.state} was not to be entered")
            self._pending = None
            self._run()
        elif event.step_id == getattr(self._pending, "step_id", None):
            self._outcome(event)
        return self._take()

    def _whereabouts(self) -> tuple[int, str]:
        op = self._op()
        return self._visits.get(self.state, 0), self._step_id(op) if op is not None else ""

    def _tell(self, decided: Decided) -> None:
        self._out.append(decided)

    def _take(self) -> list[Command]:
        commands, self._out = self._out, []
        return commands

    # ── outcomes of steps ────────────────────────────────────────────────────────────────────────────────────────
    def _outcome(self, event: Done | Failed | Answered | Elapsed | Expired) -> None:
        op = self._op()
        match event, op:
            case Done(), DoOp():
                if op.as_ is not None:
                    self._known.results[op.as_] = to_json(event.result)
                self._next_step()
            case Failed(), DoOp():
                self._failed(event, op)
            case Elapsed(), WaitOp():
                self._next_step()
            case Answered(), AskOp():
                self._answered(event, op)
            case Expired(), AskOp():
                self._pending = None
                self._go(op.otherwise, "nobody answered in time")
            case _:
                raise OutOfTurn(f"{type(event).__name__} does not answer {type(self._pending).__name__}")

    def _failed(self, event: Failed, op: DoOp) -> None:
        self._pending = None
        what = f"{op.role}.{op.action}: {event.message or event.kind}"
        way = self._here().catch.get(event.kind)
        if way is not None:
            self._known.decided(f"catch {event.kind}", event.message, "", what)
            self._go(way, what)
        else:
            self._hold(what, (), "step")

    def _answered(self, event: Answered, op: AskOp) -> None:
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
            self._pending = None
            self._go(op.choices[event.choice], f"{event.by or 'the operator'} chose: {event.choice}")
        else:
            self._next_step()

    def _resume(self, event: Resume) -> None:
        if not self.held:
            raise OutOfTurn("the protocol is not held")
        if event.at is not None and event.at not in self._program.states:
            raise OutOfTurn(f"there is no state {event.at!r}")
        by = event.by or "the operator"
        state, again = self._held_in, self._again
        self._held_in, self._again, self._pending = None, "", None
        if event.at is not None:
            self._enter(event.at, f"{by} went on at {event.at}")
            return
        if again.startswith("enter "):
            self._enter(again.removeprefix("enter "), f"{by} went on")
            return
        assert state is not None
        self._move(state)
        if again == "ways":
            self._choose_way()
            return
        self._run()

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _here(self) -> StateProgram:
        return self._program.states[self.state]

    def _op(self) -> Op | None:
        ops = self._here().ops if self.state else ()
        return ops[self._at] if self._at < len(ops) else None

    def _next_step(self) -> None:
        self._pending = None
        self._at += 1
        self._run()

    def _run(self) -> None:
        """On from the present step, to the next one that somebody has to carry out, or out of the state."""
        while (op := self._op()) is not None:
            try:
                command = self._carry_out(op)
            except ExpressionError as error:
                self._hold(f"{self.state}, step {op.label}: {error}", (), "step")
                return
            if command is not None:
                self._pending, self._last = command, self._at
                self._out.append(command)
                return
        self._choose_way()

    def _carry_out(self, op: Op) -> Command | None:
        """Does what the machine does by itself, and gives the command for what it does not."""
        if not isinstance(op, JumpOp):
            self._attempts[op.label] = self._attempts.get(op.label, 0) + 1
        match op:
            case JumpOp():
                self._at = op.to
            case UnlessOp():
                self._at = self._at + 1 if self._known.test("if", op.condition) else op.to
            case SetOp():
                for name, slot in op.values.items():
                    self._known.results[name] = self._known.value(f"set {name}", slot)
                self._at += 1
            case WaitOp():
                return Sleep(self._step_id(op), self._known.value("wait", op.seconds))
            case AskOp():
                within = self._known.value("within", op.within) if op.within is not None else None
                return Ask(self._step_id(op), op.text(self._known.values()), tuple(op.choices), op.input, within)
            case DoOp():
                return self._do(op)
        return None

    def _do(self, op: DoOp) -> Do:
        parameters = {}
        for name, slot in op.parameters.items():
            value = self._known.value(f"with {name}", slot)
            parameters[name] = None if value is None else argument(value, slot.type)
        within = self._known.value("within", op.within) if op.within is not None else None
        return Do(self._step_id(op), op.role, op.action, parameters, within, op.as_)

    def _step_id(self, op: Op) -> str:
        attempt = self._attempts.get(op.label, 1)
        again = f"~{attempt}" if attempt > 1 else ""
        return f"{self.state}:{self._visits.get(self.state, 1)}/{op.label}{again}"

    # ── ways ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _choose_way(self) -> None:
        for condition, way in self._here().ways:
            if condition is None:
                self._go(way, "")
                return
            target = way.state if isinstance(way, Goto) else HELD
            try:
                holds = self._known.test(f"next {target}", condition)
            except ExpressionError as error:
                self._hold(f"{self.state}, next: {error}", (), "ways")
                return
            if holds:
                self._go(way, f"{condition.text} ({condition.because(self._known.values())})")
                return

    def _go(self, way: Way, because: str) -> None:
        """Takes a way; a state that is full leads where its limit says."""
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
                self._hold(because, (), again)
                return
            passed.add(full)
            way = limit[1]
        self._hold_at(way, because, again)

    def _hold_at(self, way: Hold, because: str, again: str) -> None:
        """Holds where the protocol says so: "the same step again" is then the last one that was carried out."""
        reason = way.reason(self._known.values())
        if because not in ("", reason):
            reason = f"{reason} ({because})"
        if not again:
            again = "ways" if self._last is None else "done step" if self._at > self._last else "step"
            self._at = self._at if self._last is None else self._last
        self._hold(reason, way.continue_at, again)

    def _move(self, state: str) -> None:
        self._flow.trigger(to(state))

    def _enter(self, state: str, because: str) -> None:
        self._move(state)
        self._held_in = None
        program = self._program.states[state]
        self._visits[state] = self._visits.get(state, 0) + 1
        self._at, self._last, self._attempts = 0, None, {}
        command: Command
        if program.end is not None:
            command = End(program.end, state, because)
        else:
            command = Enter(state, program.roles, self._visits[state], because)
        self._pending = command
        self._out.append(command)

    def _hold(self, reason: str, continue_at: tuple[str, ...], again: str) -> None:
        self._held_in, self._again = self.state, again
        self._move(HELD)
        self._pending = HoldRun(reason, continue_at)
        self._out.append(self._pending)

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────────
    def snapshot(self) -> dict[str, JsonValue]:
        """All that a machine is, as JSON; what `update` told is not part of it."""
        return {
            "snapshot": SNAPSHOT,
            "protocol": self.protocol.name,
            "digest": self.protocol.digest,
            "state": self._flow.state,
            "held_in": self._held_in,
            "again": self._again,
            "at": self._at,
            "last": self._last,
            "attempts": dict(self._attempts),
            "visits": dict(self._visits),
            "results": to_json(self._known.results),
            "pending": to_json(self._pending),
        }

    @classmethod
    def restore(
        cls,
        protocol: Protocol,
        parameters: Mapping[str, Any],
        snapshot: Mapping[str, Any],
        facts: LabFacts | None = None,
    ) -> Self:
        """A machine as it was when it was written down; nothing is worked out again.

        Raises:
            ValueError: the snapshot is of another protocol, or of another version of labd.
        """
        if snapshot.get("snapshot") != SNAPSHOT:
            raise ValueError(f"this labd reads snapshots of version {SNAPSHOT}, not {snapshot.get('snapshot')!r}")
        if snapshot["digest"] != protocol.digest:
            raise ValueError(f"the snapshot is of another text of {snapshot['protocol']}")
        machine = cls(protocol, parameters, facts)
        machine._moves.set_state(snapshot["state"])
        machine._held_in = snapshot["held_in"]
        machine._again = snapshot["again"]
        machine._at = snapshot["at"]
        machine._last = snapshot["last"]
        machine._attempts = dict(snapshot["attempts"])
        machine._visits = dict(snapshot["visits"])
        machine._known.results = dict(snapshot["results"])
        pending = snapshot["pending"]
        machine._pending = command_from_json(pending) if pending is not None else None
        return machine


__all__ = [
    "Answered",
    "Ask",
    "Command",
    "Decided",
    "Do",
    "Done",
    "Elapsed",
    "End",
    "Enter",
    "Entered",
    "Event",
    "Expired",
    "Failed",
    "HoldRun",
    "Input",
    "Machine",
    "OutOfTurn",
    "Resume",
    "Sleep",
]
