"""A pump, a balance and a gripper at work for runs: the bench of examples/benchtop, on its wires."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.daemon import Daemon
from labd.lab.config import load_lab

BENCH = Path(__file__).parents[2] / "examples" / "benchtop"
PROTOCOL = (BENCH / "pump_by_weight.yaml").read_text(encoding="utf-8")
GRIPPING = """\
labd: 1
protocol: gripping
version: 1.0.0
summary: Grip what is there, and let it go.
roles: {gripper: gripper}
start: grip
states:
  grip:
    summary: Close, open.
    steps:
      - do: gripper.release
      - do: gripper.grip
        with: {force: 50 N}
        as: held
      - do: gripper.release
    next:
      - {if: held.gripped, go: done}
      - {go: nothing}
  done: {end: complete}
  nothing: {end: scrapped}
"""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Daemon]:
    shutil.copy(BENCH / "lab.yaml", tmp_path)
    async with Daemon(load_lab(tmp_path / "lab.yaml")).open() as daemon:
        await daemon.lab.wait_ready(300)
        yield daemon


async def ran(daemon: Daemon, protocol: str, **parameters: str) -> tuple[str, Any]:
    run = await daemon.engine.start(protocol, "protocol.yaml", parameters, by="test")
    state = await daemon.engine.wait(run.id)
    return str(state.outcome), await daemon.journal.events(run=run.id)


async def test_a_pump_is_weighed_and_its_error_is_found(bench: Daemon) -> None:
    outcome, events = await ran(bench, PROTOCOL, volume="250 µL", doses="4")
    assert outcome == "complete"
    masses = [event.data["result"]["mass"]["v"] for event in events if _has(event, "mass")]
    assert len(masses) == 4
    assert sum(masses) / 4 == pytest.approx(0.25 * 1.20 * 0.99, abs=1e-3)  # the syringe gives 1 % too little
    assert bench.lab.devices["solvent"].health == bench.lab.devices["diluter"].health == "ok"


async def test_a_dose_whose_answer_is_lost_is_found_given_and_nobody_is_asked(bench: Daemon) -> None:
    simulator = bench.host.simulators["electrolyte"]
    await ran(bench, PROTOCOL, volume="100 µL", doses="2")
    before = _on_the_pan(bench)
    simulator.faults["reply_lost"] = 3  # of priming, and of a dose
    outcome, events = await ran(bench, PROTOCOL, volume="100 µL", doses="2")
    assert outcome == "complete"
    assert simulator.faults["reply_lost"] == 0
    assert not any(event.kind == "question.asked" for event in events)
    assert _on_the_pan(bench) - before == pytest.approx((1000 + 2 * 100) * 0.99, abs=2)


async def test_a_gripper_tells_whether_it_holds_something(bench: Daemon) -> None:
    assert (await ran(bench, GRIPPING))[0] == "scrapped"
    bench.host.world.lay_cell("gripper/jaws", clock.now().timestamp())
    assert (await ran(bench, GRIPPING))[0] == "complete"


def _on_the_pan(daemon: Daemon) -> float:
    well = daemon.host.world.well("balance/pan")
    return well.volume if well is not None else 0.0


def _has(event: Any, name: str) -> bool:
    return event.kind == "action.done" and name in (event.data.get("result") or {})
