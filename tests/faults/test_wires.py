"""Mischief on the wires of simulated devices, seen by plain clients: TCP, Modbus, HTTP and pty alike."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from simulators._kit.host import SimulatorHost
from tests.faults.labs import Http, Modbus, Text, bench, wrong

Ask = Callable[[], Awaitable[object]]


async def answered(ask: Ask) -> object:
    """What comes back, or None: nothing within two seconds."""
    try:
        async with asyncio.timeout(2.0):
            return await ask()
    except TimeoutError:
        return None


@contextlib.asynccontextmanager
async def client(host: SimulatorHost, device: str) -> AsyncIterator[Ask]:
    """A question to a device that always gets the same answer."""
    address = str(next(iter(host.machines[device].address.values())))
    async with contextlib.AsyncExitStack() as stack:
        if device == "press":
            modbus = await Modbus.connect(address)
            stack.callback(modbus._writer.transport.abort)

            async def ask() -> object:
                return await modbus.words(4, 0, 2)
        elif device == "ot2":
            http = await Http.connect(address)
            stack.callback(http._writer.transport.abort)

            async def ask() -> object:
                return (await http.get("/health"))["api_version"]
        else:
            text = await stack.enter_async_context(Text(host, device))

            async def ask() -> object:
                await asyncio.sleep(0.3)  # a thermostat takes no two commands at once
                return await text.ask("I4" if device == "scale" else "version")

        yield ask


EVERY = pytest.mark.parametrize("device", ["press", "scale", "bath", "ot2"])


@EVERY
async def test_a_lost_reply_is_one_that_never_comes(tmp_path: Path, device: str) -> None:
    async with bench(tmp_path, device) as host, client(host, device) as ask:
        usual = await answered(ask)
        assert usual is not None
        fault = wrong(host, device, "drop", times=1)
        assert await answered(ask) is None
        assert (fault.state, fault.happened, host.plan.counts) == ("over", 1, {f"{device}.drop": 1})
    async with bench(tmp_path, device) as host, client(host, device) as ask:
        assert await answered(ask) == usual


@EVERY
async def test_a_late_reply_comes_when_it_is_told_to(tmp_path: Path, device: str) -> None:
    async with bench(tmp_path, device) as host, client(host, device) as ask:
        usual = await ask()
        began = asyncio.get_running_loop().time()
        wrong(host, device, "delay", times=1, **{"with": {"delay": "700 ms"}})
        assert await ask() == usual
        assert 0.7 <= asyncio.get_running_loop().time() - began < 1.2
        assert host.machines[device].wire.calm


@EVERY
async def test_a_wire_is_silent_for_a_while_and_then_is_as_before(tmp_path: Path, device: str) -> None:
    async with bench(tmp_path, device) as host:
        async with client(host, device) as ask:
            usual = await ask()
            wrong(host, device, "drop", **{"for": "60 s", "with": {"way": "both"}})
            assert await answered(ask) is None
        await asyncio.sleep(60)
        async with client(host, device) as ask:
            assert await ask() == usual


@pytest.mark.parametrize("device", ["press", "scale", "ot2"])
async def test_a_cut_resets_the_connection_and_the_next_one_is_sound(tmp_path: Path, device: str) -> None:
    async with bench(tmp_path, device) as host:
        async with client(host, device) as ask:
            usual = await ask()
            wrong(host, device, "cut", after={"count": 1})
            assert await ask() == usual
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await ask()
        async with client(host, device) as ask:
            assert await ask() == usual
        fault = wrong(host, device, "cut", **{"for": "30 s"})
        async with client(host, device) as ask:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await ask()
        await asyncio.sleep(31)
        assert fault.state == "over"
        async with client(host, device) as ask:
            assert await ask() == usual


@pytest.mark.parametrize("device", ["press", "scale", "ot2"])
async def test_a_half_open_connection_is_silent_for_good_and_the_next_one_is_sound(tmp_path: Path, device: str) -> None:
    async with bench(tmp_path, device) as host:
        async with client(host, device) as ask:
            usual = await ask()
            wrong(host, device, "half_open")
            assert await answered(ask) is None
            await asyncio.sleep(600)
            assert await answered(ask) is None
            async with client(host, device) as other:
                assert await other() == usual
        wrong(host, device, "half_open", **{"for": "30 s"})
        async with client(host, device) as ask:
            assert await answered(ask) is None
        await asyncio.sleep(31)
        async with client(host, device) as ask:
            assert await ask() == usual


async def test_a_device_may_keep_a_half_open_connection_that_its_client_has_left(tmp_path: Path) -> None:
    """The arm takes one client; the one whose cable was pulled is still there for it."""
    async with bench(tmp_path, "arm") as host:
        address, _, port = host.machines["arm"].address["address"].partition(":")

        async def greeted() -> bytes:
            reader, writer = await asyncio.open_connection(address, int(port))
            greeting = await reader.readuntil(b"\0")
            writer.transport.abort()
            return greeting[:6]

        _, first = await asyncio.open_connection(address, int(port))
        await asyncio.sleep(0.1)
        wrong(host, "arm", "half_open", **{"with": {"kept": "10 s"}})
        first.transport.abort()
        await asyncio.sleep(1)
        assert await greeted() == b"[3001]"
        await asyncio.sleep(10)
        assert await greeted() == b"[3000]"


async def test_an_adapter_that_is_unplugged_comes_back_where_it_was(tmp_path: Path) -> None:
    async with bench(tmp_path, "bath") as host:
        path = Path(host.machines["bath"].address["address"])
        wrong(host, "bath", "cut", **{"for": "20 s"})
        assert not path.exists()
        await asyncio.sleep(21)
        async with client(host, "bath") as ask:
            assert str(await ask()).startswith("JULABO")
        wrong(host, "bath", "cut")
        assert not path.exists()
        await asyncio.sleep(2)
        assert path.exists()


async def test_a_serial_adapter_hangs_and_comes_to_itself(tmp_path: Path) -> None:
    async with bench(tmp_path, "bath") as host, client(host, "bath") as ask:
        wrong(host, "bath", "half_open")
        assert await answered(ask) is None
        await asyncio.sleep(10)
        assert str(await ask()).startswith("JULABO")


@pytest.mark.parametrize("device", ["scale", "bath"])
async def test_a_bit_is_flipped_the_same_one_each_time(tmp_path: Path, device: str) -> None:
    heard = []
    for number in range(2):
        async with bench(tmp_path / str(number), device) as host, Text(host, device) as text:
            asked = "I4" if device == "scale" else "version"
            usual = await text.ask(asked)
            await asyncio.sleep(1)
            wrong(host, device, "corrupt", times=1)
            spoilt = await text.ask(asked)
            heard.append(spoilt)
            assert usual is not None
            assert spoilt != usual
    assert heard[0] == heard[1]


@pytest.mark.parametrize("device", ["scale", "bath"])
async def test_a_reply_comes_twice(tmp_path: Path, device: str) -> None:
    async with bench(tmp_path, device) as host, Text(host, device) as text:
        wrong(host, device, "duplicate", times=1)
        first = await text.ask("I4" if device == "scale" else "version")
        assert first is not None
        assert await text.hear() == first
        assert await text.hear() is None


async def test_the_reply_to_a_request_that_is_meant_is_lost_after_its_effect(tmp_path: Path) -> None:
    async with bench(tmp_path, "press") as host:
        modbus = await Modbus.connect(host.machines["press"].address["address"])
        wrong(host, "press", "reply_lost", times=1, **{"with": {"matching": r"^.{7}\x10"}})
        assert await modbus.words(3, 0, 1)  # another function: answered
        with pytest.raises(TimeoutError):
            await modbus.recipe(6.5, 1.0)
        assert host.machines["press"].wire.calm
        await modbus.close()
        again = await Modbus.connect(host.machines["press"].address["address"])
        assert (await again.words(3, 0, 2))[1] == 0x40D0  # 6.5: the recipe is there
        await again.close()


async def test_requests_are_lost_before_they_take_effect(tmp_path: Path) -> None:
    async with bench(tmp_path, "bath") as host, Text(host, "bath") as text:
        wrong(host, "bath", "drop", times=1, **{"with": {"way": "requests", "matching": "out_sp"}})
        text.say("out_sp_00 33")
        await asyncio.sleep(1)
        assert await text.ask("in_sp_00") == "20.00"


async def test_what_waits_on_a_slow_wire_keeps_its_order(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale") as host, Text(host, "scale") as text:
        wrong(host, "scale", "delay", times=1, **{"with": {"delay": "5 s"}})
        text.say("I4")
        await asyncio.sleep(0.5)
        text.say("I2")
        assert await text.hear(1.0) is None
        assert str(await text.hear(10.0)).startswith("I4")
        assert str(await text.hear(0.1)).startswith("I2")


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_after_a_count_the_next_one_is_hit(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale") as host, Text(host, "scale") as text:
        wrong(host, "scale", "drop", times=2, after={"count": 3, "matching": "I4"})
        assert await text.ask("I2") is not None
        assert [await text.ask("I4") is not None for _ in range(6)] == [True, True, True, False, False, True]


async def test_at_its_time_and_no_longer_than_it_is_told_to(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale") as host, Text(host, "scale") as text:
        wrong(host, "scale", "drop", at="10 s", **{"for": "10 s"})
        heard = []
        for _ in range(6):
            heard.append(await text.ask("I4", 1.0) is not None)
            await asyncio.sleep(5 - (0 if heard[-1] else 1))
        assert heard == [True, True, False, False, True, True]


async def test_after_so_many_connections(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale") as host:
        wrong(host, "scale", "unstable", after={"count": 2, "of": "connections"})
        async with Text(host, "scale"):
            assert not host.simulators["scale"].faults
        async with Text(host, "scale"):
            assert host.simulators["scale"].faults == {"unstable": True}


async def test_a_seeded_chance_tells_the_same_story_twice_and_another_seed_another(tmp_path: Path) -> None:
    from simulators.faults.model import Faults

    stories = []
    for number, seed in enumerate((3, 3, 4)):
        tree: Any = {
            "labd": 1,
            "seed": seed,
            "faults": [
                {"device": "scale", "fault": "drop", "chance": 0.2},
                {"device": "scale", "fault": "overload", "chance": 0.1, "for": "3 s"},
            ],
        }
        folder = tmp_path / str(number)
        async with bench(folder, "scale", faults=Faults.model_validate(tree)) as host, Text(host, "scale") as text:
            stories.append([await text.ask("SI", 1.0) for _ in range(60)])
    assert stories[0] == stories[1] != stories[2]
    assert 3 < sum(one is None for one in stories[0]) < 30
    assert 3 < sum(one == "S +" for one in stories[0]) < 57


async def test_adding_one_fault_does_not_change_the_chances_of_another(tmp_path: Path) -> None:
    heard = []
    for number, chances in enumerate(([0.3], [0.3, 0.000001])):
        async with bench(tmp_path / str(number), "scale") as host, Text(host, "scale") as text:
            for chance in chances:
                wrong(host, "scale", "drop", chance=chance)
            heard.append([await text.ask("I4", 1.0) is None for _ in range(40)])
    assert heard[0] == heard[1]


async def test_simulators_end_with_lines_in_every_state(tmp_path: Path) -> None:
    async with bench(tmp_path, "press", "scale", "bath", "ot2") as host:
        sockets = []
        for device in ("press", "scale", "ot2"):
            for fault, more in (("half_open", {"with": {"kept": "1 h"}}), ("half_open", {"for": "1 h"})):
                port = int(host.machines[device].address["address"].rpartition(":")[2])
                sockets.append(socket.create_connection(("127.0.0.1", port)))
                await asyncio.sleep(0.1)
                wrong(host, device, fault, **more)
        wrong(host, "bath", "cut", **{"for": "1 h"})
        wrong(host, "bath", "delay", **{"with": {"delay": "1 h"}})
        sockets[0].close()
        await asyncio.sleep(0.1)
    for one in sockets[1:]:
        one.settimeout(1)
        with contextlib.suppress(ConnectionError):
            while one.recv(100):
                pass
        one.close()
    assert all(not machine.wire.lines for machine in host.machines.values())
