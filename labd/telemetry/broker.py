"""The embedded broker, for demos and labs without one: amqtt, in the daemon's own loop, MQTT 3.1.1, this machine only.

Its limits are amqtt's: it keeps nothing over a restart, and knows no users. A lab that others depend on runs mosquitto.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.client import topic_matches_sub

from labd import clock

if TYPE_CHECKING:
    from types import TracebackType


class BrokerError(Exception):
    """The embedded broker cannot be started; the text says how to mend it."""


class EmbeddedBroker:
    """An async context: inside it, a broker listens on `host:port`.

    Args:
        port: 0 for any free one; `port` says which it became.

    Raises:
        BrokerError: amqtt is not installed, or the port is taken.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, port
        self._broker: Any = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        with clock.hold():  # the import takes longer than many a time limit
            self._broker = await asyncio.to_thread(_load)
        broker = self._broker = self._broker(_config())
        await broker.start()
        # The listener is ours: amqtt's own could not be given any free port, nor be waited for when it ends.
        try:
            self._server = await asyncio.start_server(self._accept, self.host, self.port)
        except OSError as error:
            await broker.shutdown()
            mend = "give mqtt.port another number, or name the broker that runs there under mqtt.broker"
            raise BrokerError(f"mqtt: port {self.port} cannot be had: {error.strerror}; {mend}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def listened_to(self, topic: str) -> bool:
        """Whether a message that is not retained would reach anybody."""
        filters: dict[str, list[Any]] = self._broker.subscriptions
        return any(sessions and topic_matches_sub(sub, topic) for sub, sessions in filters.items())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
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


def _config() -> dict[str, Any]:
    return {
        "listeners": {"default": {"type": "external", "bind": "ours"}},
        # Nothing of the default set but this: the $SYS plugin wakes every 20 s, the loggers write every packet.
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }


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
