"""Benches for simulators that are met over their ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from simulators._kit.simulator import Bench
from simulators._kit.world import HALF_CELL, LID, Cell, World
from simulators.methodscript import MethodScriptInstrument
from tests.simulators.ports import Port

Stand = tuple[MethodScriptInstrument, Port]
MakeStand = Callable[..., Awaitable[Stand]]


def crimped_cell(name: str = "c1") -> Cell:
    now = clock.now().timestamp()
    return Cell(
        id=name,
        parts=[HALF_CELL, LID],
        electrolyte={"LP57": 45.0},
        wetted_at=now - 300,
        crimped_at=now,
        crimp_force=7.8,
    )


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[MakeStand]:
    """Starts an instrument `stat1` with a client at its port; with a cell in it unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def make(*, model: str = "emstat4_hr", cell: bool = True, seed: int = 1, **faults: Any) -> Stand:
            world = World(seed)
            if cell:
                world.put("stat1/cell", crimped_cell())
            settings = {"port": f"stat{seed}", "model": model}
            bench = Bench("stat1", world, settings, {"faults": faults}, directory=tmp_path)
            simulator = MethodScriptInstrument(bench)
            found = await simulator.start()
            stack.push_async_callback(simulator.stop)
            port = stack.enter_context(Port(found["port"]))
            return simulator, port

        yield make


@pytest.fixture
async def stand(make_stand: MakeStand) -> Stand:
    return await make_stand()
