"""Waiting for a run to come where a test wants it."""

from __future__ import annotations

import asyncio

from tests.run.conftest import Bench


async def until_asked(bench: Bench, run: str) -> dict[str, object]:
    async with asyncio.timeout(7200):
        while (question := (await bench.engine.state(run)).question) is None:
            await asyncio.sleep(0.1)
    return dict(question)


async def until(bench: Bench, run: str, packml: str) -> None:
    async with asyncio.timeout(7200):
        while (await bench.engine.state(run)).state != packml:
            await asyncio.sleep(0.1)


async def until_busy(bench: Bench, device: str, times: int = 1) -> None:
    """Waits until an action was begun on a device so many times."""
    async with asyncio.timeout(7200):
        for _ in range(times):
            while bench.lab.devices[device].busy_with:
                await asyncio.sleep(0.1)
            while not bench.lab.devices[device].busy_with:
                await asyncio.sleep(0.1)
