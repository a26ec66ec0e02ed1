"""The embedded broker, for demos and labs without one: amqtt, in the daemon's process, MQTT 3.1.1, this machine only.

Its limits are amqtt's: it keeps nothing over a restart, and knows no users. A lab that others depend on runs mosquitto.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import topic_matches_sub

from labd import clock


class BrokerError(Exception):
    """The embedded broker cannot be started; the text says how to mend it."""


class EmbeddedBroker:
    """An async context: inside it, a broker listens on `host:port`.

    On real and virtual time it lives in the running loop. On scaled time its clients (mosquitto_sub, MQTT Explorer)
    live on the machine's time, and would be cut off by a keep-alive that runs 60 times too fast: there it has a thread
    and a loop of its own.

    Args:
        port: 0 for any free one; `port` says which it became.

    Raises:
        BrokerError: amqtt is not installed, or the port is taken.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, port
        self._stack = AsyncExitStack()
        self._listener: _Listener | None = None

    async def __aenter__(self) -> Self:
        with clock.hold():  # the import takes longer than many a time limit
            broker = await asyncio.to_thread(_load)
        scaled = not clock.is_virtual() and clock.factor() != 1.0
        listening = _Threaded(broker, self.host, self.port) if scaled else _Listener(broker, self.host, self.port)
        self._listener = await self._stack.enter_async_context(listening)
        self.port = self._listener.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def listened_to(self, topic: str) -> bool:
        """Whether a message that is not retained would reach anybody."""
        return self._listener is not None and self._listener.listened_to(topic)


class _Listener:
    """amqtt behind a listener of our own: amqtt's cannot take any free port, nor be waited for when it ends."""

    def __init__(self, broker: Any, host: str, port: int) -> None:
        self._make = broker
        self._host, self.port = host, port
        self._connections: set[asyncio.Task[None]] = set()
        self._listening: frozenset[str] = frozenset()
        self._listened_to: dict[str, bool] = {}  # by topic, for just these filters: each poll asks

    async def __aenter__(self) -> Self:
        self._broker = self._make(
            {
                "listeners": {"default": {"type": "external", "bind": "ours"}},
                # Nothing of the default set but this: $SYS wakes every 20 s, the loggers write every packet.
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await self._broker.start()
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self.port)
        except OSError as error:
            await self._broker.shutdown()
            mend = "give mqtt.port another number, or name the broker that runs there under mqtt.broker"
            raise BrokerError(f"mqtt: port {self.port} cannot be had: {error.strerror}; {mend}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._broker.shutdown()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter

        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default")
        except (asyncio.CancelledError, OSError, EOFError):
            pass  # the broker ends, or the client went away in the middle of a word
        finally:
            self._connections.discard(task)
            writer.close()

    def listened_to(self, topic: str) -> bool:
        filters: dict[str, list[Any]] = self._broker.subscriptions
        listening = frozenset(sub for sub, sessions in tuple(filters.items()) if sessions)
        if listening != self._listening:
            self._listening, self._listened_to = listening, {}
        known = self._listened_to.get(topic)
        if known is None:
            known = self._listened_to[topic] = any(topic_matches_sub(sub, topic) for sub in listening)
        return known


class _Threaded:
    """A `_Listener` in a thread with a real-time loop."""

    def __init__(self, broker: Any, host: str, port: int) -> None:
        self._listener = _Listener(broker, host, port)
        self._started: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="mqtt-broker")

    async def __aenter__(self) -> _Listener:
        self._thread.start()
        await asyncio.wrap_future(self._started)
        return self._listener

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.wrap_future(self._ended)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            (self._ended if self._started.done() else self._started).set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._listener:
            self._started.set_result(None)
            await self._stop.wait()


def _load() -> Any:
    """Imports amqtt (0.3 s), and gives its broker."""
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        mend = "pip install 'labd[broker]', or name a broker of your own: mqtt: {broker: {host: …, port: 1883}}"
        raise BrokerError(f"mqtt: the embedded broker needs amqtt: {mend}") from error
    # It tells every connection as info and many an ordinary disconnection as warning.
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.WARNING)
    return Broker
