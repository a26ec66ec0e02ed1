"""An authority of the lab's own, and what it signs: by the openssl command, which every Debian has or gets."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from labd.telemetry.setup.plan import SetupError

AUTHORITY_DAYS = 3650
DAYS = 825  # the longest that all systems accept
LIMIT = 60  # s
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM."""

    cert: bytes
    key: bytes


def authority(lab: str) -> Pair:
    """An authority that signs for one lab. Raises SetupError."""
    with tempfile.TemporaryDirectory() as folder:
        cert, key = Path(folder, "ca.crt"), Path(folder, "ca.key")
        extensions = ["basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign"]
        added = [part for one in extensions for part in ("-addext", one)]
        subject = ("-subj", f"/O=labd/CN=authority of the lab {lab}"[:70])
        files = ("-keyout", str(key), "-out", str(cert))
        _openssl("req", "-x509", *_CURVE, "-days", str(AUTHORITY_DAYS), *subject, *files, *added)
        return Pair(cert.read_bytes(), key.read_bytes())


def signed(by: Pair, name: str, hosts: Sequence[str] = ()) -> Pair:
    """A certificate for a server of these names and addresses, or for a client where there are none.

    Raises:
        SetupError: openssl is not there, or fails.
    """
    usage = "serverAuth" if hosts else "clientAuth"
    wanted = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
        "authorityKeyIdentifier=keyid",
        "subjectKeyIdentifier=hash",
        *([f"subjectAltName={','.join(_alternative(host) for host in hosts)}"] if hosts else []),
    ]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for file, content in (("ca.crt", by.cert), ("ca.key", by.key), ("wanted", "\n".join(wanted).encode())):
            (base / file).write_bytes(content)
        asked, cert, key = base / "asked", base / "one.crt", base / "one.key"
        _openssl("req", "-new", *_CURVE, "-subj", f"/CN={name[:64]}", "-keyout", str(key), "-out", str(asked))
        authority = ("-CA", str(base / "ca.crt"), "-CAkey", str(base / "ca.key"), "-CAcreateserial")
        how = ("-days", str(DAYS), "-sha256", "-extfile", str(base / "wanted"))
        _openssl("x509", "-req", "-in", str(asked), *authority, *how, "-out", str(cert))
        return Pair(cert.read_bytes(), key.read_bytes())


def not_covered(cert: bytes, hosts: Sequence[str]) -> list[str]:
    """Those names and addresses that a certificate is not for. Raises SetupError."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "one.crt")
        file.write_bytes(cert)
        asked = ("x509", "-noout", "-in", str(file))
        kinds = {host: "-checkip" if _alternative(host).startswith("IP") else "-checkhost" for host in hosts}
        return [host for host, kind in kinds.items() if "does match" not in _openssl(*asked, kind, host)]


def _alternative(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        return f"DNS:{host}"
    return f"IP:{host}"


def _openssl(*arguments: str) -> str:
    """Runs it, and gives what it says."""
    program = shutil.which("openssl")
    if program is None:
        raise SetupError(
            "certificates are made by openssl: apt install openssl; or give your own with --cert and --key"
        )
    try:
        command = [program, *arguments]
        ended = subprocess.run(  # noqa: S603 - arguments of ours
            command, capture_output=True, text=True, check=False, timeout=LIMIT, umask=0o077
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"openssl cannot be run: {error}") from error
    if ended.returncode != 0:
        raise SetupError(f"openssl {arguments[0]} failed: {ended.stderr.strip().splitlines()[-1:]}")
    return ended.stdout
