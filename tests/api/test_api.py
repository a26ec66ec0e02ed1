"""The interface as programs see it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd import clock
from tests.api.conftest import PRESSING, Served


async def test_a_run_is_started_followed_answered_and_ends(served: Served) -> None:
    async with served() as bench:
        started = await bench.start(parameters={"force": "6 kN"}, sample="cell-7")
        asks = await bench.wait(started["run"])
        assert asks["question"]["choices"] == ["keep it", "scrap it"]
        answer = await bench.client.post(f"/runs/{started['run']}/answer", json={"choice": "keep it", "by": "mk"})
        assert answer.status_code == 200
        ended = await bench.wait(started["run"])
        assert (ended["outcome"], ended["sample"]) == ("complete", "cell-7")
        assert ended["ended"] is not None


async def test_a_wait_goes_on_while_the_caller_knows_the_question(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        asks = await bench.wait(run)
        seen = f"{asks['state']}:{asks['question']['id']}"
        before = clock.monotonic()
        still = await bench.wait(run, seconds=0.01, seen=seen)
        assert still["question"] == asks["question"]
        assert clock.monotonic() > before
        ended = still
        while ended["ended"] is None:
            ended = await bench.wait(run, seconds=300, seen=seen)  # nobody answers: the protocol's own limit
        assert ended["outcome"] == "scrapped"


async def test_virtual_time_stands_still_while_a_request_is_answered(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        await bench.wait(run)
        before = clock.monotonic()
        for _ in range(20):
            assert (await bench.client.get("/status")).status_code == 200
        assert clock.monotonic() - before < 1.0


async def test_events_come_in_pages_without_gaps(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        await bench.wait(run)
        whole = (await bench.client.get(f"/runs/{run}/events")).json()
        assert whole["after"] is None
        pages, after = [], 0
        while after is not None:
            page = (await bench.client.get(f"/runs/{run}/events", params={"after": after, "limit": 2})).json()
            pages += page["events"]
            after = page["after"]
        assert pages == whole["events"]
        assert pages[0]["kind"] == "run.started"


async def test_events_that_mqtt_has_not_are_found_by_their_number_there(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        await bench.wait(run)
        whole = (await bench.client.get(f"/runs/{run}/events")).json()["events"]
        # seq 3 and 4 over MQTT
        page = (await bench.client.get(f"/runs/{run}/events", params={"skip": 2, "limit": 2})).json()
        assert page["events"] == whole[2:4]
        assert page["after"] == whole[3]["seq"]
        assert (await bench.client.get(f"/runs/{run}/events", params={"skip": len(whole)})).json()["events"] == []


async def test_status_tells_daemon_devices_and_what_is_under_way(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        await bench.wait(run)
        status = (await bench.client.get("/status")).json()
        assert status["daemon"]["lab"] == "toys"
        assert [found["run"] for found in status["runs"]] == [run]
        assert [device["health"] for device in status["devices"]] == ["ok"]
        press = (await bench.client.get("/devices/press")).json()
        assert press["signals"]["force"]["u"] == "kN"
        assert press["actions"]["crimp"]["effect"] == "once"
        assert (press["quality"], press["quirks"]) == ("draft", ["It is a toy."])


@pytest.mark.parametrize(
    "path", ["/runs/run-9999", "/runs/run-9999/events", "/runs/run-9999/wait", "/devices/oven", "/x"]
)
async def test_what_is_not_there_is_404_in_the_one_shape(served: Served, path: str) -> None:
    async with served() as bench:
        answer = await bench.client.get(path)
        assert answer.status_code == 404
        assert set(answer.json()["error"]) == {"code", "message", "problems"}


async def test_a_refused_command_is_409_and_says_what_is_possible(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        answer = await bench.client.post(f"/runs/{run}/commands/unhold", json={"by": "mk"})
        assert answer.status_code == 409
        assert "possible: " in answer.json()["error"]["message"]


async def test_hold_and_unhold_with_their_cause(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        held = await bench.client.post(f"/runs/{run}/commands/hold", json={"by": "mk", "cause": "lunch"})
        assert held.status_code == 200
        assert held.json()["state"] in ("Holding", "Held")
        told = await bench.wait(run)
        assert (told["state"], told["cause"]) == ("Held", "lunch")
        assert (await bench.client.post(f"/runs/{run}/commands/unhold", json={"by": "mk"})).status_code == 200
        assert (await bench.wait(run, seen="Held"))["question"] is not None


async def test_a_protocol_that_does_not_hold_is_422_with_all_its_problems(served: Served) -> None:
    async with served() as bench:
        broken = PRESSING.replace("press.crimp", "press.crump").replace("keep it: done", "keep it: dnoe")
        answer = await bench.client.post("/runs", json={"protocol": broken, "name": "p.yaml", "by": "mk"})
        assert answer.status_code == 422
        error = answer.json()["error"]
        assert error["code"] == "invalid_protocol"
        assert "p.yaml:" in error["message"]
        assert {problem["line"] for problem in error["problems"]} == {11, 18}


@pytest.mark.parametrize(
    "body",
    [
        {"protocol": PRESSING},
        {"protocol": PRESSING, "by": "mk", "colour": "red"},
        {"protocol": PRESSING, "by": "mk", "parameters": {"force": "50 kN"}},
        {"protocol": PRESSING, "by": "mk", "parameters": {"force": "35 µL"}},
    ],
)
async def test_requests_that_do_not_hold_are_422(served: Served, body: dict[str, object]) -> None:
    async with served() as bench:
        answer = await bench.client.post("/runs", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["message"]
        assert (await bench.client.get("/runs")).json() == []


async def test_a_long_poll_is_answered_when_the_daemon_stops(served: Served) -> None:
    waiting: asyncio.Task[dict[str, object]]
    async with asyncio.TaskGroup() as group, served() as bench:
        run = (await bench.start())["run"]
        asks = await bench.wait(run)
        seen = f"{asks['state']}:{asks['question']['id']}"
        waiting = group.create_task(bench.wait(run, seconds=300, seen=seen))
        await asyncio.sleep(1)  # of virtual time: everything that can happen has happened
        await bench.server.stop()
    assert waiting.result()["ended"] is None


async def test_a_runs_data_is_written_where_the_daemon_keeps_exports(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        await bench.wait(run)
        answer = await bench.client.post(f"/runs/{run}/export", json={"to": "csv"})
        assert answer.status_code == 200, answer.text
        files = [Path(file) for file in answer.json()["files"]]
        assert [file.name for file in files] == ["run.json"]
        assert files[0].parent == bench.path.parent / "exports" / run
        assert files[0].is_file()


async def test_a_directory_that_cannot_be_written_is_told(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with served() as bench:
        run = (await bench.start())["run"]
        body = {"to": "csv", "directory": str(tmp_path / "file" / "out")}
        answer = await bench.client.post(f"/runs/{run}/export", json=body)
        assert answer.status_code == 409
        assert "cannot be written" in answer.json()["error"]["message"]


async def test_a_question_tells_which_value_it_asks_for(served: Served) -> None:
    typed = "input: {type: quantity, min: 1 kN, max: 9 kN}\n    as: told\n    next: done"
    protocol = PRESSING.replace("choices: {keep it: done, scrap it: scrap}", typed)
    async with served() as bench:
        asks = await bench.wait((await bench.start(protocol=protocol))["run"])
        assert asks["question"]["input"] == {"type": "quantity", "unit": "kN", "min": 1.0, "max": 9.0, "choices": []}
        assert (await bench.client.get("/status")).json()["runs"] == [asks]


async def test_the_mqtt_contract_of_the_lab_can_be_had(served: Served) -> None:
    async with served() as bench:
        told = (await bench.client.get("/asyncapi.json")).json()
        assert told["asyncapi"] == "3.0.0"
        assert told["channels"]["status"]["address"] == f"labd/1/{bench.engine.lab.config.lab}/status"
