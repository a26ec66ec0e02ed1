"""How the daemon comes in at a broker: password, certificates, and what a refusal means in a lab's words."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from labd.lab.access import Broker

CREDENTIAL = "mqtt-password"
"""The name of systemd's credential: `LoadCredential=mqtt-password:/etc/labd/mqtt-password`."""

# OpenSSL's X509_V_ERR_*
_VERIFY: Mapping[int, str] = {
    9: "the certificate is not valid yet: look whether this machine's clock is right",
    10: "the certificate has expired: have the broker's renewed; or this machine's clock is wrong",
    18: "the broker's certificate is signed by itself: name it, or its authority, as `tls: {ca: …}`",
    19: "it is signed by an authority that is not trusted here: name that one's certificate as `tls: {ca: …}`",
    20: "it is signed by an authority that is not trusted here: name that one's certificate as `tls: {ca: …}`",
    62: "the certificate is for another name than `host`: write the name that it is for, or have one made for this one",
    64: "the certificate is for another address than `host`: write the name that it is for",
}
NO_LOGIN = "lab.yaml names no `user`, and the broker lets nobody in without"
_ENCODED = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED")
BAD_LOGIN = (4, 134)  # CONNACK of MQTT 3.1.1, and of 5
NOT_ALLOWED = (5, 135)


class AccessError(OSError):
    """A file of the login or of TLS that cannot be used; the text says which and why, and holds no secret."""


def password(broker: Broker) -> str | None:
    """Read at every connection: a password may be changed under a running daemon.

    Without `password_file` it is systemd's credential, where the unit loads one.

    Raises:
        AccessError: the file cannot be read, or is empty.
    """
    file = broker.password_file or (_credential() if broker.user is not None else None)
    if file is None:
        return None
    try:
        found = file.read_text(encoding="utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise AccessError(f"the password file {file} is no text in UTF-8") from None
    except OSError as error:
        raise AccessError(f"the password file {file} cannot be read: {error.strerror}") from error
    if not found:
        raise AccessError(f"the password file {file} is empty")
    return found


def identifier(name: str, secret: str | None) -> str:
    """The client id of a connection: the same each time, and, where there is a password, known to nobody without it.

    A broker ends a connection whenever another one comes under its id, whoever that logs in as: a viewer who could
    tell the daemon's would keep it out for ever.
    """
    if secret is None:
        return name
    found = hashlib.pbkdf2_hmac("sha256", secret.encode(), f"client id {name}".encode(), 20_000, 8)
    return f"{name}-{found.hex()}"


def _credential() -> Path | None:
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(given) / CREDENTIAL if given else None
    return file if file is not None and file.is_file() else None


def tls(broker: Broker) -> ssl.SSLContext | None:
    """What is trusted, and labd's own certificate; at least TLS 1.2, and the broker's name is checked.

    Raises:
        AccessError: a file cannot be used.
    """
    if broker.tls is None:
        return None
    ca, cert, key = broker.tls.ca, broker.tls.cert, broker.tls.key
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl's errors are among them
        raise AccessError(f"the authority's certificate {ca} cannot be used: {_why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Closed
    if cert is not None:
        try:
            context.load_cert_chain(cert, key, password=_no_passphrase)
        except OSError as error:
            files = f"{cert} with the key {key}" if key is not None else f"{cert}"
            raise AccessError(f"labd's own certificate {files} cannot be used: {_why(error)}") from error
    return context


class _Closed(ssl.SSLSocket):
    """paho leaves a socket whose TLS came to nothing open, one a try: this one closes itself."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise


def _no_passphrase() -> str:
    raise AccessError("the key is encrypted; the daemon has nobody to ask: store it without a passphrase, mode 0600")


def _why(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if isinstance(error, AccessError):
        return str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key belongs to another certificate"
    if isinstance(error, ssl.SSLError):
        return f"it is no PEM file of that kind ({str(reason or error).lower()})"
    return error.strerror or str(error)


def told(error: BaseException, broker: Broker, code: int | None = None) -> str:
    """Why there is no connection, in words that say what to look at.

    Args:
        error: what came of the try.
        broker: as lab.yaml names it.
        code: of the CONNACK, where the broker answered.
    """
    for cause in _causes(error):
        said = _told_one(cause, broker)
        if said is not None:
            return said
    if code in (*BAD_LOGIN, *NOT_ALLOWED):
        return _refused(broker)
    if "closed the connection without an answer" in str(error):
        return f"{error}; {_closed(broker)}"
    return str(error) or type(error).__name__


def _refused(broker: Broker) -> str:
    if broker.user is None:
        return f"the broker refuses the login: {NO_LOGIN}"
    if broker.password_file is None and not _credential():
        missing = f"name `password_file`, or have the unit load the credential {CREDENTIAL}"
        return f"the broker refuses {broker.user}, who has no password: {missing}"
    return f"the broker refuses {broker.user}: wrong password, or no such login there"


def _closed(broker: Broker) -> str:
    if broker.tls is None:
        return "does it want TLS? then add `tls: {ca: …}` and its port, most often 8883"
    if broker.tls.cert is None:
        return "does it want a certificate of labd? then add `cert` and `key` to `tls`"
    return "its own log says why"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _told_one(error: BaseException, broker: Broker) -> str | None:
    if isinstance(error, AccessError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _VERIFY.get(error.verify_code, error.verify_message)
        return f"the broker's certificate is not believed: {why}"
    if isinstance(error, ssl.SSLError):
        return _told_tls(error, broker)
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused: nothing listens at port {broker.port}; does the broker run, and at this port?"
    if isinstance(error, ConnectionResetError) and broker.tls is not None:
        return f"the broker ended the connection while it was made; {_closed(broker)}"
    return None


def _told_tls(error: ssl.SSLError, broker: Broker) -> str:
    reason = str(error.reason or "")
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"port {broker.port} speaks no TLS: most brokers have it at 8883; or leave `tls` away"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return f"the broker refuses the connection ({reason.lower()}); {_closed(broker)}"
    if reason.removeprefix("TLSV1_ALERT_").removeprefix("SSLV3_ALERT_").startswith(_ENCODED):
        return f"the broker does not believe labd's own certificate ({reason.lower()}): have its authority make one"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return f"the broker ended the connection while it was made; {_closed(broker)}"
    return f"TLS failed: {reason.lower() or error}"
