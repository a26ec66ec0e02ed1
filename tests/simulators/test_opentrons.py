"""Against excerpts of what robot-server 8.1.0 answered when its hardware was simulated."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from tests.simulators.robot import PIPETTES, MakeStand, begin, liquid, set_up, stands


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[MakeStand]:
    async with stands(tmp_path) as make:
        yield make


# ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_the_version_header_is_asked_for(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    missing = {"message": "header.opentrons-version: field required", "errorCode": "4000"}
    assert await client.ask("GET", "/health", version=None) == (422, missing)
    status, reply = await client.ask("GET", "/health", version="1")
    assert (status, reply["errors"][0]["id"]) == (400, "OutdatedAPIVersion")
    status, reply = await client.ask("GET", "/health", version="abc")
    assert (status, reply["message"][:31]) == (422, "header.opentrons-version: unexp")
    assert (await client.ask("GET", "/runs", version=None))[0] == 422
    for version in ("2", "4", "99", "*"):
        status, reply = await client.ask("GET", "/health", version=version)
        assert (status, reply["robot_model"], reply["api_version"]) == (200, "OT-2 Standard", "8.1.0")


async def test_the_machine_tells_what_it_has(make_stand: MakeStand) -> None:
    robot, client, _ = await make_stand()
    pipettes = (await client.get("/instruments"))["data"]
    assert [(one["mount"], one["instrumentName"]) for one in pipettes] == list(PIPETTES.items())
    assert pipettes[1]["data"] == {"channels": 1, "min_volume": 20.0, "max_volume": 300.0}
    assert (await client.get("/pipettes"))["left"]["name"] == "p20_single_gen2"
    assert (await client.get("/modules"))["data"] == []
    closed = {"data": {"status": "closed", "doorRequiredClosedForProtocol": False}}
    assert await client.get("/robot/door/status") == closed
    robot.faults["door_open"] = True
    assert (await client.get("/robot/door/status"))["data"]["status"] == "open"
    assert await client.get("/robot/lights") == {"on": False}
    assert await client.ask("POST", "/robot/lights", {"on": True}) == (200, {"on": True})
    assert await client.get("/robot/lights") == {"on": True}
    cutouts = (await client.get("/deck_configuration"))["data"]["cutoutFixtures"]
    assert cutouts[-1] == {"cutoutFixtureId": "fixedTrashSlot", "cutoutId": "cutout12"}
    status, reply = await client.ask("GET", "/robot/control/estopStatus")
    assert (status, reply["errors"][0]["id"]) == (403, "NotSupportedOnOT2")
    assert (await client.ask("GET", "/nowhere"))[0] == 404
    assert (await client.ask("PUT", "/runs"))[0] == 405


async def test_while_it_boots_it_is_not_there_yet(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand(boot=40)
    status, reply = await client.ask("GET", "/health")
    assert (status, reply["errors"][0]["id"]) == (503, "HardwareNotYetInitialized")
    await asyncio.sleep(41)
    assert (await client.ask("GET", "/health"))[0] == 200


async def test_a_run_that_is_idle_is_replaced_and_one_that_works_is_not(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    first = await begin(client)
    told = (await client.get(f"/runs/{first.run}"))["data"]
    assert (told["status"], told["current"], told["ok"], told["pipettes"]) == ("idle", True, True, [])
    second = await begin(client)
    told = (await client.get(f"/runs/{first.run}"))["data"]
    assert (told["status"], told["current"]) == ("stopped", False)
    await second.post("home", {}, wait="")
    status, reply = await client.ask("POST", "/runs", {"data": {}})
    assert (status, reply["errors"][0]["id"], reply["errors"][0]["errorCode"]) == (409, "RunAlreadyActive", "4001")
    await asyncio.sleep(20)
    await begin(client)
    status, reply = await client.ask(
        "POST", f"/runs/{first.run}/commands", {"data": {"commandType": "home", "params": {}}}
    )
    assert (status, reply["errors"][0]["id"]) == (409, "RunStopped")
    status, reply = await client.ask("GET", "/runs/does-not-exist")
    detail = "Error 4000 GENERAL_ERROR (RunNotFoundError): Run does-not-exist was not found."
    assert (status, reply["errors"][0]["id"], reply["errors"][0]["detail"]) == (404, "RunNotFound", detail)
    runs = await client.get("/runs")
    assert runs["meta"]["totalLength"] == 3
    assert runs["links"]["current"]["href"] == f"/runs/{runs['data'][-1]['id']}"


async def test_runs_are_put_away_and_deleted(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    done = await run.post("home", {})
    status, reply = await client.ask("PATCH", f"/runs/{run.run}", {"data": {"current": False}})
    assert (status, reply["data"]["current"]) == (200, False)
    assert (await run.commands())["data"][0]["id"] == done["id"]
    assert (await client.get(f"/runs/{run.run}/commands/{done['id']}"))["data"]["result"] == {}
    assert await client.ask("DELETE", f"/runs/{run.run}") == (200, {})
    assert (await client.ask("GET", f"/runs/{run.run}"))[0] == 404


async def test_a_maintenance_run_takes_setup_commands(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    assert (await client.ask("GET", "/maintenance_runs/current_run"))[0] == 404
    status, reply = await client.ask("POST", "/maintenance_runs", {"data": {}})
    assert status == 201
    run = reply["data"]["id"]
    body = {"data": {"commandType": "home", "params": {}}}
    status, reply = await client.ask("POST", f"/maintenance_runs/{run}/commands?waitUntilComplete=true", body)
    assert (status, reply["data"]["status"], reply["data"]["intent"]) == (201, "succeeded", "setup")
    assert await client.ask("DELETE", f"/maintenance_runs/{run}") == (200, {})


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_command_is_told_as_the_server_tells_it(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    began = clock.monotonic()
    told = await run.post("home", {})
    assert clock.monotonic() - began == pytest.approx(8, abs=0.01)
    assert set(told) == {
        "id", "createdAt", "commandType", "key", "status", "params", "result", "startedAt", "completedAt", "intent",
        "notes",
    }  # fmt: skip
    assert (told["key"], told["intent"], told["result"]) == (told["id"], "setup", {})
    told = await run.post("comment", {"message": "x"}, key="dose-17")
    assert told["key"] == "dose-17"
    assert [one["key"] for one in (await run.commands())["data"]][1] == "dose-17"


async def test_a_wait_that_times_out_is_no_error(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    assert (await run.post("waitForDuration", {"seconds": 3}, wait=""))["status"] == "queued"
    told = await run.post("home", {}, wait="waitUntilComplete=true&timeout=300")
    assert told["status"] == "queued"
    listed = await run.commands("?cursor=0&pageLength=20")
    assert [one["status"] for one in listed["data"]] == ["running", "queued"]
    assert listed["meta"] == {"cursor": 0, "totalLength": 2}
    assert listed["links"]["current"]["meta"]["index"] == 0
    await asyncio.sleep(12)
    assert (await client.get(f"/runs/{run.run}/commands/{told['id']}"))["data"]["status"] == "succeeded"


async def test_what_is_not_of_the_form_is_422(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    path = f"/runs/{run.run}/commands"
    status, reply = await client.ask("POST", path, {"data": {"commandType": "nonsense", "params": {}}})
    error = reply["errors"][0]
    assert (status, error["id"], error["source"]) == (422, "InvalidRequest", {"pointer": "/data"})
    assert error["detail"].startswith(
        "No match for discriminator 'commandType' and value 'nonsense' (allowed values: 'aspirate', 'aspirateInPlace'"
    )
    status, reply = await client.ask("POST", path, {"data": {"commandType": "waitForDuration", "params": {}}})
    assert (status, reply["errors"][0]["source"]["pointer"]) == (422, "/data/params/seconds")
    assert (await client.ask("POST", f"{path}?timeout=0", {"data": {"commandType": "home", "params": {}}}))[0] == 422
    assert (await client.ask("GET", f"{path}/nope"))[0] == 404


async def test_what_cannot_be_loaded_fails_with_the_servers_error(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    wrong = await run.fails("loadPipette", pipetteName="p1000_single", mount="left")
    assert wrong == (
        "FailedToLoadPipetteError", "3010", "mount LEFT: expected instrument p1000_single but got p20_single_v2.1"
    )  # fmt: skip
    plate = {"loadName": "nest_96_wellplate_200ul_flat", "namespace": "opentrons", "version": 2}
    trash = await run.fails("loadLabware", location={"slotName": "12"}, **plate)
    assert trash == ("AreaNotInDeckConfigurationError", "4000", "12 not provided by deck configuration.")
    unknown = await run.fails("loadLabware", location={"slotName": "5"}, loadName="my_tray", namespace="x", version=1)
    assert unknown[0] == "PythonException"
    assert "Unable to find a labware definition" in unknown[2]
    await run.do("loadLabware", location={"slotName": "5"}, **plate)
    assert (await run.fails("loadLabware", location={"slotName": "5"}, **plate))[0] == "LocationIsOccupiedError"
    labware = (await client.get(f"/runs/{run.run}"))["data"]["labware"]
    assert labware[0]["definitionUri"] == "opentrons/nest_96_wellplate_200ul_flat/2"
    assert labware[0]["location"] == {"slotName": "5"}


async def test_positions_are_those_of_the_deck(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run, ids = await set_up(client)
    told = await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    assert told["position"]["x"] == pytest.approx(14.38)
    assert told["position"]["y"] == pytest.approx(74.24)
    assert told["tipVolume"] == 20.0
    told = await run.do("moveToWell", pipetteId=ids["p20"], labwareId=ids["cell_tray_8"], wellName="A2")
    assert told["position"]["x"] == pytest.approx(2 * 132.5 + 45)


# ── protocol runs ────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_queued_commands_wait_for_play_and_the_run_succeeds_after_the_last(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    queued = [("home", {}), ("waitForDuration", {"seconds": 2}), ("waitForResume", {}), ("comment", {"message": "x"})]
    for command, params in queued:
        told = await run.post(command, params, wait="", intent="protocol")
        assert told["key"] != told["id"]
    await asyncio.sleep(60)
    assert await run.status() == "idle"
    status, reply = await run.act("pause")
    assert (status, reply["errors"][0]["detail"]) == (409, "Cannot pause a run that is not running.")
    assert reply["errors"][0]["meta"]["wrapping"][0]["type"] == "PauseNotAllowedError"
    assert (await run.act("play"))[0] == 201
    assert await run.status() == "running"
    status, reply = await client.ask(
        "POST", f"/runs/{run.run}/commands", {"data": {"commandType": "home", "params": {}, "intent": "setup"}}
    )
    assert (status, reply["errors"][0]["id"]) == (409, "SetupCommandNotAllowed")
    await asyncio.sleep(30)
    assert await run.status() == "paused"
    await run.act("play")
    await asyncio.sleep(1)
    assert await run.status() == "succeeded"
    assert [one["status"] for one in (await run.commands())["data"]] == ["succeeded"] * 4
    assert (await run.act("stop"))[0] == 201
    status, reply = await run.act("play")
    assert (status, reply["errors"][0]["detail"]) == (409, "The run has already stopped.")


async def test_pause_lets_the_command_end_and_stop_breaks_it_off(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    for _ in range(2):
        await run.post("waitForDuration", {"seconds": 10}, wait="", intent="protocol")
    await run.act("play")
    await asyncio.sleep(1)
    await run.act("pause")
    await asyncio.sleep(60)
    assert [one["status"] for one in (await run.commands("?cursor=0"))["data"]] == ["succeeded", "queued"]
    await run.act("play")
    await asyncio.sleep(1)
    await run.act("stop")
    assert await run.status() == "stop-requested"
    await asyncio.sleep(30)
    assert await run.status() == "stopped"
    assert (await run.commands("?cursor=1"))["data"][0]["error"]["errorType"] == "RunStoppedError"


async def test_a_protocol_command_that_fails_fails_the_run(make_stand: MakeStand) -> None:
    _, client, _ = await make_stand()
    run = await begin(client)
    await run.post("loadPipette", {"pipetteName": "p1000_single", "mount": "left"}, wait="", intent="protocol")
    await run.post("home", {}, wait="", intent="protocol")
    await run.act("play")
    await asyncio.sleep(1)
    told = (await client.get(f"/runs/{run.run}"))["data"]
    assert (told["status"], told["errors"][0]["errorType"]) == ("failed", "FailedToLoadPipetteError")
    assert [one["status"] for one in (await run.commands("?cursor=0"))["data"]] == ["failed", "queued"]


async def test_a_dispense_that_is_stopped_half_way_gives_half(make_stand: MakeStand) -> None:
    _, client, world = await make_stand()
    run, ids = await set_up(client)
    await run.do("pickUpTip", pipetteId=ids["p20"], labwareId=ids["tips"], wellName="A1")
    await run.do("aspirate", **liquid(ids, "vials_8x20ml", "A1", 20))
    slow = {**liquid(ids, "cell_tray_8", "A1", 20), "flowRate": 1.0}
    await run.post("dispense", slow, wait="", intent="protocol")
    await run.act("play")
    await asyncio.sleep(2.5 + 10)
    await run.act("stop")
    cell = world.cell("ot2/3/A1")
    assert cell is not None
    assert cell.volume == pytest.approx(10, abs=0.1)


async def test_idle_hours_cost_nothing(make_stand: MakeStand) -> None:
    robot, client, _ = await make_stand()
    await begin(client)
    await asyncio.sleep(36_000)
    assert robot._timer is None


class TestCurl:
    @pytest.fixture
    def anyio_backend(self, real_time: Any) -> Any:
        return real_time

    async def test_an_independent_client_runs_a_command(self, make_stand: MakeStand) -> None:
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed: apt-get install curl")
        _, client, _ = await make_stand()

        async def curl(*options: str) -> str:
            process = await asyncio.create_subprocess_exec(
                "curl", "-sS", "-w", " %{http_code}", "-H", "Opentrons-Version: *", *options,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert process.returncode == 0, out
            return out.decode()

        base = f"http://{client.address}"
        assert (await curl(f"{base}/health")).endswith(" 200")
        created = await curl("-d", '{"data": {}}', f"{base}/runs")
        assert created.endswith(" 201")
        run = created.partition('"id": "')[2][:36]
        command = '{"data": {"commandType": "waitForDuration", "params": {"seconds": 0.05}}}'
        done = await curl("-d", command, f"{base}/runs/{run}/commands?waitUntilComplete=true")
        assert '"status": "succeeded"' in done
        assert (await curl(f"{base}/runs/nope")).endswith(" 404")
