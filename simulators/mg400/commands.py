"""The arm's text commands: which there are on which port, what they take, what is answered.

`Name(parameters)`, answered by `ErrorID,{values},Name(parameters)`; upper and lower case are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from simulators.mg400 import kinematics
from simulators.mg400.arm import Arm, Queued

Say = Callable[[str], None]
Act = Callable[["Order"], str | None]
_COMMAND = re.compile(r"\s*(\w+)\s*\(\s*(.*?)\s*\)\s*", re.DOTALL)

OK, FAILED, IN_ERROR, ESTOPPED = 0, -1, -2, -3
UNKNOWN, WRONG_COUNT, WRONG_TYPE, WRONG_RANGE = -10000, -20000, -30000, -40000


class Refused(Exception):
    """A command that is not carried out; `error` is what goes back."""

    def __init__(self, error: int) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Order:
    """One command as it came, and how it is answered."""

    text: str
    numbers: tuple[float, ...]
    say: Say

    def answer(self, error: int = OK, values: str = "") -> None:
        self.say(f"{error},{{{values}}},{self.text}")

    def take(self, count: int, low: float = float("-inf"), high: float = float("inf")) -> tuple[float, ...]:
        """So many numbers. Raises Refused."""
        if len(self.numbers) < count:
            raise Refused(WRONG_COUNT)
        for place, number in enumerate(self.numbers[:count], 1):
            if not low <= number <= high:
                raise Refused(WRONG_RANGE - place)
        return self.numbers[:count]


class Commands:
    """What both command ports do with what they are sent. An act gives the values of its answer, or answers later."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        nothing: Act = lambda _: ""  # noqa: E731 - taken and kept by a real arm; of no consequence here
        self._dashboard: dict[str, Act] = {
            "enablerobot": self._enable,
            "disablerobot": lambda _: self._plain(arm.disable),
            "clearerror": lambda _: self._plain(arm.clear),
            "resetrobot": lambda _: self._plain(arm.reset),
            "continue": lambda _: self._plain(arm.resume),
            "speedfactor": self._speed,
            "robotmode": lambda _: str(arm.mode),
            "do": self._output,
            "doexecute": self._output_now,
            "di": lambda order: str(arm.inputs >> (int(order.take(1, 1, 64)[0]) - 1) & 1),
            "getpose": lambda _: _numbers(arm.pose),
            "getangle": lambda _: _numbers(arm.joints),
            "geterrorid": lambda _: f"[[{','.join(map(str, arm.alarms))}],[],[],[],[]]",
            "emergencystop": lambda _: self._plain(lambda: arm.press_estop(arm.now)),
            "user": nothing,
            "tool": nothing,
            "payload": nothing,
            "accj": nothing,
            "accl": nothing,
            "speedj": nothing,
            "speedl": nothing,
            "cp": nothing,
            "setcollisionlevel": nothing,
        }
        self._motion: dict[str, Act] = {
            "movj": lambda order: self._go("joints", order),
            "movl": lambda order: self._go("line", order),
            "jointmovj": self._joints,
            "sync": self._sync,
        }

    def dashboard(self, text: str, say: Say) -> None:
        """Carries out what came on port 29999."""
        self._carry_out(self._dashboard, text, say)

    def motion(self, text: str, say: Say) -> None:
        """Carries out what came on port 30003."""
        self._carry_out(self._motion, text, say)

    def _carry_out(self, known: dict[str, Act], text: str, say: Say) -> None:
        match = _COMMAND.fullmatch(text)
        act = known.get(match[1].lower()) if match else None
        if match is None or act is None:
            Order(text, (), say).answer(UNKNOWN)
            return
        try:
            order = Order(text, _parsed(match[2]), say)
            values = act(order)
        except Refused as refusal:
            Order(text, (), say).answer(refusal.error)
            return
        if values is not None:
            order.answer(OK, values)

    @staticmethod
    def _plain(act: Callable[[], object]) -> str:
        act()
        return ""

    def _enable(self, order: Order) -> None:
        if self._arm.alarms:
            raise Refused(ESTOPPED if self._arm.estopped else FAILED)
        self._arm.enable(lambda: order.answer(OK if self._arm.enabled else FAILED))

    def _speed(self, order: Order) -> str:
        self._arm.speed = order.take(1, 1, 100)[0] / 100
        return ""

    def _output(self, order: Order) -> str:
        number, on = order.take(2, 0, 64)
        self._arm.enqueue(Queued("output", output=(int(number), bool(on))))
        if not self._arm.enabled:  # nothing is queued before it: a queue of an arm without drives does not run
            self._arm.reset()
            raise Refused(FAILED)
        return ""

    def _output_now(self, order: Order) -> str:
        number, on = order.take(2, 0, 64)
        self._arm.switch(int(number), bool(on))
        return ""

    def _moveable(self) -> None:
        if self._arm.estopped:
            raise Refused(ESTOPPED)
        if self._arm.alarms:
            raise Refused(IN_ERROR)
        if not self._arm.enabled:
            raise Refused(FAILED)

    def _go(self, kind: str, order: Order) -> str:
        x, y, z, r = order.take(4)
        self._moveable()
        target = (x, y, z, r)
        if kind == "joints":
            try:
                target = kinematics.joints_for(target)
            except kinematics.OutOfReach as error:
                # the controller takes the command and alarms when it plans it
                self._arm.fail(error.alarm, self._arm.now)
                return ""
        self._arm.enqueue(Queued(kind, target))
        return ""

    def _joints(self, order: Order) -> str:
        a, b, c, d = order.take(4)
        self._moveable()
        self._arm.enqueue(Queued("joints", (a, b, c, d)))
        return ""

    def _sync(self, order: Order) -> None:
        self._moveable()
        self._arm.enqueue(Queued("sync", done=order.answer))


def _parsed(text: str) -> tuple[float, ...]:
    """The numbers before the first `Name=value`. Raises Refused."""
    numbers: list[float] = []
    for place, part in enumerate(filter(None, (one.strip() for one in text.split(","))), 1):
        if "=" in part:
            break
        try:
            numbers.append(float(part))
        except ValueError:
            raise Refused(WRONG_TYPE - place) from None
    return tuple(numbers)


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.4f}" for value in values)
