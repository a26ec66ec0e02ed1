"""The texts of mosquitto's configuration and ACL."""

from __future__ import annotations

from collections.abc import Iterator

from labd.lab.access import HOME_ASSISTANT
from labd.telemetry.limits import LARGEST
from labd.telemetry.setup.plan import BrokerPlan
from labd.telemetry.topics import Topics

TOLD = ("status", "summary", "queue", "device/#", "run/#", "campaign/#", "alarm/#")
"""What a lab tells, below its prefix: all that is no command and no answer."""

OVERHEAD = 100_000  # bytes of a packet beside the payload
_HEAD = "# Written by `labd mqtt setup` for the lab {lab}. Written anew from lab.yaml with --overwrite.\n"


def configuration(plan: BrokerPlan) -> str:
    """mosquitto.conf, the whole of it."""
    at = plan.at
    authority = f"cafile {at}/ca.crt\n" if plan.client_certificates else ""
    return f"""{_HEAD.format(lab=plan.lab)}\
# It is the whole configuration: it takes the place of /etc/mosquitto/mosquitto.conf (mosquitto 2.0 or later).

# One door: TLS, with a login. None is without, this machine's own programs come in the same way.
listener {plan.port}
{authority}certfile {at}/server.crt
keyfile {at}/server.key
# At least:
tls_version tlsv1.2
require_certificate {str(plan.client_certificates).lower()}

allow_anonymous false
password_file {at}/passwords
acl_file {at}/acl

# Without it a command waits 40 ms for the other side's delayed acknowledgement.
set_tcp_nodelay true

# Retained states and what waits for clients that are away outlive a restart.
persistence true
persistence_location {plan.data}/
autosave_interval 300
persistent_client_expiration 14d

# Nobody fills the memory: so many clients, and of each so much that it has not taken yet.
max_connections 500
max_packet_size {LARGEST + OVERHEAD}
max_inflight_messages 200
max_queued_messages 10000
max_queued_bytes 64000000

# journalctl -u mosquitto. For a refused publish or subscription, which is no error to mosquitto: log_type debug
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true
"""


def acl(plan: BrokerPlan) -> str:
    """The ACL: what is not named is refused."""
    return (
        _HEAD.format(lab=plan.lab)
        + "# What no line allows is refused; there is none for everybody.\n\n"
        + "\n\n".join("\n".join([f"user {login}", *lines]) for login, lines in _lines(plan))
        + "\n"
    )


def _lines(plan: BrokerPlan) -> Iterator[tuple[str, list[str]]]:
    prefix = Topics(plan.lab).prefix
    # It reads what it has told: what stands there and is nobody's any more, it takes away.
    daemon = [f"topic readwrite {prefix}/{told}" for told in TOLD]
    daemon += [f"topic write {prefix}/reply/#", f"topic read {prefix}/cmd/#"]
    daemon += [f"topic readwrite homeassistant/device/labd-{plan.lab}/#", "topic read homeassistant/status"]
    yield plan.daemon, daemon
    lab = [f"topic read {prefix}/{told}" for told in TOLD]
    for login in plan.logins:
        if login == plan.daemon:
            continue
        lines = list(lab)
        if plan.users.get(login, "viewer") != "viewer":
            lines += [f"topic write {prefix}/cmd/{login}/#", f"topic read {prefix}/reply/{login}/#"]
        if login == HOME_ASSISTANT and plan.home_assistant:
            lines.append("topic readwrite homeassistant/#")
        yield login, lines
