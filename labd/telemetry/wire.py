"""Few calls of the system for paho, which writes each packet and reads each header with one of its own.

What it writes in one turn of the loop leaves at its end in one piece; what the broker has sent is read in one piece.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

from paho.mqtt.client import MQTT_ERR_SUCCESS
from paho.mqtt.enums import MessageType

from labd.telemetry.publisher import Message, PublishError

READ = 65_536  # bytes asked for at once
MOST_WAITING = 65_536  # bytes that wait for the socket: more are not taken, and wait at paho's


class _System(Protocol):
    """A socket that does not block; one of `ssl` as well."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | bytearray, /) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Gathered:
    """What paho takes for its socket.

    Args:
        system: the socket.
        go_on: called when something has come that TLS had to read before it can write on.

    Attributes:
        must_read: TLS has to read before it can write what waits; that the socket takes bytes says nothing then.
    """

    def __init__(self, system: _System, go_on: Callable[[], None] = lambda: None) -> None:
        self.must_read = False
        self._system = system
        self._go_on = go_on
        self._come = memoryview(b"")
        self._going = bytearray()

    def recv(self, size: int) -> bytes:
        """As a socket's. Raises BlockingIOError (or ssl's) when nothing is there."""
        if self.must_read:
            self.must_read = False
            self._go_on()
        if not self._come:
            self._come = memoryview(self._system.recv(READ))
        taken = bytes(self._come[:size])
        self._come = self._come[size:]
        return taken

    def pending(self) -> int:
        """Bytes that have come and that the system does not tell of any more: they must be asked for."""
        deeper = getattr(self._system, "pending", None)
        return len(self._come) + (deeper() if deeper is not None else 0)

    def send(self, data: bytes | bytearray) -> int:
        """Takes all for the next `flush`. Raises BlockingIOError when too much waits for the system already."""
        if len(self._going) >= MOST_WAITING:
            self.flush()
        if len(self._going) >= MOST_WAITING:
            raise BlockingIOError
        self._going += data
        return len(data)

    @property
    def waiting(self) -> int:
        """Bytes that the system has not taken yet."""
        return len(self._going)

    def flush(self) -> None:
        """Hands over what waits, as far as the system takes it. Raises OSError when the connection is gone."""
        self.must_read = False
        try:
            while self._going:
                del self._going[: self._system.send(self._going)]
        except ssl.SSLWantReadError:
            self.must_read = True
        except (BlockingIOError, ssl.SSLWantWriteError):
            return

    def close(self) -> None:
        """Hands over what can still go, a good-bye, and closes."""
        try:
            self.flush()
        except OSError:
            pass  # whoever closes has heard of it, or need not
        finally:
            self._system.close()

    def fileno(self) -> int:
        return self._system.fileno()


class Written:
    """What paho tells when it has written a packet of QoS 0: in place of its own, which is made for threads."""

    def __init__(self, future: asyncio.Future[None], among: set[Written]) -> None:
        self.future = future
        self.rc = MQTT_ERR_SUCCESS  # paho's, where it gives up
        self._among = among

    def _set_as_published(self) -> None:
        self._among.discard(self)
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: PublishError) -> None:
        self._among.discard(self)
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a sender that has stopped before does not ask


def packet_of(message: Message, *, v5: bool) -> bytes:
    """A PUBLISH of QoS 0."""
    topic = message.topic.encode()
    head = b"%c%c%b%b" % (len(topic) >> 8, len(topic) & 0xFF, topic, b"\0" if v5 else b"")  # no properties
    length = len(head) + len(message.payload)
    packet = bytearray((MessageType.PUBLISH | message.retain,))
    while length > 0x7F:
        packet.append(length & 0x7F | 0x80)
        length >>= 7
    packet.append(length)
    return bytes(packet) + head + message.payload


def size_of(message: Message, *, v5: bool) -> int:
    """Bytes of a message's PUBLISH."""
    rest = 2 + len(message.topic.encode()) + (2 if message.qos else 0) + len(message.payload)
    if v5:
        properties = 0 if message.correlation is None else 3 + len(message.correlation)
        rest += _digits(properties) + properties
    return 1 + _digits(rest) + rest


def _digits(length: int) -> int:
    """Bytes of MQTT's own whole number."""
    return 1 if length < 0x80 else 1 + _digits(length >> 7)
