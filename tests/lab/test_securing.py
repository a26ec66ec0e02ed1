"""A device whose link is lost while it acts is made safe before anything else, through whatever path is left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd import clock
from labd.lab.background import background
from labd.lab.device import Device
from labd.lab.lab import Lab
from labd.lab.limit import Limit
from labd.sdk import Action, Call, DeviceError, Fault, Intent, OnLoss, Outcome, OutcomeUnknown, Unreachable, Verdict
from labd.sdk.roles import CrimperSignals
from tests.toys import Toy, toy_lab


@contextlib.asynccontextmanager
async def at_work(lab: Lab) -> AsyncIterator[Device]:
    device = lab.devices["press"]
    async with background(device.run(), device.id):
        await device.wait_ready()
        yield device


def toy(device: Device) -> Toy:
    assert isinstance(device.driver, Toy)
    return device.driver


async def lose(device: Device) -> None:
    """Loses the link, and lets it come back after a while."""
    toy(device).refuse_poll = toy(device).refuse_connect = Unreachable("gone")
    await asyncio.sleep(30)
    assert not device.connected
    toy(device).refuse_poll = toy(device).refuse_connect = None
    await device.wait_ready()


async def crimp(device: Device, lasts: float | Exception) -> None:
    toy(device).script["crimp"] = [lasts]
    action = device.driver.actions["crimp"]
    with contextlib.suppress(OutcomeUnknown, asyncio.CancelledError):
        await device.invoke(
            action, action.parameters.model_validate({"force": "7.8 kN"}), Call("a1"), "run-1", Limit(60)
        )


async def test_what_acted_when_the_link_was_lost_is_made_safe_on_the_new_one(tmp_path: Path) -> None:
    async with at_work(toy_lab(tmp_path, {"press": "press"})) as press:
        told: list[tuple[str, str, str | None, str]] = []
        lost: list[str] = []
        press.on_secured = lambda *one: told.append(one)
        press.on_lost = lost.append
        task = asyncio.create_task(crimp(press, 300.0))
        await asyncio.sleep(1)
        await lose(press)
        assert toy(press).safe == [None]
        assert told == [("press", "", None, "the link was lost while a1 was under way")]
        assert lost == ["press"]
        await task
        await lose(press)
        assert toy(press).safe == [None]  # once is enough


async def test_so_is_what_nobody_knows_about(tmp_path: Path) -> None:
    async with at_work(toy_lab(tmp_path, {"press": "press"})) as press:
        await crimp(press, OutcomeUnknown("no answer"))
        await lose(press)
        assert toy(press).safe == [None]


async def test_what_is_settled_owes_nothing(tmp_path: Path) -> None:
    async with at_work(toy_lab(tmp_path, {"press": "press"})) as press:
        await crimp(press, 1.0)
        await lose(press)
        await crimp(press, OutcomeUnknown("no answer"))
        toy(press).verdict = Outcome(Verdict.DONE, "the counter has moved")
        action = press.driver.actions["crimp"]
        parameters = action.parameters.model_validate({"force": "7.8 kN"})
        await press.outcome(Intent("a1", "crimp", "", parameters, {}, clock.now()))
        await lose(press)
        assert toy(press).safe == []


async def test_what_may_go_on_is_left_alone(tmp_path: Path) -> None:
    lab = toy_lab(tmp_path, {"press": "stat"})
    async with at_work(lab) as stat:
        action = stat.driver.actions["open_circuit"]
        assert action.on_loss is OnLoss.CONTINUE
        parameters = action.parameters.model_validate({"duration": "1 h", "interval": "60 s"})
        task = asyncio.create_task(stat.invoke(action, parameters, Call("a1"), "run-1", Limit(7200)))
        await asyncio.sleep(1)
        await lose(stat)
        assert toy(stat).safe == []
        await task


async def test_a_device_that_cannot_be_made_safe_is_not_used_before_it_is(tmp_path: Path) -> None:
    async with at_work(toy_lab(tmp_path, {"press": "press"})) as press:
        press.owe_safe("somebody wants it")
        safe = toy(press).safe_state
        problems: list[Exception] = [OutcomeUnknown("no answer"), Fault("the guard is open")]

        async def refuse(unit: str | None = None) -> None:
            raise problems.pop(0)

        toy(press).safe_state = refuse  # type: ignore[method-assign]
        told: list[tuple[str, str, str | None, str]] = []
        press.on_secured = lambda *one: told.append(one)
        toy(press).refuse_poll = Unreachable("gone")
        await asyncio.sleep(12)
        toy(press).refuse_poll = None
        await press.wait_ready()
        toy(press).safe_state = safe  # type: ignore[method-assign]
        assert problems == []  # it did not answer, and was tried again; then it answered, and a person must look
        assert told == [("press", "", "the guard is open", "somebody wants it")]


async def test_a_driver_that_hangs_while_it_makes_safe_takes_its_device_down(tmp_path: Path) -> None:
    async with at_work(toy_lab(tmp_path, {"press": "press"})) as press:
        ended = asyncio.Event()

        async def hang(unit: str | None = None) -> None:
            while not ended.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await ended.wait()

        safe, toy(press).safe_state = toy(press).safe_state, hang  # type: ignore[method-assign]
        press.owe_safe("somebody wants it")
        await asyncio.sleep(60)
        assert (press.health, press.connected) == ("down", False)
        assert "its driver hangs: safe_state does not end" in str(press.problem)
        toy(press).safe_state = safe  # type: ignore[method-assign]
        ended.set()
        await press.wait_ready()
        assert toy(press).safe == [None]


async def test_another_action_of_the_unit_does_not_pay_for_one_that_nobody_knows_of(tmp_path: Path) -> None:
    async with at_work(toy_lab(tmp_path, {"press": "stat"})) as stat:
        cell_off, rest = stat.driver.actions["cell_off"], stat.driver.actions["open_circuit"]
        assert (cell_off.on_loss, rest.on_loss) == (OnLoss.STOP, OnLoss.CONTINUE)
        toy(stat).script["cell_off"] = [OutcomeUnknown("no answer")]

        async def do(action: Action, action_id: str, **values: str) -> None:
            parameters = action.parameters.model_validate(values)
            await stat.invoke(action, parameters, Call(action_id), "run-1", Limit(60))

        with contextlib.suppress(OutcomeUnknown):
            await do(cell_off, "a1")
        await do(rest, "a2", duration="2 s", interval="1 s")
        await lose(stat)
        assert toy(stat).safe == [None]
        toy(stat).script["cell_off"] = [OutcomeUnknown("no answer")]
        with contextlib.suppress(OutcomeUnknown):
            await do(cell_off, "a3")
        await do(cell_off, "a4")  # of the same standing, and it ended well
        await lose(stat)
        assert toy(stat).safe == [None]


async def test_a_driver_that_hangs_while_its_signals_are_evidence_takes_only_itself_down(tmp_path: Path) -> None:
    async with at_work(toy_lab(tmp_path, {"press": "press"})) as press:
        ended = asyncio.Event()

        async def hang() -> CrimperSignals:
            while not ended.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await ended.wait()
            return CrimperSignals()

        toy(press).read_state = hang  # type: ignore[method-assign]
        action = press.driver.actions["crimp"]
        with pytest.raises(DeviceError):
            await press.baseline(action, "", action.parameters.model_validate({"force": "7.8 kN"}))
        assert "its driver hangs: read_state does not end" in str(press.problem)
        assert not press.connected
        ended.set()
