"""HTTP seen from the instrument: h11 on an asyncio stream, with no timer of its own.

An ordinary ASGI server ticks ten times a second, which costs virtual hours dearly; this one sleeps until bytes come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

_CHUNK = 65536
_LARGEST = 16 * 1024 * 1024  # bytes of a request's body


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case, path without its query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What goes back: a JSON body and a status."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class NoReply(Exception):
    """The connection ends here without an answer: the handler's way to lose a reply."""


Handler = Callable[[Request], Awaitable[Reply]]
Route = Callable[..., Awaitable[Reply]]


class Router:
    """Finds the function for a method and a path such as `/runs/{run_id}`; its parts are passed by name."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []

    def add(self, method: str, path: str, route: Route) -> None:
        """Adds a route; those added first are tried first."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
        self._routes.append((method, re.compile(pattern + "/?$"), route))

    def find(self, request: Request) -> tuple[Route, dict[str, str]] | None:
        """The route and the parts of its path, or None when there is none. Raises `WrongMethod`."""
        allowed = set()
        for method, pattern, route in self._routes:
            match = pattern.match(request.path)
            if match is None:
                continue
            if method == request.method:
                return route, {name: unquote(part) for name, part in match.groupdict().items()}
            allowed.add(method)
        if allowed:
            raise WrongMethod(allowed)
        return None


class WrongMethod(Exception):
    """The path is there, but not for this method."""

    def __init__(self, allowed: set[str]) -> None:
        super().__init__(", ".join(sorted(allowed)))


class HttpServer:
    """HTTP/1.1 with keep-alive; requests of one connection are answered in order.

    Args:
        handler: answers a request; may raise `NoReply`, may take as long as it wants.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Begins to listen (port 0: any free one); gives the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def start_unix(self, path: Path) -> None:
        """Begins to listen on a Unix socket that only its owner reaches; one left behind there is replaced."""
        before = os.umask(0o177)  # nobody else connects in the moment before a chmod
        try:
            self._server = await asyncio.start_unix_server(self._serve, path)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Stops listening, cuts every client off and ends what is still being answered."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, NoReply):
            pass  # a client that went away, or one that shall believe so
        except asyncio.CancelledError:
            # Only `stop` cancels. Ending quietly keeps the stream's own callback from reporting it as an error.
            if self._server is not None and self._server.is_serving():
                raise
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            try:
                request = await self._read(connection, reader, writer)
            except h11.RemoteProtocolError as error:
                if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await _send(connection, writer, Reply(error.error_status_hint, {"message": str(error)}))
                break
            if request is None:
                return
            reply = await self._handler(request)
            await _send(connection, writer, reply, bodiless=request.method == "HEAD")
            if connection.our_state is h11.MUST_CLOSE:
                break
            connection.start_next_cycle()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _read(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    writer.write(connection.send(go_on) or b"")
                connection.receive_data(await reader.read(_CHUNK))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _LARGEST:
                    raise h11.RemoteProtocolError("body too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return _request(head, bytes(body))
            else:  # the client has closed
                return None


def _request(head: h11.Request, body: bytes) -> Request:
    target = urlsplit(head.target.decode("latin-1"))
    return Request(
        method=head.method.decode("ascii"),
        path=target.path,
        query=dict(parse_qsl(target.query, keep_blank_values=True)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )


async def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply, *, bodiless: bool = False
) -> None:
    """`bodiless`: the length of a body is told, and no body sent, as an answer to HEAD is."""
    content = b"" if reply.body is None else json.dumps(reply.body, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content)), **reply.headers}
    events: list[h11.Event] = [h11.Response(status_code=reply.status, headers=list(headers.items()))]
    if content and not bodiless:
        events.append(h11.Data(data=content))
    events.append(h11.EndOfMessage())
    for event in events:
        writer.write(connection.send(event) or b"")
    await writer.drain()
