"""A device under supervision: it comes, goes and comes back, and nobody is told twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd import clock
from labd.journal import JournalError
from labd.lab.background import background, together
from labd.lab.bounded import GRACE, LAST_GRACE
from labd.lab.bus import DeviceState, Happening, SignalsRead
from labd.lab.device import Device, TimeLimit
from labd.lab.limit import Limit
from labd.lab.supervision import CLOSE_LIMIT
from labd.sdk import Call, Fault, Intent, OutcomeUnknown, Unreachable, Verdict
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


async def test_what_a_listener_raises_is_not_called_the_drivers_failure(press: Device) -> None:
    def fail(happening: Happening) -> None:
        if isinstance(happening, SignalsRead):
            raise JournalError("the disk is gone")

    press.bus.subscribe(fail)
    with pytest.raises(JournalError, match="the disk is gone"):
        await press.run()
    assert "driver failed" not in (press.problem or "")


async def test_a_reading_that_is_none_is_the_drivers_failure(press: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    async def junk() -> object:
        return {"": "0.3 kN"}

    monkeypatch.setattr(toy(press), "read_state", junk)
    task = asyncio.create_task(press.run())
    await press.wait_ready()
    assert press.health == "degraded"
    assert str(press.problem).startswith("its driver failed")
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


# ── drivers that hang ────────────────────────────────────────────────────────────────────────────────────────────
async def stubborn(until: asyncio.Event | None = None) -> None:
    """Takes no cancellation for an answer."""
    until = until or asyncio.Event()
    while not until.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await until.wait()


@contextlib.asynccontextmanager
async def supervised(device: Device) -> AsyncIterator[list[DeviceState]]:
    """A device at work; gives what is told of its health. Its supervisor must end when it is told to."""
    told: list[DeviceState] = []
    device.bus.subscribe(lambda happening: told.append(happening) if isinstance(happening, DeviceState) else None)
    task = asyncio.create_task(device.run())
    try:
        await device.wait_ready()
        yield told
    finally:
        task.cancel()
        async with asyncio.timeout(120):
            await asyncio.gather(task, return_exceptions=True)


async def test_a_driver_that_hangs_in_a_poll_takes_its_device_down_and_nobody_else(press: Device) -> None:
    read, let_go = toy(press).read_state, asyncio.Event()
    async with supervised(press):
        await asyncio.sleep(1)
        assert press.live("")["guard_closed"] is True
        toy(press).read_state = lambda: stubborn(let_go)  # type: ignore[method-assign,assignment,return-value]
        await asyncio.sleep(120)
        assert press.health == "down"
        assert press.problem == "its driver hangs: read_state does not end; when it stays so, restart labd"
        assert press.live("")["guard_closed"] is None
        with pytest.raises(Unreachable, match="its driver hangs"):
            await crimp(press)
        assert toy(press).connects == 1  # no second conversation beside the one that hangs
        toy(press).read_state = read  # type: ignore[method-assign]
        let_go.set()
        await asyncio.sleep(120)
        assert (press.health, toy(press).connects) == ("ok", 2)


async def test_a_driver_that_hangs_in_an_action_leaves_its_outcome_unknown(press: Device) -> None:
    async def invoke(*_: object) -> None:
        await stubborn()

    async with supervised(press):
        toy(press).invoke = invoke  # type: ignore[method-assign,assignment]
        with pytest.raises(OutcomeUnknown, match="no outcome within 60 s"):
            await crimp(press)
        assert (press.health, press.busy_with) == ("down", ())
        assert "its driver hangs: crimp" in str(press.problem)


@pytest.mark.parametrize("what", ["baseline", "outcome", "cancel", "safe_state"])
async def test_no_order_waits_for_a_driver_that_hangs(press: Device, what: str) -> None:
    intended = press.driver.actions["crimp"]
    intent = Intent("a1", "crimp", "", intended.parameters(force="7.8 kN"), {}, clock.now())

    async def hang(*_: object) -> None:
        await stubborn()

    asks = {
        "baseline": lambda: press.baseline(intended, "", intent.parameters),
        "outcome": lambda: press.outcome(intent),
        "cancel": lambda: press.cancel("a1"),
        "safe_state": press.safe_state,
    }
    async with supervised(press):
        setattr(toy(press), what, hang)
        async with asyncio.timeout(60):
            if what in ("baseline", "cancel"):
                with pytest.raises(OutcomeUnknown, match="no answer within"):
                    await asks[what]()
            elif what == "safe_state":
                assert "no answer within" in str(await asks[what]())
            else:
                assert (await asks[what]()).verdict is Verdict.UNKNOWN  # type: ignore[union-attr]
        assert press.health == "down"


async def test_a_driver_that_hangs_when_it_is_closed_is_told_of_and_the_lab_ends(press: Device) -> None:
    toy(press).close = stubborn  # type: ignore[method-assign]
    async with supervised(press) as told:
        toy(press).refuse_poll = Unreachable("gone")
        await asyncio.sleep(300)
        assert press.problem == "its driver hangs: close does not end; when it stays so, restart labd"
        assert toy(press).connects == 1
    assert [state.health for state in told] == ["ok", "degraded", "down", "down"]


async def test_a_driver_that_hangs_in_connecting_is_no_end_of_the_supervisor(press: Device) -> None:
    let_go, connect = asyncio.Event(), toy(press).connect
    toy(press).connect = lambda: stubborn(let_go)  # type: ignore[method-assign,assignment,return-value]
    task = asyncio.create_task(press.run())
    await asyncio.sleep(200)
    assert "its driver hangs: connect" in str(press.problem)
    toy(press).connect = connect  # type: ignore[method-assign]
    let_go.set()
    await asyncio.sleep(60)
    assert press.health == "ok"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_driver_that_cancels_itself_does_not_end_its_supervision(press: Device) -> None:
    async def gives_up() -> object:
        raise asyncio.CancelledError

    read = toy(press).read_state
    async with supervised(press):
        toy(press).read_state = gives_up  # type: ignore[method-assign,assignment]
        await asyncio.sleep(100)
        assert press.health in ("degraded", "down")
        assert "driver failed" in str(press.problem)
        toy(press).read_state = read  # type: ignore[method-assign]
        await asyncio.sleep(100)
        assert press.health == "ok"


async def test_a_driver_may_tidy_up_when_it_is_told_to_end(press: Device) -> None:
    tidied: list[str] = []

    async def tidy() -> object:
        try:
            return await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            tidied.append("let go of the coil")

    async with supervised(press):
        toy(press).read_state = tidy  # type: ignore[method-assign,assignment]
        await asyncio.sleep(40)
        assert press.health == "degraded"
        assert "no reading within 20 s" in str(press.problem)
    assert tidied


def test_the_end_of_the_loop_does_not_wait_for_a_driver_that_hangs(tmp_path: Path) -> None:
    async def main() -> str | None:
        device = toy_lab(tmp_path, {"press": "press"}).devices["press"]
        async with supervised(device):
            toy(device).read_state = stubborn  # type: ignore[method-assign,assignment]
            await asyncio.sleep(60)
        return device.problem

    assert "hangs" in str(clock.run(main(), clock.timeline_of("virtual")))


async def test_one_device_that_is_missing_or_hangs_keeps_no_other_from_working(tmp_path: Path) -> None:
    lab = toy_lab(tmp_path, {"press": "press", "arm": "arm", "stat": "stat"})
    press, arm, stat = (lab.devices[name] for name in ("press", "arm", "stat"))
    toy(press).refuse_connect = Unreachable("no port")
    toy(arm).connect = stubborn  # type: ignore[method-assign,assignment]
    tasks = [asyncio.create_task(device.run()) for device in lab.devices.values()]
    await asyncio.sleep(200)
    assert (press.health, arm.health, stat.health) == ("down", "down", "ok")
    toy(press).refuse_connect = None  # plugged in
    await asyncio.sleep(60)
    assert press.health == "ok"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_devices_are_closed_all_at_once_however_many_hang(tmp_path: Path) -> None:
    lab = toy_lab(tmp_path, {f"press{number}": "press" for number in range(5)})
    for device in lab.devices.values():
        toy(device).close = stubborn  # type: ignore[method-assign]
    async with background(together({device.id: device.run() for device in lab.devices.values()}), "devices"):
        await lab.wait_ready(60)
        began = clock.monotonic()
    whole = CLOSE_LIMIT + GRACE + LAST_GRACE
    assert whole - 1 <= clock.monotonic() - began <= whole + 1  # of one, and not of five
    assert all("close does not end" in str(device.problem) for device in lab.devices.values())


async def test_a_part_that_fails_ends_those_beside_it_with_its_error() -> None:
    ended: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("broken")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    with pytest.raises(BaseExceptionGroup) as found:
        async with background(together({"one": fail(), "other": wait()}), "parts"):
            await asyncio.sleep(10)
    assert found.group_contains(ValueError, match="broken")
    assert ended == ["other"]
