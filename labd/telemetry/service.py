"""Telemetry of one lab: what the bus tells and the journal holds, over MQTT. A broker's troubles stay here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import structlog

from labd import clock
from labd.journal import Journal, JournalError
from labd.lab.alarms import Alarms
from labd.lab.bus import Alarm, Bus, DeviceAbout, DeviceState, Happening, QueuedJob, QueueState, RunState, SignalsRead
from labd.lab.config import Broker, Mqtt
from labd.run.engine import Engine
from labd.telemetry import payloads
from labd.telemetry.apart import apart
from labd.telemetry.broker import EmbeddedBroker
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.commands import Commands
from labd.telemetry.outbox import Outbox
from labd.telemetry.outgoing import Retained, Signals
from labd.telemetry.publisher import (
    Backoff,
    ConnectionLost,
    Message,
    Publisher,
    PublishError,
    PublishRefused,
    Session,
    acknowledged,
)
from labd.telemetry.topics import TopicError, Topics

log = structlog.get_logger(__name__)

KEPT_AFTER_END = timedelta(hours=24)
END_LIMIT = 3.0  # s; for what is still to be told when the daemon ends, and again for its end


class Telemetry:
    """Publishes until cancelled; then says `offline` and good-bye.

    Args:
        lab_name: part of every topic.
        config: the broker, or `embedded`.
        bus: it is listened to from now on, so that nothing told before `run()` is missed.
        journal: events of runs are its outbox's messages: what was not acknowledged goes out after a restart.
        boot_id: distinguishes this life of the daemon from the one before.
        version: the daemon's.
        snapshot: what holds now, asked for at every connection beside what the bus has told.
        publisher: another client than aiomqtt's.
        engine: whose runs are commanded; no commands are taken without.
        safe_mode: why nothing runs, or None.

    Attributes:
        address: host and port of the broker, once there is one.
        connected: set while there is a connection.
    """

    def __init__(
        self,
        lab_name: str,
        config: Mqtt,
        bus: Bus,
        journal: Journal,
        boot_id: str,
        version: str,
        *,
        snapshot: Callable[[], Iterable[Happening]] = tuple,
        publisher: Publisher | None = None,
        engine: Engine | None = None,
        safe_mode: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._topics = Topics(lab_name)
        self._config = config
        self._boot_id, self._version = boot_id, version
        self._snapshot = snapshot
        self._publisher = publisher
        self._safe_mode = safe_mode
        self._commands = Commands(self._topics, engine) if engine is not None else None
        self._signals = Signals()
        self._retained = Retained()
        heard_of = engine.lab.alarms if engine is not None else Alarms(bus)
        self._outbox = Outbox(journal, self._topics, heard_of, config.backlog)
        self._ends: dict[str, datetime] = {}  # topics of ended runs, and when they are cleared
        self._ends_changed = asyncio.Event()
        self._wanted: Callable[[str], bool] = lambda _: True
        self._forget = bus.subscribe(self.take)
        self.address: tuple[str, int] | None = None
        self.connected = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Signal messages dropped because the broker did not take them in time."""
        return self._signals.dropped

    # ── what the lab tells ───────────────────────────────────────────────────────────────────────────────────────
    def take(self, happening: Happening) -> None:
        """Puts a happening where the senders find it. Never waits and never raises."""
        try:
            self._take(happening)
        except (TopicError, ValueError):  # the lab goes on without this message
            log.exception("cannot be told over MQTT", happening=happening)

    def _take(self, happening: Happening) -> None:
        topics = self._topics
        match happening:
            case SignalsRead():
                topic = topics.device_signal(happening.device)
                if self._wanted(topic):
                    self._signals.put(Message(topic, self._signal(happening), qos=0))
            case DeviceState():
                self._retain(topics.device_state(happening.device), _model(payloads.State, happening, "device"))
            case DeviceAbout():
                self._retain(topics.device_about(happening.device), _model(payloads.About, happening, "device"))
            case RunState():
                topic = topics.run_state(happening.run)
                self._retain(topic, _model(payloads.Run, happening, "run"))
                if happening.ended is not None:
                    self._ends[topic] = datetime.fromisoformat(happening.ended) + KEPT_AFTER_END
                    self._ends_changed.set()
            case QueueState():
                jobs = tuple(_model(payloads.Job, job) for job in happening.jobs)
                queue = {"jobs": jobs, "more": happening.more, "paused": happening.paused}
                self._retain(topics.queue, payloads.Queue.model_validate(queue))
            case Alarm(ended=True):
                self._retained.clear(topics.alarm(happening.id))
            case Alarm():
                self._retain(topics.alarm(happening.id), _model(payloads.Alarm, happening, "id", "ended"))

    def _signal(self, read: SignalsRead) -> bytes:
        values = {name: payloads.Value(v=value.v, u=value.u, q=value.q) for name, value in read.values.items()}
        return payloads.Signal(seq=read.seq, boot_id=self._boot_id, at=read.at, values=values).encode()

    def _retain(self, topic: str, payload: payloads.Payload) -> None:
        self._retained.put(Message(topic, payload.encode(), qos=1, retain=True))

    def _status(self, state: str) -> Message:
        status = payloads.Status.model_validate(
            {
                "state": state,
                "boot_id": self._boot_id,
                "version": self._version,
                "at": clock.stamp(),
                "safe_mode": self._safe_mode(),
            }
        )
        return Message(self._topics.status, status.encode(), qos=1, retain=True)

    def tell_status(self) -> None:
        """Says anew how the daemon is: safe mode has ended."""
        self._retained.tell_once(self._status("online"))

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────────────
    async def run(self) -> None:
        """Connects and publishes, again and again, until cancelled.

        Raises:
            BrokerError: the embedded broker cannot be started.
        """
        try:
            async with AsyncExitStack() as stack:
                publisher = self._publisher or await self._broker(stack)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._outbox.listen(), name="mqtt outbox")
                    group.create_task(self._clear_ended_runs(), name="mqtt ended runs")
                    if self._commands is not None:
                        group.create_task(self._commands.run(), name="mqtt commands")
                        await self._commands.ready.wait()
                    await self._connect_for_ever(publisher)
        finally:
            self._forget()

    async def _broker(self, stack: AsyncExitStack) -> Publisher:
        broker, embedded = self._config.broker, isinstance(self._config.broker, str)
        if isinstance(broker, str):
            started = await stack.enter_async_context(EmbeddedBroker(self._config.port))
            broker = Broker(host=started.host, port=started.port)
            # In ten hours of polls nobody may be looking: what nobody would get is not sent (0.4 ms a message).
            self._wanted = started.listened_to
        self.address = (broker.host, broker.port)
        return AiomqttPublisher(Address(broker, identifier=f"labd-{self._topics.lab}", embedded=embedded))

    async def _connect_for_ever(self, publisher: Publisher) -> None:
        backoff = Backoff()
        will = payloads.LastWill(boot_id=self._boot_id)
        testament = Message(self._topics.status, will.encode(), qos=1, retain=True)
        told = ""
        while True:
            lived_from = None
            try:
                async with publisher.connect(testament) as session:
                    lived_from = clock.monotonic()
                    log.info("broker connected", broker=self.address)
                    told = ""
                    await apart(self._serve(session))
            except* ConnectionLost as lost:
                problem = str(lost.exceptions[0])
                if problem != told:  # once when it is lost, not at every try
                    log.warning("broker lost", problem=problem)
                    told = problem
            await asyncio.sleep(backoff.ended(clock.monotonic() - lived_from if lived_from is not None else 0.0))

    async def _serve(self, session: Session) -> None:
        try:
            if self._commands is not None:
                await self._listen_to(session, self._topics.commands)
            await self._send_one_retained(session, self._status("online"))
            for happening in self._snapshot():
                self.take(happening)
            self._retained.tell_all_anew()
            self.connected.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(session.wait_lost(), name="mqtt link")
                group.create_task(self._send_retained(session), name="mqtt states")
                group.create_task(self._send_signals(session), name="mqtt signals")
                group.create_task(self._outbox.send(session), name="mqtt events")
                if self._commands is not None:
                    group.create_task(self._hear(session, self._commands), name="mqtt heard")
                    group.create_task(self._commands.send(session), name="mqtt answers")
        except asyncio.CancelledError:
            await self._say_offline(session)
            raise
        finally:
            self.connected.clear()

    async def _listen_to(self, session: Session, pattern: str) -> None:
        try:
            await session.listen_to(pattern)
        except PublishRefused as refused:  # the lab is told of all the same
            log.warning("commands cannot be heard", topic=refused.topic, reason=refused.reason)

    async def _hear(self, session: Session, commands: Commands) -> None:
        async for incoming in session.incoming():
            commands.hear(incoming)

    async def _say_offline(self, session: Session) -> None:
        """Tells what still waits, then the end. A broker that does not take it says `lost` for us."""
        for tell in (self._tell_what_waits, self._tell_the_end):
            try:
                async with asyncio.timeout(END_LIMIT):
                    await tell(session)
            except (TimeoutError, PublishError, JournalError) as error:
                log.warning("the broker was not told all", problem=str(error) or f"no answer in {END_LIMIT:g} s")

    async def _tell_what_waits(self, session: Session) -> None:
        while self._retained.waiting:
            await self._send_one_retained(session, await self._retained.get())
        if self._commands is not None:
            await self._commands.drain(session)
        await self._outbox.drain(session)

    async def _tell_the_end(self, session: Session) -> None:
        await session.send(self._status("offline"))

    async def _send_retained(self, session: Session) -> None:
        while True:
            await self._send_one_retained(session, await self._retained.get())

    async def _send_one_retained(self, session: Session, message: Message) -> None:
        try:
            await acknowledged(session.send(message))
        except PublishRefused as refused:  # its next state may be taken
            log.warning("message refused", topic=refused.topic, reason=refused.reason)
        self._retained.told(message)

    async def _send_signals(self, session: Session) -> None:
        dropped = self._signals.dropped
        while True:
            for taken in [session.send(message) for message in await self._signals.get()]:
                await taken
            if not len(self._signals) and self._signals.dropped > dropped:
                log.warning("signals dropped: the broker was slow or away", messages=self._signals.dropped - dropped)
                dropped = self._signals.dropped

    async def _clear_ended_runs(self) -> None:
        """Takes the states of runs away from the broker a day after their end."""
        while True:
            self._ends_changed.clear()
            now = clock.now()
            for topic in [topic for topic, due in self._ends.items() if due <= now]:
                del self._ends[topic]
                self._retained.clear(topic)
            wait = min(((due - now).total_seconds() for due in self._ends.values()), default=None)
            try:
                async with asyncio.timeout(wait):
                    await self._ends_changed.wait()
            except TimeoutError:
                pass


def _model(model: type[payloads.Payload], happening: Happening | QueuedJob, *left_out: str) -> payloads.Payload:
    """A happening as its payload: the same fields, without those that the topic says."""
    fields: dict[str, Any] = {name: getattr(happening, name) for name in type(happening).__dataclass_fields__}
    return model.model_validate({name: value for name, value in fields.items() if name not in left_out})
