"""A run whose action lacks something: suspended, it asks, and goes on once that is there.

Material, tips, a part, room; or a taught position or a calibration that is still good.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from labd import clock
from labd.lab.inventory import Shortage, StockError
from labd.lab.validity import VALIDITY, expired
from labd.protocol import messages as m
from labd.run.agenda import Urgency
from labd.run.asking import Asking
from labd.run.lifecycle import PAUSED, State
from labd.run.orders import OrderRefusedError, make_order
from labd.run.outcomes import Order
from labd.run.performer import Performer
from labd.run.questions import Question
from labd.run.reservations import Bound

REFILLED = "it is there again"


class Supplying(Asking):
    """What a run lacks."""

    _deferred: list[m.Command]
    _bounds: dict[str, Bound]

    def __init__(self, id: str, sample: str, performer: Performer) -> None:  # noqa: A002 - the word of the field
        super().__init__(id, sample, performer)
        self._agreed: set[str] = set()  # what is no longer good, and a person goes on with
        self._dry: dict[str, m.Do] = {}  # the steps that lack something; their commands are deferred
        self._inventory = performer.lab.inventory
        self._blind = self._inventory.on_change(self._stock_changed)

    def _lacks(self, command: m.Do, order: Order) -> bool:
        """Whether something is missing for an order; then the run is suspended, and asks for it."""
        shortage = self._missing(order)
        step = command.step_id
        if shortage is None:
            self._supplied_now(step, REFILLED)
            return False
        self._deferred.append(command)
        self._dry[step] = command
        asked = self._desk.supply(step)
        if asked is not None and asked.text != shortage.text:
            self._desk.withdraw_step(step, "something else is missing now", "supply")
            asked = None
        if asked is None:
            self._desk.ask_supply(step, command.token, shortage)
        self._suspend(shortage.text)
        return True

    def _supplied_now(self, step: str, why: str) -> None:
        self._dry.pop(step, None)
        self._desk.withdraw_step(step, why, "supply")

    def _still_dry(self) -> bool:
        """Whether a step of those that lacked something lacks it still."""
        found = False
        for step, command in list(self._dry.items()):
            if command not in self._deferred:  # its state was left meanwhile
                self._supplied_now(step, "the step is not done any more")
            elif self._is_short(command):
                found = True
        return found

    def _is_short(self, command: m.Do) -> bool:
        return self._shortage_of(command) is not None

    def _stock_changed(self) -> None:
        if self._dry and self.lifecycle.at is State.SUSPENDED:
            self._agenda.put(Urgency.RESULT, self._look_at_stock)

    def _suspended(self) -> None:
        self._agenda.put(Urgency.RESULT, self._look_at_stock)

    def _look_at_stock(self) -> None:
        """Goes on by itself once nothing is missing any more."""
        if self.lifecycle.at is not State.SUSPENDED or self._still_dry():
            return
        for step in list(self._dry):
            self._supplied_now(step, REFILLED)
        self._unsuspend()

    # ── what people say ──────────────────────────────────────────────────────────────────────────────────────────
    def _supplied(self, question: Question, value: Any, by: str) -> None:
        if not self.over:
            self._agenda.spawn(self._refill(question, value, by), f"refills for {question.step}")

    async def _refill(self, question: Question, value: Any, by: str) -> None:
        """Books what a person has put there; asks again where that cannot be, or is not enough."""
        command = self._dry.get(question.step)
        shortage = self._shortage_of(command) if command is not None else None
        if shortage is not None and shortage.thing == VALIDITY:
            self._agreed.add(shortage.place)
        elif shortage is not None:
            try:
                await self._inventory.refill(shortage, value, by=by)
            except StockError as error:
                problem = str(error)
                self._agenda.put(Urgency.RESULT, lambda: self._ask_anew(question.step, problem))
                return
        self._agenda.put(Urgency.RESULT, lambda: self._ask_anew(question.step, ""))

    def _shortage_of(self, command: m.Do) -> Shortage | None:
        """What a step lacks now; None also where it would be refused, which is told when it is done again."""
        bound = self._bounds.get(command.role)
        if bound is None:
            return None
        try:
            order = make_order(self._performer.lab, self.id, self.sample, self.machine.state, bound, command)
        except OrderRefusedError:
            return None
        return self._missing(order)

    def _missing(self, order: Order) -> Shortage | None:
        """What an order lacks: material, or a position or calibration that is still good."""
        lab, today = self._performer.lab, clock.now().date()
        short = self._inventory.shortage(self._performer.recorder.deed(order))
        return short or expired(lab, order.bound.device, order.parameters, today, self._agreed)

    def _ask_anew(self, step: str, problem: str) -> None:
        """After an answer: the same question once more where something is missing still."""
        command = self._dry.get(step)
        if self.over or command is None or command not in self._deferred:
            return
        shortage = self._shortage_of(command)
        if shortage is not None and self._desk.supply(step) is None:
            if problem:
                shortage = replace(shortage, text=f"{problem}. {shortage.text}")
            self._desk.ask_supply(step, command.token, shortage)
        self._look_at_stock()

    # ── after a restart ──────────────────────────────────────────────────────────────────────────────────────────
    def _take_up_supply(self, asked: dict[str, Question]) -> None:
        """What was missing before a restart; questions that nobody answered are open as before."""
        for command in self._deferred:
            if not isinstance(command, m.Do):
                continue
            question = asked.get(command.step_id)
            if question is not None:
                self._desk.take_up(question)
            if question is not None or self.lifecycle.at is State.SUSPENDED:
                self._dry[command.step_id] = command
        if self.lifecycle.at in PAUSED:
            for step, command in list(self._dry.items()):
                if self._is_short(command) and self._desk.supply(step) is None:
                    self._ask_anew(step, "")
        if self.lifecycle.at is State.SUSPENDED:
            self._agenda.put(Urgency.RESULT, self._look_at_stock)
