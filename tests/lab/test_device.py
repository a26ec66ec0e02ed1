"""A device under supervision: it comes, goes and comes back, and nobody is told twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.lab.bus import DeviceState, Happening
from labd.lab.device import Device, TimeLimit
from labd.lab.limit import Limit
from labd.sdk import Call, Fault, OutcomeUnknown, Unreachable
from tests.toys import Toy, toy_lab


@pytest.fixture
def press(tmp_path: Path) -> Device:
    return toy_lab(tmp_path, {"press": "press"}).devices["press"]


def toy(device: Device) -> Toy:
    assert isinstance(device.driver, Toy)
    return device.driver


def crimp(device: Device, limit: float = 60.0):  # type: ignore[no-untyped-def]
    action = device.driver.actions["crimp"]
    parameters = action.parameters.model_validate({"force": "7.8 kN"})
    return device.invoke(action, parameters, Call("a1"), "run-1", Limit(limit))


async def test_a_missing_device_is_tried_until_it_is_there(press: Device) -> None:
    told: list[Happening] = []
    press.bus.subscribe(told.append)
    toy(press).refuse_connect = Unreachable("nobody answers")
    task = asyncio.create_task(press.run())
    await asyncio.sleep(300)
    assert press.health == "down"
    assert press.problem == "nobody answers"
    assert 8 < toy(press).connects < 20  # the wait grows to half a minute
    toy(press).refuse_connect = None
    await asyncio.sleep(60)
    assert press.health == "ok"
    states = [happening.health for happening in told if isinstance(happening, DeviceState)]
    assert states == ["down", "ok"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lost_link_shows_and_heals(press: Device) -> None:
    task = asyncio.create_task(press.run())
    await press.wait_ready()
    await asyncio.sleep(11)
    assert press.live("")["guard_closed"] is True
    toy(press).refuse_poll = OutcomeUnknown("no reading")
    await asyncio.sleep(200)
    assert press.health in ("degraded", "down")
    assert press.problem == "no reading"
    assert press.live("")["guard_closed"] is None  # stale is not told as live
    toy(press).refuse_poll = None
    await asyncio.sleep(60)
    assert press.health == "ok"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_device_is_ready_once_it_was_read_and_tells_so_then(press: Device) -> None:
    """A run that decides by its signals right after a start must find them."""
    seen: list[tuple[str, bool]] = []

    def heard(happening: Happening) -> None:
        if isinstance(happening, DeviceState):
            seen.append((happening.health, press.connected))

    press.bus.subscribe(heard)
    read = toy(press).read_state

    async def slowly() -> object:
        await asyncio.sleep(5)
        return await read()

    toy(press).read_state = slowly  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(press.run())
    await asyncio.sleep(4)
    assert not press.connected
    await press.wait_ready()
    assert press.live("")["guard_closed"] is True
    await asyncio.sleep(1)
    assert seen == [("ok", True)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_action_on_a_device_that_is_down_was_not_sent(press: Device) -> None:
    with pytest.raises(Unreachable, match=r"press\.crimp: the device is down: not connected yet"):
        await crimp(press)
    assert toy(press).happened == []


async def test_a_late_once_action_is_unknown_and_a_late_state_action_is_late(press: Device) -> None:
    task = asyncio.create_task(press.run())
    await press.wait_ready()
    toy(press).script["crimp"] = [1000.0]
    with pytest.raises(OutcomeUnknown, match="no outcome within 60 s"):
        await crimp(press)
    toy(press).script["open"] = [1000.0]
    action = press.driver.actions["open"]
    with pytest.raises(TimeLimit):
        await press.invoke(action, action.parameters(), Call("a2"), "run-1", Limit(5))
    assert press.busy_with == ()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_a_driver_did_not_foresee_is_its_devices_fault(press: Device) -> None:
    task = asyncio.create_task(press.run())
    await press.wait_ready()
    toy(press).script["crimp"] = [ZeroDivisionError("oh")]
    with pytest.raises(Fault, match="its driver failed: ZeroDivisionError"):
        await crimp(press)
    assert press.connected
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("problem", [ZeroDivisionError("oh"), Unreachable("gone")])
async def test_a_driver_that_cannot_even_close_is_tried_again(press: Device, problem: Exception) -> None:
    toy(press).refuse_connect = Unreachable("nobody answers")
    toy(press).refuse_close = problem
    task = asyncio.create_task(press.run())
    await asyncio.sleep(60)
    toy(press).refuse_connect = toy(press).refuse_close = None
    await asyncio.sleep(60)
    assert press.health == "ok"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_reading_that_nobody_understands_is_that_devices_problem(press: Device) -> None:
    async def nonsense() -> object:
        return 7

    read, toy(press).read_state = toy(press).read_state, nonsense  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(press.run())
    await press.wait_ready()
    await asyncio.sleep(5)
    assert press.health == "degraded"
    assert "driver failed" in str(press.problem)
    toy(press).read_state = read  # type: ignore[method-assign]
    await asyncio.sleep(120)
    assert press.health == "ok"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
