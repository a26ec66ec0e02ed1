"""A machine walked by hand, with a clock: before each event a twin is restored from its snapshot, and says the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labd.files.library import Library
from labd.protocol import Machine, bind_parameters, load
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
    FailureKind,
    HoldRun,
    Observed,
    Resume,
    Sent,
    Sleep,
    Unsent,
)
from tests.protocol.walk import OUTSIDE, RESULTS

HEAD = """\
labd: 1
protocol: walked
version: 1.0.0
roles: {press: crimper, cycler: potentiostat, arm: arm, robot: pipetting_robot}
"""


def protocol(states: str, more: str = "", start: str = "work") -> str:
    """A protocol of these states, indented by two, and of the ends `done` and `scrap` where they lead there."""
    ends = {"done": "complete", "scrap": "scrapped"}
    found = "".join(f"  {name}: {{end: {outcome}}}\n" for name, outcome in ends.items() if name in states + more)
    return f"{HEAD}{more}start: {start}\nstates:\n{states}{found}"


class Walk:
    """What a runtime would do, by hand.

    It reserves what is asked for at once, and keeps what was ordered, asked and waited for until that is answered.
    """

    def __init__(self, text: str, calls: Mapping[str, str] | None = None, **parameters: Any) -> None:
        self.protocol = load(text, library=Library(calls or {}))
        self.parameters = bind_parameters(self.protocol, parameters)
        self.machine = Machine(self.protocol, self.parameters)
        self.outside: dict[str, dict[str, Any]] = {**OUTSIDE, "arm": {"gripped": False, "place": "", "device": "arm"}}
        self.machine.update(self.outside)
        self.now = 0.0
        self.said: list[Command] = []  # all, in order
        self.orders: dict[str, Do] = {}
        self.questions: dict[str, Ask] = {}
        self.awaits: dict[str, Await] = {}
        self.timers: dict[str, float] = {}
        self.cancelled: list[str] = []
        self._obey(self.machine.start())

    # ── what it said ─────────────────────────────────────────────────────────────────────────────────────────────
    def _obey(self, commands: list[Command]) -> list[Command]:
        self.said += commands
        for command in commands:
            match command:
                case Do(step_id=step):
                    assert step not in self.orders
                    self.orders[step] = command
                case Ask(step_id=step):
                    self.questions[step] = command
                case Await(step_id=step):
                    self.awaits[step] = command
                case Sleep(step_id=step, seconds=seconds):
                    self.timers[step] = self.now + seconds
                case Cancel(step_id=step):
                    self.cancelled.append(step)
                    for waits in (self.questions, self.awaits, self.timers):
                        waits.pop(step, None)  # type: ignore[attr-defined]
                case Enter(state=state):
                    self._obey(self._fed(Entered(state)))
                case _:
                    pass
        return commands

    def _fed(self, event: Event) -> list[Command]:
        taken = json.loads(json.dumps(self.machine.snapshot()))
        twin = Machine.restore(self.protocol, self.parameters, taken, program=self.machine._program)
        twin.update(self.outside)
        commands = self.machine.feed(event)
        assert twin.feed(event) == commands
        assert twin.snapshot() == self.machine.snapshot()
        return commands

    def feed(self, event: Event) -> list[Command]:
        """Feeds one event; gives what follows from it, without what follows from entering states."""
        return self._obey(self._fed(event))

    # ── what it did ──────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def ordered(self) -> list[str]:
        """What was ordered and has no outcome yet: `press.crimp`."""
        return [f"{do.role}.{do.action}" for do in self.orders.values()]

    @property
    def done_so_far(self) -> list[str]:
        """All actions that were ever ordered, in order."""
        return [f"{command.role}.{command.action}" for command in self.said if isinstance(command, Do)]

    @property
    def states(self) -> list[str]:
        """All states that were entered, the end included."""
        return [command.state for command in self.said if isinstance(command, (Enter, End))]

    @property
    def hold(self) -> str:
        """Why it is held."""
        assert self.machine.held
        assert self.machine.hold is not None
        return self.machine.hold.reason

    @property
    def reasons(self) -> list[str]:
        """Why it was ever held."""
        return [command.reason for command in self.said if isinstance(command, HoldRun)]

    @property
    def ended(self) -> str:
        """As what it has ended, or ""."""
        return next((command.outcome for command in self.said if isinstance(command, End)), "")

    @property
    def cleaned(self) -> bool:
        return Clean(over=True) in self.said

    @property
    def results(self) -> Mapping[str, Any]:
        return self.machine.results

    def decided(self, what: str) -> list[Any]:
        """All values of decisions of that name."""
        return [command.value for command in self.said if isinstance(command, Decided) and command.what == what]

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────
    def _step(self, name: str) -> str:
        found = [step for step, do in self.orders.items() if name in (step, f"{do.role}.{do.action}")]
        assert len(found) == 1, f"{name} was ordered {len(found)} times: {self.ordered}"
        return found[0]

    def sent(self, name: str) -> None:
        """The order of an action, by its name or step, is on its way."""
        self.feed(Sent(self._step(name)))

    def unsent(self, name: str) -> None:
        """That order has come to nothing, and may be given again."""
        self.feed(Unsent(self._step(name)))

    def done(self, name: str, **result: Any) -> list[Command]:
        """An action was sent, if it was not before, and done."""
        step = self._step(name)
        self.feed(Sent(step))
        order = self.orders.pop(step)
        return self.feed(Done(step, result or RESULTS.get(order.action, {})))

    def failed(self, name: str, kind: FailureKind = "rejected", message: str = "no", *, sent: bool = True) -> None:
        step = self._step(name)
        if sent:
            self.feed(Sent(step))
        del self.orders[step]
        self.feed(Failed(step, kind, message))

    def answer(self, choice: str = "", value: Any = None) -> None:
        """Answers the oldest question."""
        step = next(iter(self.questions))
        del self.questions[step]
        self.feed(Answered(step, choice, value, by="eva"))

    def expire(self) -> None:
        """Nobody answers the oldest question, or what is waited for does not come about."""
        waits = self.questions or self.awaits
        step = next(iter(waits))
        del waits[step]  # type: ignore[attr-defined]
        self.feed(Expired(step))

    def see(self, **signals: dict[str, Any]) -> None:
        """Signals are read: `see(cycler={"voltage": 3.0})`."""
        for role, values in signals.items():
            self.outside[role] = {**self.outside.get(role, {}), **values}
        self.machine.update(self.outside)
        self.feed(Observed())

    def resume(self, at: str | None = None) -> None:
        self.feed(Resume(at, by="eva"))

    def clean_up(self, *roles: str) -> None:
        self._obey(self.machine.clean_up(frozenset(roles)))

    def wait(self, seconds: float) -> None:
        """Time passes; what has waited long enough elapses, in order."""
        until = self.now + seconds
        while due := [step for step, when in self.timers.items() if when <= until]:
            step = min(due, key=self.timers.__getitem__)
            self.now = self.timers.pop(step)
            self.feed(Elapsed(step))
        self.now = until
