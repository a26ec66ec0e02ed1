"""The protocol's machine: fed with what happened, it says what to do next. No I/O, no clock.

Built on `transitions`: one state of it for each state of the protocol, and `hold` beside them; a move that the
protocol does not have cannot be made. What is decided is decided once: a snapshot holds the decisions themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, Self

from pydantic import JsonValue

from labd.protocol.checker import compiled
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.machine.decider import Decider
from labd.protocol.machine.flow import OUTSIDE, moves_of
from labd.protocol.machine.happenings import Happenings
from labd.protocol.machine.lines import Line
from labd.protocol.machine.moving import MAIN, Leaving, LeftOver, OutOfTurn
from labd.protocol.machine.snapshot import command_from_json, to_json
from labd.protocol.machine.vigil import Vigil
from labd.protocol.messages import (
    Await,
    Command,
    Enter,
    Entered,
    Event,
    Observed,
    Resume,
)
from labd.protocol.program import CallOp, DoOp, ForkOp, Goto, Program
from labd.protocol.proofs.outlook import Outlook

SNAPSHOT = 2


class Machine(Happenings):
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
        self.parameters: Mapping[str, Any] = dict(parameters)
        self._facts = facts
        self._program = program or compiled(protocol, facts)
        self._known = Decider(dict(parameters), self._tell, self._whereabouts)
        self._vigil = Vigil(self._program, self._known, self._out_one)
        self._moves = moves_of(self._program, self._flow)

    # ── what the runtime asks ────────────────────────────────────────────────────────────────────────────────────

    @property
    def program(self) -> Program:
        """What it executes."""
        return self._program

    @property
    def visits(self) -> Mapping[str, int]:
        """How often each state has been entered."""
        return dict(self._visits)

    @property
    def results(self) -> Mapping[str, Any]:
        """Results of actions and variables so far, in default units."""
        return dict(self._known.results)

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
    def outstanding(self) -> tuple[str, ...]:
        """The steps of a state that is being left whose outcomes are still to come."""
        own = tuple(self._leaving.waiting) if self._leaving is not None else ()
        inner = [
            f"{line.call}>{step}"
            for line in self._lines.values()
            if line.child is not None
            for step in line.child.outstanding
        ]
        return (*own, *inner)

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

    @cached_property
    def outlook(self) -> Outlook:
        """What lies ahead when all goes well."""
        return Outlook.of(self._program, self._known.parameters)

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

    # ── called protocols ─────────────────────────────────────────────────────────────────────────────────────────
    def _child(self, line: Line, op: CallOp, parameters: Mapping[str, Any]) -> Machine:
        child = Machine(self.protocol.calls[op.call], parameters, self._facts, op.program)
        line.child = child
        child.update(self._inward(line))
        return child

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
            "unsure": self._unsure,
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
        self._acted, self._unsure = data["acted"], data["unsure"]
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
