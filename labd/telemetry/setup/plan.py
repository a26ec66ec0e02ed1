"""Which broker is meant: a lab's users and topics, and where the broker has its files."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labd.lab.access import DAEMON, HOME_ASSISTANT, Broker, Role
from labd.lab.config import LabConfig
from labd.telemetry.topics import ID

PORT = 8883
AT = "/etc/mosquitto/labd"
DATA = "/var/lib/mosquitto"

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")


class SetupError(Exception):
    """The broker's files cannot be written; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """A broker for one lab.

    Args:
        lab: its name.
        users: who may do what, of lab.yaml.
        daemon: labd's own login.
        home_assistant: whether Home Assistant has a login, too.
        hosts: the broker's names and addresses: those that its certificate is for.
        port: of the TLS listener.
        at: the folder of these files on the broker's machine.
        data: where the broker keeps what it must not forget.
        client_certificates: whether everybody must show a certificate besides the password.
        cert, key, ca: the broker's own certificate, where one is given; None: an authority is made for the lab.
    """

    lab: str
    users: Mapping[str, Role]
    daemon: str = DAEMON
    home_assistant: bool = False
    hosts: Sequence[str] = ("localhost",)
    port: int = PORT
    at: str = AT
    data: str = DATA
    client_certificates: bool = False
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    @property
    def logins(self) -> Iterator[str]:
        """All names that can log in."""
        yield self.daemon
        if self.home_assistant and HOME_ASSISTANT not in self.users:
            yield HOME_ASSISTANT
        yield from self.users

    @property
    def own_authority(self) -> bool:
        return self.cert is None

    @property
    def knows_authority(self) -> bool:
        """Whether clients are told whom to believe; else they believe whom their system does."""
        return self.own_authority or self.ca is not None


def plan_of(
    config: LabConfig,
    hosts: Sequence[str] = (),
    *,
    port: int | None = None,
    at: str = AT,
    data: str = DATA,
    client_certificates: bool = False,
    certificate: tuple[Path | None, Path | None, Path | None] = (None, None, None),
) -> BrokerPlan:
    """The broker that a lab.yaml asks for.

    Args:
        config: lab.yaml; its `users` get logins, its `mqtt.broker.user` is labd's own.
        hosts: names and addresses of the broker's machine; empty: lab.yaml's host, or this machine's name.
        port: of the TLS listener; None: lab.yaml's where that has TLS, else 8883.
        at: the folder of the files on the broker's machine.
        data: where the broker keeps what it must not forget.
        client_certificates: whether everybody must show a certificate.
        certificate: cert, key and ca of the broker, where they are given.

    Raises:
        SetupError: lab.yaml names no users, one login for two, or something that cannot be a login or a host.
    """
    if config.users is None:
        raise SetupError("lab.yaml names no users: write `users: {anna: engineer, ben: operator}`, who may do what")
    broker = config.mqtt.broker if config.mqtt is not None else None
    named = broker if isinstance(broker, Broker) else None
    home_assistant = config.mqtt is not None and config.mqtt.home_assistant
    daemon = _own_login(named, config.users, home_assistant=home_assistant)
    found = tuple(hosts) or ((named.host,) if named is not None else (socket.gethostname(),))
    for host in found:
        if not _HOST.fullmatch(host):
            raise SetupError(f"`{host}` is no name or address of a machine")
    for folder in (at, data):
        if not folder.startswith("/") or folder != folder.strip() or "\n" in folder:
            raise SetupError(f"`{folder}` is no absolute path: the broker has its own working directory")
    cert, key, ca = certificate
    if (cert is None) != (key is None) or (ca is not None and cert is None):
        raise SetupError(
            "a certificate of your own is given as --cert and --key, with --ca where it has its own authority"
        )
    if client_certificates and cert is not None:
        raise SetupError("certificates of clients are made by the lab's own authority: leave --cert away, or them")
    if port is None:
        port = named.port if named is not None and named.tls is not None else PORT
    return BrokerPlan(
        config.lab,
        config.users,
        daemon,
        home_assistant,
        found,
        port,
        at.rstrip("/"),
        data.rstrip("/"),
        client_certificates,
        cert,
        key,
        ca,
    )


def _own_login(broker: Broker | None, users: Mapping[str, Role], *, home_assistant: bool) -> str:
    """The login of labd itself. Raises SetupError where it cannot be one, or is another's."""
    daemon = (broker.user if broker is not None else None) or DAEMON
    if not ID.fullmatch(daemon):
        raise SetupError(f"`{daemon}` cannot be a login: 1 to 64 of a-z, 0-9, _ and -; change `mqtt.broker.user`")
    if daemon in users:
        raise SetupError(f"`{daemon}` is labd's own login: whoever has it may write in the lab's name; rename the user")
    if home_assistant and daemon == HOME_ASSISTANT:
        raise SetupError(f"`{daemon}` is Home Assistant's login; give labd its own: `mqtt.broker.user: {DAEMON}`")
    return daemon
