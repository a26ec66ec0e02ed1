"""Tips, wells and cells on the deck, and faults that leave one in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd import clock
from simulators._kit.world import Cell, World
from tests.simulators.robot import MakeStand, begin, liquid, set_up, stands
from tests.simulators.wires import Http


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[MakeStand]:
    async with stands(tmp_path) as make:
        yield make


# ── deck ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_dose_reaches_the_cell_that_it_was_given_to(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    run, ids = await set_up(client)
    began = clock.monotonic()
    await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    assert (await run.do("aspirate", **liquid(ids, "vials_8x20ml", "A1", 17.5)))["volume"] == 17.5
    await run.do("dispense", **liquid(ids, "cell_tray_8", "B3", 17.5))
    assert 10 < clock.monotonic() - began < 25
    cell = world.cell("ot2/3/B3")
    assert cell is not None
    assert cell.electrolyte == pytest.approx({"LP57": 17.5})
    assert cell.wetted_at == pytest.approx(clock.now().timestamp(), abs=1e-3)
    vial = world.well("ot2/2/A1")
    assert vial is not None
    assert vial.volume == pytest.approx(82.5)
    area = {"pipetteId": ids["p20"], "addressableAreaName": "fixedTrash", "offset": {"x": 0, "y": 0, "z": 0}}
    moved = await run.do("moveToAddressableAreaForDropTip", alternateDropLocation=False, **area)
    assert moved["position"]["x"] == pytest.approx(347.84)
    assert await run.do("dropTipInPlace", pipetteId=ids["p20"]) == {}
    failed = await run.fails("aspirate", **liquid(ids, "vials_8x20ml", "A1", 5))
    assert failed == ("TipNotAttachedError", "3005", "Pipette should have a tip attached, but does not.")
    assert await run.status() == "idle"


async def test_a_well_that_runs_dry_gives_air_without_an_error(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    run, ids = await set_up(client)
    await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    for well in ("A1", "B1", "A2", "B2", "A3", "B3"):
        await run.do("aspirate", **liquid(ids, "vials_8x20ml", "A1", 20))
        await run.do("dispense", **liquid(ids, "cell_tray_8", well, 20))
    dry = world.cell("ot2/3/B3")
    full = world.cell("ot2/3/A3")
    assert dry is not None
    assert full is not None
    assert full.volume == pytest.approx(20)
    assert dry.volume == 0


async def test_volumes_beyond_tip_and_content_are_refused(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run, ids = await set_up(client)
    await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    too_much = await run.fails("aspirate", **liquid(ids, "vials_8x20ml", "A1", 25))
    assert too_much[::2] == (
        "InvalidAspirateVolumeError", "Cannot aspirate 25.0 µL when only 20.0 is available in the tip."
    )  # fmt: skip
    await run.do("aspirate", **liquid(ids, "vials_8x20ml", "A1", 10))
    assert (await run.fails("dispense", **liquid(ids, "cell_tray_8", "A1", 12)))[0] == "InvalidDispenseVolumeError"
    assert (await run.fails("aspirate", **liquid(ids, "cell_tray_8", "Z9", 1)))[0] == "WellDoesNotExistError"
    again = await run.fails("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="B1")
    assert again[0] == "TipAttachedError"


async def test_an_ot2_does_not_feel_an_empty_place_in_the_rack(make_stand: MakeStand) -> None:
    robot, client, world = await make_stand()
    run, ids = await set_up(client)
    tip = {"pipetteId": ids["p20"], "labwareId": ids["tips"], "wellName": "A1"}
    await run.do("pickUpTip", **tip)
    await run.do("dropTipInPlace", pipetteId=ids["p20"])
    assert robot.robot.tips_left("1", ["A1", "B1"]) == ["B1"]
    await run.do("pickUpTip", **tip)
    await run.do("aspirate", **liquid(ids, "vials_8x20ml", "A1", 10))
    vial = world.well("ot2/2/A1")
    assert vial is not None
    assert vial.volume == 100
    assert (await client.get("/instruments"))["data"][0]["data"]["max_volume"] == 20.0


async def test_a_flex_feels_it(make_stand: MakeStand) -> None:
    robot, client, _ = await make_stand(options={"model": "flex"}, tip_missed=1)
    assert (await client.get("/health"))["robot_model"] == "OT-3 Standard"
    assert (await client.get("/robot/control/estopStatus"))["data"]["status"] == "disengaged"
    run = await begin(client)
    pipette = (await run.do("loadPipette", pipetteName="p50_single_flex", mount="left"))["pipetteId"]
    rack = {"loadName": "opentrons_flex_96_tiprack_50ul", "namespace": "opentrons", "version": 1}
    tips = (await run.do("loadLabware", location={"slotName": "D1"}, **rack))["labwareId"]
    missed = await run.fails("pickUpTip", pipetteId=pipette, labwareId=tips, wellName="A1")
    assert missed == ("tipPhysicallyMissing", "3003", "No Tip Detected")
    await run.do("pickUpTip", pipetteId=pipette, labwareId=tips, wellName="B1")
    assert (await client.get("/instruments"))["data"][0]["state"] == {"tipDetected": True}
    robot.faults["door_open"] = True
    assert (await run.act("play"))[0] == 409


async def test_tips_and_past_runs_outlive_the_power_and_the_current_run_does_not(
    make_stand: MakeStand, tmp_path: Path
) -> None:
    robot, client, _ = await make_stand(World(1, tmp_path / "world.json"))
    first = await begin(client)
    await first.post("home", {}, key="k1")
    run, ids = await set_up(client)
    await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    await robot.stop()
    robot, client, _ = await make_stand(World(1, tmp_path / "world.json"))
    assert robot.robot.tip_on("left")
    assert robot.robot.tips_left("1", ["A1", "B1"]) == ["B1"]
    first.client = run.client = client
    assert (await first.commands())["data"][0]["key"] == "k1"
    told = (await client.get(f"/runs/{run.run}"))["data"]
    assert (told["ok"], told["current"], told["dataError"]["id"]) == (False, False, "RunDataError")
    assert (await run.commands())["data"] == []


@pytest.mark.parametrize("model", ["flex", "ot2"])
async def test_a_tip_of_an_ended_run_comes_off_by_the_unsafe_command_and_on_a_flex_only(
    make_stand: MakeStand, model: str
) -> None:
    robot, client, _ = await make_stand(options={"model": model})
    name, rack, slot = {
        "flex": ("p50_single_flex", "opentrons_flex_96_tiprack_50ul", "D1"),
        "ot2": ("p20_single_gen2", "opentrons_96_tiprack_20ul", "1"),
    }[model]
    run = await begin(client)
    pipette = (await run.do("loadPipette", pipetteName=name, mount="left"))["pipetteId"]
    of = {"loadName": rack, "namespace": "opentrons", "version": 1}
    tips = (await run.do("loadLabware", location={"slotName": slot}, **of))["labwareId"]
    await run.do("pickUpTip", pipetteId=pipette, labwareId=tips, wellName="A1")
    run = await begin(client)
    pipette = (await run.do("loadPipette", pipetteName=name, mount="left"))["pipetteId"]
    assert (await run.fails("dropTipInPlace", pipetteId=pipette))[0] == "TipNotAttachedError"
    if model == "flex":
        await run.do("unsafe/dropTipInPlace", pipetteId=pipette)
        assert not robot.robot.tip_on("left")
    else:
        assert (await run.fails("unsafe/dropTipInPlace", pipetteId=pipette))[0] == "HardwareNotSupportedError"
        assert robot.robot.tip_on("left")


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_lost_reply_leaves_the_dose_given_and_the_key_listed(make_stand: MakeStand) -> None:
    robot, client, world = await make_stand()
    run, ids = await set_up(client)
    await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    await run.do("aspirate", **liquid(ids, "vials_8x20ml", "A1", 15))
    robot.faults["reply_lost"] = {"commandType": "dispense", "count": 1}
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await run.post("dispense", liquid(ids, "cell_tray_8", "A1", 15), key="dose-1")
    again = await Http.connect(client.address)
    listed = await again.get(f"/runs/{run.run}/commands")
    assert (listed["data"][-1]["key"], listed["data"][-1]["status"]) == ("dose-1", "succeeded")
    cell = world.cell("ot2/3/A1")
    assert isinstance(cell, Cell)
    assert cell.volume == pytest.approx(15)
    await again.close()


async def test_a_request_that_hangs_is_not_carried_out(make_stand: MakeStand) -> None:
    robot, client, _ = await make_stand()
    run = await begin(client)
    robot.faults["hang"] = 1
    with pytest.raises(TimeoutError):
        await client.ask(
            "POST", f"/runs/{run.run}/commands", {"data": {"commandType": "home", "params": {}}}, within=3600
        )
    again = await Http.connect(client.address)
    assert (await again.get(f"/runs/{run.run}/commands"))["data"] == []
    await again.close()


async def test_commands_fail_on_purpose_so_many_times(make_stand: MakeStand) -> None:
    robot, client, _ = await make_stand()
    run, ids = await set_up(client)
    await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    stuck = {"count": 1, "errorType": "StallOrCollisionDetectedError", "errorCode": "2003", "detail": "Stall."}
    robot.faults["fail"] = {"dropTipInPlace": stuck}
    failed = await run.fails("dropTipInPlace", pipetteId=ids["p20"])
    assert failed == ("StallOrCollisionDetectedError", "2003", "Stall.")
    await run.do("dropTipInPlace", pipetteId=ids["p20"])
