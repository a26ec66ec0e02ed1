"""Writing a broker's files: secrets for nobody else's eyes, and nothing over what is there unless that is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labd.telemetry.setup import passwords
from labd.telemetry.setup.certificates import Pair, authority, not_covered, signed
from labd.telemetry.setup.plan import BrokerPlan, SetupError
from labd.telemetry.setup.texts import acl, configuration

SECRET, OPEN = 0o600, 0o644
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""By these programs of the broker's own machine reach it."""


@dataclass(slots=True)
class Written:
    """What came of it; paths are below the folder.

    Args:
        written: files that are new, or were changed.
        kept: files that were there and stay as they were.
        new_logins: who got a password.
        strangers: logins of the password file that lab.yaml does not name.
        without_file: logins whose password stands in no file of theirs any more, as a hash only.
    """

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    new_logins: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    without_file: list[str] = field(default_factory=list)


def write(plan: BrokerPlan, folder: Path, *, overwrite: bool = False, renew: bool = False) -> Written:
    """Writes all of a broker's files below a folder: `broker/`, `logins/NAME/`, `authority/`.

    What is there stays: passwords, keys and certificates always (`renew` has the certificates made anew, by the same
    authority), configuration and ACL unless `overwrite`. Users that are new get logins, the others keep theirs.

    Raises:
        SetupError: configuration or ACL would change and that was not asked for (then nothing is written), openssl is
            missing, or the folder cannot be written to.
    """
    try:
        return _Writer(plan, folder, overwrite=overwrite, renew=renew).write()
    except OSError as error:
        raise SetupError(f"{error.filename or folder}: {error.strerror or error}") from error


class _Writer:
    def __init__(self, plan: BrokerPlan, folder: Path, *, overwrite: bool, renew: bool) -> None:
        self._plan, self._folder = plan, folder
        self._overwrite, self._renew = overwrite, renew
        self._done = Written()

    def write(self) -> Written:
        texts = {"broker/mosquitto.conf": configuration(self._plan), "broker/acl": acl(self._plan)}
        differing = [name for name, text in texts.items() if self._present(name) not in (None, text.encode())]
        if differing and not self._overwrite:
            names = " and ".join(str(self._folder / name) for name in differing)
            raise SetupError(f"{names} would change; nothing was written. --overwrite writes them anew")
        self._certificates()
        self._logins()
        for name, text in texts.items():
            self._put(name, text.encode(), SECRET if name.endswith("acl") else OPEN, over=True)
        return self._done

    # ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────
    def _certificates(self) -> None:
        plan = self._plan
        if plan.cert is not None and plan.key is not None:
            self._put("broker/server.crt", plan.cert.read_bytes(), OPEN, over=self._renew)
            self._put("broker/server.key", plan.key.read_bytes(), SECRET, over=self._renew)
            if plan.ca is not None:
                self._trust(plan.ca.read_bytes())
            return
        own = self._authority()
        if self._renew or self._present("broker/server.crt") is None:
            hosts = dict.fromkeys([*plan.hosts, *LOOPBACK])
            self._pair("broker/server", signed(own, plan.hosts[0], list(hosts)))
        else:
            if missing := not_covered(self._present("broker/server.crt") or b"", plan.hosts):
                file = self._folder / "broker" / "server.crt"
                raise SetupError(f"{file} is not for {', '.join(missing)}: --renew has it made anew, with every --host")
            self._done.kept += ["broker/server.crt", "broker/server.key"]
        self._trust(own.cert)
        if plan.client_certificates:
            for login in plan.logins:
                if self._renew or self._present(f"logins/{login}/client.crt") is None:
                    self._pair(f"logins/{login}/client", signed(own, login))

    def _authority(self) -> Pair:
        cert, key = self._present("authority/ca.crt"), self._present("authority/ca.key")
        if cert is not None and key is not None:
            self._done.kept += ["authority/ca.crt", "authority/ca.key"]
            return Pair(cert, key)
        if cert is not None or self._present("broker/server.crt") is not None:
            if self._renew or self._wants_more():
                missing = self._folder / "authority" / "ca.key"
                raise SetupError(f"{missing} is not there, and only it can sign: put it back for this, or begin anew")
            return Pair(cert or self._present("broker/ca.crt") or b"", b"")
        made = authority(self._plan.lab)
        self._pair("authority/ca", made)
        return made

    def _wants_more(self) -> bool:
        """Whether somebody needs a certificate who has none."""
        return self._plan.client_certificates and any(
            self._present(f"logins/{login}/client.crt") is None for login in self._plan.logins
        )

    def _trust(self, cert: bytes) -> None:
        for place in ("broker", *(f"logins/{login}" for login in self._plan.logins)):
            self._put(f"{place}/ca.crt", cert, OPEN, over=self._renew)

    def _pair(self, name: str, pair: Pair) -> None:
        self._put(f"{name}.crt", pair.cert, OPEN, over=self._renew)
        self._put(f"{name}.key", pair.key, SECRET, over=self._renew)

    # ── logins ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _logins(self) -> None:
        """Passwords of those who have none, and their hashes; a hash whose password somebody has changed stays."""
        known = dict(self._lines())
        before = dict(known)
        for login in self._plan.logins:
            file = f"logins/{login}/mqtt-password"
            there = self._present(file)
            if there is not None:
                password = there.decode(errors="replace").strip()
                if login not in known or not passwords.fits(known[login], password):
                    known[login] = passwords.line(login, password)
                self._done.kept.append(file)
            elif login not in known:
                password = passwords.fresh()
                self._put(file, f"{password}\n".encode(), SECRET)
                known[login] = passwords.line(login, password)
                self._done.new_logins.append(login)
            else:
                self._done.without_file.append(login)
        if known != before:
            self._put("broker/passwords", "".join(f"{line}\n" for line in known.values()).encode(), SECRET, over=True)
        self._done.strangers = [login for login in known if login not in set(self._plan.logins)]

    def _lines(self) -> Iterator[tuple[str, str]]:
        for line in (self._present("broker/passwords") or b"").decode(errors="replace").splitlines():
            if line.strip():
                yield line.partition(":")[0], line

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _present(self, name: str) -> bytes | None:
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def _put(self, name: str, content: bytes, mode: int, *, over: bool = False) -> None:
        """Writes a file with its mode from the first byte on; in the place of another only where that was asked for."""
        present = self._present(name)
        if present is not None and (present == content or not over):
            if name not in self._done.kept:
                self._done.kept.append(name)
            return
        path = self._folder / name
        for parent in reversed(path.relative_to(self._folder).parents):  # the folder itself is the first
            (self._folder / parent).mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(file, "wb") as stream:
            os.fchmod(stream.fileno(), mode)  # whatever the umask takes away
            stream.write(content)
        beside.replace(path)
        self._done.written.append(name)
