"""The OPC UA drivers against simulated servers, over real sockets on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.opcua import DRIVER as MACHINE
from drivers.opcua_glovebox import DRIVER as GLOVEBOX
from labd import clock
from labd.sdk import Call, DeviceError, Driver, Fault, Intent, OutcomeUnknown, Rejected, Setup, Unreachable, Verdict
from simulators._kit.simulator import Bench
from simulators._kit.world import World
from simulators.opcua import SIMULATOR as MACHINE_SIMULATOR
from simulators.opcua import MachineSimulator
from simulators.opcua_glovebox import SIMULATOR as GLOVEBOX_SIMULATOR
from simulators.opcua_glovebox import GloveboxSimulator

ADDRESS = "opc.tcp://127.0.0.1:0"


@contextlib.asynccontextmanager
async def glovebox(
    *, settings: Any = None, options: Any = None, simulated: Any = None, **faults: Any
) -> AsyncIterator[tuple[Driver, GloveboxSimulator]]:
    given = {"faults": faults, **(options or {})}
    simulator = GLOVEBOX_SIMULATOR(Bench("box", World(1), {"address": ADDRESS, **(simulated or {})}, given))
    found = await simulator.start()
    driver = GLOVEBOX(Setup("box", {**found, **(settings or {})}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


@contextlib.asynccontextmanager
async def machine(
    profile: str = "packml", *, options: Any = None, **faults: Any
) -> AsyncIterator[tuple[Driver, MachineSimulator]]:
    settings = {"address": ADDRESS, "profile": profile}
    given = {"programs": {"default": 20, "long": 300}, "faults": faults, **(options or {})}
    simulator = MACHINE_SIMULATOR(Bench("m1", World(1), settings, given))
    found = await simulator.start()
    driver = MACHINE(Setup("m1", {**settings, **found}))
    try:
        await driver.connect()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


async def act(driver: Driver, name: str, id_: str = "", **values: Any) -> Any:
    action = driver.actions[name]
    return await driver.invoke(action, action.parameters.model_validate(values), Call(id_ or f"a-{name}"))


async def reading(driver: Driver) -> Any:
    return await driver.read_state()


# ── glovebox ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_oxygen_and_water_rise_while_the_antechamber_is_open_and_fall_again() -> None:
    async with glovebox() as (driver, _):
        rest = await reading(driver)
        assert rest.oxygen == pytest.approx(0.4, abs=0.1)
        assert rest.pressure == pytest.approx(3.0, abs=0.1)
        assert rest.antechamber == "closed"
        start = clock.monotonic()
        await act(driver, "open_antechamber")
        assert (await reading(driver)).antechamber == "open"
        await asyncio.sleep(300)
        opened = await reading(driver)
        assert opened.oxygen > 10
        assert opened.water > 5
        await act(driver, "close_antechamber")
        assert clock.monotonic() - start >= 300 + 4 + 4 + 180
        await asyncio.sleep(3600)
        assert (await reading(driver)).oxygen < 1
        assert (await reading(driver)).antechamber == "closed"


async def test_an_open_inner_door_refuses_the_outer_one() -> None:
    async with glovebox(inner_open=True) as (driver, _):
        with pytest.raises(Rejected, match="not in its present state"):
            await act(driver, "open_antechamber")


async def test_denied_access_is_rejected_in_words() -> None:
    async with glovebox(denied=True) as (driver, simulator):
        with pytest.raises(Rejected, match="access denied"):
            await act(driver, "open_antechamber")
        assert simulator.box.state == 0
        assert (await reading(driver)).oxygen is not None


async def test_an_antechamber_that_does_not_move_is_a_fault() -> None:
    async with glovebox(door_stuck=True) as (driver, _):
        with pytest.raises(Fault, match="does not move: it is closed"):
            await act(driver, "open_antechamber")


async def test_values_that_stand_still_are_not_believed_and_then_the_server_is_not() -> None:
    async with glovebox() as (driver, simulator):
        simulator.faults["stale"] = True
        assert (await reading(driver)).oxygen is not None
        await asyncio.sleep(61)
        with pytest.raises(Unreachable, match="Heartbeat stands still"):
            await driver.read_state()
        with pytest.raises(Unreachable, match="Heartbeat stands still"):  # a new session makes nothing younger
            await driver.connect()
        simulator.faults["stale"] = False
        await driver.connect()
        assert (await reading(driver)).oxygen is not None


async def test_a_lost_session_is_unreachable_and_the_next_request_has_a_new_one() -> None:
    async with glovebox() as (driver, simulator):
        simulator.faults["session_lost"] = 1
        with pytest.raises(Unreachable, match="BadSessionIdInvalid"):
            await driver.read_state()
        assert (await reading(driver)).oxygen is not None


async def test_a_connection_that_is_cut_is_replaced() -> None:
    async with glovebox() as (driver, simulator):
        for _ in range(3):
            simulator.faults["cut"] = 1
            with pytest.raises(DeviceError):
                await driver.read_state()
            assert (await reading(driver)).oxygen is not None


async def test_a_silent_server_is_unknown_within_the_deadline() -> None:
    async with glovebox(settings={"reply_within": "2 s"}) as (driver, simulator):
        simulator.faults["silent"] = True
        start = clock.monotonic()
        with pytest.raises(OutcomeUnknown, match="within 2 s"):
            await driver.read_state()
        assert clock.monotonic() - start == pytest.approx(2, abs=0.1)
        simulator.faults["silent"] = False
        assert (await reading(driver)).oxygen is not None


async def test_a_session_lives_through_hours_of_polls_and_renews_its_channel() -> None:
    async with glovebox() as (driver, _):
        for _ in range(40):
            await asyncio.sleep(600)
            assert (await reading(driver)).oxygen is not None


async def test_a_box_that_takes_a_written_command_is_a_profile_of_its_own(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "drivers/opcua/glovebox.yaml").read_text()
    for name, number in (("Open", 1), ("Close", 2)):
        text = text.replace(
            f"{{call: Glovebox/Antechamber/{name}}}", f"{{write: s=Glovebox.Antechamber.Command, value: {number}}}"
        )
    profile = tmp_path / "written.yaml"
    profile.write_text(text)
    async with glovebox(settings={"profile": str(profile)}) as (driver, simulator):
        await act(driver, "open_antechamber")
        assert simulator.box.state == 1
        await act(driver, "close_antechamber")
        assert simulator.box.state == 0


OTHER = """\
kind: glovebox
namespaces: {gb: "urn:maker:box"}
oxygen: {node: "s=GB.O2", unit: ppm, factor: 0.1}
water: {node: "Plant/Box7/H2O", unit: ppm}
antechamber: {node: "ns=2;i=4711", words: {true: open, false: closed}}
open_antechamber: {write: "s=GB.DoorOut", value: true, type: Boolean}
close_antechamber: {call: "Plant/Box7/CloseDoor"}
alive: {node: "ns=0;i=2258", max_age: 60 s}
"""


async def test_a_box_of_another_profile_is_simulated_with_its_nodes(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(OTHER)
    profile = {"profile": str(path)}
    async with glovebox(settings=profile, simulated=profile) as (driver, simulator):
        reading_ = await reading(driver)
        assert reading_.oxygen == pytest.approx(0.4, abs=0.1)
        assert (reading_.pressure, reading_.antechamber) == (None, "closed")
        assert simulator.server.said("Glovebox/Oxygen") == pytest.approx(4, abs=1)
        await act(driver, "open_antechamber")
        await act(driver, "close_antechamber")
        assert simulator.box.state in (4, 0)


async def test_a_profile_for_another_server_is_told_on_connecting(tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[2] / "drivers/opcua/glovebox.yaml").read_text()
    for old, new, words in (
        ("urn:labd:glovebox", "urn:other", "has no namespace 'urn:other'"),
        ("Glovebox/Water", "Glovebox/Weather", "the profile does not fit.*Glovebox/Weather"),
    ):
        profile = tmp_path / "other.yaml"
        profile.write_text(shipped.replace(old, new))
        with pytest.raises(Unreachable, match=words):
            async with glovebox(settings={"profile": str(profile)}):
                pass


async def test_users_come_in_by_their_password(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    options = {"users": {"labd": "geheim"}}
    async with glovebox(options=options, settings={"user": "labd", "password_file": str(secret)}) as (driver, _):
        assert (await reading(driver)).oxygen is not None
    secret.write_text("wrong\n")
    with pytest.raises(Unreachable, match="user 'labd' or the password is wrong"):
        async with glovebox(options=options, settings={"user": "labd", "password_file": str(secret)}):
            pass
    with pytest.raises(Unreachable, match="no anonymous users"):
        async with glovebox(options=options):
            pass


async def test_nothing_is_ordered_to_make_a_box_safe() -> None:
    async with glovebox() as (driver, simulator):
        await act(driver, "open_antechamber")
        await driver.safe_state()
        assert simulator.box.state == 1


# ── machine ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("profile", ["packml", "lads"])
async def test_a_run_goes_to_its_end_and_is_counted(profile: str) -> None:
    async with machine(profile) as (driver, _):
        accepted: list[Any] = []
        action = driver.actions["start"]
        start = clock.monotonic()
        parameters = action.parameters.model_validate({"recipe": "long"})
        result: Any = await driver.invoke(action, parameters, Call("a1", on_accepted=accepted.append))
        assert (result.state, result.made) == ("Complete", 1)
        assert clock.monotonic() - start == pytest.approx(2 + 300 + 2, abs=4)
        assert accepted in ([{"run": 1}], [{"run": "run-1"}])
        assert (await reading(driver)).state == "Complete"
        with pytest.raises(Rejected, match="is Complete; run `reset` first"):
            await act(driver, "start")
        await act(driver, "reset")
        assert (await act(driver, "start")).made == 1
        assert (await reading(driver)).made == 2


@pytest.mark.parametrize("profile", ["packml", "lads"])
async def test_an_unknown_recipe_is_refused(profile: str) -> None:
    async with machine(profile) as (driver, simulator):
        with pytest.raises(Rejected, match="BadInvalidArgument"):
            await act(driver, "start", recipe="none")
        assert simulator.machine.runs == 0


@pytest.mark.parametrize("profile", ["packml", "lads"])
async def test_stop_and_reset(profile: str) -> None:
    async with machine(profile) as (driver, _):

        async def stopped() -> None:
            with pytest.raises(Fault, match="it is Stopp"):
                await act(driver, "start", recipe="long")

        async with asyncio.TaskGroup() as group:
            group.create_task(stopped())
            await asyncio.sleep(30)
            assert (await reading(driver)).state == "Execute"
            await act(driver, "stop")
        assert (await reading(driver)).state == "Stopped"
        await act(driver, "stop")
        await act(driver, "reset")
        assert (await act(driver, "start", recipe="default")).made == 1


@pytest.mark.parametrize("profile", ["packml", "lads"])
async def test_an_abort_by_itself_is_a_fault_until_it_is_cleared(profile: str) -> None:
    async with machine(profile, abort_on=[1]) as (driver, _):
        with pytest.raises(Fault, match="it is Abort"):
            await act(driver, "start")
        await asyncio.sleep(5)
        with pytest.raises(Rejected, match=r"`clear` and `reset`|run `reset`"):
            await act(driver, "start")
        await act(driver, "clear")
        await act(driver, "reset")
        assert (await act(driver, "start")).state == "Complete"


async def test_a_machine_that_holds_is_waited_for() -> None:
    async with machine(hold_on=[1]) as (driver, simulator):
        task = asyncio.ensure_future(act(driver, "start"))
        await asyncio.sleep(600)
        assert (await reading(driver)).state == "Held"
        assert not task.done()
        simulator.machine.order("Unhold")
        assert (await task).state == "Complete"


async def test_what_is_defective_is_counted_apart() -> None:
    async with machine(defect_on=[1]) as (driver, _):
        assert (await act(driver, "start")).made == 0
        assert (await reading(driver)).defective == 1


async def test_an_order_that_nothing_comes_of_is_unknown_and_then_not_done() -> None:
    async with machine(deaf=True) as (driver, _):
        intent = await intended(driver)
        with pytest.raises(OutcomeUnknown, match="was not seen to start"):
            await act(driver, "start", "a1")
        assert (await driver.outcome(intent)).verdict is Verdict.NOT_DONE


@pytest.mark.parametrize("profile", ["packml", "lads"])
async def test_a_lost_reply_of_a_start_is_no_loss_and_no_second_start(profile: str) -> None:
    async with machine(profile) as (driver, simulator):
        simulator.faults["lost_replies"] = 1
        assert (await act(driver, "start")).made == 1
        assert simulator.machine.runs == 1


@pytest.mark.parametrize("profile", ["packml", "lads"])
async def test_who_never_ordered_a_run_takes_it_up_and_tells_its_end(profile: str) -> None:
    async with machine(profile) as (driver, _):
        intent = await intended(driver)
        task = asyncio.ensure_future(act(driver, "start", "a1", recipe="long"))
        await asyncio.sleep(20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await driver.close()
        again = MACHINE(driver.setup)
        try:
            await again.connect()
            assert (await again.outcome(intent)).verdict is Verdict.RUNNING
            result: Any = await again.attach(intent, Call("a1"))
            assert (result.state, result.made) == ("Complete", 1)
            done = await again.outcome(intent)
            assert done.verdict is Verdict.DONE
            assert done.result == result
        finally:
            await again.close()


async def test_a_short_loss_in_mid_run_is_borne() -> None:
    async with machine() as (driver, simulator):
        loop = asyncio.get_running_loop()
        loop.call_later(8, simulator.faults.update, {"cut": 2})
        loop.call_later(12, simulator.faults.update, {"session_lost": 1})
        assert (await act(driver, "start")).made == 1


async def test_a_server_that_stays_away_leaves_the_outcome_unknown() -> None:
    async with machine() as (driver, simulator):
        asyncio.get_running_loop().call_later(8, simulator.faults.update, {"silent": True})
        with pytest.raises(OutcomeUnknown, match="its run may go on"):
            await act(driver, "start", recipe="long")
        simulator.faults["silent"] = False


async def test_safe_state_stops_what_runs_and_leaves_the_rest_alone_twice() -> None:
    async with machine() as (driver, simulator):
        await driver.safe_state()
        assert simulator.machine.state == "Idle"
        task = asyncio.ensure_future(act(driver, "start", recipe="long"))
        await asyncio.sleep(20)
        await driver.safe_state()
        await driver.safe_state()
        assert (await reading(driver)).state == "Stopped"
        with pytest.raises(Fault):
            await task


async def test_a_machine_that_does_not_stop_is_aborted_and_then_a_fault() -> None:
    async with machine() as (driver, simulator):
        task = asyncio.ensure_future(act(driver, "start", recipe="long"))
        await asyncio.sleep(20)
        simulator.faults["stuck"] = True
        with pytest.raises(Fault, match="neither stops nor aborts"):
            await driver.safe_state()
        assert simulator.machine.state == "Aborting"
        simulator.faults["stuck"] = False
        with pytest.raises(Fault):
            await task


async def intended(driver: Driver) -> Intent:
    parameters = driver.actions["start"].parameters.model_validate({})
    return Intent("a1", "start", "", parameters, await driver.baseline("start", ""), clock.now())
