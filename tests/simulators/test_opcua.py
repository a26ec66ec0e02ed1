"""The simulated OPC UA servers, by a stranger's client: asyncua's own command-line tools and its subscriptions."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncua import Client

from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import World
from simulators.opcua import SIMULATOR as MACHINE
from simulators.opcua.machine import Machine
from simulators.opcua_glovebox import CLOSED, OPEN, OPENING, Atmosphere
from simulators.opcua_glovebox import SIMULATOR as GLOVEBOX
from tests.simulators.npm import node


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


@contextlib.asynccontextmanager
async def served(kind: type[Simulator], **settings: Any) -> AsyncIterator[tuple[str, Any]]:
    settings = {"address": "opc.tcp://127.0.0.1:0", **settings}
    simulator = kind(Bench("m1", World(1), settings, {"programs": {"default": 600}}))
    found = await simulator.start()
    try:
        yield found["address"], simulator
    finally:
        await simulator.stop()


async def tool(module: str, *arguments: str) -> str:
    code = f"from asyncua.tools import {module}; {module}()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        "--timeout",
        "60",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_uals_and_uaread_see_a_glovebox() -> None:
    async with served(GLOVEBOX) as (address, _):
        listed = await tool("uals", "-u", address, "-n", "i=85", "-d", "3")
        assert "Glovebox" in listed
        assert "Oxygen" in listed
        read = await tool("uaread", "-u", address, "-n", "ns=2;s=Glovebox.Oxygen")
        assert float(read.strip().splitlines()[-1]) == pytest.approx(0.4, abs=0.1)


async def test_uacall_starts_a_machine() -> None:
    async with served(MACHINE, profile="packml") as (address, simulator):
        state = "Machine.BaseStateMachine.MachineState.ExecuteState"
        await tool("uacall", "-u", address, "-n", f"ns=2;s={state}", "-m", "3:Start", "-t", "guess", "[]")
        assert simulator.machine.runs == 1
        assert "Starting" in await tool("uaread", "-u", address, "-n", f"ns=2;s={state}.CurrentState")


async def test_node_opcua_client_browses_subscribes_and_opens_the_antechamber() -> None:
    async with served(GLOVEBOX) as (address, simulator):
        simulator.box._lasts[OPENING] = 0.3
        said = await node("node-opcua-client", "glovebox.js", address)
        assert [line for line in said.splitlines() if not line[:1].isdigit()] == [  # its own log has a time before it
            "nodes Antechamber Heartbeat Oxygen Pressure Water",
            "oxygen Good true",
            "write BadUserAccessDenied",
            "call Good",
            f"states {CLOSED} {OPENING} {OPEN}",
        ]


class Heard:
    """A handler of a subscription."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.more = asyncio.Event()

    def datachange_notification(self, _node: Any, value: Any, _data: Any) -> None:
        self.values.append(value)
        self.more.set()

    async def another(self, within: float = 10.0) -> Any:
        self.more.clear()
        async with asyncio.timeout(within):
            await self.more.wait()
        return self.values[-1]


async def test_a_subscription_tells_what_changes_until_it_is_dead() -> None:
    async with served(GLOVEBOX) as (address, simulator), Client(address) as client:
        heard = Heard()
        subscription = await client.create_subscription(100, heard)
        await subscription.subscribe_data_change(client.get_node("ns=2;s=Glovebox.Oxygen"))
        first = await heard.another()
        assert await heard.another() != first
        simulator.faults["subscription_dead"] = True
        with contextlib.suppress(TimeoutError):  # what was on its way still comes
            await heard.another(1.5)
        with pytest.raises(TimeoutError):
            await heard.another(2.5)
        assert await client.get_node("ns=2;s=Glovebox.Oxygen").read_value() > 0


def test_gases_near_what_comes_in_times_how_long_it_stays() -> None:
    box = Atmosphere(base=(0.4, 0.6), rise=(0.05, 0.03), tau=600, door=4, purge=180)
    box.advance(0)
    assert box.open()
    box.advance(4)
    assert box.state == 1
    box.advance(10_000)
    assert box.oxygen == pytest.approx(0.4 + 0.05 * 600, rel=0.001)
    box.close()
    box.advance(10_004)
    assert box.state == 4
    assert box.pressure < 2
    box.advance(20_000)
    assert (box.oxygen, box.water, box.pressure) == pytest.approx((0.4, 0.6, 3.0), rel=0.01)
    box.inner_open = True
    assert not box.open()
    box.purification = False
    box.advance(30_000)
    assert box.oxygen == pytest.approx(0.4 + 10_000 * 0.4 / 600, rel=0.01)


def test_a_held_run_takes_as_long_as_one_that_is_not() -> None:
    machine = Machine({"default": 20}, {}, {}, {}, first="Idle")
    machine.advance(0)
    assert machine.order("Start")
    assert not machine.order("Start")
    machine.advance(2 + 5)
    assert machine.order("Hold")
    machine.advance(1000)
    assert machine.state == "Held"
    assert machine.order("Unhold")
    machine.advance(1000 + 1 + 14.9)
    assert machine.state == "Execute"
    machine.advance(1000 + 1 + 15 + 2)
    assert (machine.state, machine.made) == ("Complete", 1)
    assert not machine.order("Unhold")
