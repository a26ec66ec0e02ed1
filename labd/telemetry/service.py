"""Telemetry of one lab: what the bus tells and the journal holds, over MQTT. A broker's troubles stay here."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import structlog

from labd import clock
from labd.journal import Journal, JournalError
from labd.lab.access import Role
from labd.lab.alarms import Alarms
from labd.lab.bus import Alarm, Bus, Happening, SignalsRead
from labd.lab.config import Broker, Mqtt
from labd.run.engine import Engine
from labd.telemetry import signals
from labd.telemetry.apart import apart
from labd.telemetry.broker import EmbeddedBroker
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.commands import Commands
from labd.telemetry.home_assistant import STATUS, HomeAssistant
from labd.telemetry.link import AWAY_ALARM, Link
from labd.telemetry.outbox import Outbox
from labd.telemetry.outgoing import Signals
from labd.telemetry.presence import Presence
from labd.telemetry.publisher import Incoming, Message, Publisher, PublishError, PublishRefused, Session, acknowledged
from labd.telemetry.refusals import Refusals
from labd.telemetry.sweep import Sweep
from labd.telemetry.topics import TopicError, Topics
from labd.telemetry.twin import Twin
from labd.telemetry.wire import size_of

log = structlog.get_logger(__name__)

END_LIMIT = 3.0  # s of the machine; for what is still to be told when the daemon ends, and again for its end
AT_ONCE = 100  # retained messages under way before the first is acknowledged


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
        users: who may command what; None: everybody everything.
        alarms: where it is told that the broker is away, or that another daemon has this one's name.

    Attributes:
        connected: set while there is a connection and the broker has been told what holds.
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
        users: Mapping[str, Role] | None = None,
        alarms: Alarms | None = None,
    ) -> None:
        self._topics = Topics(lab_name)
        self._config = config
        self._journal = journal
        self._boot_id = boot_id
        self._snapshot = snapshot
        self._publisher = publisher
        self._engine = engine
        self._commands = Commands(self._topics, engine, users) if engine is not None else None
        self._signals = Signals()
        self._presence = Presence(self._topics, boot_id, version, safe_mode)
        self._retained = self._presence.retained
        self._home = HomeAssistant(self._topics, version) if config.home_assistant else None
        self._sweep = Sweep(self._topics, self._retained, journal)
        self._twin = Twin(lab_name, boot_id, alarms)
        self._link = Link(self._twin, alarms)
        told = alarms or (engine.lab.alarms if engine is not None else Alarms(bus))
        self._outbox = Outbox(journal, self._topics, told, config.backlog)
        self._refusals = Refusals(self._topics.status, self._retained, told, self.tell_status)
        self._too_large: set[str] = set()  # signals that were told of
        self._unheard: set[str] = set()
        self._wanted: Callable[[str], bool] | None = None  # of a topic, whether anybody listens; None: nobody can tell
        self._forget = bus.subscribe(self.take)
        self.connected = self._link.connected

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the broker, once there is one."""
        return self._link.address

    @property
    def dropped(self) -> int:
        """Signal messages dropped because the broker did not take them in time."""
        return self._signals.dropped

    def info(self) -> dict[str, Any]:
        """What `labd status` tells of the broker: where, whether and since when it is connected, what waits."""
        return {**self._link.info(), "states_waiting": self._retained.waiting, "signals_dropped": self.dropped}

    # ── what the lab tells ───────────────────────────────────────────────────────────────────────────────────────
    def take(self, happening: Happening) -> None:
        """Puts a happening where the senders find it. Never waits and never raises."""
        try:
            self._take(happening)
        except (TopicError, ValueError):  # the lab goes on without this message
            log.exception("cannot be told over MQTT", happening=happening)

    def _take(self, happening: Happening) -> None:
        if isinstance(happening, Alarm) and happening.id == AWAY_ALARM:
            return  # who could hear it here can see that it is not so
        if isinstance(happening, SignalsRead):
            if self._wanted is None or self._wanted(self._topics.device_signal(happening.device)):
                self._signals.put(happening)
        else:
            self._presence.take(happening)
            if self._home is not None:
                self._retain(self._home.take(happening))

    def _retain(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._retained.put(message)

    def _signals_of(self, reads: Iterable[SignalsRead]) -> Iterator[Message]:
        for read in reads:
            try:
                topic, payload = self._topics.device_signal(read.device), signals.encode(read, self._boot_id)
            except (TopicError, ValueError):  # the others go on without this one
                log.exception("cannot be told over MQTT", happening=read)
            else:
                yield Message(topic, payload, qos=0)

    def _take_what_holds(self) -> None:
        for happening in self._snapshot():
            self.take(happening)
        if self._home is not None:
            self._retain(self._home.begin())

    def tell_status(self) -> None:
        """Says anew how the daemon is: safe mode has ended."""
        self._presence.tell_status()

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────────────
    async def run(self) -> None:
        """Connects and publishes, again and again, until cancelled.

        Raises:
            BrokerError: the embedded broker cannot be started.
        """
        try:
            async with AsyncExitStack() as stack:
                publisher = self._publisher or await self._broker(stack)
                await self._take_up()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._outbox.listen(), name="mqtt outbox")
                    group.create_task(self._presence.clear_ended_runs(), name="mqtt ended runs")
                    group.create_task(self._link.watch(), name="mqtt watch")
                    group.create_task(self._settle(), name="mqtt leftovers")
                    group.create_task(self._tell_how_far(), name="mqtt progress")
                    if self._commands is not None:
                        group.create_task(self._commands.run(), name="mqtt commands")
                        await self._commands.ready.wait()
                    await self._link.keep(publisher, self._presence.will(), self._serve)
        finally:
            self._forget()

    async def _broker(self, stack: AsyncExitStack) -> Publisher:
        broker, embedded = self._config.broker, isinstance(self._config.broker, str)
        if isinstance(broker, str):
            started = await stack.enter_async_context(EmbeddedBroker(self._config.port))
            broker = Broker(host=started.host, port=started.port)
            # In ten hours of polls nobody may be looking: what nobody would get is not sent (0.4 ms a message).
            self._wanted = started.listened_to
        self._link.address = (broker.host, broker.port)
        identifier = f"labd-{self._topics.lab}"
        if embedded:  # it knows no users, and says nothing to whom another client of the same id has cut off
            identifier += f"-{secrets.token_hex(6)}"
        return AiomqttPublisher(Address(broker, identifier, embedded=embedded))

    async def _take_up(self) -> None:
        started = await self._journal.events(kinds={"daemon.started"})
        self._twin.lives = lives = {str(event.data.get("boot_id")) for event in started}
        await self._sweep.take_up(lives)

    async def _settle(self) -> None:
        """Once the engine knows its runs, all that the lab owns is known: the rest at the broker is nobody's."""
        if self._engine is not None:
            await self._engine.ready.wait()
        self._take_what_holds()
        self._sweep.settle()

    async def _tell_how_far(self) -> None:
        if self._engine is not None:
            await self._engine.ready.wait()
            await self._presence.tell_how_far(self._engine.unended)

    async def _serve(self, session: Session) -> None:
        """Works until the connection is lost; cancelled, it tells the end, also where something fails just then."""
        try:
            await apart(self._work(session))
        except asyncio.CancelledError:
            await self._say_offline(session)
            raise
        finally:
            self._link.falls()

    async def _work(self, session: Session) -> None:
        """Commands can be heard before the lab is online; states go before events and signals."""
        async with asyncio.TaskGroup() as group:
            group.create_task(session.wait_lost(), name="mqtt link")
            group.create_task(self._hear(session), name="mqtt heard")
            await self._listen(session)
            await self._announce(session)
            self._stand()
            group.create_task(self._send_retained(session), name="mqtt states")
            group.create_task(self._refusals.try_again(), name="mqtt refused states")
            group.create_task(self._send_signals(session), name="mqtt signals")
            group.create_task(self._outbox.send(session), name="mqtt events")
            if self._commands is not None:
                group.create_task(self._commands.send(session), name="mqtt answers")

    def _stand(self) -> None:
        """Says that the lab is connected, once the broker has taken that it is there; and what it does not take."""
        self._refusals.tell()
        self._link.problem = self._refusals.problem
        if not self._refusals.unseen and not self._link.connected.is_set():
            self._link.stands()

    # ── what comes ───────────────────────────────────────────────────────────────────────────────────────────────
    async def _listen(self, session: Session) -> None:
        if self._commands is not None:
            await self._listen_to(session, self._topics.commands, "commands cannot be heard")
        if self._home is not None:
            await self._listen_to(session, STATUS, "Home Assistant's start cannot be heard")
        if isinstance(self._config.broker, Broker):  # the embedded one holds nothing that is older than the daemon
            for pattern in (self._topics.status, *self._sweep.patterns):
                await self._listen_to(session, pattern, "what stands at the broker cannot be read", standing=True)

    async def _listen_to(self, session: Session, pattern: str, without: str, *, standing: bool = False) -> None:
        try:
            await session.listen_to(pattern, standing=standing)
        except PublishRefused as refused:  # the lab is told of all the same
            if pattern not in self._unheard:  # once, not at every connection
                log.warning(without, topic=refused.topic, reason=refused.reason)
            self._unheard.add(pattern)

    async def _hear(self, session: Session) -> None:
        async for incoming in session.incoming():
            self._take_incoming(incoming)

    def _take_incoming(self, incoming: Incoming) -> None:
        if incoming.topic == self._topics.status:
            if self._twin.hear(incoming):
                self.tell_status()
        elif incoming.topic.startswith(self._topics.commands.removesuffix("+/+")):
            if self._commands is not None:
                self._commands.hear(incoming)
        else:
            if self._home is not None:
                self._retain(self._home.hear(incoming))
            if self._twin.known is None:  # else it may well be the other's
                self._sweep.hear(incoming)

    # ── what goes ────────────────────────────────────────────────────────────────────────────────────────────────
    async def _announce(self, session: Session) -> None:
        """The birth, and all that holds."""
        self._refusals.connected()
        await self._send_states(session, [self._presence.status("online")])
        self._take_what_holds()
        self._retained.tell_all_anew()
        while messages := self._retained.take(AT_ONCE):
            await self._send_states(session, messages)

    async def _send_retained(self, session: Session) -> None:
        while True:
            message = await self._retained.get()
            await self._send_states(session, [message, *self._retained.take(AT_ONCE - 1)])
            self._stand()

    async def _send_states(self, session: Session, messages: list[Message]) -> None:
        for message, sent in [(message, session.send(message)) for message in messages]:
            try:
                await acknowledged(sent)
            except PublishRefused as refused:
                self._refusals.met(message, refused)
            else:
                self._refusals.taken(message)

    async def _send_signals(self, session: Session) -> None:
        dropped = self._signals.dropped
        while True:
            messages = self._that_fit(session, tuple(self._signals_of(await self._signals.get())))
            if messages:
                await self._send_at_once(session, messages)
            if not len(self._signals) and self._signals.dropped > dropped:
                log.warning("signals dropped: the broker was slow or away", messages=self._signals.dropped - dropped)
                dropped = self._signals.dropped

    async def _send_at_once(self, session: Session, messages: tuple[Message, ...]) -> None:
        try:
            await session.send_all(messages)
        except BaseException as error:
            self._signals.dropped += len(messages)
            if not isinstance(error, PublishRefused):
                raise

    def _that_fit(self, session: Session, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Of signals, those that the broker takes; a larger one would end the connection."""
        largest = session.largest
        if largest is None:
            return messages
        fit = tuple(message for message in messages if size_of(message, v5=True) <= largest)
        self._signals.dropped += len(messages) - len(fit)
        for message in messages if len(fit) < len(messages) else ():
            if size_of(message, v5=True) > largest and message.topic not in self._too_large:
                self._too_large.add(message.topic)
                log.warning("signals dropped: larger than the broker takes", topic=message.topic, largest=largest)
        return fit

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def _say_offline(self, session: Session) -> None:
        """Tells what still waits, then the end. A broker that does not take it says `lost` for us."""
        for tell in (self._tell_what_waits, self._tell_the_end):
            try:
                async with asyncio.timeout(clock.of_machine(END_LIMIT)):
                    await tell(session)
            except (TimeoutError, PublishError, JournalError) as error:
                log.warning("the broker was not told all", problem=str(error) or f"no answer in {END_LIMIT:g} s")

    async def _tell_what_waits(self, session: Session) -> None:
        while messages := self._retained.take(AT_ONCE):
            await self._send_states(session, messages)
        if self._commands is not None:
            await self._commands.drain(session)
        await self._outbox.drain(session)

    async def _tell_the_end(self, session: Session) -> None:
        await session.send(self._presence.status("offline"))
