"""A PUBACK that is read quickly says what paho's own reading of it says."""

from __future__ import annotations

from typing import Any

import pytest
from paho.mqtt.client import Client as Paho
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTProtocolVersion

from labd.telemetry.reading import Forgiving


def under_way(mid: int) -> Any:
    message = MQTTMessage(mid, b"topic")
    message.qos = 1
    return message


def heard(body: bytes, *, forgiving: bool) -> tuple[list[Any], list[str], Any]:
    """What on_publish is told of a PUBACK's body, of which flaw, and what the reading gives."""
    client = Paho(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    told: list[Any] = []
    flaws: list[str] = []
    client.on_publish = lambda _, __, mid, reason, properties: told.append((mid, reason.value, properties.json()))
    if forgiving:
        Forgiving(client, lambda error: flaws.append(type(error).__name__))
    client._out_messages[7] = under_way(7)
    client._inflight_messages = 1
    client._in_packet["command"], client._in_packet["packet"] = int(MessageType.PUBACK), bytearray(body)
    rc = client._packet_handle()
    return told, flaws, (rc, len(client._out_messages))


@pytest.mark.parametrize(
    "body",
    [
        b"\0\x07",  # taken
        b"\0\x07\0",
        b"\0\x07\x10",  # nobody subscribes to it
        b"\0\x07\x10\0",
        b"\0\x07\x87",  # not authorised
        b"\0\x07\x97\0",
        b"\0\x07\x87\x07\x1f\0\x04nope",  # with a reason string
        b"\0\x08",  # of a message that is not under way
    ],
)
def test_it_says_what_pahos_own_reading_says(body: bytes) -> None:
    assert heard(body, forgiving=True) == heard(body, forgiving=False)


@pytest.mark.parametrize("body", [b"\0", b"\0\x07\x42", b"\0\x07\x87\x09"])
def test_what_is_none_ends_the_connection_with_why(body: bytes) -> None:
    told, flaws, (rc, left) = heard(body, forgiving=True)
    assert (told, len(flaws), rc.name, left) == ([], 1, "MQTT_ERR_PROTOCOL", 1)
