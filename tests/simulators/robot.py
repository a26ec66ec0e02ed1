"""An OT-2 or Flex with a client, driven as an application drives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.opentrons import SIMULATOR, OpentronsSimulator
from tests.simulators.wires import Http

DECK: tuple[dict[str, Any], ...] = (
    {"place": "ot2/1", "labware": "opentrons_96_tiprack_20ul"},
    {"place": "ot2/2", "labware": "vials_8x20ml", "contents": {"A1": {"material": "LP57", "volume": 100.0}}},
    {"place": "ot2/3", "labware": "cell_tray_8", "fill": "half_cell"},
)
PIPETTES = {"left": "p20_single_gen2", "right": "p300_single_gen2"}

Stand = tuple[OpentronsSimulator, Http, World]
MakeStand = Callable[..., Awaitable[Stand]]


@asynccontextmanager
async def stands(directory: Path) -> AsyncIterator[MakeStand]:
    """Starts robots `ot2` with a client each; all are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def make(world: World | None = None, options: dict[str, Any] | None = None, **faults: Any) -> Stand:
            world = world or World(1)
            world.furnish(DECK)
            flex = (options or {}).get("model") == "flex"
            pipettes = {"left": "p50_single_flex"} if flex else PIPETTES
            settings = {"address": "http://127.0.0.1:0", "pipettes": pipettes}
            options = {"precision": 0.0, "faults": faults, **(options or {})}
            robot = SIMULATOR(Bench("ot2", world, settings, options, deck=() if flex else DECK, directory=directory))
            found = await robot.start()
            stack.push_async_callback(robot.stop)
            client = await Http.connect(found["address"])
            stack.push_async_callback(client.close)
            return robot, client, world

        yield make


class Session:
    """A run, driven as an application drives it."""

    def __init__(self, client: Http, run: str) -> None:
        self.client = client
        self.run = run

    async def post(
        self, command: str, params: dict[str, Any], wait: str = "waitUntilComplete=true", **more: Any
    ) -> Any:
        body = {"data": {"commandType": command, "params": params, **more}}
        status, reply = await self.client.ask("POST", f"/runs/{self.run}/commands?{wait}", body)
        assert status == 201, reply
        return reply["data"]

    async def do(self, command: str, **params: Any) -> Any:
        told = await self.post(command, params)
        assert told["status"] == "succeeded", told
        return told["result"]

    async def fails(self, command: str, **params: Any) -> tuple[str, str, str]:
        told = await self.post(command, params)
        assert told["status"] == "failed", told
        assert "result" not in told
        return told["error"]["errorType"], told["error"]["errorCode"], told["error"]["detail"]

    async def act(self, action: str) -> tuple[int, Any]:
        return await self.client.ask("POST", f"/runs/{self.run}/actions", {"data": {"actionType": action}})

    async def status(self) -> str:
        status: str = (await self.client.get(f"/runs/{self.run}"))["data"]["status"]
        return status

    async def commands(self, query: str = "") -> Any:
        return await self.client.get(f"/runs/{self.run}/commands{query}")


async def begin(client: Http) -> Session:
    status, reply = await client.ask("POST", "/runs", {"data": {}})
    assert status == 201, reply
    return Session(client, reply["data"]["id"])


def vials(name: str) -> dict[str, Any]:
    ordering = [["A1", "B1"], ["A2", "B2"], ["A3", "B3"], ["A4", "B4"]]
    wells = {
        well: {"depth": 50, "x": 20 + 25 * column, "y": 60 - 30 * row, "z": 5, "totalLiquidVolume": 20000}
        for column, names in enumerate(ordering)
        for row, well in enumerate(names)
    }
    return {
        "schemaVersion": 2,
        "namespace": "labd",
        "version": 1,
        "parameters": {"loadName": name, "isTiprack": False},
        "ordering": ordering,
        "wells": wells,
    }


async def set_up(client: Http) -> tuple[Session, dict[str, str]]:
    """A run with the p20, its rack in 1, vials in 2 and half cells in 3."""
    run = await begin(client)
    ids = {"p20": (await run.do("loadPipette", pipetteName="p20_single_gen2", mount="left"))["pipetteId"]}
    rack = {"loadName": "opentrons_96_tiprack_20ul", "namespace": "opentrons", "version": 1}
    ids["tips"] = (await run.do("loadLabware", location={"slotName": "1"}, **rack))["labwareId"]
    for slot, name in (("2", "vials_8x20ml"), ("3", "cell_tray_8")):
        status, reply = await client.ask("POST", f"/runs/{run.run}/labware_definitions", {"data": vials(name)})
        assert (status, reply["data"]["definitionUri"]) == (201, f"labd/{name}/1")
        custom = {"loadName": name, "namespace": "labd", "version": 1}
        ids[name] = (await run.do("loadLabware", location={"slotName": slot}, **custom))["labwareId"]
    return run, ids


def liquid(ids: dict[str, str], labware: str, well: str, volume: float) -> dict[str, Any]:
    where = {"origin": "bottom", "offset": {"x": 0, "y": 0, "z": 1}}
    return {
        "pipetteId": ids["p20"], "labwareId": ids[labware], "wellName": well,
        "wellLocation": where, "flowRate": 7.56, "volume": volume,
    }  # fmt: skip
