"""What a run has done: orders for its devices, and what follows from their outcomes."""

from __future__ import annotations

from labd.protocol import messages as m
from labd.run.agenda import Urgency
from labd.run.orders import OrderRefusedError, make_order
from labd.run.outcomes import Did, Failed, Order, Settled, Unsettled
from labd.run.performer import Performer
from labd.run.questions import OpenOutcome
from labd.run.supplying import Supplying
from labd.sdk import Outcome, Verdict


class Acting(Supplying):
    """The actions of one run."""

    def __init__(self, id: str, sample: str, performer: Performer) -> None:  # noqa: A002 - the word of the field
        super().__init__(id, sample, performer)
        self._cleaning = False
        self._rest: dict[str, float] = {}  # by step: s that are left of its action's time limit from before a restart
        performer.on_sent = self._sent
        performer.on_unsent = self._unsent

    def _do(self, command: m.Do) -> None:
        bound = self._bounds[command.role]
        try:
            order = make_order(self._performer.lab, self.id, self.sample, self.machine.state, bound, command)
        except OrderRefusedError as error:
            self._post("action.refused", step=command.step_id, action=command.action, message=str(error))
            failed = Failed("rejected", str(error))
            self._agenda.put(Urgency.RESULT, lambda: self._settled(command, None, failed))
            return
        if self._cleaning:
            shortage = self._inventory.shortage(self._performer.recorder.deed(order))
            if shortage is not None:  # nobody is asked any more
                self._post("action.refused", step=command.step_id, action=command.action, message=shortage.text)
                failed = Failed("rejected", shortage.text)
                self._agenda.put(Urgency.RESULT, lambda: self._settled(command, None, failed))
                return
        elif self._lacks(command, order):
            return
        if command.within is not None:
            self._performer.allow(command.step_id, self._rest.pop(command.step_id, command.within))
        self._inventory.begin(self.id, command.step_id, self._performer.recorder.deed(order))
        self._agenda.spawn(self._perform(command, order), f"does {command.step_id}")

    def _sent(self, step: str) -> None:
        self._agenda.put(Urgency.RESULT, lambda: self._feed(m.Sent(step)))

    def _unsent(self, step: str) -> None:
        self._agenda.put(Urgency.RESULT, lambda: self._feed(m.Unsent(step)))

    async def _perform(self, command: m.Do, order: Order) -> None:
        settled = await self._performer.perform(order)
        self._agenda.put(Urgency.RESULT, lambda: self._settled(command, order, settled))

    def _settled(self, command: m.Do, order: Order | None, settled: Settled) -> None:
        self._inventory.end(self.id, command.step_id)
        if self.over:
            if isinstance(settled, Unsettled) and order is not None:
                self._unknown.append(order.name)
            if self._cleaning:
                self._feed(self._cleaned_by(command, settled))
            self._check_quiet()
            return
        match settled:
            case Did(result, conflict):
                if conflict is not None:
                    self._hold(conflict)
                self._feed(m.Done(command.step_id, result.model_dump(), token=command.token))
            case Failed(kind, message):
                self._feed(m.Failed(command.step_id, kind, message, token=command.token))
            case Unsettled() as unsettled if order is not None:
                if unsettled.kind == "fault" and self.machine.catches("fault", command.step_id):
                    self._feed(m.Failed(command.step_id, "fault", unsettled.message, token=command.token))
                else:
                    self._ask_outcome(OpenOutcome(command, order, unsettled))
        self._check_quiet()

    def _cleaned_by(self, command: m.Do, settled: Settled) -> m.Event:
        """What came of a step of cleanup; what is not known to be done counts as failed: nobody is asked any more."""
        match settled:
            case Did(result, _):
                return m.Done(command.step_id, result.model_dump(), token=command.token)
            case Failed(kind, message):
                return m.Failed(command.step_id, kind, message, token=command.token)
            case Unsettled(_, _, message, _):
                return m.Failed(command.step_id, "fault", message, token=command.token)

    async def leave_off(self) -> None:
        """Begins nothing new, and waits for what acts; not for actions that go on without labd."""
        await self._performer.leave_off()

    # ── devices that come back ───────────────────────────────────────────────────────────────────────────────────
    def _ask_again(self, device: str) -> None:
        """A device is well again: it may know now what people are asked about."""
        for asked in self._desk.outcomes:
            if asked.order.bound.device.id == device and asked.unsettled.kind == "unknown" and not self.over:
                self._agenda.spawn(self._ask_device(asked), f"asks {device}")

    async def _ask_device(self, asked: OpenOutcome) -> None:
        outcome = await self._performer.ask(asked.order, asked.unsettled.intent)
        if outcome.verdict is Verdict.RUNNING:
            self._agenda.put(Urgency.RESULT, lambda: self._runs_on(asked, outcome))
        if outcome.verdict in (Verdict.DONE, Verdict.NOT_DONE):
            self._agenda.put(Urgency.RESULT, lambda: self._device_told(asked, outcome))

    def _runs_on(self, asked: OpenOutcome, outcome: Outcome) -> None:
        """The action goes on at its device: it is taken up, and nobody need be asked. The run stays held."""
        action_id = asked.unsettled.intent.id
        if not self.over and self._desk.tell_outcome(action_id, f"it goes on: {outcome.why}") is not None:
            self.cause = f"{asked.order.name} goes on, the device has told since; unhold"
            self._agenda.spawn(self._follow(asked), f"follows {asked.command.step_id}")

    async def _follow(self, asked: OpenOutcome) -> None:
        order, intent = asked.order, asked.unsettled.intent
        settled = await self._performer.resume(order, intent, "its link was lost while it was under way")
        self._agenda.put(Urgency.RESULT, lambda: self._settled(asked.command, order, settled))

    def _device_told(self, asked: OpenOutcome, outcome: Outcome) -> None:
        """The device knows: the question is taken back. The run stays held, for somebody may be at the device."""
        done = outcome.verdict is Verdict.DONE
        if self.over or (done and outcome.result is None):
            return
        if self._desk.tell_outcome(asked.unsettled.intent.id, f"the device has told: {outcome.why}") is None:
            return
        self._apply(asked, "done" if done else "not done", outcome.result, {"by": "device", "why": outcome.why})
        self.cause = f"{asked.order.name}: {outcome.verdict.value.replace('_', ' ')}, the device has told since; unhold"
