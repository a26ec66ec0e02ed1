"""Finding the daemon and speaking with it: HTTP over its Unix socket.

The standard library's client is enough for one request and one answer, and imports in a fifth of httpx's time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from labd.cli.errors import BAD_INPUT, REFUSED, CliError

PLACES = (Path("/run/labd/labd.sock"), Path("/var/lib/labd/labd.sock"))
"""Where a daemon that systemd started listens."""
ANSWER_LIMIT = 60.0  # s
TRIES = 3  # of what has a name
BAD_REQUESTS = {400, 404, 405, 422}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A socket, and why it is looked at."""

    path: Path
    why: str


def candidates(given: Path | None, lab: Path | None) -> list[Candidate]:
    """Where a daemon may listen.

    What was said explicitly, or by the lab.yaml that one stands in, is not widened: a command must never reach
    another lab than the one that was meant.

    Raises:
        CliError: a lab.yaml that does not tell, or one that names another socket than LABD_SOCKET.
    """
    if given is not None:
        return [Candidate(given, "--socket")]
    named = os.environ.get("LABD_SOCKET")
    if named:
        if lab is not None and (other := socket_of(lab)) != Path(named).resolve():
            said = f"--lab {lab} means {other}, LABD_SOCKET means {named}: unset LABD_SOCKET, or leave --lab away"
            raise CliError(said, BAD_INPUT)
        return [Candidate(Path(named), "LABD_SOCKET")]
    if lab is not None:
        return [Candidate(socket_of(lab), f"--lab {lab}")]
    here = Path("lab.yaml")
    if here.is_file():
        return [Candidate(socket_of(here), "./lab.yaml")]
    return [Candidate(path, "the service's place") for path in PLACES]


def socket_of(lab: Path) -> Path:
    """The socket that a lab.yaml names, as LabConfig.socket does, without the second that a whole check of it takes.

    Raises:
        CliError: the file does not hold.
    """
    from labd.files import InputErrors, Reader, Source, read_file

    try:
        data = Reader(Source(str(lab), read_file(lab))).read()
        base = lab.resolve().parent
        named = (data.get("api") or {}).get("socket")
        path: Path = base / named if named else base / data["store"] / "labd.sock"
    except InputErrors as refused:
        raise CliError(str(refused), BAD_INPUT) from refused
    except (KeyError, TypeError, AttributeError) as error:
        from labd.lab.config import load_lab

        try:
            return load_lab(lab).socket
        except InputErrors as refused:
            raise CliError(str(refused), BAD_INPUT) from error
    return path.resolve()


class NoDaemonError(CliError):
    """No daemon answers."""


class BrokenOffError(CliError):
    """A daemon was asked and gave no answer: nobody knows whether it did what it was told."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__("labd")
        self.sock = sock


class Client:
    """One daemon's interface.

    Args:
        given: the socket of `--socket`, or None.
        lab: the lab.yaml of `--lab`, or None.
    """

    def __init__(self, given: Path | None = None, lab: Path | None = None) -> None:
        self._candidates = candidates(given, lab)

    def get(self, path: str, *, limit: float = ANSWER_LIMIT, **query: object) -> Any:
        """Asks; raises CliError with the daemon's words."""
        asked = {name: value for name, value in query.items() if value is not None}
        return self._request("GET", f"{path}?{urlencode(asked)}" if asked else path, None, limit)

    def text(self, path: str, *, limit: float = ANSWER_LIMIT) -> str:
        """Asks for what is no JSON, such as a page; raises CliError with the daemon's words."""
        found: str = self._request("GET", path, None, limit, read=lambda raw: raw.decode())
        return found

    def post(self, path: str, body: dict[str, object], *, limit: float = ANSWER_LIMIT) -> Any:
        """Orders; raises CliError with the daemon's words."""
        return self._request("POST", path, {name: value for name, value in body.items() if value is not None}, limit)

    def post_named(self, path: str, body: dict[str, object], *, limit: float = ANSWER_LIMIT) -> Any:
        """Orders what has a name in `request`, and once more where no answer came: it is not done twice."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(BrokenOffError):
                return self.post(path, body, limit=limit)
            time.sleep(1.0)
        return self.post(path, body, limit=limit)

    def events(self, run: str) -> Iterator[dict[str, Any]]:
        """All events of a run, oldest first."""
        after: int | None = 0
        while after is not None:
            page = self.get(f"/runs/{quoted(run)}/events", after=after, limit=10_000)
            yield from page["events"]
            after = page["after"]

    def _request(
        self, method: str, path: str, body: object, limit: float, read: Callable[[bytes], Any] = json.loads
    ) -> Any:
        sock, candidate = self._connect()
        sock.settimeout(limit)
        connection = _UnixConnection(sock)
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, f"/api/v1{path}", content, {"content-type": "application/json"})
            response = connection.getresponse()
            status, raw = response.status, response.read()
        except TimeoutError as error:
            raise BrokenOffError(
                f"the daemon at {candidate.path} did not answer within {limit:g} s; see its log"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise BrokenOffError(f"the daemon at {candidate.path} broke off: {error!r}; see its log") from error
        finally:
            connection.close()
        return read(raw) if status < 400 and read is not json.loads else _answer(status, raw, candidate)

    def _connect(self) -> tuple[socket.socket, Candidate]:
        tried: list[str] = []
        for candidate in self._candidates:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(str(candidate.path))
            except OSError as error:
                sock.close()
                tried.append(f"  {candidate.path} ({candidate.why}): {_why(error)}")
            else:
                return sock, candidate
        lines = "\n".join(tried)
        raise NoDaemonError(
            f"no daemon answers. Tried:\n{lines}\nStart one with `labd serve --lab lab.yaml`, or say where "
            "it listens: --socket PATH, --lab lab.yaml or LABD_SOCKET."
        )


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no socket"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens: its daemon has ended"
    if isinstance(error, PermissionError):
        return "you may not open it: join the group that it belongs to"
    return error.strerror or str(error)


_MENDS = {
    "unknown_run": "; `labd status --all` lists them",
    "unknown_job": "; `labd queue --all` lists them",
    "unknown_campaign": "; `labd campaign status` lists them",
    "unknown_sample": "; `labd sample` lists them",
}


def _answer(status: int, raw: bytes, candidate: Candidate) -> Any:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise CliError(f"{candidate.path} answers {status} and no JSON: is it a labd daemon?") from error
    if status < 400:
        return body
    told = body.get("error") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        raise CliError(f"{candidate.path} answers {status} in words that are not labd's: is it a labd daemon?")
    message = told.get("message") or f"the daemon answers {status}"
    message += _MENDS.get(told.get("code", ""), "")
    raise CliError(message, BAD_INPUT if status in BAD_REQUESTS else REFUSED, body)


def quoted(part: str) -> str:
    """A name as one part of a path."""
    return quote(part, safe="")


def login_name() -> str:
    """Who gives the commands: the name of this process's user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
