"""What the daemon says when a broker does not let it in, and that no password is in it. Real time."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from labd.journal import Journal
from labd.lab.access import Broker, Mqtt, Tls
from labd.lab.bus import Bus
from labd.telemetry import access
from labd.telemetry.access import AccessError
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.publisher import ConnectionLost, Message
from labd.telemetry.service import Telemetry
from labd.telemetry.setup.certificates import authority, signed
from tests.ports import free_port
from tests.telemetry.mosquitto import mosquitto
from tests.telemetry.secured import Secured, secured


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


async def why_not(broker: Broker) -> str:
    publisher = AiomqttPublisher(Address(broker, "labd-toys"))
    with pytest.raises(ConnectionLost) as caught:
        async with publisher.connect(Message("labd/1/toys/status", b"{}")):
            pass
    return str(caught.value)


def with_tls(broker: Secured, **files: Path) -> Broker:
    return broker.broker(tls=Tls(**{"ca": broker.folder / "broker" / "ca.crt", **files}))


async def test_what_is_wrong_with_the_login(broker: Secured, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2\n")
    told = await why_not(broker.broker(password_file=wrong))
    assert told.endswith("the broker refuses labd: wrong password, or no such login there")
    assert "hunter2" not in told
    assert "lab.yaml names no `user`" in await why_not(broker.broker(user=None, password_file=None))
    assert "who has no password: name `password_file`" in await why_not(broker.broker(password_file=None))
    gone = await why_not(broker.broker(password_file=tmp_path / "gone"))
    assert f"the password file {tmp_path / 'gone'} cannot be read: No such file" in gone
    wrong.write_text("\n")
    assert "is empty" in await why_not(broker.broker(password_file=wrong))
    wrong.write_bytes(b"\xff\xfe")
    assert "is no text in UTF-8" in await why_not(broker.broker(password_file=wrong))


async def test_what_is_wrong_with_the_certificate(broker: Secured, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(authority("other").cert)
    assert "signed by an authority that is not trusted here" in await why_not(with_tls(broker, ca=other))
    assert "signed by an authority that is not trusted here" in await why_not(broker.broker(tls=Tls()))
    assert "for another address than `host`" in await why_not(broker.broker(host="127.0.0.2"))
    gone = tmp_path / "gone.crt"
    assert f"certificate {gone} cannot be used: No such file" in await why_not(with_tls(broker, ca=gone))
    gone.write_text("no certificate")
    assert "it is no PEM file" in await why_not(with_tls(broker, ca=gone))


async def test_what_is_wrong_with_labds_own_certificate(broker: Secured, tmp_path: Path) -> None:
    by = authority("toys")
    for name in ("one", "two"):
        pair = signed(by, name)
        (tmp_path / f"{name}.crt").write_bytes(pair.cert)
        (tmp_path / f"{name}.key").write_bytes(pair.key)
    mixed = with_tls(broker, cert=tmp_path / "one.crt", key=tmp_path / "two.key")
    assert "the key belongs to another certificate" in await why_not(mixed)
    locked = tmp_path / "locked.key"
    lock = ("openssl", "pkey", "-in", str(tmp_path / "one.key"), "-aes256", "-passout", "pass:hunter2", "-out")
    await asyncio.to_thread(subprocess.run, [*lock, str(locked)], check=True, capture_output=True)
    told = await why_not(with_tls(broker, cert=tmp_path / "one.crt", key=locked))
    assert "store it without a passphrase" in told


async def test_a_certificate_of_another_name_or_an_expired_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by = authority("toys")
    (tmp_path / "ca.crt").write_bytes(by.cert)
    for host, days, says in (
        ("broker.lab", 825, "for another name than `host`"),
        ("localhost", 0, "has expired"),
    ):
        monkeypatch.setattr("labd.telemetry.setup.certificates.DAYS", days)
        pair = signed(by, host, [host])
        await asyncio.sleep(1.1 if days == 0 else 0)  # it is still good in the second in which it was made
        (tmp_path / "s.crt").write_bytes(pair.cert)
        (tmp_path / "s.key").write_bytes(pair.key)
        async with mosquitto(tmp_path) as plain:
            await plain.kill()
            plain.port = free_port()
            await plain.start(f"certfile {tmp_path}/s.crt", f"keyfile {tmp_path}/s.key")
            broker = Broker(host="localhost", port=plain.port, tls=Tls(ca=tmp_path / "ca.crt"))
            assert says in await why_not(broker)


async def test_the_wrong_door(broker: Secured, tmp_path: Path) -> None:
    told = await why_not(broker.broker(tls=None))
    assert "does it want TLS?" in told
    async with mosquitto(tmp_path) as plain:
        told = await why_not(broker.broker(port=plain.port))
        assert "speaks no TLS" in told or "ended the connection while it was made" in told
    told = await why_not(broker.broker(port=free_port()))
    assert "nothing listens at port" in told


async def test_a_broker_that_wants_a_certificate_says_so(tmp_path: Path) -> None:
    with secured(tmp_path, "--client-certificates") as broker:
        assert "does it want a certificate of labd?" in await why_not(broker.broker())


async def test_the_daemon_goes_on_without_its_broker_and_comes_in_once_the_password_is_right(
    broker: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so once, in a log that holds no password."""
    secret = tmp_path / "mqtt-password"
    secret.write_text("hunter2\n")
    monkeypatch.setattr("labd.telemetry.publisher.random.Random.uniform", lambda *_: 0.01)
    journal = await Journal.open(tmp_path / "journal.db")
    with structlog.testing.capture_logs() as logged:
        config = Mqtt(broker=broker.broker(password_file=secret))
        telemetry = Telemetry("toys", config, Bus(), journal, "boot-1", "0.1.0")
        task = asyncio.create_task(telemetry.run())
        async with asyncio.timeout(60):
            while not logged:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            assert not task.done()
            right = broker.password("labd")
            secret.write_text(f"{right}\n")
            await telemetry.connected.wait()
        task.cancel()
        await asyncio.wait([task])
    await journal.close()
    assert [line["event"] for line in logged][:2] == ["broker lost", "broker connected"]
    assert "wrong password" in logged[0]["problem"]
    assert "hunter2" not in str(logged)
    assert right not in str(logged)


def test_systemds_credential_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "named"
    named.write_text("from the file\n")
    login, without = Broker(host="b", user="labd"), Broker(host="b")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert access.password(login) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert access.password(login) is None
    (tmp_path / "mqtt-password").write_text("from systemd\r\n")
    assert access.password(login) == "from systemd"
    assert access.password(without) is None
    assert access.password(Broker(host="b", user="labd", password_file=named)) == "from the file"


def test_the_client_id_is_the_same_each_time_and_needs_the_password() -> None:
    assert access.identifier("labd-toys", None) == "labd-toys"
    one = access.identifier("labd-toys", "a")
    assert one == access.identifier("labd-toys", "a")
    assert len({one, access.identifier("labd-toys", "b"), access.identifier("labd-toy", "a"), "labd-toys"}) == 4


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "mqtt-password"
    secret.mkdir()
    with pytest.raises(AccessError, match="cannot be read: Is a directory"):
        access.password(Broker(host="b", user="labd", password_file=secret))
