"""Faults that devices have, and their power: declared by each simulator, begun and ended by the plan."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import simulators
from simulators._kit.host import SimulatorHost
from simulators._kit.simulator import Simulator
from simulators.faults.check import Kind, check_one
from simulators.faults.words import ANYWHERE, COUNTERS, WORDS
from tests.faults.labs import Http, Modbus, Text, bench, wrong


def found() -> dict[str, type[Simulator]]:
    """All simulators that there are."""
    modules = {
        one.name: importlib.import_module(f"simulators.{one.name}") for one in pkgutil.iter_modules(simulators.__path__)
    }
    return {name: module.SIMULATOR for name, module in modules.items() if hasattr(module, "SIMULATOR")}


ALL = found()


@pytest.mark.parametrize("name", ALL)
def test_every_simulator_declares_words_of_the_vocabulary(name: str) -> None:
    cls = ALL[name]
    unknown = set(cls.FAULTS) - set(WORDS)
    assert not unknown, f"{name} has {unknown}: add each to simulators/faults/words.py"
    assert not set(cls.COUNTERS) & set(COUNTERS)
    for word, knob in cls.FAULTS.items():
        needs = knob.unit is not None and knob.default is None
        assert not needs or WORDS[word].amount is not None, f"{name}.{word}"
    assert set(ANYWHERE) <= set(Kind(cls.FAULTS).words)


@pytest.mark.parametrize("name", ALL)
async def test_every_fault_of_a_device_begins_and_ends_and_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    entry = {"driver": name, "settings": dict(ALL[name].trial.settings), "simulator": {}}
    async with bench(tmp_path, devices={"device": entry}) as host:
        kind = host.kinds["device"]
        for word, knob in kind.knobs.items():
            given: dict[str, Any] = {
                key: "aspirate" if its.unit == "text" else f"2 {its.unit}".removesuffix(" 1")
                for key, its in kind.takes(word).items()
                if its.unit != "pattern"
            }
            before = dict(host.simulators["device"].faults)
            for more in ({}, {"times": 2} if knob.times else {"for": "10 s"}):
                fault = wrong(host, "device", word, **{"with": given}, **more)
                assert fault.as_json()["fault"] == word
                host.plan.clear("device", word)
                assert host.simulators["device"].faults == before, word


@pytest.mark.parametrize("name", ALL)
async def test_every_simulator_is_on_its_wire_and_back_at_its_address_after_a_power_cycle(
    tmp_path: Path, name: str
) -> None:
    entry = {"driver": name, "settings": dict(ALL[name].trial.settings), "simulator": {}}
    async with bench(tmp_path, devices={"device": entry}) as host:
        machine = host.machines["device"]
        found = re.search(r"127\.0\.0\.1::?(?P<port>\d+)", " ".join(map(str, machine.address.values())))

        async def on_its_wire() -> bool:
            if found is None:
                return bool(machine.wire.lines)
            _, writer = await asyncio.open_connection("127.0.0.1", int(found["port"]))
            await asyncio.sleep(0.1)
            lines = len(machine.wire.lines)
            writer.transport.abort()
            await asyncio.sleep(0.1)
            return lines > 0

        before = machine.address
        assert await on_its_wire()
        wrong(host, "device", "power_cycle", **{"with": {"off": "30 s"}})
        await asyncio.sleep(1)
        assert not machine.powered
        await asyncio.sleep(30)
        assert machine.powered
        assert await on_its_wire()
        assert machine.address == before


async def test_a_balance_drifts_by_what_it_is_told_in_any_unit(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale") as host, Text(host, "scale") as text:
        wrong(host, "scale", "drift", **{"with": {"rate": "500 mg/h"}})
        assert host.simulators["scale"].faults == {"drift": 0.5}
        await asyncio.sleep(3600)
        assert float(str(await text.ask("SI")).split()[2]) == pytest.approx(0.5, abs=0.002)
        host.plan.clear("scale", "drift")
        assert host.simulators["scale"].faults == {}


async def test_a_press_gets_stuck_after_so_many_of_its_own_cycles(tmp_path: Path) -> None:
    async with bench(tmp_path, "press") as host:
        plc: Any = host.simulators["press"]
        wrong(host, "press", "busy_stuck", after={"count": 2, "of": "cycles"})
        modbus = await Modbus.connect(host.machines["press"].address["address"])
        stuck = []
        for cycles in (0, 1, 2):
            plc.plc.memory["cycles"] = cycles
            await modbus.words(4, 0, 2)
            stuck.append(bool(plc.faults.get("busy_stuck")))
        assert stuck == [False, False, True]
        await modbus.close()


async def test_an_arm_loses_what_it_picks_as_often_as_it_is_told(tmp_path: Path) -> None:
    async with bench(tmp_path, "arm") as host:
        arm = host.simulators["arm"]
        arm.world.memory("arm")["closings"] = 4
        fault = wrong(host, "arm", "dropped_pick", times=2)
        assert arm.faults == {"drop_on": range(5, 7)}
        assert not fault.spent
        arm.world.memory("arm")["closings"] = 6
        assert fault.spent
        assert fault.as_json()["state"] == "over"


async def test_an_estop_is_released_at_its_end_and_held_through_a_power_cycle(tmp_path: Path) -> None:
    async with bench(tmp_path, "arm") as host:
        wrong(host, "arm", "estop", **{"for": "60 s"})
        assert host.simulators["arm"].estopped  # type: ignore[attr-defined]
        wrong(host, "arm", "power_cycle")
        await asyncio.sleep(10)
        assert host.simulators["arm"].estopped  # type: ignore[attr-defined]
        await asyncio.sleep(51)
        assert not host.simulators["arm"].estopped  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", ["press", "scale", "bath", "ot2", "arm", "stat"])
async def test_a_power_cycled_device_is_back_at_its_address(tmp_path: Path, device: str) -> None:
    async with bench(tmp_path, device) as host:
        machine, before = host.machines[device], host.simulators[device]
        address = dict(machine.address)
        before.faults["kept"] = True
        fault = wrong(host, device, "power_cycle", **{"with": {"off": "30 s"}})
        await asyncio.sleep(15)
        assert not machine.powered
        wrong(host, device, "power_cycle")  # what is off cannot be switched off
        await asyncio.sleep(16)
        assert machine.powered
        assert fault.state == "over"
        assert machine.address == address
        assert host.simulators[device] is not before
        assert host.simulators[device].faults == {"kept": True}
    assert not machine.powered


async def test_a_bath_forgets_its_setpoint_with_its_power_and_keeps_its_warmth(tmp_path: Path) -> None:
    async with bench(tmp_path, "bath") as host:
        async with Text(host, "bath") as text:
            for command in ("out_sp_00 40", "out_mode_05 1"):
                text.say(command)
                await asyncio.sleep(1)
            await asyncio.sleep(3600)
            assert float(str(await text.ask("in_pv_00"))) == pytest.approx(40, abs=0.1)
        wrong(host, "bath", "power_cycle")
        await asyncio.sleep(6)
        async with Text(host, "bath") as text:
            assert await text.ask("in_sp_00") == "20.00"
            await asyncio.sleep(1)
            assert float(str(await text.ask("in_pv_00"))) == pytest.approx(40, abs=0.1)


async def test_devices_on_one_line_share_what_goes_wrong_with_it(tmp_path: Path) -> None:
    pumps = {
        name: {"driver": "cavro", "settings": {"address": "line", "pump": number}, "simulator": {}}
        for name, number in (("first", "1"), ("second", "2"))
    }
    async with bench(tmp_path, devices=pumps) as host, Text(host, "second") as text:

        async def ask(pump: int) -> bool:
            text.say(f"/{pump}Q")
            return await text.hear() is not None

        assert [await ask(1), await ask(2)] == [True, True]
        wrong(host, "second", "drop", **{"with": {"way": "requests", "matching": "^/2"}})
        assert [await ask(1), await ask(2)] == [True, False]
        host.plan.clear("second")
        wrong(host, "first", "power_cycle", **{"with": {"off": "30 s"}})
        await asyncio.sleep(1)
        assert [await ask(1), await ask(2)] == [False, True]
        await asyncio.sleep(30)
        assert [await ask(1), await ask(2)] == [True, True]
        wrong(host, "first", "drop")
        assert [await ask(1), await ask(2)] == [False, False]


async def test_a_robot_fails_the_commands_that_are_meant(tmp_path: Path) -> None:
    async with bench(tmp_path, "ot2") as host:
        wrong(host, "ot2", "fail", times=2, **{"with": {"command": "aspirate"}})
        assert host.simulators["ot2"].faults == {"fail": {"aspirate": {"count": 2}}}
        wrong(host, "ot2", "reply_lost", times=1, **{"with": {"command": "dispense"}})
        assert host.simulators["ot2"].faults["reply_lost"] == {"commandType": "dispense", "count": 1}
        http = await Http.connect(host.machines["ot2"].address["address"])
        assert (await http.get("/health"))["name"] == "ot2"
        await http.close()


async def test_a_chance_of_a_switch_begins_it_again_and_again_but_no_more_than_told(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale") as host, Text(host, "scale") as text:
        fault = wrong(host, "scale", "overload", chance=0.5, times=3, **{"for": "2 s"})
        for _ in range(60):
            await text.ask("SI")
            await asyncio.sleep(1)
        assert (fault.happened, fault.state) == (3, "over")
        assert [one["what"] for one in host.plan.story] == ["begins", "ends"] * 3


async def test_all_that_know_a_fault_can_be_meant(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale", "press", "bath") as host:
        meant = check_one({"device": "*", "fault": "busy_stuck"}, host.kinds)
        assert [spec.device for spec in meant] == ["scale", "press"]


async def test_a_fault_that_begins_while_the_power_is_off_is_there_when_it_is_back(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale", "arm") as host:
        for device in ("scale", "arm"):
            wrong(host, device, "power_cycle", **{"with": {"off": "30 s"}})
        await asyncio.sleep(10)
        wrong(host, "scale", "overload")
        wrong(host, "arm", "estop")
        await asyncio.sleep(30)
        assert host.simulators["scale"].faults == {"overload": True}
        assert host.simulators["arm"].estopped  # type: ignore[attr-defined]


async def test_a_host_that_ends_leaves_no_fault_waiting(tmp_path: Path) -> None:
    async with bench(tmp_path, "scale") as host:
        wrong(host, "scale", "unstable", at="1 h")
        wrong(host, "scale", "power_cycle", **{"with": {"off": "1 h"}})
    assert isinstance(host, SimulatorHost)
    await asyncio.sleep(7200)
    assert not host.simulators["scale"].faults
    assert not host.machines["scale"].powered
