"""A sample's identity in runs: its barcode, and C-rates of its active mass."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labd.lab.samples import Noted, SampleError
from labd.protocol import InputErrors
from labd.records import traced
from labd.run.engine import EngineError
from labd.run.queue import Submission, Submitted, rows_of
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


# ── in the queue ─────────────────────────────────────────────────────────────────────────────────────────────────
async def submit(lab: Bench, *rows: dict[str, Any], **more: Any) -> Submitted:
    found = rows_of([{"position": f"tray/cells/A{number}", **row} for number, row in enumerate(rows, 1)])
    asked = {"table": "cells.csv", "name": "cycling.yaml", "by": "eva", **more}
    return await lab.engine.queue.submit(Submission(CYCLING, rows=found, **asked))


async def test_a_table_without_the_mass_that_is_asked_for_is_refused_with_its_rows(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        with pytest.raises(InputErrors) as told:
            await submit(lab, {"active_mass": "12 mg", "# specific_capacity": "160 mAh/g"}, {})
        assert [(one.code, one.line, one.message) for one in told.value.problems] == [
            ("T106", 3, "row 3: cycling asks for the active mass of its sample"),
            ("T106", 3, "row 3: cycling asks for the specific capacity of its sample"),
        ]
        assert "add a column `active_mass [mg]`" in told.value.problems[0].mend
        assert await lab.journal.events(kinds={"batch.submitted"}) == []


async def test_a_row_gives_its_sample_mass_and_barcode(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        row = {"sample": "a", "barcode": "QR-7", "active_mass": "12.5 mg", "# specific_capacity": "160 mAh/g"}
        await submit(lab, row)
        async with asyncio.timeout(1000):
            while not (state := lab.engine.known()) or state[0].ended is None:
                await asyncio.sleep(1)
        told = await traced("QR-7", lab.lab, lab.journal, lab.engine.known(), lab.engine.queue.jobs())
        assert (told["sample"], told["runs"][0]["job"]) == ("a", "job-0001")
        assert told["cycling"][0]["current"] == {"v": pytest.approx(2e-4), "u": "A"}


async def test_a_job_that_waits_for_a_mass_goes_when_somebody_says_it(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("a", Noted(MASS), by="mk")
        lab.engine.queue.gates.append(lambda _: "wait" if lab.lab.samples.active_mass("a") else None)
        await submit(lab, {"sample": "a"}, again=True)
        await lab.lab.samples.note("a", Noted({"active_mass": None}), by="mk")
        await asyncio.sleep(1)
        (job,) = lab.engine.queue.jobs()
        assert "nobody said the active mass of a" in str(job.why)
        told = await traced("a", lab.lab, lab.journal, lab.engine.known(), lab.engine.queue.jobs())
        assert (told["fate"]["outcome"], told["jobs"][0]["job"], told["jobs"][0]["why"]) == (None, job.id, job.why)
        lab.engine.queue.gates.clear()
        await lab.lab.samples.note("a", Noted({"active_mass": 0.0125}), by="mk")
        async with asyncio.timeout(1000):
            while not lab.engine.known():
                await asyncio.sleep(1)


async def test_a_barcode_that_was_taken_away_may_stand_in_a_table(tmp_path: Path) -> None:
    async with cycling(tmp_path) as lab:
        await lab.lab.samples.note("a", Noted({**MASS, "barcode": "QR-7"}), by="mk")
        row = {"sample": "b", "barcode": "QR-7", "active_mass": "12.5 mg", "# specific_capacity": "160 mAh/g"}
        with pytest.raises(InputErrors, match="`QR-7` is the barcode of a"):
            await submit(lab, row)
        await lab.lab.samples.note("a", Noted({"barcode": None}), by="mk")
        await submit(lab, row)
        assert lab.lab.samples.by_barcode("QR-7") == "b"
