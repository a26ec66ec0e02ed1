"""Faults switched live, over REST of the simulators' host."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from labd.daemon import Daemon, serve
from labd.faults import load_faults
from labd.lab.config import load_lab
from simulators.faults.client import body_of
from simulators.faults.control import SOCKET, Control
from simulators.faults.words import WORDS
from tests.faults.labs import Text, bench


@contextlib.asynccontextmanager
async def controlled(directory: Path, *names: str) -> AsyncIterator[tuple[Text, httpx.AsyncClient]]:
    """A balance among these devices, and a client of their control."""
    async with bench(directory, "scale", *names) as host:
        control = Control(host, None)
        port = await control.start(("127.0.0.1", 0))
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=None, trust_env=False) as client,
            Text(host, "scale") as text,
        ):
            yield text, client
        await control.stop()


async def test_a_fault_begins_is_seen_and_ends_over_rest(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (text, client):
        assert str(await text.ask("SI")).startswith("S S")
        answer = await client.post("/devices/scale/faults", json={"fault": "overload"})
        assert (answer.status_code, answer.json()["state"], answer.json()["id"]) == (201, "on", 1)
        assert await text.ask("SI") == "S +"
        told = (await client.get("/devices")).json()["devices"]
        assert [(one["name"], one["kind"], one["faults"][0]["fault"]) for one in told] == [
            ("scale", "MtSicsSimulator", "overload")
        ]
        assert (await client.delete("/devices/scale/faults/overload")).json() == {"cleared": 1}
        assert str(await text.ask("SI")).startswith("S S")
        story = (await client.get("/story")).json()["story"]
        assert [(one["fault"], one["what"]) for one in story] == [("overload", "begins"), ("overload", "ends")]


async def test_faults_are_ended_by_their_number_or_all_at_once(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (text, client):
        for rate in ("1 g/h", "2 g/h", "3 g/h"):
            await client.post("/devices/scale/faults", json={"fault": "drift", "with": {"rate": rate}, "at": "1 h"})
        assert (await client.delete("/devices/scale/faults/2")).json() == {"cleared": 1}
        assert (await client.delete("/devices/scale/faults/2")).status_code == 404
        assert (await client.delete("/devices/scale/faults")).json() == {"cleared": 2}
        assert await text.ask("I4") is not None


async def test_power_is_taken_and_given_back_over_rest(tmp_path: Path) -> None:
    async with controlled(tmp_path, "bath") as (_, client):
        answer = await client.post("/devices/bath/power-cycle", json={"off": "20 s"})
        assert answer.status_code == 202
        await asyncio.sleep(1)
        assert (await client.get("/devices/bath")).json()["powered"] is False
        await asyncio.sleep(20)
        assert (await client.get("/devices/bath")).json()["powered"] is True
        assert (await client.post("/devices/bath/power-cycle", json={"off": "20"})).status_code == 422


async def test_what_there_is_to_know_is_told(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (_, client):
        knows = (await client.get("/devices/scale")).json()["knows"]
        assert {"drop", "delay", "cut", "power_cycle", "drift", "unstable"} <= set(knows)
        assert knows["drift"]["with"] == {"rate": "how much (g/h)"}
        assert set((await client.get("/words")).json()) == set(WORDS)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/devices/scale/faults", '{"fault": "drift", "with": {"rate": 5}}', 422, "needs a unit"),
        ("POST", "/devices/scale/faults", '{"fault": "jam"}', 422, "does not have the fault"),
        ("POST", "/devices/scale/faults", "[", 400, "no JSON object"),
        ("POST", "/devices/scale/faults", "[]", 400, "no JSON object"),
        ("POST", "/devices/scales/faults", '{"fault": "drop"}', 404, "there is no simulated device 'scales'"),
        ("PUT", "/devices/scale/faults", "{}", 405, "only DELETE, POST here"),
        ("GET", "/device", "", 404, "there is /v1/devices"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(
    tmp_path: Path, method: str, path: str, body: str, status: int, message: str
) -> None:
    async with controlled(tmp_path) as (_, client):
        answer = await client.request(method, path, content=body)
        assert answer.status_code == status
        assert message in answer.json()["errors"][0]["message"]


async def test_a_page_in_a_browser_commands_nothing(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (text, client):
        headers = {"Origin": "https://elsewhere.example"}
        answer = await client.post("/devices/scale/faults", json={"fault": "overload"}, headers=headers)
        assert answer.status_code == 403
        assert await text.ask("SI") != "S +"


def test_what_a_person_types_is_what_a_file_says() -> None:
    assert body_of("drift", ["rate=5 mg/h", "for=30 s", "after=3 replies", "chance=0.02", "times=2"]) == {
        "fault": "drift",
        "with": {"rate": "5 mg/h"},
        "for": "30 s",
        "after": {"count": 3, "of": "replies"},
        "chance": 0.02,
        "times": 2,
    }
    assert body_of("drop", ["after=3", "matching=^I4"]) == {
        "fault": "drop",
        "after": {"count": 3},
        "with": {"matching": "^I4"},
    }


LAB = """\
labd: 1
lab: bench
store: {store}
clock: virtual
devices:
  scale: {{driver: mt_sics, settings: {{address: "tcp://127.0.0.1:0"}}{simulator}}}
