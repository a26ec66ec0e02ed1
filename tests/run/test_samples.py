"""A sample's identity in runs: its barcode, and C-rates of its active mass."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labd.lab.samples import Noted, SampleError
from labd.protocol import InputErrors
from labd.run.engine import EngineError
from labd.sdk import Call, cycling_current
from labd.sdk.roles import CycleResult
from tests.run.conftest import DEVICES, Bench, at_work
from tests.toys import TOYS, ToyStat

CYCLING = """\
labd: 1
protocol: cycling
version: 1.0.0
roles: {stat: potentiostat}
start: form
states:
  form:
    summary: Form it.
    do: stat.cycle
    with: {upper: 4.2 V, lower: 2.8 V, cycles: 2, c_rate: 0.1}
    as: formed
    next: done
  done: {end: complete}
"""
ASKING = CYCLING.replace("c_rate: 0.1", "c_rate: 0.1, active_mass: =sample.active_mass, specific_capacity: 150 mAh/g")
READING = CYCLING.replace("c_rate: 0.1", "current: =0.1 * sample.active_mass * sample.specific_capacity / 1 h")
CALLING = """\
labd: 1
protocol: calling
version: 1.0.0
roles: {stat: potentiostat}
start: form
states:
  form: {summary: Form it., call: cycling@1, next: done}
  done: {end: complete}
"""
MASS = {"active_mass": 0.0125, "about": {"specific_capacity": "160 mAh/g"}}


class Cycler(ToyStat):
    async def cycle(self, call: Call, **values: Any) -> CycleResult:
        await self.act(call, "cycle")
        names = ("current", "c_rate", "capacity", "active_mass", "specific_capacity")
        current = cycling_current(*(values[name] for name in names))
        return CycleResult(
            capacities=[1.9, 1.8], coulombic_efficiencies=[90.0, 99.0], capacity=1.8, reason="cycles", current=current
        )


def cycling(path: Path, **more: Any) -> Any:
    return at_work(path, DEVICES, {**TOYS, "stat": Cycler}, **more)


async def ran(lab: Bench, source: str, **more: Any) -> dict[str, dict[str, Any]]:
    """A run to its end: the data of its action's intent and outcome."""
    run = await lab.engine.start(source, "cycling.yaml", {}, position="stat1/cell", by="test", **more)
    await lab.engine.wait(run.id)
    return {event.kind: event.data for event in await lab.events(run.id)}


async def test_a_c_rate_is_one_of_the_samples_own_active_mass(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("cell-a", Noted(MASS), by="mk")
        told = await ran(lab, CYCLING, sample="cell-a")
        intended = told["action.intended"]["parameters"]
        assert intended["active_mass"] == {"v": 0.0125, "u": "g"}
        assert intended["specific_capacity"] == {"v": 160.0, "u": "mAh/g"}
        assert told["action.done"]["result"]["current"] == {"v": pytest.approx(2e-4), "u": "A"}


@pytest.mark.parametrize(("source", "current"), [(ASKING, 1.875e-4), (READING, 2e-4)])
async def test_expressions_may_ask_for_it(tmp_path: Path, source: str, current: float) -> None:
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("cell-a", Noted(MASS), by="mk")
        told = await ran(lab, source, sample="cell-a")
        assert told["action.done"]["result"]["current"] == {"v": pytest.approx(current), "u": "A"}


@pytest.mark.parametrize("source", [CYCLING, ASKING, READING, CALLING])
async def test_a_mass_that_nobody_said_is_asked_for_before_the_run_starts(tmp_path: Path, source: str) -> None:
    async with cycling(tmp_path) as lab:
        with pytest.raises(
            EngineError, match=r"nobody said the active mass of cell-a: register it, labd sample cell-a"
        ):
            await ran(lab, source, sample="cell-a", called={"cycling": CYCLING})
        assert await lab.journal.events(kinds=["run.started"]) == []


async def test_a_specific_capacity_is_asked_for_where_no_step_gives_it(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("cell-a", Noted({"active_mass": 0.0125}), by="mk")
        assert (await ran(lab, ASKING, sample="cell-a"))["run.ended"]["outcome"] == "complete"
        with pytest.raises(EngineError, match=r"specific capacity of cell-a: .* --about specific_capacity='160 mAh/g'"):
            await ran(lab, CYCLING, sample="cell-a")


async def test_a_mass_that_is_taken_away_meanwhile_holds_the_run(tmp_path: Path) -> None:
    slow = CYCLING.replace("    do: stat.cycle", "    steps: [{wait: 1 min}, {do: stat.cycle,").replace(
        "c_rate: 0.1}\n    as: formed", "c_rate: 0.1}, as: formed}]"
    )
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("cell-a", Noted(MASS), by="mk")
        run = await lab.engine.start(slow, "slow.yaml", {}, sample="cell-a", position="stat1/cell", by="test")
        await lab.lab.samples.note("cell-a", Noted({"active_mass": None}), by="mk")
        while run.told().state != "Held":
            await asyncio.sleep(1)
        assert "nobody said the active mass of cell-a" in str(run.told().cause)


async def test_a_current_and_a_c_rate_exclude_each_other(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        with pytest.raises(InputErrors, match=r"P216 `stat.cycle` takes `current` or `c_rate`, not both"):
            await ran(lab, CYCLING.replace("c_rate: 0.1", "c_rate: 0.1, current: 1 mA"))
        with pytest.raises(InputErrors, match=r"P216 `stat.cycle` needs `current` or `c_rate`"):
            await ran(lab, CYCLING.replace(", c_rate: 0.1", ""))


async def test_a_run_is_started_for_a_barcode_and_keeps_the_samples_id(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("cell-a", Noted({**MASS, "barcode": "https://lab/qr?n=7"}), by="mk")
        assert (await ran(lab, CYCLING, sample="https://lab/qr?n=7"))["run.started"]["sample"] == "cell-a"
        with pytest.raises(EngineError, match="or a barcode that is known"):
            await ran(lab, CYCLING, sample="https://lab/qr?n=8")


async def test_a_restart_knows_what_was_said(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("cell-a", Noted({**MASS, "barcode": "7"}), by="mk")
    async with cycling(tmp_path) as lab:
        assert lab.lab.samples.by_barcode("7") == "cell-a"
        assert lab.lab.samples.active_mass("cell-a") == 0.0125
        with pytest.raises(SampleError, match="on cell-a already"):
            await lab.lab.samples.note("cell-b", Noted({"barcode": "7"}), by="mk")
