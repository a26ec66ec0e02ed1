"""Faults switched live, over REST: of the simulators of one lab, for demonstrations, teaching and tests.

It listens on a Unix socket in the simulators' folder, and on TCP only where it is told to. It commands simulators and
nothing else; a real device knows nothing of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from simulators._kit.host import SimulatorHost
from simulators._kit.http import HttpServer, Reply, Request, Route, Router, WrongMethod
from simulators.faults.check import FaultsError, Flaw, Kind, check_one
from simulators.faults.model import Time
from simulators.faults.words import WORDS

SOCKET = "control.sock"
LONGEST_SOCKET = 107  # bytes of a Unix socket's path, by the system


class _Power(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    off: Time = 5.0


class Control:
    """The REST interface of one host.

    Args:
        host: its simulators, at work.
        socket: of the Unix socket; None: none.
    """

    def __init__(self, host: SimulatorHost, socket: Path | None) -> None:
        self._host = host
        if socket is not None and len(os.fsencode(socket)) > LONGEST_SOCKET:
            socket = None  # no Unix socket can be there; TCP still can
        self._socket = socket
        self._servers: list[HttpServer] = []
        self._router = Router()
        add = self._router.add
        add("GET", "/v1/words", self._words)
        add("GET", "/v1/devices", self._devices)
        add("GET", "/v1/devices/{name}", self._device)
        add("POST", "/v1/devices/{name}/faults", self._begin)
        add("DELETE", "/v1/devices/{name}/faults", self._clear_all)
        add("DELETE", "/v1/devices/{name}/faults/{which}", self._clear)
        add("POST", "/v1/devices/{name}/power-cycle", self._power_cycle)
        add("GET", "/v1/story", self._story)

    async def start(self, listen: tuple[str, int] | None = None) -> int | None:
        """Begins to listen; gives the TCP port when it was told to use one. Raises OSError."""
        port = None
        if self._socket is not None:
            server = HttpServer(self.handle)
            await server.start_unix(self._socket)
            self._servers.append(server)
        if listen is not None:
            server = HttpServer(self.handle)
            port = await server.start(*listen)
            self._servers.append(server)
        return port

    async def stop(self) -> None:
        """Listens no more."""
        for server in self._servers:
            await server.stop()
        self._servers.clear()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    async def handle(self, request: Request) -> Reply:
        """Answers one request."""
        found = self._understood(request)
        if isinstance(found, Reply):
            return found
        route, parts, body = found
        return await route(body=body, **parts)

    def _understood(self, request: Request) -> Reply | tuple[Route, dict[str, str], dict[str, Any]]:
        """Its route, the parts of its path and its body; or why there are none."""
        try:
            found = self._router.find(request)
        except WrongMethod as error:
            return _no(405, f"only {error} here")
        if request.headers.get("origin"):  # a page of some other site, in a browser on this machine
            return _no(403, "browsers' pages may not command simulators")
        if found is None:
            return _no(404, f"there is no {request.path}; there is /v1/devices")
        route, parts = found
        name = parts.get("name")
        if name is not None and name not in self._host.machines:
            return _no(404, f"there is no simulated device {name!r}; there is {', '.join(self._host.machines)}")
        try:
            body = json.loads(request.body) if request.body else {}
        except ValueError:
            body = None
        return (route, parts, body) if isinstance(body, dict) else _no(400, "the body is no JSON object")

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def _words(self, body: dict[str, Any]) -> Reply:
        del body
        return Reply(200, {word: {"about": its.about, "layer": its.layer} for word, its in WORDS.items()})

    async def _devices(self, body: dict[str, Any]) -> Reply:
        del body
        return Reply(200, {"devices": [self._told(name) for name in self._host.machines]})

    async def _device(self, body: dict[str, Any], name: str) -> Reply:
        del body
        return Reply(200, {**self._told(name), "knows": _known(self._host.kinds[name])})

    async def _story(self, body: dict[str, Any]) -> Reply:
        del body
        return Reply(200, {"now": self._host.plan.now, "story": list(self._host.plan.story)})

    def _told(self, name: str) -> dict[str, Any]:
        machine = self._host.machines[name]
        faults = [one.as_json() for one in self._host.plan.armed[name]]
        kind = type(machine.simulator).__name__
        return {"name": name, "kind": kind, "powered": machine.powered, **machine.address, "faults": faults}

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def _begin(self, body: dict[str, Any], name: str) -> Reply:
        try:
            found = check_one({**body, "device": name}, self._host.kinds)
        except FaultsError as error:
            return _flaws(error.flaws)
        return Reply(201, self._host.plan.add(found[0], live=True).as_json())

    async def _clear_all(self, body: dict[str, Any], name: str) -> Reply:
        del body
        return Reply(200, {"cleared": self._host.plan.clear(name)})

    async def _clear(self, body: dict[str, Any], name: str, which: str) -> Reply:
        del body
        cleared = self._host.plan.clear(name, which)
        if not cleared:
            there = ", ".join(f"{one.spec.word} ({one.number})" for one in self._host.plan.armed[name])
            return _no(404, f"{name} has no fault {which!r}; it has {there or 'none'}")
        return Reply(200, {"cleared": cleared})

    async def _power_cycle(self, body: dict[str, Any], name: str) -> Reply:
        try:
            off = _Power.model_validate(body).off
        except ValidationError as error:
            return _no(422, "; ".join(one["msg"] for one in error.errors()))
        self._host.machines[name].power_cycle(5.0 if off is None else off)
        return Reply(202, self._told(name))


def _known(kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in kind.words:
        takes = {
            key: its.about + ("" if its.unit == "1" else f" ({its.unit})") for key, its in kind.takes(word).items()
        }
        found[word] = {"about": WORDS[word].about, **({"with": takes} if takes else {})}
    return found


def _no(status: int, message: str) -> Reply:
    return Reply(status, {"errors": [{"message": message}]})


def _flaws(flaws: tuple[Flaw, ...]) -> Reply:
    told = [
        {"code": flaw.code, "message": flaw.message, "at": ".".join(map(str, flaw.path)), "mend": flaw.mend}
        for flaw in flaws
    ]
    return Reply(422, {"errors": told})
