"""What labd takes of aiomqtt and paho that they promise nobody: a release that moves it fails here, in words."""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.client import Client as Paho
from paho.mqtt.client import MQTTMessageInfo
from paho.mqtt.reasoncodes import ReasonCode

from labd.telemetry.client import _Client
from labd.telemetry.wire import Written

OVERRIDDEN = {
    "_client_connect": (),
    "_misc_loop": (),
    "_on_socket_open": ("client", "userdata", "sock"),
    "_on_socket_close": ("client", "userdata", "sock"),
    "_on_socket_register_write": ("client", "userdata", "sock"),
    "_on_socket_unregister_write": ("client", "userdata", "sock"),
    "_on_connect": ("client", "userdata", "flags", "reason_code", "properties"),
    "_on_disconnect": ("client", "userdata", "flags", "reason_code", "properties"),
    "_on_message": ("client", "userdata", "message"),
    "_on_publish": ("client", "userdata", "mid", "reason_code", "properties"),
}
"""Methods of aiomqtt's client, by what they take."""

READ = ("_client", "_connected", "_disconnected", "_keepalive", "_logger", "_loop", "_misc_task")
"""Its attributes that labd reads."""

CALLED = {
    "_packet_handle": (),
    "_send_puback": ("mid",),
    "_do_on_publish": ("mid", "reason_code", "properties"),
    "_packet_queue": ("command", "packet", "mid", "qos", "info"),
    "_reset_sockets": ("sockpair_only",),
    "_sock_close": (),
    "loop_write": (),
    "want_write": (),
    "socket": (),
}
"""Methods of paho's client."""

MEND = "move labd.telemetry.client, .reading and .wire to it, or hold the library below this release in pyproject.toml"


def takes(where: type, name: str) -> tuple[str, ...] | None:
    """What a method takes beside `self`; None: there is none."""
    method = inspect.getattr_static(where, name, None)
    if not inspect.isfunction(method):
        return None
    return tuple(inspect.signature(method).parameters)[1:]


def told(library: str, name: str) -> str:
    return f"{library} {version(library)} has another `{name}` than labd knows: {MEND}"


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_a_method_of_aiomqtt_that_is_overridden_is_there(name: str) -> None:
    assert takes(aiomqtt.Client, name) == OVERRIDDEN[name], told("aiomqtt", name)
    mine = takes(_Client, name)
    assert mine == OVERRIDDEN[name], f"_Client.{name} takes {mine}"


def test_no_other_private_method_of_aiomqtt_is_overridden() -> None:
    private = {name for name in vars(_Client) if name.startswith("_") and not name.startswith("__")}
    assert private & set(vars(aiomqtt.Client)) == set(OVERRIDDEN)


@pytest.mark.parametrize("name", CALLED)
def test_a_method_of_paho_that_is_called_is_there(name: str) -> None:
    found = takes(Paho, name)
    assert found is not None, told("paho-mqtt", name)
    assert found[: len(CALLED[name])] == CALLED[name], told("paho-mqtt", name)


async def test_the_attributes_that_are_read_are_there() -> None:
    client = _Client("127.0.0.1", 1)
    for name in READ:
        assert hasattr(client, name), told("aiomqtt", name)
    assert isinstance(client._client, Paho), told("aiomqtt", "_client")
    assert isinstance(client._disconnected, asyncio.Future), told("aiomqtt", "_disconnected")
    for name in (
        "_sock",
        "connect_timeout",
        "max_inflight_messages",
        "_registered_write",
        "_out_packet",
        "_out_messages",
    ):
        assert hasattr(client._client, name), told("paho-mqtt", name)
    assert hasattr(client._client, "_out_message_mutex"), told("paho-mqtt", "_out_message_mutex")
    packet: Any = client._client._in_packet
    assert {"command", "packet"} <= set(packet), told("paho-mqtt", "_in_packet")


def test_what_stands_in_for_pahos_own_is_like_it() -> None:
    assert takes(MQTTMessageInfo, "_set_as_published") == (), told("paho-mqtt", "MQTTMessageInfo._set_as_published")
    stands: Any = Written
    assert takes(stands, "_set_as_published") == ()
    names = ReasonCode.names
    assert isinstance(names[135]["Not authorized"], list), told("paho-mqtt", "ReasonCode.names")
