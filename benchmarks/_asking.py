"""Asking a daemon on its socket, with nothing of labd's own client in between."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any


def ask(where: Path, method: str, path: str, body: Any = None, limit: float = 120.0) -> Any:
    """The answer to one request under `/api/v1`; `limit` s.

    Raises:
        OSError: nobody listens, or nobody answers.
        RuntimeError: it is refused.
    """
    connection = http.client.HTTPConnection("labd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(limit)
    with contextlib.closing(connection):
        connection.sock.connect(str(where))
        headers = {"content-type": "application/json"}
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {found}")
    return found
