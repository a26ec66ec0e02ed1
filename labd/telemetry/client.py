"""The publisher on aiomqtt (paho underneath): MQTT 5, and 3.1.1 where the broker speaks no 5."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_ERR_SUCCESS, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import MessageType
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from labd import clock
from labd.lab.config import Broker
from labd.telemetry import access
from labd.telemetry.publisher import (
    TOO_LARGE,
    ConnectionLost,
    Incoming,
    Message,
    PublishRefused,
    Session,
    TakenOver,
    Unanswered,
    brief,
)
from labd.telemetry.reading import FAILURE, Forgiving
from labd.telemetry.wire import Gathered, Written, packet_of, size_of

KEEPALIVE = 30  # s
ANSWER_LIMIT = 10.0  # s of the machine; for the broker's CONNACK
ACK_WAIT = 0.002  # s of the machine; the longest that the broker waits for PUBACK
GOODBYE_LIMIT = 2.0  # s of the machine
REACH_LIMIT = 5.0  # s of the machine; for the TCP (and TLS) connection, made in a thread
ENDS = {141: Unanswered, 142: TakenOver}  # reason codes of DISCONNECT: keep-alive timeout, session taken over
MQTT5_UNSUPPORTED = 132  # reason code of CONNACK; paho gives it for 3.1.1's return code 1 as well

V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311

_QUIET = logging.getLogger(f"{__name__}.paho")
_QUIET.setLevel(logging.CRITICAL)  # what it has to say comes as exceptions, and is told once

# Without it Nagle and delayed ACK make a QoS 1 round trip 88 ms instead of 0.4 ms.
NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass(frozen=True, slots=True)
class Address:
    """A broker and how to come in.

    `identifier` is the same for every connection of a lab: the broker then ends a connection that is only half dead,
    and says its will, before it takes the next one and not after.
    """

    broker: Broker
    identifier: str
    embedded: bool = False


class AiomqttPublisher:
    """Connections to one broker."""

    def __init__(self, address: Address) -> None:
        self._address = address
        # The embedded broker is known to speak 3.1.1 only; of others it is learned.
        self._protocol = V311 if address.embedded else V5

    @asynccontextmanager
    async def connect(self, will: Message) -> AsyncIterator[Session]:
        """See `Publisher.connect`."""
        try:
            try:
                client = await self._open(will)
            except MqttConnectError as error:
                if self._protocol is not V5 or _code(error) != MQTT5_UNSUPPORTED:
                    raise
                self._protocol = V311
                client = await self._open(will)
        except (aiomqtt.MqttError, OSError) as error:
            broker = self._address.broker
            code = _code(error) if isinstance(error, MqttConnectError) else None
            problem = access.told(error, broker, code)
            scheme = "mqtt" if broker.tls is None else "mqtts"
            raise ConnectionLost(f"{scheme}://{broker.host}:{broker.port}: {problem}") from error
        try:
            yield client
        except asyncio.CancelledError:  # an end in order, too
            await client.end()
            raise
        except BaseException:  # nobody has said `offline`: the broker is to say `lost`
            await client.abandon()
            raise
        await client.end()

    async def _open(self, will: Message) -> _Client:
        broker = self._address.broker
        password = await asyncio.to_thread(access.password, broker)
        client = _Client(
            broker.host,
            broker.port,
            protocol=self._protocol,
            identifier=await asyncio.to_thread(access.identifier, self._address.identifier, password),
            username=broker.user,
            password=password,
            tls_context=await asyncio.to_thread(access.tls, broker),
            will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
            # clean_session is 3.1.1's word; MQTT 5's clean start is aiomqtt's default on a first connection.
            clean_session=None if self._protocol is V5 else True,
            # paho's keep-alive runs on the machine's clock, a broker within the loop on the lab's.
            keepalive=0 if self._address.embedded or clock.is_virtual() else KEEPALIVE,
            timeout=clock.of_machine(ANSWER_LIMIT),
            logger=_QUIET,
        )
        client.beside = broker.loopback and not self._address.embedded
        try:
            await client.__aenter__()
        except BaseException as error:
            await client.abandon()
            if client.reached and isinstance(error, aiomqtt.MqttError) and not isinstance(error, MqttConnectError):
                # No word at all: some brokers without MQTT 5 close, or wait for more. The next try speaks the other.
                self._protocol = V5 if self._protocol is V311 and not self._address.embedded else V311
            raise
        return client


class _Client(aiomqtt.Client):
    """aiomqtt's client as a Session.

    It adds what aiomqtt 2 has no public way to: the reason code of a PUBACK, sending many messages before the first is
    acknowledged, many messages of QoS 0 as one packet of paho's, few calls of the system (`Gathered`), what comes
    without two tasks and three turns of the loop a message, an end that leaves no socket behind whatever the broker
    does, and no wake-up a second without keep-alive (36,000 in ten hours of virtual time).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sent: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._written: set[Written] = set()  # at QoS 0, and not yet taken by the socket
        self._come: asyncio.Queue[Incoming | None] = asyncio.Queue()  # None: the connection has ended
        self._home = threading.get_ident()
        self._blocked = False  # the socket takes no more, and is watched until it does
        self._acks: asyncio.TimerHandle | None = None  # acknowledgements wait for something to leave with
        self._ack_wait = 0.0 if clock.is_virtual() else clock.of_machine(ACK_WAIT)
        self._reaching: asyncio.Future[None] | None = None
        self._abandoned = False
        self._v5 = options.get("protocol") is V5
        self.largest: int | None = None
        self.beside = False
        self._ended_with: ReasonCode | None = None
        self._flaw: aiomqtt.MqttError | None = None  # what the broker sent, and nobody can read
        self.reached = False  # the connection stands; the broker's answer is another matter
        self._disconnected.add_done_callback(self._on_lost)
        self._client.connect_timeout = REACH_LIMIT
        # It wakes paho's own loop, which does not run here, at the price of a system call a packet.
        self._client._reset_sockets(sockpair_only=True)  # noqa: SLF001
        Forgiving(self._client, self._on_flaw)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._ended_with is not None and not self._disconnected.done():
            # It ended with the same bytes that began it; aiomqtt forgets that, and would wait for ever.
            self._disconnected.add_done_callback(self._on_lost)
            self._disconnected.set_exception(self._flaw or aiomqtt.MqttCodeError(self._ended_with, "it ended at once"))
        return self

    def send(self, message: Message) -> asyncio.Future[None]:
        if message.qos == 0:
            return self.send_all((message,))
        future: asyncio.Future[None] = self._loop.create_future()
        if self._is_too_large(message):
            _fail(future, PublishRefused(message.topic, TOO_LARGE))
            return future
        properties = None
        if message.correlation is not None and self._v5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = message.correlation
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if info.rc != MQTT_ERR_SUCCESS:
            _fail(future, self._loss(brief(message.topic), aiomqtt.MqttCodeError(info.rc)))
        else:
            self._sent[info.mid] = (message.topic, future)
        return future

    def send_all(self, messages: Sequence[Message]) -> asyncio.Future[None]:
        written = Written(self._loop.create_future(), self._written)
        if self._client.socket() is None:
            _fail(written.future, self._loss(messages[0].topic, "the connection is closed"))
            return written.future
        for message in messages:
            if self._is_too_large(message):
                _fail(written.future, PublishRefused(message.topic, TOO_LARGE))
                return written.future
        self._written.add(written)
        packets = b"".join(packet_of(message, v5=self._v5) for message in messages)
        # paho takes them for one message; no packet id is given to it, and none is used up.
        self._client._packet_queue(MessageType.PUBLISH, packets, 0, 0, written)  # type: ignore[arg-type]  # noqa: SLF001
        return written.future

    def flush(self) -> None:
        if self._client.socket() is not None:
            self._write()

    def _is_too_large(self, message: Message) -> bool:
        """A broker ends the connection over what is larger than it has said that it takes."""
        return self.largest is not None and size_of(message, v5=self._v5) > self.largest

    async def listen_to(self, pattern: str, *, standing: bool = False) -> None:
        # Of what stands there mosquitto gives a thousand messages at QoS 1, and leaves out the rest; at QoS 0 all.
        qos = 0 if standing else 1
        how: dict[str, Any] = {"qos": qos}
        if self._v5:
            # As published: else a retained message that comes now looks like any other.
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if standing else SubscribeOptions.RETAIN_DO_NOT_SEND
            how = {"options": SubscribeOptions(qos, standing, not standing, handling)}
        try:
            granted = await self.subscribe(pattern, **how)
        except aiomqtt.MqttError as error:
            raise self._loss(pattern, error) from error
        for code in granted:
            failed = code.is_failure if isinstance(code, ReasonCode) else code >= FAILURE
            if failed:
                raise PublishRefused(pattern, str(code))

    async def incoming(self) -> AsyncIterator[Incoming]:
        while (incoming := await self._come.get()) is not None:
            yield incoming
        self._come.put_nowait(None)
        raise self._loss("the broker is gone", "it said good-bye")

    async def wait_lost(self) -> None:
        await asyncio.wait([self._disconnected])
        raise self._loss("the broker is gone", "it said good-bye")

    def _loss(self, what: str, otherwise: object) -> ConnectionLost:
        """What whoever waits is told when the connection has ended, and whether another one has taken its place.

        Args:
            what: is lost.
            otherwise: the cause, where the connection's end has none.
        """
        ended = self._disconnected
        known = ended.exception() if ended.done() and not ended.cancelled() else None
        code = getattr(known, "rc", None)
        kind = ENDS.get(code.value, ConnectionLost) if isinstance(code, ReasonCode) else ConnectionLost
        return kind(f"{what}: {known or otherwise}")

    async def end(self) -> None:
        """Says good-bye where there is still somebody to say it to, and closes the socket in any case."""
        self.timeout = clock.of_machine(GOODBYE_LIMIT)
        try:
            await self.__aexit__(None, None, None)
        except aiomqtt.MqttError:
            self._logger.info("the broker took no good-bye")
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Closes the socket as it is. A thread that is still reaching for the broker is waited for: up to 5 s."""
        self._abandoned = True
        if self._acks is not None:
            self._acks.cancel()
        if self._reaching is not None:
            await asyncio.wait([self._reaching])
        self._client._sock_close()  # noqa: SLF001  (disconnect() would write first, and may not come to its end)
        if self._misc_task is not None:
            self._misc_task.cancel()
            await asyncio.wait([self._misc_task])
        self._on_lost(self._disconnected)

    def _client_connect(self) -> None:
        """Runs in a thread."""
        reached: asyncio.Future[None] = self._loop.create_future()
        self._reaching = reached
        try:
            if not self._abandoned:
                super()._client_connect()
                self.reached = True
        finally:
            self._loop.call_soon_threadsafe(reached.set_result, None)

    async def _misc_loop(self) -> None:
        if self._keepalive:
            await super()._misc_loop()

    def _on_socket_open(self, client: Paho, userdata: Any, sock: Any) -> None:
        """Runs in a thread."""
        sock.setsockopt(*NODELAY)  # aiomqtt's `socket_options` would pass by what is no plain socket
        gathered = Gathered(sock, lambda: self._on_socket_register_write(client, userdata, sock))
        client._sock = gathered  # type: ignore[assignment]  # noqa: SLF001
        super()._on_socket_open(client, userdata, gathered)

    def _on_socket_register_write(self, client: Paho, userdata: Any, sock: Any) -> None:  # noqa: ARG002
        """Paho has something to write: it does so at the end of this turn of the loop, with all that comes before."""
        if threading.get_ident() != self._home:
            self._loop.call_soon_threadsafe(self._write)
        elif self._ack_wait and {packet["command"] for packet in client._out_packet} == {MessageType.PUBACK}:  # noqa: SLF001
            # An acknowledgement can leave with the answer: by itself it would be a call of the system before that.
            client._registered_write = False  # noqa: SLF001 - paho calls this again for what comes next
            if self._acks is None:
                self._acks = self._loop.call_later(self._ack_wait, self._acknowledge)
        else:
            self._loop.call_soon(self._write)

    def _acknowledge(self) -> None:
        self._acks = None
        self.flush()

    def _write(self) -> None:
        gathered: Any = self._client.socket()
        try:
            self._client.loop_write()
            if self._client.socket() is None:
                return
            gathered.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is of no more use
            self._watch(gathered, blocked=False)
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
            return
        # What TLS has to read first is not waited for here: the socket may well take bytes all the while.
        self._watch(gathered, blocked=bool(gathered.waiting or self._client.want_write()) and not gathered.must_read)

    def _watch(self, gathered: Any, *, blocked: bool) -> None:
        """Has `_write` called, or no more, whenever the socket takes bytes."""
        if blocked and not self._blocked:
            self._loop.add_writer(gathered.fileno(), self._write)
        elif self._blocked and not blocked:
            self._loop.remove_writer(gathered.fileno())
        self._blocked = blocked

    def _on_socket_unregister_write(self, client: Paho, userdata: Any, sock: Any) -> None:
        """Paho has written all; whether the system has taken it, `_write` looks itself."""

    def _on_socket_close(self, client: Paho, userdata: Any, sock: Any) -> None:
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(sock.fileno())
        super()._on_socket_close(client, userdata, sock)

    def _on_connect(
        self,
        client: Paho,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        # paho sends 20 at a time, whatever the broker's own limit is.
        self.largest = getattr(properties, "MaximumPacketSize", None)
        limit = getattr(properties, "ReceiveMaximum", None)
        if limit is not None and limit < client.max_inflight_messages:
            client.max_inflight_messages_set(limit)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Paho,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():  # a close instead of an answer; aiomqtt would wait out its time limit
            silent = aiomqtt.MqttError("the broker closed the connection without an answer")
            self._connected.set_exception(self._flaw or silent)
        elif self._flaw is not None and not self._disconnected.done():
            self._disconnected.set_exception(self._flaw)
        self._ended_with = reason_code
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_flaw(self, error: Exception) -> None:
        self._flaw = aiomqtt.MqttError(f"it sent what cannot be read: {error!r}")

    def _on_message(self, client: Paho, userdata: Any, message: MQTTMessage) -> None:  # noqa: ARG002
        told = message.properties
        more = getattr(told, "ResponseTopic", None), getattr(told, "CorrelationData", None)
        self._come.put_nowait(Incoming(message.topic, bytes(message.payload), message.retain, *more))

    def _on_publish(
        self, client: Paho, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        topic, future = self._sent.pop(mid, ("", None))
        if future is None or future.done():
            return
        if reason_code.is_failure:
            _fail(future, PublishRefused(topic, str(reason_code)))
        else:
            future.set_result(None)

    def _on_lost(self, disconnected: asyncio.Future[None]) -> None:
        known = disconnected.exception() if disconnected.done() and not disconnected.cancelled() else None
        for topic, future in self._sent.values():
            if not future.done():
                _fail(future, self._loss(f"{brief(topic)}: the connection ended", known or "closed"))
        self._sent.clear()
        self._come.put_nowait(None)
        for written in tuple(self._written):
            written.fail(self._loss("signals: the connection ended", known or "closed"))


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # a sender that awaits many in order stops at the first: the rest are no surprise


def _code(error: MqttConnectError) -> int:
    return error.rc.value if isinstance(error.rc, ReasonCode) else int(error.rc or 0)
