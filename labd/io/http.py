"""JSON over HTTP, one connection a request, and never a second try.

A device's HTTP server may reboot, trickle, or answer after its caller has gone. So every request has one deadline
over all of it, its answer a size limit, and what went wrong says whether anything was sent. Connections are not kept:
a late answer dies with its socket, and a server that closes an idle one cannot swallow the next order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

import httpx

from labd.io.arrival import OPTIONS
from labd.io.tap import Kind, Tapped
from labd.sdk.errors import OutcomeUnknown, Unreachable

DEADLINE = 10.0  # s
SIZE_LIMIT = 8 * 1024 * 1024  # bytes
_EXCERPT = 300  # characters of a strange answer that an error shows


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: the status code and the body as JSON (as text where a refusal's body is none)."""

    status: int
    body: Any


class HttpLink(Tapped):
    """A device's HTTP server.

    Args:
        address: scheme, host and port, such as `http://10.0.0.5:31950`.
        headers: sent with every request.
        deadline: seconds that a request may take from its first byte to the answer's last.
        size_limit: bytes that an answer's body may have.

    Raises:
        ValueError: the address is no http or https address.
    """

    kind: ClassVar[Kind] = "http"
    """Its tap is told each request, `GET /health`, and each answer, `200 {…}`; never headers, in which logins stand."""

    def __init__(
        self,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        size_limit: int = SIZE_LIMIT,
    ) -> None:
        self.address = checked_address(address)
        self.deadline = deadline
        self.size_limit = size_limit
        self._headers = dict(headers or {})
        self._client: httpx.AsyncClient | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str | int] | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Sends one request, once, and gives the answer, whatever its status.

        Raises:
            Unreachable: no connection came about; nothing was sent.
            OutcomeUnknown: it was sent, and no complete JSON answer came.
        """
        text = f"{method} {path}"
        sent = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        seconds = self.deadline if deadline is None else deadline
        if self.tap is not None:
            self.tap("out", _request_text(method, path, body, query).encode())
        try:
            async with asyncio.timeout(seconds):
                status, raw = await self._exchange(method, path, body, query, trace)
        except TimeoutError as error:
            if sent:
                raise OutcomeUnknown(f"no answer from {self.address} within {seconds:g} s", sent=text) from error
            raise Unreachable(f"{self.address} could not be reached within {seconds:g} s") from error
        except httpx.HTTPError as error:
            if sent:
                raise OutcomeUnknown(f"{self.address} gave no answer: {_words(error)}", sent=text) from error
            raise Unreachable(f"{self.address} cannot be reached: {_words(error)}") from error
        if raw is None:
            raise OutcomeUnknown(f"the answer is longer than {self.size_limit} bytes", sent=text)
        answer = self._parsed(status, raw, text)
        if self.tap is not None:
            self.tap("in", f"{answer.status} {json.dumps(answer.body)}".encode())
        return answer

    async def _exchange(
        self, method: str, path: str, body: Any, query: Mapping[str, str | int] | None, trace: Any
    ) -> tuple[int, bytes | None]:
        """Status and body; None for a body that is too long."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self.address,
                headers=self._headers,
                timeout=httpx.Timeout(
                    None
                ),  # one deadline over all: httpx's own start anew with every chunk of a trickle
                transport=httpx.AsyncHTTPTransport(
                    verify=self.address.startswith("https"),  # the list of authorities takes its time and memory
                    limits=httpx.Limits(max_keepalive_connections=0),
                    trust_env=False,  # a proxy of the office is no way to a robot
                    socket_options=OPTIONS,
                ),
                follow_redirects=False,
                trust_env=False,
            )
        request = self._client.build_request(
            method, path, json=body, params=dict(query) if query else None, extensions={"trace": trace}
        )
        response = await self._client.send(request, stream=True)
        try:
            raw = bytearray()
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > self.size_limit:
                    return response.status_code, None
            return response.status_code, bytes(raw)
        finally:
            await response.aclose()

    @staticmethod
    def _parsed(status: int, raw: bytes, text: str) -> Answer:
        try:
            return Answer(status, json.loads(raw) if raw else None)
        except ValueError as error:
            excerpt = raw[:_EXCERPT].decode("utf-8", "replace")
            if status >= httpx.codes.BAD_REQUEST:  # a gateway's page; the status says enough
                return Answer(status, excerpt)
            raise OutcomeUnknown("the answer is no JSON", sent=text, received=excerpt) from error

    async def close(self) -> None:
        """Closes the link; it opens again with the next request."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _request_text(method: str, path: str, body: Any, query: Mapping[str, str | int] | None) -> str:
    """A request as transcripts have it: method, path and body, its keys sorted."""
    asked = f"{path}?{urlencode(query)}" if query else path
    said = json.dumps(body, sort_keys=True) if body is not None else ""
    return f"{method} {asked} {said}".strip()


def checked_address(address: str) -> str:
    """An address without the slash at its end. Raises ValueError when it is no http or https address."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ValueError(f"{address!r} is no address: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{address!r} is no address; write it as `http://10.0.0.5:31950`")
    return address.rstrip("/")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
