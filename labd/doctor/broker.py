"""The broker: whether it can be reached, lets labd in, and lets it read and write what its contract says."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import uuid
from pathlib import Path

from labd import clock
from labd.doctor.finding import Finding, ok, problem, warning
from labd.lab.access import DAEMON, Broker, Mqtt
from labd.telemetry import access
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.publisher import Message, PublishError, PublishRefused, Session
from labd.telemetry.topics import Topics

REACH_LIMIT = 5.0  # s
ANSWER_LIMIT = 10.0  # s; for an acknowledgement
SOON = 30  # days before a certificate's end that are told
_ACL = "labd mqtt setup writes the broker's ACL from lab.yaml; install it with --overwrite, and reload mosquitto"


async def examine_broker(lab: str, mqtt: Mqtt | None, *, running: bool) -> list[Finding]:
    """Looks at the broker of lab.yaml, as the daemon would come in, under another client id.

    Args:
        lab: its name.
        mqtt: as lab.yaml says, with absolute paths.
        running: whether the lab's daemon runs: it has the embedded broker's port then.
    """
    if mqtt is None:
        return [ok("broker", "lab.yaml has no `mqtt`: nothing is told to a broker")]
    if not isinstance(mqtt.broker, Broker):
        return [] if running else await asyncio.to_thread(_embedded, mqtt.port)
    broker = mqtt.broker
    found = await asyncio.to_thread(_certificates, broker, clock.outside())
    publisher = AiomqttPublisher(Address(broker, f"labd-doctor-{uuid.uuid4().hex[:12]}"))
    topics = Topics(lab)
    # A reply to nobody: a topic that labd may write, and that nothing takes for anything.
    nobody = topics.reply(broker.user or DAEMON, "doctor")
    try:
        async with publisher.connect(Message(nobody, b"", qos=0)) as session:
            who = f"as {broker.user}" if broker.user is not None else "without a login"
            found.append(ok("broker", f"{broker.host}:{broker.port} lets labd in {who}"))
            found += await _allowed(session, nobody, topics)
    except PublishError as error:
        found.append(problem("broker", str(error), "docs/how-to/secure-mqtt.md tells how a broker is set up"))
    return found


async def _allowed(session: Session, nobody: str, topics: Topics) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            await session.send(Message(nobody, b"", qos=1))
    except PublishRefused as error:
        found.append(problem("broker", f"labd may not write: {error}", _ACL))
    except TimeoutError:
        found.append(problem("broker", f"no acknowledgement within {ANSWER_LIMIT:g} s", "look in the broker's log"))
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            await session.listen_to(topics.commands)
    except PublishRefused as error:
        found.append(problem("broker", f"labd may not read commands: {error}", _ACL))
    except TimeoutError:
        found.append(
            problem("broker", f"no answer to a subscription within {ANSWER_LIMIT:g} s", "see the broker's log")
        )
    return found or [ok("broker", "labd may write, and read commands")]


def _embedded(port: int) -> list[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            mend = "give mqtt.port another number, or name the broker that runs there under mqtt.broker"
            return [problem("broker", f"the embedded broker's port {port} cannot be had: {error.strerror}", mend)]
    return [ok("broker", f"the embedded broker's port {port} is free")]


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────────
def _certificates(broker: Broker, now: dt.datetime) -> list[Finding]:
    """When the broker's certificate and labd's own end."""
    if broker.tls is None:
        return []
    found: list[Finding] = []
    for name, path in (("the authority's certificate", broker.tls.ca), ("labd's own certificate", broker.tls.cert)):
        end = end_of(path) if path is not None else None
        if end is not None:
            found += _ends(
                f"{name} {path}", end - now, end, "labd mqtt setup --renew makes new ones by the same authority"
            )
    try:
        context = access.tls(broker)
        assert context is not None
        with (
            socket.create_connection((broker.host, broker.port), REACH_LIMIT) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as sock,
        ):
            told = sock.getpeercert() or {}
    except OSError:
        return found  # the connection itself tells it in better words
    end = _moment(str(told.get("notAfter", "")))
    if end is not None:
        found += _ends(
            "the broker's certificate", end - now, end, "renew it at the broker: labd mqtt setup --renew, or certbot"
        )
    return found


def _ends(what: str, left: dt.timedelta, end: dt.datetime, mend: str) -> list[Finding]:
    days = left.days
    if days < 0:
        return [problem("broker", f"{what} has ended on {end:%Y-%m-%d}", mend)]
    if days < SOON:
        return [warning("broker", f"{what} ends on {end:%Y-%m-%d}, in {days} days", mend)]
    return [ok("broker", f"{what} is good until {end:%Y-%m-%d}")]


def end_of(path: Path) -> dt.datetime | None:
    """The end of the first certificate of a PEM file; None where it cannot be read: the connection tells that."""
    try:
        # The standard library's own reader of certificate files; it has no public name.
        told = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]  # noqa: SLF001
    except (OSError, AttributeError):
        return None
    return _moment(str(told.get("notAfter", "")))


def _moment(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(text), dt.UTC)
    except ValueError:
        return None