"""


async def test_the_simulators_of_a_daemon_are_reached_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB.format(store="s", simulator=", simulator: {}"), encoding="utf-8")
    daemon = Daemon(load_lab(path))
    socket = tmp_path / "s" / "simulators" / SOCKET
    async with daemon.open():
        await daemon.lab.wait_ready(60)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://s/v1", timeout=None) as client:
            assert (await client.post("/devices/scale/faults", json={"fault": "cut", "for": "10 min"})).is_success
            await asyncio.sleep(120)
            assert daemon.lab.devices["scale"].state().health != "ok"
            await client.delete("/devices/scale/faults")
            await daemon.lab.wait_ready(600)
            assert daemon.lab.devices["scale"].state().health == "ok"
    assert not socket.exists()


def test_labd_serve_refuses_faults_that_do_not_hold(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lab, faults = tmp_path / "lab.yaml", tmp_path / "faults.yaml"
    lab.write_text(
        LAB.format(store="s", simulator=", simulator: {}").replace("clock: virtual\n", "").replace(":0", ":9")
    )
    faults.write_text("labd: 1\nfaults:\n  - {device: scales, fault: drop}\n")
    assert serve(lab, faults=faults) == 2
    told = capfd.readouterr().err
    assert f"labd: {faults} does not hold\n{faults}:3:14: F201 there is no simulated device `scales`" in told
    assert not (tmp_path / "s").exists()


async def test_a_daemon_meets_the_faults_that_it_is_given(tmp_path: Path) -> None:
    lab, faults = tmp_path / "lab.yaml", tmp_path / "faults.yaml"
    lab.write_text(LAB.format(store="s", simulator=", simulator: {}"), encoding="utf-8")
    faults.write_text("labd: 1\nfaults:\n  - {device: scale, fault: power_cycle, at: 1 min, with: {off: 5 min}}\n")
    config = load_lab(lab)
    daemon = Daemon(config, faults=load_faults(faults, config, simulated=True))
    async with daemon.open():
        await daemon.lab.wait_ready(60)
        await asyncio.sleep(120)
        assert daemon.lab.devices["scale"].state().health != "ok"
        await asyncio.sleep(360)
        await daemon.lab.wait_ready(600)
        assert daemon.host.plan.counts == {"scale.power_cycle": 1}


async def test_a_daemon_without_simulators_has_no_such_control(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        LAB.format(store="s", simulator="").replace("clock: virtual\n", "").replace(":0", ":9"), encoding="utf-8"
    )
    daemon = Daemon(load_lab(path))
    async with daemon.open():
        assert daemon.host is None
        assert not (tmp_path / "s" / "simulators").exists()
