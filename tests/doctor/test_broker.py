"""A doctor at a real mosquitto with logins, certificates and an ACL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labd.doctor import broker as doctors
from labd.doctor import worst
from labd.doctor.broker import end_of, examine_broker
from labd.doctor.finding import Finding
from labd.lab.access import Mqtt
from tests.ports import free_port
from tests.telemetry.secured import Secured, secured


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


def told(found: list[Finding]) -> str:
    return "\n".join(f"{finding.level} {finding.text} → {finding.mend}" for finding in found)


async def test_the_daemons_login_is_well(broker: Secured) -> None:
    found = await examine_broker("toys", Mqtt(broker=broker.broker()), running=False)
    assert worst(found) == 0, told(found)
    assert "the broker's certificate is good until" in told(found)
    assert "labd may write, and read commands" in told(found)


async def test_a_login_that_may_not_write_nor_read_is_told(broker: Secured) -> None:
    found = await examine_broker("toys", Mqtt(broker=broker.broker("screen")), running=False)
    assert worst(found) == 2
    assert "labd may not write" in told(found)
    assert "labd mqtt setup" in told(found)


async def test_a_wrong_password_and_a_broker_that_is_away_are_told(broker: Secured, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong")
    wrong = broker.broker(password_file=tmp_path / "wrong")
    found = await examine_broker("toys", Mqtt(broker=wrong), running=False)
    assert worst(found) == 2
    away = broker.broker(port=free_port())
    assert worst(await examine_broker("toys", Mqtt(broker=away), running=False)) == 2


async def test_a_certificate_that_ends_soon_or_has_ended_is_told(
    broker: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = end_of(broker.folder / "logins" / "labd" / "ca.crt")
    assert end is not None
    assert end > datetime.now(UTC)
    for left, level in ((timedelta(days=10), "warning"), (timedelta(days=-2), "problem")):
        monkeypatch.setattr(doctors, "end_of", lambda _, left=left: datetime.now(UTC) + left)
        found = await examine_broker("toys", Mqtt(broker=broker.broker()), running=False)
        assert found[0].level == level
        assert "--renew" in found[0].mend


async def test_the_embedded_brokers_port_is_looked_at_unless_the_daemon_has_it() -> None:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        taken = Mqtt(broker="embedded", port=sock.getsockname()[1])
        assert worst(await examine_broker("toys", taken, running=False)) == 2
        assert await examine_broker("toys", taken, running=True) == []
    assert worst(await examine_broker("toys", None, running=False)) == 0
