"""Results and reports over the interface: of a run, a batch, a sample; and what is wrong with a name."""

from __future__ import annotations

import pytest

from labd.journal import SeriesInfo
from labd.run.engine import Engine
from tests.api.conftest import PRESSING, Bench, Served
from tests.records.cell import cycled

NAMES = (("time", "s"), ("voltage", "V"), ("current", "A"), ("cycle", ""))


async def pressed(lab: Bench) -> str:
    """A run that pressed a cell, whose cycling is in the store as well."""
    started = await lab.start(sample="cell-a")
    run: str = started["run"]
    await lab.wait(run)
    await lab.client.post(f"/runs/{run}/answer", json={"choice": "keep it", "by": "mk"})
    await lab.wait(run)
    put(lab.engine, run)
    return run


def put(engine: Engine, run: str) -> None:
    series = f"{run}-009"
    engine.signals.create(SeriesInfo(series, "stat1", "", run, "cycle", "2026-01-01T08:00:00.000000Z", NAMES))
    for row in cycled([(2.0, 1.8), (1.8, 1.79)]):
        engine.signals.append(series, row)


@pytest.mark.parametrize("called", ["run-0001", "cell-a"])
async def test_results_are_found_by_run_and_by_sample(served: Served, called: str) -> None:
    async with served() as lab:
        await pressed(lab)
        found = (await lab.client.get(f"/results/{called}")).json()
        assert found["kind"] == ("run" if called == "run-0001" else "sample")
        (run,) = found["runs"]
        assert run["outcome"] == "complete"
        assert run["figures"]["capacity_1"]["v"] == pytest.approx(1.8)
        assert run["figures"]["crimp.peak_force"]["u"] == "kN"
        assert run["missing"]["capacity_2"] == "cycle 2 was not completed"


async def test_a_batchs_results_are_those_of_its_runs_and_name_the_jobs_that_wait(served: Served) -> None:
    async with served() as lab:
        await lab.client.post("/queue/commands/pause", json={"by": "mk"})
        body = {"protocol": PRESSING, "name": "pressing", "rows": [{"sample": "cell-a"}], "by": "mk"}
        assert (await lab.client.post("/batches", json=body)).status_code == 201
        found = (await lab.client.get("/results/batch-0001")).json()
        assert (found["kind"], found["runs"], found["waiting"]) == ("batch", [], ["job-0001"])
        await lab.client.post("/queue/commands/resume", json={"by": "mk"})
        await lab.first_question()
        found = (await lab.client.get("/results/batch-0001")).json()
        assert ([run["sample"] for run in found["runs"]], found["waiting"]) == (["cell-a"], [])


async def test_a_report_is_a_page(served: Served) -> None:
    async with served() as lab:
        run = await pressed(lab)
        answer = await lab.client.get(f"/reports/{run}")
        assert answer.headers["content-type"].startswith("text/html")
        assert f"<h1>run {run}</h1>" in answer.text


@pytest.mark.parametrize("path", ["results", "reports"])
async def test_a_name_that_means_nothing_is_told(served: Served, path: str) -> None:
    async with served() as lab:
        answer = await lab.client.get(f"/{path}/run-9999")
        assert answer.status_code == 404
        assert "there is no run, batch or sample 'run-9999'" in answer.json()["error"]["message"]


async def test_plots_of_a_run_are_written_where_its_exports_lie(served: Served) -> None:
    async with served() as lab:
        run = await pressed(lab)
        found = (await lab.client.post(f"/runs/{run}/export", json={"to": "plots"})).json()
        assert f"/exports/{run}/{run}_capacity.png" in found["files"][0]
