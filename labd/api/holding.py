"""Requests and virtual time: the clock stands still while a request is answered, and goes on while one waits."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from labd import clock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class HoldsClock:
    """ASGI middleware: virtual time holds while a request is handled, so that hours do not pass before its answer."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with clock.hold():
            await self._app(scope, receive, send)


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Lets virtual time go on for the part of a request that waits for the lab. Only inside a request."""
    acquire, release = clock.holder()
    release()
    try:
        yield
    finally:
        acquire()
