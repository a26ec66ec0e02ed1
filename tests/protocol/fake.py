"""A runtime without devices: it answers every command by luck, keeps a clock, and watches over the machine.

Like the real one it keeps back, while the run is held, what would begin, and awaits outcomes of what is called off.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.expr import BOOLEAN, ListOf, Measure, Missing, Number, Record, Text, Type, record_of
from labd.protocol import Machine, Protocol, bind_parameters
from labd.protocol.messages import (
    Answered,
    Ask,
    Await,
    Cancel,
    Clean,
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
    Observed,
    Resume,
    Sent,
    Sleep,
    Unsent,
)
from labd.protocol.program import Program
from labd.sdk import ROLES, Effect

MOST_EVENTS = 5_000
MOST_HOLDS = 12
"""So often the operator goes on as before; after that at an end."""


@dataclass
class Fake:
    """One run.

    Args:
        protocol, program: what is run, and its program.
        luck: decides everything that happens.
        end: a state that leads to the end, for an operator who has had enough.
        twins: how often a machine that was restored from what was written down is fed the same.
    """

    protocol: Protocol
    program: Program
    luck: random.Random
    end: str = "scrap"
    twins: float = 0.15
    events: int = 0
    now: float = 0.0
    holds: int = 0
    seen: set[str] = field(default_factory=set)  # all step ids that were ever begun
    orders: dict[str, Do] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)  # orders that are called off, and have no outcome yet
    questions: dict[str, Ask] = field(default_factory=dict)
    awaits: dict[str, Await] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    deferred: list[Command] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)  # orders that were called off before they began
    entering: Enter | None = None
    entered: Enter | None = None
    ended: End | None = None
    held: bool = False
    cleaning: bool = False
    cleaned: bool = False
    said: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters = bind_parameters(
            self.protocol, {name: _given(self, name) for name in self.protocol.parameters}
        )
        self.machine = Machine(self.protocol, self.parameters, program=self.program)

    # ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────
    def run(self) -> End:
        """From the start to the end, and through the cleanup."""
        self.machine.update(self.outside())
        self.take(self.machine.start())
        while self.ended is None:
            self.happen()
        self.after_the_end()
        if self.ended.outcome != "complete" and self.machine.cleans:
            self.clean()
        return self.ended

    def happen(self) -> None:
        self.events += 1
        assert self.events < MOST_EVENTS, "it does not come to an end"
        if self.luck.random() < 0.1:
            self.crash()
        event = self.next()
        twin = self.twin() if self.luck.random() < self.twins else None
        outside = self.outside()
        self.machine.update(outside)
        commands = self.machine.feed(event)
        if twin is not None:
            twin.update(outside)
            assert twin.feed(event) == commands
            assert twin.snapshot() == self.machine.snapshot()
        self.take(commands)
        self.check()

    def twin(self) -> Machine:
        taken = json.loads(json.dumps(self.machine.snapshot()))
        twin = Machine.restore(self.protocol, self.parameters, taken, program=self.program)
        assert twin.snapshot() == self.machine.snapshot()
        return twin

    def crash(self) -> None:
        """The machine is restored from what was written down; what waits is the same."""
        restored = self.twin()
        assert restored.pending == self.machine.pending
        assert (restored.timers, restored.held, restored.state) == (
            self.machine.timers,
            self.machine.held,
            self.machine.state,
        )
        self.machine = restored

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────
    def take(self, commands: list[Command]) -> None:
        self.said += commands
        for command in commands:
            assert self.ended is None or self.cleaning, f"after the end: {command}"
            if isinstance(command, Decided):
                continue
            if self.held and not isinstance(command, (Sleep, Cancel)):
                self.deferred.append(command)
            else:
                self.obey(command)

    def obey(self, command: Command) -> None:
        match command:
            case Enter():
                self.entering = command
            case Do():
                self.fresh(command.step_id)
                assert self.entered is not None
                if not self.cleaning:
                    assert command.role in self.entered.roles, f"{command.role} was not reserved"
                self.orders[command.step_id] = command
            case Ask():
                self.fresh(command.step_id)
                self.questions[command.step_id] = command
            case Await():
                self.fresh(command.step_id)
                self.awaits[command.step_id] = command
            case Sleep():
                if not command.step_id.rpartition(">")[2].startswith(("watch:", "window:", "least:")):
                    self.fresh(command.step_id)
                assert command.step_id not in self.timers
                self.timers[command.step_id] = self.now + command.seconds
            case Cancel():
                self.cancel(command.step_id)
            case HoldRun():
                self.held = True
            case End():
                self.ended, self.entering = command, None
            case Clean():
                self.cleaned = command.over

    def fresh(self, step: str) -> None:
        assert step not in self.seen, f"{step} is begun twice"
        self.seen.add(step)

    def cancel(self, step: str) -> None:
        waiting = next((one for one in self.deferred if getattr(one, "step_id", None) == step), None)
        if waiting is not None:
            self.deferred.remove(waiting)
            if isinstance(waiting, Do):
                self.cut.append(step)
        elif step in self.orders:
            assert step not in self.left, f"{step} is called off twice"
            self.left.add(step)
        else:
            found = [waits.pop(step, None) for waits in (self.questions, self.awaits, self.timers)]  # type: ignore[attr-defined]
            assert any(one is not None for one in found), f"{step} does not wait"

    def check(self) -> None:
        """What the machine waits for is what is under way."""
        pending = {step: one for one in self.machine.pending if (step := getattr(one, "step_id", ""))}
        held_back = {one.step_id: one for one in self.deferred if isinstance(one, (Do, Ask, Await))}
        open_orders = {step: order for step, order in self.orders.items() if step not in self.left}
        steps = {*open_orders, *self.questions, *self.awaits, *held_back}
        sleeping = {step for step, one in pending.items() if isinstance(one, Sleep)}
        if not self.cleaning:
            assert set(pending) - sleeping == steps
            assert set(self.timers) == sleeping | set(self.machine.timers)
        assert len([one for one in self.machine.pending if isinstance(one, Do)]) == len(
            {one.step_id for one in self.machine.pending if isinstance(one, Do)}
        )
        assert self.machine.held == self.held or self.cleaning or any(isinstance(one, HoldRun) for one in self.deferred)

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────
    def next(self) -> Event:
        """One of the things that may happen now."""
        kinds = ["time"] if self.timers else []
        kinds += ["order"] * 3 if self.orders else []
        kinds += ["question"] if self.questions else []
        kinds += ["await"] if any(one.within is not None for one in self.awaits.values()) else []
        kinds += ["cut"] * 3 if self.cut else []
        kinds += ["see"] if self.machine.watching and not self.held else []
        kinds += ["enter"] * 5 if self.entering is not None else []
        kinds += ["resume"] if self.held and not self.orders else []
        assert kinds, "nothing can happen any more"
        return getattr(self, f"_{self.luck.choice(kinds)}")()  # type: ignore[no-any-return]

    def _enter(self) -> Event:
        assert self.entering is not None
        self.entered, self.entering = self.entering, None
        assert not self.orders, "a state is entered while actions of the last are under way"
        return Entered(self.entered.state)

    def _time(self) -> Event:
        step = min(self.timers, key=self.timers.__getitem__)
        self.now = max(self.now, self.timers.pop(step))
        return Elapsed(step)

    def _order(self) -> Event:
        step, order = self.luck.choice(list(self.orders.items()))
        if step not in self.sent and self.luck.random() < 0.8:
            self.sent.add(step)
            return Sent(step)
        if step in self.sent and self.luck.random() < 0.1:
            self.sent.discard(step)
            return Unsent(step)
        action = ROLES[self.protocol.roles[order.role].role].actions[order.action]
        self.now += self.luck.choice((0.0, 10.0, 1e6 if self.luck.random() < 0.1 else 1.0))
        self.orders.pop(step)
        left = step in self.left
        self.left.discard(step)
        if step in self.sent and self.luck.random() < 0.9:
            return Done(step, self.some(record_of("result", action.result)))
        kinds = ["rejected", "fault", "unreachable"] if step in self.sent else ["rejected", "unreachable"]
        if action.effect is not Effect.ONCE and step in self.sent:
            kinds.append("timeout")
        return Failed(step, "cancelled" if left and step not in self.sent else self.luck.choice(kinds), "so it was")  # type: ignore[arg-type]

    def _cut(self) -> Event:
        return Failed(self.cut.pop(), "cancelled", "it was not begun")

    def _question(self) -> Event:
        step, question = self.luck.choice(list(self.questions.items()))
        del self.questions[step]
        if question.within is not None and self.luck.random() < 0.3:
            return Expired(step)
        if question.choices:
            return Answered(step, self.luck.choice(question.choices), by="eva")
        assert question.input is not None
        values: dict[str, Any] = {"integer": 2, "boolean": True, "text": "fine"}
        values |= {"quantity": self.luck.uniform(question.input.min or 0, question.input.max or 9), "number": 1.5}
        value = self.luck.choice(question.input.choices) if question.input.choices else values[question.input.type]
        return Answered(step, value=value, by="eva")

    def _await(self) -> Event:
        step = self.luck.choice([step for step, one in self.awaits.items() if one.within is not None])
        del self.awaits[step]
        return Expired(step)

    def _see(self) -> Event:
        return Observed()

    def _resume(self) -> Event:
        self.holds += 1
        self.held = False
        hold = self.machine.hold
        assert hold is not None
        deferred, self.deferred = [one for one in self.deferred if not isinstance(one, HoldRun)], []
        for command in deferred:
            self.obey(command)
        at = self.luck.choice([None, None, *hold.continue_at]) if self.holds < MOST_HOLDS else self.end
        assert at is None or self.machine.goes_on_at(at)
        return Resume(at, by="eva")

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────
    def some(self, kind: Type) -> Any:
        """A value of a type, as a device gives it."""
        match kind:
            case Record(fields=fields):
                return {name: self.some(one) for name, one in fields.items()}
            case ListOf(item=item):
                return [self.some(item) for _ in range(self.luck.randint(0, 3))]
            case Number(integer=True):
                return self.luck.choice((0, 1, 2, 3, 4, 5, 20))  # all that strategies compare with comes about
            case Measure() | Number():
                return self.luck.choice((0.0, self.luck.uniform(0, 20), 5.0))
            case Text(choices=choices):
                return self.luck.choice(choices) if choices else "ot2/3/A1"
        assert kind == BOOLEAN
        return self.luck.random() < 0.7

    def outside(self) -> dict[str, Mapping[str, Any]]:
        """What stands where, and signals; now and then one that nobody knows."""
        found: dict[str, Mapping[str, Any]] = {
            "sample": {"id": "cell-1", "position": "ot2/3/A1", "home": "ot2/3/A1"},
            "run": {"id": "run-1"},
        }
        for name, use in self.protocol.roles.items():
            signals = {
                signal: Missing("is 20 s old") if self.luck.random() < 0.003 else self.some(kind)
                for signal, kind in record_of(use.role, ROLES[use.role].Signals).fields.items()
            }
            found[name] = {**signals, "place": f"{name}/place", "device": name}
        return found

    # ── after the end ────────────────────────────────────────────────────────────────────────────────────────────
    def after_the_end(self) -> None:
        """Nothing follows any more, whatever comes late."""
        assert not self.orders
        assert not self.timers
        assert self.machine.ended
        for event in (Observed(), Elapsed("window:0:1"), Done("s1:1/1", {}), Sent("s1:1/1")):
            assert self.machine.feed(event) == []

    def clean(self) -> None:
        """The cleanup ends by itself, and no hold or end comes of it."""
        self.cleaning = True
        roles = frozenset(name for name in self.protocol.roles if self.luck.random() < 0.7)
        self.take(self.machine.clean_up(roles))
        while not self.cleaned:
            self.happen()
        assert not self.machine.pending or isinstance(self.machine.pending[0], End)
        assert not any(isinstance(one, HoldRun) for one in self.deferred)


def _given(fake: Fake, name: str) -> Any:
    """A value of a parameter within its bounds, or None for its default."""
    spec = fake.protocol.parameters[name]
    choices = [None, *(value for value in (spec.min, spec.max) if value is not None), *(spec.choices or ())]
    return fake.luck.choice(choices)
