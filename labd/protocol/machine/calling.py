"""Protocols that others call: a machine inside the machine, and the cleanup of both."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from labd.expr import ExpressionError
from labd.protocol.machine.lines import Line
from labd.protocol.machine.moving import MAIN, Mover
from labd.protocol.machine.snapshot import to_json
from labd.protocol.messages import (
    Clean,
    Command,
    Do,
    End,
    Enter,
    Entered,
    HoldRun,
)
from labd.protocol.program import CallOp
from labd.protocol.values import argument

if TYPE_CHECKING:
    from labd.protocol.machine.machine import Machine


class Caller(Mover):
    """The calls of one run."""

    # ── called protocols ─────────────────────────────────────────────────────────────────────────────────────────
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

    def results_told(self) -> dict[str, JsonValue]:
        """The results of a run that has ended, quantities with their unit; those that have no value are left out."""
        found: dict[str, JsonValue] = {}
        values = self._known.values()
        for name, slot in self._program.results.items():
            with contextlib.suppress(ExpressionError):
                kind = slot.expression.type if slot.expression is not None else slot.type
                found[name] = to_json(argument(slot(values), kind))
        return found

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
