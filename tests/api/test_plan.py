"""The plan over the interface and from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.api.conftest import Served
from tests.api.test_commands import labd
from tests.api.test_queue import paused, post


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


async def test_what_waits_is_planned_and_drawn(served: Served, tmp_path: Path) -> None:
    async with served() as bench:
        empty = await labd(bench, "plan")
        assert (empty.status, empty.out.strip()) == (0, "nothing runs, and nothing waits")
        await paused(bench)
        await post(bench, rows=[{"sample": "c1"}, {"sample": "c2"}])
        found = (await bench.client.get("/plan")).json()
        assert {row["work"] for row in found["rows"]} == {"job-0001", "job-0002"}
        assert (found["broken"], found["unplanned"], found["svg"]) == ([], {}, None)
        assert found["ratio"] >= 1
        picture = await bench.client.get("/plan.svg", params={"title": "a <shift>"})
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert ET.fromstring(picture.text).tag.endswith("svg")
        told = await labd(bench, "plan", "--svg", str(tmp_path / "now.svg"))
        assert (told.status, "2 works in" in told.out, "job-0002  begins at" in told.out) == (0, True, True)
        assert ET.fromstring((tmp_path / "now.svg").read_text()).tag.endswith("svg")
        told = await labd(bench, "plan", "--json")
        assert json.loads(told.out)["makespan"] == pytest.approx(found["makespan"], abs=1)


async def test_what_only_a_protocol_has_is_not_asked_of_a_daemon(served: Served) -> None:
    async with served() as bench:
        refused = await labd(bench, "plan", "--cells", "4")
        assert (refused.status, "name the protocol that is to be planned" in refused.err) == (2, True)
