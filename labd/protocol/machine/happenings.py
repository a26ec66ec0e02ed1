"""What a machine does with each thing that happened: whose it is, and where it leads."""

from __future__ import annotations

from dataclasses import replace

from labd.protocol.machine.calling import Caller
from labd.protocol.machine.lines import Line
from labd.protocol.machine.moving import MAIN, OutOfTurn
from labd.protocol.messages import Answered, Done, Elapsed, Event, Expired, Failed, Sent, Unsent
from labd.protocol.program import AskOp, CallOp, DoOp, Hold, Op, UntilOp


class Happenings(Caller):
    """The part of a machine that takes the outcomes of its steps."""

    def _happened(self, event: Sent | Unsent | Done | Failed | Answered | Elapsed | Expired) -> None:
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
                if not isinstance(event, (Sent, Unsent)):
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
        if self._cleaning is not None or not isinstance(event, (Sent, Unsent, Done, Failed)):
            return
        if isinstance(event, Failed) and not line.sent:
            return  # it never came to its device
        if not isinstance(self._op(line), (DoOp, CallOp)):
            return
        if isinstance(event, Unsent):
            line.sent = line.sent and line.child is not None and event.step_id != self._unsure
            self._unmark(event.step_id)
            return
        line.sent = True
        self._mark(event.step_id, ended=not isinstance(event, Sent))

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
