"""The robotiq driver against the simulated gripper, over Modbus RTU on a pty and over TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.robotiq import DRIVER
from labd.sdk import Call, Fault, OutcomeUnknown, Rejected, Setup, Unreachable, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import Cell, Part, World
from simulators.robotiq import SIMULATOR, RobotiqSimulator
from tests.wires.acting import act, carried_out, intended

TCP = "modbus://127.0.0.1:0"
Stand = tuple[Any, RobotiqSimulator]


@contextlib.asynccontextmanager
async def gripper(
    address: str = TCP, directory: Path = Path(), settings: Any = None, part: bool = True, **options: Any
) -> AsyncIterator[Stand]:
    world = World(3)
    if part:
        world.put("gripper/jaws", Cell(id="c1"))
    said = {"address": address, **(settings or {})}
    simulator = SIMULATOR(Bench("gripper", world, said, options, directory=directory))
    found = await simulator.start()
    driver = DRIVER(Setup("gripper", {**said, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


@pytest.mark.parametrize("address", [TCP, "serial://ports/gripper", "serial://ports/gripper?baudrate=19200"])
async def test_a_cell_is_gripped_and_let_go_on_every_wire(address: str, tmp_path: Path) -> None:
    async with gripper(address, tmp_path) as (driver, _):
        result = await act(driver, "grip", force="50 N")
        assert (result.gripped, result.width) == (True, pytest.approx(20, abs=0.4))
        state = await driver.read_state()
        assert (state.gripped, state.moving, state.activated, state.fault) == (True, False, True, None)
        await act(driver, "release")
        state = await driver.read_state()
        assert (state.gripped, state.width) == (False, 85)


async def test_nothing_held_is_a_result_and_a_part_that_falls_is_a_signal() -> None:
    async with gripper(part=False) as (driver, simulator):
        result = await act(driver, "grip")
        assert (result.gripped, result.width) == (False, 0)
        await act(driver, "release", width="40 mm")
        assert (await driver.read_state()).width == pytest.approx(40, abs=0.4)
        simulator.world.put("gripper/jaws", Part(id="vial:1", name="vial"))
        assert (await act(driver, "grip")).width == pytest.approx(27.5, abs=0.4)
        simulator.world.take("gripper/jaws")
        await asyncio.sleep(3)
        assert (await driver.read_state()).gripped is False


async def test_a_gripper_that_was_just_switched_on_grips_only_after_it_was_activated() -> None:
    async with gripper(activated=False) as (driver, _):
        assert (await driver.read_state()).activated is False
        with pytest.raises(Rejected, match="give it `release` or `activate`"):
            await act(driver, "grip")
        await act(driver, "release")
        assert (await act(driver, "grip")).gripped


@pytest.mark.parametrize(("force", "model"), [("10 N", "2f85"), ("200 N", "2f140")])
async def test_a_force_or_width_that_it_has_not_is_refused(force: str, model: str) -> None:
    async with gripper(settings={"model": model}) as (driver, simulator):
        with pytest.raises(Rejected, match=f"a {model} grips with"):
            await act(driver, "grip", force=force)
        if model == "2f85":
            with pytest.raises(Rejected, match="open 85 mm"):
                await act(driver, "release", width="90 mm")
        assert simulator.count == 0


async def test_made_safe_moving_fingers_stop_and_a_held_part_is_not_dropped() -> None:
    async with gripper(settings={"speed": "20 mm/s"}) as (driver, simulator):
        task = asyncio.create_task(act(driver, "grip"))
        await asyncio.sleep(1)
        await driver.safe_state()
        await driver.safe_state()
        stopped = simulator.width
        await asyncio.gather(task, return_exceptions=True)
        assert simulator.width == stopped > 50
        await act(driver, "release")
        await act(driver, "grip")
        await driver.safe_state()
        assert (await driver.read_state()).gripped is True


# ── what became of it ────────────────────────────────────────────────────────────────────────────────────────────
async def test_the_echo_proves_whether_a_grip_was_done_also_the_second_time() -> None:
    async with gripper() as (driver, _):
        for _ in range(2):
            intent = await intended(driver, "grip")
            assert (await driver.outcome(intent)).verdict is Verdict.NOT_DONE
            await carried_out(driver, intent)
            outcome = await driver.outcome(intent)
            assert (outcome.verdict, outcome.result.gripped) == (Verdict.DONE, True)  # type: ignore[union-attr]


async def test_an_order_whose_answer_is_lost_goes_out_once_and_is_taken_up() -> None:
    async with gripper() as (driver, simulator):
        intent = await intended(driver, "grip")
        simulator.faults["reply_lost"] = 1
        with pytest.raises(OutcomeUnknown):
            await carried_out(driver, intent)
        assert (await driver.outcome(intent)).verdict in (Verdict.RUNNING, Verdict.DONE)
        assert (await driver.attach(intent, Call("a1"))).gripped
        assert (await driver.outcome(intent)).verdict is Verdict.DONE


async def test_a_gripper_that_lost_its_power_or_was_stopped_proves_nothing() -> None:
    async with gripper(settings={"speed": "20 mm/s"}) as (driver, simulator):
        intent = await intended(driver, "grip")
        task = asyncio.create_task(carried_out(driver, intent))
        await asyncio.sleep(1)
        await driver.safe_state()
        await asyncio.gather(task, return_exceptions=True)
        assert (await driver.outcome(intent)).verdict is Verdict.UNKNOWN
        simulator.faults["power_cycle"] = True
        assert (await driver.outcome(intent)).verdict is Verdict.UNKNOWN


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fault", "words"), [("jam", "current was too high"), ("hot", "too hot"), ("busy_stuck", "did not come to rest")]
)
async def test_what_keeps_the_fingers_is_a_fault(fault: str, words: str) -> None:
    async with gripper(faults={fault: True}) as (driver, _):
        with pytest.raises(Fault, match=words):
            await act(driver, "grip")
        await driver.read_state()


async def test_opening_against_something_is_a_fault() -> None:
    async with gripper(part=False) as (driver, simulator):
        simulator.world.put("gripper/jaws", Cell(id="c1"))
        with pytest.raises(Fault, match=r"met something on their way, at (19|20)\.\d+ mm"):
            await act(driver, "release", width="10 mm")


async def test_lost_answers_while_it_moves_cost_nothing_and_silence_is_unknown() -> None:
    async with gripper(settings={"speed": "20 mm/s"}) as (driver, simulator):
        loop = asyncio.get_running_loop()
        loop.call_later(1, simulator.faults.update, {"silent": True})
        loop.call_later(1.6, simulator.faults.clear)
        assert (await act(driver, "grip")).gripped
        await act(driver, "release")
        loop.call_later(1, simulator.faults.update, {"silent": True})
        with pytest.raises(OutcomeUnknown, match="while the fingers move"):
            await act(driver, "grip")
        with pytest.raises((OutcomeUnknown, Unreachable)):
            await driver.read_state()
