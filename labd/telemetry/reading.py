"""Packets that paho cannot read. A message of somebody's own making costs itself, and not the connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import structlog
from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import MessageType, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from labd.telemetry.publisher import brief

log = structlog.get_logger(__name__)

FAILURE = 128  # reason codes from here on

# mosquitto refuses a message with whatever code says best why ("Packet too large"), also where the standard has it for
# other packets only. paho would end the connection over it.
ReasonCode.names = {
    code: {
        name: [*packets, PacketTypes.PUBACK] if code >= FAILURE and len(names) == 1 else list(packets)
        for name, packets in names.items()
    }
    for code, names in ReasonCode.names.items()
}


_NONE = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]
_reason = cache(partial(ReasonCode, PacketTypes.PUBACK, "Success"))


class Forgiving:
    """Stands between a client of paho's and its reading of one packet.

    A broker need not check all that the standard forbids: mosquitto hands on a user property with U+FEFF in it, which
    paho refuses by ending the connection. Where such a message is retained, it would end every connection.

    Args:
        client: reads through this from now on.
        on_flaw: told why, before a connection ends over anything else that cannot be read.
    """

    def __init__(self, client: Paho, on_flaw: Callable[[Exception], None]) -> None:
        self._client, self._on_flaw = client, on_flaw
        self._handle: Callable[[], MQTTErrorCode] = client._packet_handle  # noqa: SLF001
        self._told = False
        client._packet_handle = self._take  # type: ignore[method-assign]  # noqa: SLF001

    def _take(self) -> MQTTErrorCode:
        try:
            taken = self._acknowledged()
            return self._handle() if taken is None else taken
        except Exception as error:  # noqa: BLE001 - paho's own, struct's, Unicode's: the bytes are a stranger's
            packet = self._client._in_packet  # noqa: SLF001
            command, body = packet["command"], bytes(packet["packet"])
            end = 2 + int.from_bytes(body[:2], "big")
            if command & 0xF0 == MessageType.PUBLISH and len(body) >= end + 2:
                return self._pass_over(error, command, body, end)
            self._on_flaw(error)
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _acknowledged(self) -> MQTTErrorCode | None:
        """Takes a PUBACK without properties, as nearly all are, at a quarter of paho's price; None for others."""
        packet = self._client._in_packet  # noqa: SLF001
        body = packet["packet"]
        if packet["command"] != MessageType.PUBACK or not 2 <= len(body) <= 4 or any(body[3:]):
            return None
        reason = _reason(body[2] if len(body) > 2 else 0)
        number = int.from_bytes(body[:2], "big")
        with self._client._out_message_mutex:  # noqa: SLF001
            if number in self._client._out_messages:  # noqa: SLF001
                return self._client._do_on_publish(number, reason, _NONE)  # noqa: SLF001
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _pass_over(self, error: Exception, command: int, body: bytes, end: int) -> MQTTErrorCode:
        if not self._told:  # once a connection: whoever sends it may send it often
            topic = brief(body[2:end].decode(errors="replace"))
            log.warning("a message that cannot be read is passed over", topic=topic, problem=str(error))
        self._told = True
        if not command & 0x06:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        # Unacknowledged it would take one of the few places of what the broker sends at a time.
        return self._client._send_puback(int.from_bytes(body[end : end + 2], "big"))  # noqa: SLF001
