"""A lab of toys behind its real engine, its real journal, and the interface on a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from labd import clock
from labd.api.app import Services
from labd.api.server import ApiServer, serve_api
from labd.journal import Journal, SignalStore
from labd.lab.bus import Happening, RunState
from labd.run.engine import Engine
from tests.toys import toy_lab

PRESSING = """\
labd: 1
protocol: pressing
version: 1.0.0
summary: Press one cell.
parameters:
  force: {type: quantity, default: 7.8 kN, min: 5 kN, max: 10 kN}
roles: {press: crimper}
start: crimp
states:
  crimp:
    do: press.crimp
    with: {force: =force, dwell: 2 s}
    within: 60 s
    as: pressed
    next: look
  look:
    ask: Is the cell sound?
    choices: {keep it: done, scrap it: scrap}
    within: 30 min
    otherwise: scrap
  done:  {end: complete}
  scrap: {end: scrapped}
"""
"""A protocol that presses and then asks."""


@dataclass
class Bench:
    """One served lab, and a client of it."""

    engine: Engine
    server: ApiServer
    client: httpx.AsyncClient
    path: Path

    async def start(self, **more: Any) -> dict[str, Any]:
        answer = await self.client.post("/runs", json={"protocol": PRESSING, "by": "mk", **more})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def first_question(self) -> dict[str, Any]:
        """Waits until a run asks something, whoever starts it."""
        asked = asyncio.Event()

        def listen(happening: Happening) -> None:
            if isinstance(happening, RunState) and happening.question:
                asked.set()

        self.engine.lab.bus.subscribe(listen)
        await asked.wait()
        found: dict[str, Any] = (await self.client.get("/runs", params={"active": True})).json()[0]
        return found

    async def wait(self, run: str, **query: Any) -> dict[str, Any]:
        answer = await self.client.get(f"/runs/{run}/wait", params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@contextlib.asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(engine.run())]
        tasks += [group.create_task(device.run()) for device in engine.lab.devices.values()]
        await engine.ready.wait()
        for device in engine.lab.devices.values():
            await device.wait_ready()
        yield
        for task in tasks:
            task.cancel()


Served = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Serves a lab with one press; `listen` for TCP besides; more of lab.yaml."""

    @contextlib.asynccontextmanager
    async def serve(
        listen: str | None = None, toys: dict[str, str] | None = None, **lab_yaml: Any
    ) -> AsyncIterator[Bench]:
        lab = toy_lab(tmp_path, toys or {"press": "press"}, **lab_yaml)
        lab.config.directory.mkdir(parents=True, exist_ok=True)
        journal = await Journal.open(lab.config.directory / "journal.sqlite")
        signals = await SignalStore.open(lab.config.directory / "signals.sqlite")
        engine = Engine(lab, journal, signals)
        services = Services(engine, lambda: {"lab": "toys", "state": "online", "version": "0", "at": clock.stamp()})
        transport = httpx.AsyncHTTPTransport(uds=str(lab.config.socket))
        try:
            async with (
                running(engine),
                serve_api(services, lab.config.socket, listen) as server,
                httpx.AsyncClient(transport=transport, base_url="http://labd/api/v1", timeout=600.0) as client,
            ):
                yield Bench(engine, server, client, lab.config.socket)
        finally:
            await signals.close()
            await journal.close()

    return serve
