"""A mosquitto with what `labd mqtt setup` wrote, and a client that hears every reason code."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from typer.testing import CliRunner

from labd.cli.app import app
from labd.lab.access import Broker, Tls
from labd.telemetry import access
from tests.ports import free_port
from tests.telemetry.mosquitto import program

LAB = """\
labd: 1
lab: toys
store: store
mqtt: {broker: {host: localhost, port: 8883, tls: {}, user: labd}, home_assistant: true}
users: {anna: engineer, ben: operator, screen: viewer}
devices: {}
"""
LIMIT = 60.0  # s, of the machine


@dataclass
class Secured:
    folder: Path
    port: int
    log: Path

    def password(self, login: str) -> str:
        return (self.folder / "logins" / login / "mqtt-password").read_text().strip()

    def broker(self, login: str = "labd", **more: Any) -> Broker:
        """As lab.yaml would name it."""
        own = self.folder / "logins" / login
        options: dict[str, Any] = {
            "host": "localhost",
            "port": self.port,
            "tls": Tls(ca=own / "ca.crt"),
            "user": login,
            "password_file": own / "mqtt-password",
        }
        return Broker(**{**options, **more})


def set_up(tmp_path: Path, *options: str, lab: str = LAB) -> Path:
    """Runs `labd mqtt setup`; gives the folder that it wrote."""
    file, folder = tmp_path / "lab.yaml", tmp_path / "mqtt"
    file.write_text(lab)
    (tmp_path / "data").mkdir(exist_ok=True)
    where = ("--at", str(folder / "broker"), "--data", str(tmp_path / "data"))
    ended = CliRunner().invoke(app, ["mqtt", "setup", str(folder), "--lab", str(file), *where, *options])
    assert ended.exit_code == 0, ended.output
    return folder


@contextmanager
def secured(tmp_path: Path, *options: str, lab: str = LAB) -> Iterator[Secured]:
    port = free_port()
    folder = set_up(tmp_path, "--port", str(port), *options, lab=lab)
    config, log = tmp_path / "run.conf", tmp_path / "mosquitto.log"
    # The files as they are; and as root it would become a user that may not read the test's folder.
    config.write_text(f"include_dir {folder / 'broker'}\n" + ("user root\n" if os.geteuid() == 0 else ""))
    with log.open("wb") as stream:
        process = subprocess.Popen([program("mosquitto", "mosquitto"), "-c", str(config)], stderr=stream)
    try:
        _until_it_listens(port, process, log)
        yield Secured(folder, port, log)
    finally:
        process.kill()
        process.wait()


def _until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(log.read_text())


class Probe:
    """An MQTT 5 client on paho's own callbacks: what the broker answers to each packet."""

    def __init__(self, at: Secured, login: str | None, password: str | None = None, **more: Any) -> None:
        self._client = Client(
            CallbackAPIVersion.VERSION2, more.get("client_id", ""), protocol=MQTTProtocolVersion.MQTTv5
        )
        self._said = threading.Condition()
        self.connack: str | None = None
        self.ended = False
        self._acks: dict[int, list[str]] = {}
        self.got: list[tuple[str, bytes]] = []
        if login is not None:
            self._client.username_pw_set(login, password if password is not None else at.password(login))
        if more.get("tls", True):
            ca = more.get("ca", at.folder / "broker" / "ca.crt")
            context = access.tls(Broker(host="localhost", tls=Tls(ca=ca)))
            assert context is not None
            if "certificate" in more:
                own = at.folder / "logins" / more["certificate"]
                context.load_cert_chain(own / "client.crt", own / "client.key")
            self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = lambda _, __, mid, code, ___: self._ack(mid, [str(code)])
        self._client.on_subscribe = lambda _, __, mid, codes, ___: self._ack(mid, [str(code) for code in codes])
        self._client.on_message = self._on_message
        self._host, self._port = more.get("host", "localhost"), at.port

    def __enter__(self) -> Self:
        """Connects. Raises what the socket or TLS raises; a refusal stands in `connack`."""
        self._client.connect(self._host, self._port)
        self._client.loop_start()
        self._wait(lambda: self.connack is not None or self.ended)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes | str = b"x", *, retain: bool = False) -> str:
        """The reason code of the PUBACK."""
        return self._acked(self._client.publish(topic, payload, qos=1, retain=retain).mid)[0]

    def subscribe(self, topic: str) -> str:
        """The reason code of the SUBACK."""
        mid = self._client.subscribe(topic, qos=1)[1]
        assert mid is not None
        return self._acked(mid)[0]

    def until(self, topic: str, number: int = 1) -> list[bytes]:
        """Waits for so many messages of a topic."""
        self._wait(lambda: len(self.of(topic)) >= number)
        return self.of(topic)

    def until_true(self, true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
        """Waits for something that messages bring about; a process that is still to start may take its time."""
        with self._said:
            assert self._said.wait_for(true, 4 * LIMIT), otherwise()

    def of(self, topic: str) -> list[bytes]:
        return [payload for one, payload in self.got if one == topic]

    def _acked(self, mid: int) -> list[str]:
        self._wait(lambda: mid in self._acks)
        return self._acks[mid]

    def _wait(self, true: Any) -> None:
        with self._said:
            assert self._said.wait_for(true, LIMIT), f"no answer in {LIMIT:g} s"

    def _ack(self, mid: int, codes: list[str]) -> None:
        with self._said:
            self._acks[mid] = codes
            self._said.notify_all()

    def _on_connect(self, client: Client, _: Any, __: Any, code: Any, ___: Any) -> None:
        with self._said:
            self.connack = self.connack or str(code)
            self._said.notify_all()

    def _on_disconnect(self, *_: Any) -> None:
        with self._said:
            self.ended = True
            self._said.notify_all()

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        with self._said:
            self.got.append((message.topic, message.payload))
            self._said.notify_all()
