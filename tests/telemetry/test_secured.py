"""A real mosquitto with exactly what `labd mqtt setup` wrote, and labd at it: who is let in, and to what."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labd.lab.access import Mqtt, Role
from labd.telemetry.setup.certificates import authority
from tests.telemetry.commanding import WAITING, hearing
from tests.telemetry.secured import LAB, Probe, Secured, secured

USERS: dict[str, Role] = {"anna": "engineer", "ben": "operator", "screen": "viewer"}
ROOT = Path(__file__).parents[2]
PREFIX = "labd/1/toys"
REFUSED = "Not authorized"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


def command(verb: str, command_id: str = "c1", **arguments: Any) -> str:
    now = datetime.now(UTC)
    told = {"command_id": command_id, "verb": verb, "arguments": arguments, "issued_at": now.isoformat()}
    return json.dumps({**told, "expires_at": (now + timedelta(seconds=20)).isoformat()})


# ── coming in ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_everybody_named_comes_in_with_his_password(broker: Secured) -> None:
    for login in ("labd", "homeassistant", *USERS):
        with Probe(broker, login) as client:
            assert client.connack == "Success"


@pytest.mark.parametrize(
    ("login", "password"),
    [(None, None), ("anna", "wrong"), ("anna", ""), ("mallory", "x"), ("", "")],
)
def test_nobody_else_does(broker: Secured, login: str | None, password: str | None) -> None:
    with Probe(broker, login, password) as client:
        assert client.connack == REFUSED


def test_the_password_of_another_is_no_password(broker: Secured) -> None:
    with Probe(broker, "anna", broker.password("ben")) as client:
        assert client.connack == REFUSED


def test_plain_tcp_gets_no_answer(broker: Secured) -> None:
    with Probe(broker, "anna", tls=False) as client:
        assert (client.connack, client.ended) == (None, True)


def test_a_broker_that_another_authority_vouches_for_is_not_believed(broker: Secured, tmp_path: Path) -> None:
    other = tmp_path / "ca.crt"
    other.write_bytes(authority("other").cert)
    with (
        pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"),
        Probe(broker, "anna", ca=other),
    ):
        pass


def test_nor_one_of_another_name(broker: Secured) -> None:
    with (
        pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"),
        Probe(broker, "anna", host="127.0.0.2"),
    ):
        pass


def test_tls_below_1_2_is_refused(broker: Secured) -> None:
    context = ssl.create_default_context(cafile=broker.folder / "broker" / "ca.crt")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("localhost", broker.port), 10) as plain,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        pass


# ── what each may ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("verb", ["hold", "stop", "abort", "start"])
def test_a_viewer_commands_nothing(broker: Secured, verb: str) -> None:
    with Probe(broker, "screen") as screen:
        assert screen.publish(f"{PREFIX}/cmd/screen/{verb}", command(verb, all=True)) == REFUSED


@pytest.mark.parametrize("topic", ["cmd/ben/hold", "cmd/labd/abort", "cmd/+/abort", "cmd"])
def test_nobody_commands_in_anothers_name(broker: Secured, topic: str) -> None:
    if "+" in topic:
        with Probe(broker, "anna") as anna, pytest.raises(ValueError, match="wildcards"):
            anna.publish(f"{PREFIX}/{topic}")
        return
    with Probe(broker, "anna") as anna:
        assert anna.publish(f"{PREFIX}/{topic}", command("hold", all=True)) == REFUSED
        assert anna.publish(f"labd/1/other/{topic.replace('ben', 'anna')}", command("hold", all=True)) == REFUSED


@pytest.mark.parametrize(
    "topic",
    ["status", "queue", "device/press/state", "run/run-0001/event", "alarm/a", "reply/anna/c1", "reply/ben/c1", "x"],
)
def test_nobody_speaks_in_the_labs_name(broker: Secured, topic: str) -> None:
    for login in ("anna", "homeassistant", "screen"):
        with Probe(broker, login) as client:
            assert client.publish(f"{PREFIX}/{topic}", b"{}", retain=True) == REFUSED
    with Probe(broker, "anna") as anna:
        assert anna.publish("homeassistant/status", b"online") == REFUSED
        assert anna.publish("$SYS/broker/x", b"x") == REFUSED


def test_the_daemons_own_login_gives_no_commands(broker: Secured) -> None:
    with Probe(broker, "labd") as labd:
        assert labd.publish(f"{PREFIX}/cmd/anna/abort", command("abort", all=True)) == REFUSED
        assert labd.publish("labd/1/other/status", b"{}") == REFUSED
        assert labd.publish("homeassistant/device/labd-other/config", b"{}") == REFUSED
        assert labd.publish(f"{PREFIX}/status", b"", retain=True) in ("Success", "No matching subscribers")


def test_home_assistant_has_its_own_prefix(broker: Secured) -> None:
    with Probe(broker, "homeassistant") as ha, Probe(broker, "labd") as labd:
        labd.subscribe("homeassistant/status")
        assert ha.publish("homeassistant/status", b"online") == "Success"
        assert labd.until("homeassistant/status") == [b"online"]
        ha.subscribe("homeassistant/#")
        assert labd.publish("homeassistant/device/labd-toys/press/config", b"{}") == "Success"
        assert ha.until("homeassistant/device/labd-toys/press/config") == [b"{}"]


def test_nobody_reads_what_was_answered_to_another_or_ordered_by_him(broker: Secured) -> None:
    """This mosquitto grants every subscription, and hands nothing over that the ACL does not let be read."""
    with Probe(broker, "anna") as anna, Probe(broker, "screen") as screen, Probe(broker, "labd") as labd:
        for client in (anna, screen):
            for pattern in ("#", f"{PREFIX}/#", f"{PREFIX}/reply/ben/#", f"{PREFIX}/cmd/#", "$share/x/labd/#"):
                client.subscribe(pattern)
        with Probe(broker, "ben") as ben:
            assert ben.publish(f"{PREFIX}/cmd/ben/hold", command("hold", all=True)) in (
                "Success",
                "No matching subscribers",
            )
        labd.publish(f"{PREFIX}/reply/ben/c1", b"for ben")
        labd.publish(f"{PREFIX}/reply/anna/c2", b"for anna")
        labd.publish(f"{PREFIX}/device/press/signal", b"for all")
        assert set(anna.until(f"{PREFIX}/reply/anna/c2")) == {b"for anna"}
        for client in (anna, screen):
            client.until(f"{PREFIX}/device/press/signal")
            others = [topic for topic, _ in client.got if topic.startswith((f"{PREFIX}/reply/ben", f"{PREFIX}/cmd"))]
            assert others == []
        assert screen.of(f"{PREFIX}/reply/anna/c2") == []


# ── labd at it ───────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_an_operators_command_is_done_and_a_spoofed_or_viewers_one_never_arrives(
    broker: Secured, tmp_path: Path
) -> None:
    async with hearing(tmp_path, Mqtt(broker=broker.broker()), USERS) as lab:

        def give() -> tuple[list[str], list[Any]]:
            with Probe(broker, "ben") as ben, Probe(broker, "anna") as anna, Probe(broker, "screen") as screen:
                ben.subscribe(f"{PREFIX}/reply/ben/+")
                refused = [
                    anna.publish(f"{PREFIX}/cmd/ben/abort", command("abort", "spoofed", all=True)),
                    screen.publish(f"{PREFIX}/cmd/screen/abort", command("abort", "viewed", all=True)),
                ]
                assert ben.publish(f"{PREFIX}/cmd/ben/start", command("start", protocol=WAITING)) == "Success"
                return refused, [json.loads(told) for told in ben.until(f"{PREFIX}/reply/ben/c1", 2)]

        refused, answers = await asyncio.to_thread(give)
        assert refused == [REFUSED, REFUSED]
        assert [told["state"] for told in answers] == ["accepted", "done"]
        assert lab.engine.working == ("run-0001",)
        taken = await lab.journal.events(kinds={"command.taken", "command.answered"})
        assert {event.data["by"] for event in taken} == {"ben"}


async def test_no_viewer_takes_the_daemons_place_by_its_client_id(broker: Secured, tmp_path: Path) -> None:
    """The broker ends a connection when another comes under its id: so nobody who lacks the password can tell that."""
    async with hearing(tmp_path, Mqtt(broker=broker.broker()), USERS) as lab:

        def knock() -> list[Any]:
            with (
                Probe(broker, "screen") as watching,
                Probe(broker, "screen", client_id="labd-toys") as screen,
                Probe(broker, "ben", client_id="labd-toys-0") as ben,
            ):
                ben.subscribe(f"{PREFIX}/reply/ben/+")
                assert watching.subscribe("$SYS/#") == "Granted QoS 1"
                ben.publish(f"{PREFIX}/cmd/ben/hold", command("hold", "k2", all=True))
                ben.until(f"{PREFIX}/reply/ben/k2", 2)
                assert watching.subscribe(f"{PREFIX}/status") == "Granted QoS 1"
                watching.until(f"{PREFIX}/status")  # what stood at `$SYS` would have come before it
                assert [topic for topic, _ in watching.got if topic.startswith("$SYS")] == []
                return [screen.connack, *(json.loads(told)["state"] for told in ben.until(f"{PREFIX}/reply/ben/k2", 2))]

        assert await asyncio.to_thread(knock) == ["Success", "accepted", "done"]
        assert lab.telemetry.connected.is_set()


async def test_labd_serve_comes_in_with_systemds_credential_and_takes_its_users_from_lab_yaml(
    broker: Secured, tmp_path: Path
) -> None:
    """The daemon as systemd starts it: in another folder, with the certificate's path relative to lab.yaml."""
    (tmp_path / "mqtt").mkdir()
    own = broker.folder / "logins" / "labd"
    (tmp_path / "mqtt" / "ca.crt").write_bytes((own / "ca.crt").read_bytes())
    lab = tmp_path / "lab.yaml"
    lab.write_text(LAB.replace("port: 8883, tls: {}", f"port: {broker.port}, tls: {{ca: mqtt/ca.crt}}"))
    log = tmp_path / "log"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CREDENTIALS_DIRECTORY": str(own)}
    command_line = (sys.executable, "-c", "from labd.cli import main; main()", "serve", "--lab", str(lab))
    with log.open("wb") as stream:
        daemon = await asyncio.create_subprocess_exec(*command_line, cwd="/", env=env, stdout=stream, stderr=stream)
    try:
        found = await asyncio.to_thread(_command_of_each, broker, log)
    finally:
        daemon.terminate()
        assert await daemon.wait() == 0
    assert found == {"anna": ["accepted", "done"], "ben": ["accepted", "done"], "ben's clear": ["rejected"]}
    told = log.read_text()
    assert "broker connected" in told
    assert "refused" not in told, "the ACL has a line for all that labd says and asks for"
    assert broker.password("labd") not in told


