"""The broker of a lab and who may command it: what lab.yaml says of both, and what of it is weak."""

from __future__ import annotations

import re
import ssl
import stat
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, WithJsonSchema, model_validator

from labd.lab.backlog import Backlog
from labd.lab.findings import Findings
from labd.lab.written import Line, Name, Part, Port, flaw

Role = Literal["viewer", "operator", "engineer"]
"""What a user may do, each more than the one before."""

DAEMON = "labd"
HOME_ASSISTANT = "homeassistant"
"""Logins of programs, where lab.yaml names no other."""

_LOGIN_FLAW = "a password belongs in a file of its own, not in lab.yaml, which many read and copy"
_LOGIN_MEND = "delete it here and change it at the broker; name its file: `password_file: /etc/labd/mqtt-password`"


def _no_password(_: object) -> None:
    raise flaw("L216", _LOGIN_FLAW, _LOGIN_MEND)


def _host(value: object) -> object:
    if isinstance(value, str) and "@" in value:
        raise flaw("L216", "a login belongs in `user` and a file, not in `host`", _LOGIN_MEND)
    if isinstance(value, str) and not _is_host(value):
        raise flaw("L103", "`host` is a name or an address alone", "write `host: broker.lab`, with `port` and `tls`")
    return value


def _is_host(value: str) -> bool:
    try:
        value.encode("idna")  # what looks it up does so, and has another error for it than for a name not found
    except UnicodeError:
        return False
    return not re.search(r"[\s/]", value)


class Tls(Part):
    """An encrypted connection: `{}` with what the system trusts."""

    ca: Annotated[Path | None, Field(description="The authority's certificate; default: those the system trusts.")] = (
        None
    )
    cert: Annotated[Path | None, Field(description="labd's own certificate.")] = None
    key: Annotated[Path | None, Field(description="Its key; default: it stands in the file of `cert`.")] = None

    @model_validator(mode="after")
    def _whole(self) -> Tls:
        if self.key is not None and self.cert is None:
            raise flaw("L102", "`key` needs `cert`", "name labd's own certificate: `cert: labd.crt`")
        return self


class Broker(Part):
    """A broker of the lab's network."""

    host: Annotated[
        str, BeforeValidator(_host), StringConstraints(min_length=1), Field(description="Its name or address.")
    ]
    port: Annotated[Port, Field(description="Its port.")] = 1883
    tls: Annotated[Tls | None, Field(description="Files, where the connection is encrypted.")] = None
    user: Annotated[Line | None, Field(description="The user to log in as.")] = None
    password_file: Annotated[
        Path | None,
        Field(description="The file that holds the password; default: systemd's credential mqtt-password."),
    ] = None
    password: Annotated[
        None,
        BeforeValidator(_no_password),
        WithJsonSchema({"not": {}, "description": "Never here: it belongs in a file."}),
    ] = None

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, so that nothing goes over a network."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _is_mapping(given: object) -> bool:
    return isinstance(given, (dict, Part))


class Mqtt(Part):
    """Telemetry."""

    broker: Annotated[
        Annotated[Literal["embedded"], Tag("@embedded")] | Annotated[Broker, Tag("@broker")],
        Discriminator(lambda given: "@broker" if _is_mapping(given) else "@embedded"),
        Field(description="`embedded`, or a broker of the network."),
    ]
    port: Annotated[Port, Field(description="Of the embedded broker; 0: any free one.")] = 1883
    home_assistant: Annotated[bool, Field(strict=True, description="Whether Home Assistant is to find the lab.")] = (
        False
    )
    backlog: Annotated[
        Backlog, Field(description="What may wait for a broker that is away.", json_schema_extra={"default": {}})
    ] = Backlog()

    def under(self, base: Path) -> Mqtt:
        """The same with absolute paths: those of lab.yaml are under its own folder."""
        broker = self.broker
        if not isinstance(broker, Broker):
            return self
        tls = broker.tls
        if tls is not None:
            tls = tls.model_copy(update={name: _at(base, getattr(tls, name)) for name in ("ca", "cert", "key")})
        found = broker.model_copy(update={"tls": tls, "password_file": _at(base, broker.password_file)})
        return self.model_copy(update={"broker": found})


def _at(base: Path, path: Path | None) -> Path | None:
    return None if path is None else base / path


