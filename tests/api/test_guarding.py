"""Alarms, interlocks and maintenance as programs see them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.api.conftest import Bench, Served
from tests.toys import ToyPress


def press(bench: Bench) -> ToyPress:
    driver = bench.engine.lab.devices["press"].driver
    assert isinstance(driver, ToyPress)
    return driver


async def post(bench: Bench, path: str, **body: Any) -> tuple[int, Any]:
    answer = await bench.client.post(path, json={"by": "eva", **body})
    return answer.status_code, answer.json()


async def test_a_tripped_interlock_is_seen_acknowledged_and_cleared(served: Served) -> None:
    async with served() as bench:
        press(bench).reads["estop"] = True
        await asyncio.sleep(30)
        status = (await bench.client.get("/status")).json()
        (alarm,) = status["alarms"]
        assert (alarm["id"], alarm["acknowledged_by"]) == ("interlock-press-estop", None)
        (interlock,) = status["interlocks"]
        assert interlock == (await bench.client.get("/interlocks")).json()[0]
        assert interlock["tripped"] is not None
        assert (interlock["name"], interlock["builtin"], interlock["holds"]) == ("press-estop", True, True)
        code, seen = await post(bench, "/alarms/interlock-press-estop/acknowledge")
        assert (code, seen["acknowledged_by"]) == (200, "eva")
        code, refused = await post(bench, "/interlocks/press-estop/clear")
        assert (code, refused["error"]["code"]) == (409, "refused")
        assert "press.estop still holds (press.estop yes)" in refused["error"]["message"]
        press(bench).reads["estop"] = False
        code, cleared = await post(bench, "/interlocks/press-estop/clear")  # it is read anew for that
        assert (code, cleared["tripped"], cleared["holds"]) == (200, None, False)
        assert (await bench.client.get("/alarms")).json() == []


async def test_what_is_not_there_is_told(served: Served) -> None:
    async with served() as bench:
        for path in ("/interlocks/press-stop/clear", "/alarms/disk/acknowledge"):
            code, refused = await post(bench, path)
            assert (code, refused["error"]["code"]) == (404, "unknown_name")
        code, refused = await post(bench, "/devices/pres/maintenance", on=True, reason="new seal")
        assert (code, refused["error"]["code"]) == (404, "unknown_name")


async def test_a_device_is_taken_from_runs_and_given_back(served: Served) -> None:
    async with served() as bench:
        code, device = await post(bench, "/devices/press/maintenance", on=True, reason="new seal")
        assert code == 200
        assert (device["maintenance"]["reason"], device["maintenance"]["by"]) == ("new seal", "eva")
        run = (await bench.start())["run"]
        await asyncio.sleep(30)
        assert "by eva: new seal" in (await bench.client.get(f"/runs/{run}")).json()["cause"]
        code, device = await post(bench, "/devices/press/maintenance", on=False)
        assert (code, device["maintenance"]) == (200, None)
        await asyncio.sleep(0.5)  # it presses
        code, refused = await post(bench, "/devices/press/maintenance", on=True, reason="new seal")
        assert code == 409
        assert f"{run} has press" in refused["error"]["message"]


async def test_why_it_is_taken_must_be_said(served: Served) -> None:
    async with served() as bench:
        for body in ({"on": True}, {"on": False, "reason": "done"}, {"on": True, "reason": ""}):
            code, refused = await post(bench, "/devices/press/maintenance", **body)
            assert (code, refused["error"]["code"]) == (422, "invalid_request")