def _command_of_each(broker: Secured, log: Path) -> dict[str, list[str]]:
    found = {}
    with Probe(broker, "screen") as screen:
        screen.subscribe(f"{PREFIX}/status")
        screen.until_true(lambda: b"online" in b"".join(screen.of(f"{PREFIX}/status")), log.read_text)
    for user in ("anna", "ben"):
        with Probe(broker, user) as client:
            client.subscribe(f"{PREFIX}/reply/{user}/+")
            client.publish(f"{PREFIX}/cmd/{user}/hold", command("hold", "h1", all=True))
            found[user] = [json.loads(told)["state"] for told in client.until(f"{PREFIX}/reply/{user}/h1", 2)]
    with Probe(broker, "ben") as ben:
        ben.subscribe(f"{PREFIX}/reply/ben/+")
        ben.publish(f"{PREFIX}/cmd/ben/clear", command("clear", "k1", interlock="oxygen"))
        found["ben's clear"] = [json.loads(told)["state"] for told in ben.until(f"{PREFIX}/reply/ben/k1")]
    return found


async def test_labd_mqtt_send_gives_one_command_and_tells_a_refusal_by_its_exit(
    broker: Secured, tmp_path: Path
) -> None:
    lab = tmp_path / "lab.yaml"
    ca = broker.folder / "broker" / "ca.crt"
    lab.write_text(LAB.replace("port: 8883, tls: {}", f"port: {broker.port}, tls: {{ca: {ca}}}"))
    (tmp_path / "waiting.yaml").write_text(WAITING)

    def send(user: str | None, *words: str) -> tuple[int, str]:
        login = ["--login", str(broker.folder / "logins" / user)] if user is not None else []
        command_line = [sys.executable, "-c", "from labd.cli import main; main()", "mqtt", "send", *words]
        where = ["--lab", str(lab), *login]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run([*command_line, *where], capture_output=True, text=True, check=False, env=env)
        assert user is None or broker.password(user) not in ended.stdout + ended.stderr
        return ended.returncode, ended.stdout + ended.stderr

    async with hearing(tmp_path, Mqtt(broker=broker.broker()), USERS) as bench:
        status, told = await asyncio.to_thread(send, "ben", "start", f"protocol=@{tmp_path / 'waiting.yaml'}")
        assert (status, told) == (0, 'accepted\ndone {"run": "run-0001"}\n')
        status, told = await asyncio.to_thread(send, "ben", "hold", "all=true", "--json")
        assert (status, json.loads(told)["state"]) == (0, "done")
        status, told = await asyncio.to_thread(send, "ben", "clear", "interlock=oxygen")
        assert (status, told.startswith("rejected: ben is operator")) == (1, True)
        status, told = await asyncio.to_thread(send, "screen", "abort", "all=true")
        assert (status, "Not authorized; its ACL lets screen write no such topic" in told) == (1, True), told
        status, told = await asyncio.to_thread(send, None, "hold", "all=true")
        assert (status, "give --login mqtt/logins/NAME" in told, "lab.yaml names no" in told) == (1, True, False), told
        status, told = await asyncio.to_thread(send, "ben", "explode")
        assert (status, "Input should be 'submit'" in told) == (2, True)
        assert bench.engine.working == ("run-0001",)


# ── with certificates of clients ─────────────────────────────────────────────────────────────────────────────────────
async def test_where_certificates_are_wanted_a_password_alone_is_not_enough(tmp_path: Path) -> None:
    with secured(tmp_path, "--client-certificates") as broker:

        def knock() -> list[str | None]:
            found = []
            for more in ({}, {"certificate": "anna"}):
                try:
                    with Probe(broker, "anna", **more) as client:
                        found.append(client.connack)
                except OSError:  # some versions of TLS tell it before the connection stands
                    found.append(None)
            return found

        assert await asyncio.to_thread(knock) == [None, "Success"]
        own = broker.folder / "logins" / "labd"
        tls = {"ca": own / "ca.crt", "cert": own / "client.crt", "key": own / "client.key"}
        async with hearing(tmp_path / "lab", Mqtt(broker=broker.broker(tls=tls)), USERS) as lab:
            assert lab.telemetry.connected.is_set()
