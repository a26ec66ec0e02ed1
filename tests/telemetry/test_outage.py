"""24 h without a broker on virtual time, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from labd import clock

MIB = 2**20


async def test_a_day_without_a_broker_costs_no_event_and_no_memory(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = (sys.executable, "-m", "tests.telemetry.outage", str(tmp_path), "24")
    with clock.hold():
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=root)
        out, _ = await process.communicate()
    assert process.returncode == 0
    found = json.loads(out)
    assert found["away"]
    assert found["drained"] > 20_000
    assert found["equal"], "every event of every run, in order, with its own time"
    assert found["duplicates"] <= 200
    assert found["grown"] < 20 * MIB
    assert found["weighed_in_drain"]
    assert found["grown_in_drain"] < 20 * MIB
    assert found["states_first"], "of each run's states the newest, once, before another"
    assert found["dropped"] > 0, "of the signals the newest are kept"
