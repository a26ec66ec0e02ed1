"""A lab with one press and its campaigns, reached over its Unix socket, over TCP and over MQTT."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from labd import clock
from labd.api.app import Services
from labd.api.server import serve_api
from labd.campaign.engine import Campaigns
from labd.journal import Journal, SignalStore
from labd.lab.background import background
from labd.lab.config import Mqtt
from labd.run.engine import Engine
from labd.telemetry.service import Telemetry
from tests.toys import toy_lab


@dataclass
class Served:
    campaigns: Campaigns
    client: httpx.AsyncClient
    telemetry: Telemetry
    socket: Path


@contextlib.asynccontextmanager
async def served(path: Path) -> AsyncIterator[Served]:
    """A lab with one press that is reached over TCP and over MQTT."""
    toys = toy_lab(path, {"press": "press"})
    async with contextlib.AsyncExitStack() as stack:
        journal = await Journal.open(path / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(path / "signals.sqlite")
        stack.push_async_callback(signals.close)
        device = toys.devices["press"]
        await stack.enter_async_context(background(device.run(), "press"))
        await device.wait_ready()
        engine = Engine(toys, journal, signals)
        campaigns = Campaigns(engine)
        await stack.enter_async_context(background(engine.run(), "engine"))
        await stack.enter_async_context(background(campaigns.run(), "campaigns"))
        await campaigns.ready.wait()
        config, boot = Mqtt(broker="embedded", port=0), ("boot-1", "0.1.0")
        telemetry = Telemetry(
            "toys", config, toys.bus, journal, *boot, engine=engine, asks=campaigns, snapshot=campaigns.told
        )
        await stack.enter_async_context(background(telemetry.run(), "telemetry"))
        await telemetry.connected.wait()
        services = Services(engine, lambda: {"at": clock.stamp()}, campaigns=campaigns)
        server = await stack.enter_async_context(serve_api(services, toys.config.socket, "127.0.0.1:0"))
        assert server.tcp is not None
        base = f"http://127.0.0.1:{server.tcp[1]}/api/v1"
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=None))
        yield Served(campaigns, client, telemetry, toys.config.socket)
