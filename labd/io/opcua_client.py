"""Sessions with OPC UA servers: who the client is, how the channel is guarded, and what keeps a session from coming."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labd import clock
from labd.io.arrival import bound
from labd.sdk.errors import Unreachable

if TYPE_CHECKING:
    from asyncua import Client

SESSION = 300.0  # s after which a server may forget a client that says nothing

# asyncua tells its log what it then raises; whoever wants to read it twice sets the level
logging.getLogger("asyncua").setLevel(logging.CRITICAL)

Policy = Literal["none", "basic256sha256", "aes128_sha256_rsaoaep", "aes256_sha256_rsapss"]
_POLICIES = {
    "basic256sha256": "SecurityPolicyBasic256Sha256",
    "aes128_sha256_rsaoaep": "SecurityPolicyAes128Sha256RsaOaep",
    "aes256_sha256_rsapss": "SecurityPolicyAes256Sha256RsaPss",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who the client is, and how the connection is guarded. Files are paths.

    Args:
        user, password: of the session; no user: anonymous.
        policy: of the secure channel.
        sign_only: messages are signed and readable, else encrypted, too.
        certificate, private_key: of the client, needed for every policy but `none` (DER or PEM).
        server_certificate: the one that the server must have; without it, the one that it shows is taken.
    """

    user: str | None = None
    password: str | None = None
    policy: Policy = "none"
    sign_only: bool = False
    certificate: Path | None = None
    private_key: Path | None = None
    server_certificate: Path | None = None


async def connected(address: str, access: Access, deadline: float) -> Client:
    """A new client with a session.

    Args:
        address: `opc.tcp://host:port/path`.
        access: who it is.
        deadline: s for all of it, and for each request later.

    Raises:
        Unreachable: there is no session; says why.
    """
    try:
        from asyncua import Client, ua
    except ModuleNotFoundError as error:
        raise Unreachable("OPC UA needs asyncua: pip install 'labd[opcua]'") from error

    client = Client(address, timeout=deadline + 1)  # ours fires first
    client.name = client.description = "labd"
    client.application_uri = "urn:labd:client"
    client.session_timeout = int(SESSION * 1000)
    if access.user is not None:
        client.set_user(access.user)
        client.set_password(access.password or "")
    try:
        async with asyncio.timeout(deadline):
            if access.policy != "none":
                with clock.pace():  # files are read by a thread that virtual time does not know of
                    await _secure(client, access)
            # not client.connect(): its supervisor, and its watchdog of subscriptions, tick for ever
            await client.connect_socket()
            bound(client.uaclient.protocol.transport.get_extra_info("socket"))
            await client.send_hello()
            await client.open_secure_channel()
            await client.create_session()
            await client.activate_session(
                username=access.user, password=access.password, certificate=client.user_certificate
            )
    except TimeoutError as error:
        abort(client)
        why = "" if access.policy == "none" else "; is its certificate the right one, and does it trust labd's?"
        raise Unreachable(f"{address} gave no session within {deadline:g} s{why}") from error
    except ua.UaStatusCodeError as error:
        abort(client)
        raise Unreachable(f"{address} gives no session: {_refusal(error, access)}") from error
    except Unreachable:
        abort(client)
        raise
    except Exception as error:
        abort(client)
        raise Unreachable(f"{address} cannot be reached: {error or type(error).__name__}") from error
    except BaseException:
        abort(client)
        raise
    return client


async def _secure(client: Client, access: Access) -> None:
    from asyncua import ua
    from asyncua.crypto import security_policies, uacrypto

    if access.certificate is None or access.private_key is None:
        raise Unreachable(f"policy {access.policy}: `certificate` and `private_key` are needed")
    mode = ua.MessageSecurityMode.Sign if access.sign_only else ua.MessageSecurityMode.SignAndEncrypt
    own = await uacrypto.load_certificate(access.certificate)
    client.application_uri = _uri_of(own) or client.application_uri
    await client.set_security(
        getattr(security_policies, _POLICIES[access.policy]),
        access.certificate,
        access.private_key,
        server_certificate=str(access.server_certificate) if access.server_certificate else None,
        mode=mode,
    )


def _uri_of(certificate: Any) -> str | None:
    """The application's URI: a server compares the one in the certificate with the one that the client says."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), None)


def _refusal(error: Exception, access: Access) -> str:
    name = type(error).__name__
    if name in {"BadUserAccessDenied", "BadIdentityTokenRejected", "BadIdentityTokenInvalid"}:
        who = f"user {access.user!r} or the password is wrong" if access.user else "it takes no anonymous users"
        return f"{who} ({name})"
    if "Certificate" in name or name in {"BadSecurityChecksFailed", "BadSecurityPolicyRejected"}:
        return f"it does not take the client's certificate or policy; trust the certificate at the server ({name})"
    return f"{error} ({name})"


def stands(client: Client) -> bool:
    """Whether its connection stands, as far as this side knows."""
    protocol = client.uaclient.protocol
    return protocol is not None and protocol.transport is not None and not protocol.transport.is_closing()


def abort(client: Client) -> None:
    """Ends a connection at once."""
    protocol = client.uaclient.protocol
    if protocol is not None and protocol.transport is not None:
        protocol.transport.abort()
    with contextlib.suppress(Exception):
        client.disconnect_socket()