def _said(value: object) -> object:
    if value is None:  # who writes the key means to say who may command, and must not get that all may
        raise flaw("L103", "`users` has no value", "write `users: {anna: engineer}`, or `users: {}` for nobody")
    return value


Users = Annotated[
    dict[Name, Role] | None,
    BeforeValidator(_said),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z0-9_-]{1,64}$"},
            "additionalProperties": {"enum": ["viewer", "operator", "engineer"]},
        }
    ),
]


# ── what of it is weak ───────────────────────────────────────────────────────────────────────────────────────────────
def check_access(mqtt: Mqtt | None, users: Mapping[str, Role] | None, base: Path, findings: Findings) -> None:
    """Tells what of broker, login and users is weak. Files that this user may not read are not judged."""
    broker = mqtt.broker if mqtt is not None else None
    _check_programs(mqtt, users, findings)
    if broker is None:
        return
    if not isinstance(broker, Broker):
        if users is not None:
            message = "the embedded broker has no logins: who connects may call himself by any of these names"
            mend = "name a broker with logins under `mqtt.broker`; `labd mqtt setup` writes what it needs"
            findings.tell("L215", message, ("users",), mend, key=True, warning=True)
        return
    at = ("mqtt", "broker")
    if users is None:
        message = "no `users`: whoever may publish at this broker commands the lab"
        mend = "say who may do what: `users: {anna: engineer, ben: operator, screen: viewer}`"
        findings.tell("L214", message, at, mend, key=True, warning=True)
    if broker.user is not None and broker.tls is None and not broker.loopback:
        message = "the password goes over the network unencrypted"
        mend = "add `tls: {ca: ca.crt}`, or `tls: {}` where the system knows the authority, and the broker's TLS port"
        findings.tell("L219", message, (*at, "user"), mend, warning=True)
    _check_files(broker, base, findings)


def _check_programs(mqtt: Mqtt | None, users: Mapping[str, Role] | None, findings: Findings) -> None:
    """Tells where one login would be two's: labd's own, which may write in the lab's name, and another."""
    broker = mqtt.broker if mqtt is not None else None
    own = (broker.user if isinstance(broker, Broker) else None) or DAEMON
    if own in (users or ()):
        message = f"`{own}` is labd's own login: whoever has it may write in the lab's name"
        findings.tell("L302", message, ("users", own), "give the person another name", key=True)
    if mqtt is not None and mqtt.home_assistant and own == HOME_ASSISTANT:
        message = f"`{own}` is Home Assistant's login, and labd's own may write in the lab's name"
        findings.tell("L302", message, ("mqtt", "broker", "user"), f"give labd its own: `user: {DAEMON}`")


def _check_files(broker: Broker, base: Path, findings: Findings) -> None:
    at = ("mqtt", "broker")
    for path, file in _files(broker):
        place = base / file
        try:
            mode = place.stat().st_mode
            text = place.read_bytes()
        except PermissionError:
            continue  # it is the daemon's, and whoever checks is not
        except OSError as error:
            message = f"`{file}` cannot be read: {error.strerror}"
            mend = "a relative path is one below the folder of lab.yaml" if not file.is_absolute() else ""
            findings.tell("L218", message, (*at, *path), mend, warning=True)
            continue
        if path[-1] in ("password_file", "key") and mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
            message = f"others can read or change `{file}` (mode {stat.S_IMODE(mode):04o})"
            findings.tell("L217", message, (*at, *path), f"chmod 640 {place}", warning=True)
        if not text.strip():
            findings.tell("L218", f"`{file}` is empty", (*at, *path), "", warning=True)
        elif path[-1] == "ca" and (problem := _no_authority(place)):
            findings.tell("L218", f"`{file}` is no certificate: {problem}", (*at, *path), "", warning=True)


def _no_authority(place: Path) -> str | None:
    try:
        ssl.create_default_context(cafile=place)
    except (ssl.SSLError, ValueError) as error:
        return getattr(error, "reason", None) or str(error)
    return None


def _files(broker: Broker) -> Iterator[tuple[tuple[str, ...], Path]]:
    named: dict[tuple[str, ...], Any] = {("password_file",): broker.password_file}
    if broker.tls is not None:
        named |= {("tls", name): getattr(broker.tls, name) for name in ("ca", "cert", "key")}
    for path, file in named.items():
        if file is not None:
            yield path, file
