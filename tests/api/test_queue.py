"""The queue over the interface and from the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from labd.api.queue_models import JobModel
from tests.api.conftest import PRESSING, Bench, Served
from tests.api.test_commands import labd

PLAIN = (
    PRESSING.replace("next: look", "next: done")
    .replace(PRESSING[PRESSING.index("  look:") : PRESSING.index("  done:")], "")
    .replace("  scrap: {end: scrapped}\n", "")
)
TABLE = "sample;Force [kN];priority\nc1;7,8;1\nc2;6;2\n"


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


async def paused(bench: Bench) -> None:
    assert (await bench.client.post("/queue/commands/pause", json={"by": "eva", "why": "test"})).status_code == 200


async def post(bench: Bench, **more: Any) -> dict[str, Any]:
    answer = await bench.client.post("/batches", json={"protocol": PLAIN, "by": "eva", **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def files(path: Path, table: str = TABLE) -> tuple[str, str]:
    (path / "pressing.yaml").write_text(PLAIN)
    (path / "cells.csv").write_text(table)
    return str(path / "pressing.yaml"), str(path / "cells.csv")


async def test_a_batch_is_posted_looked_at_changed_and_cancelled(served: Served) -> None:
    async with served() as bench:
        await paused(bench)
        rows = [{"sample": "c1", "force": "7 kN"}, {"sample": "c2", "force [N]": None, "force": "6 kN"}]
        wrong = await bench.client.post("/batches", json={"protocol": PLAIN, "by": "eva", "rows": rows})
        assert wrong.status_code == 422
        assert "`force [N]` and `force` are the same column" in wrong.json()["error"]["message"] or (
            "`force` and `force [N]` are the same column" in wrong.json()["error"]["message"]
        )
        found = await post(bench, rows=[{"sample": "c1", "force": "7 kN"}, {"sample": "c2"}], request="r1")
        assert (found["batch"], found["rows"], found["paused"]) == ("batch-0001", 2, "the queue is paused by eva: test")
        assert await post(bench, rows=[{"sample": "c1"}], request="r1") == found
        queue = (await bench.client.get("/queue")).json()
        assert [(job["job"], job["state"]) for job in queue["jobs"]] == [
            ("job-0001", "Waiting"),
            ("job-0002", "Waiting"),
        ]
        assert queue["jobs"][0]["parameters"] == {"force": {"v": 7.0, "u": "kN"}}
        assert (queue["most_runs"], JobModel.model_validate(queue["jobs"][0]).why) == (16, queue["jobs"][0]["why"])
        moved = await bench.client.post("/jobs/job-0002/commands/move", json={"to": "first", "by": "eva"})
        assert moved.status_code == 200
        raised = await bench.client.post("/jobs/job-0001/commands/priority", json={"priority": 7, "by": "eva"})
        assert raised.json()["priority"] == 7
        assert (await bench.client.get("/jobs/job-0001")).json()["priority"] == 7
        cancelled = await bench.client.post("/batches/batch-0001/commands/cancel", json={"by": "eva", "why": "x"})
        assert cancelled.json() == {"cancelled": ["job-0001", "job-0002"], "running": {}}
        assert (await bench.client.get("/queue")).json()["jobs"] == []
        ended = (await bench.client.get("/queue", params={"ended": True})).json()["jobs"]
        assert [job["state"] for job in ended] == ["Aborted", "Aborted"]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/batches", {"protocol": PLAIN}, 422, "by"),
        ("/batches", {"protocol": PLAIN, "by": "eva"}, 422, "give `rows`, or `count`"),
        ("/batches", {"protocol": PLAIN, "by": "eva", "rows": [{}], "count": 2}, 422, "give `rows`, or `count`"),
        ("/batches", {"protocol": PLAIN, "by": "eva", "rows": [{}], "row_numbers": [1, 2]}, 422, "as many as"),
        ("/batches", {"protocol": PLAIN, "by": "eva", "rows": [{"force": "1 kN"}]}, 422, "row 2, column `force`: 1 kN"),
        ("/batches", {"protocol": "labd: 1", "by": "eva", "count": 1}, 422, "P112"),
        ("/jobs/job-0009/commands/cancel", {"by": "eva"}, 404, "there is no job 'job-0009'"),
        ("/batches/batch-0009/commands/cancel", {"by": "eva"}, 404, "batch-0009"),
        ("/jobs/job-0009/commands/move", {"by": "eva"}, 422, "first"),
        ("/queue/commands/resume", {"by": "eva"}, 409, "not paused"),
    ],
)
async def test_what_is_wrong_is_told_in_words(
    served: Served, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    async with served() as bench:
        answer = await bench.client.post(path, json=body)
        assert answer.status_code == status
        assert said in answer.json()["error"]["message"]


async def test_a_table_is_submitted_and_its_jobs_run(served: Served, tmp_path: Path) -> None:
    protocol, table = files(tmp_path)
    async with served() as bench:
        press = bench.engine.lab.devices["press"].driver
        press.script["crimp"] = [0.01, 0.01]  # type: ignore[attr-defined]
        await paused(bench)
        dry = await labd(bench, "submit", protocol, "--table", table, "--dry-run")
        assert (dry.status, dry.out) == (0, "holds: 2 samples; nothing was queued\n")
        queued = await labd(bench, "submit", protocol, "--table", table)
        assert "batch-0001: 2 samples queued, job-0001 to job-0002; `labd queue` shows them" in queued.out
        assert "the queue is paused by eva: test; `labd queue resume` lets it go on" in queued.out
        shown = await labd(bench, "queue")
        assert [line.split()[:5] for line in shown.out.splitlines()[3:5]] == [
            ["job-0002", "batch-0001", "c2", "pressing", "2"],
            ["job-0001", "batch-0001", "c1", "pressing", "1"],
        ]
        assert "2 waiting" in shown.out
        resumed = await labd(bench, "queue", "resume", "--json")
        assert resumed.json["paused"] is None
        async with asyncio.timeout(60):
            while any(job.state != "Completed" for job in bench.engine.queue.jobs(ended=True)):
                await asyncio.sleep(0.05)
        assert (await labd(bench, "queue")).out == "nothing waits and nothing is at work\n"
        every = await labd(bench, "queue", "--all", "--json")
        assert [(job["job"], job["run"]) for job in every.json["jobs"]] == [
            ("job-0001", "run-0002"),
            ("job-0002", "run-0001"),
        ]


async def test_the_line_is_changed_from_the_command_line(served: Served, tmp_path: Path) -> None:
    protocol, _ = files(tmp_path)
    async with served() as bench:
        assert "paused by" in (await labd(bench, "queue", "pause", "--cause", "lunch")).out
        found = await labd(bench, "submit", protocol, "-p", "force=7kN", "--count", "3", "--priority", "2", "--json")
        assert [job["sample"] for job in found.json["jobs"]] == [f"batch-0001-0{number}" for number in (1, 2, 3)]
        assert (
            "job-0003 (pressing 1.0.0 for batch-0001-03, priority 2): Waiting"
            in (await labd(bench, "queue", "move", "job-0003", "--first")).out
        )
        moved = await labd(bench, "queue", "move", "job-0001", "--before", "job-0002", "--json")
        assert moved.status == 0
        assert (await labd(bench, "queue", "move", "job-0001")).status == 2
        astray = await labd(bench, "queue", "--json", "resume")
        assert (astray.status, "options stand after the command" in astray.err) == (2, True)
        assert (await labd(bench, "queue", "priority", "job-0001", "9", "--json")).json["priority"] == 9
        unheld = await labd(bench, "queue", "release", "job-0001")
        assert (unheld.status, "is not held" in unheld.err) == (1, True)
        none = await labd(bench, "queue", "release", "batch-0001")
        assert (none.status, "no job of batch-0001 is held without a run" in none.err) == (1, True)
        assert (await labd(bench, "queue", "release", "batch-0009")).status == 2
        one = await labd(bench, "cancel", "job-0001", "--why", "no lids")
        assert (one.status, one.out) == (0, "cancelled: job-0001\n")
        assert (await labd(bench, "cancel", "batch-0001", "--json")).json["cancelled"] == ["job-0002", "job-0003"]
        again = await labd(bench, "cancel", "job-0001")
        assert (again.status, "no lids" in again.err) == (1, True)
        unknown = await labd(bench, "cancel", "job-0099")
        assert (unknown.status, unknown.err) == (
            2,
            "labd: there is no job 'job-0099'; `labd queue --all` lists them\n",
        )


async def test_all_that_is_wrong_with_a_table_is_told_and_nothing_queued(served: Served, tmp_path: Path) -> None:
    protocol, table = files(tmp_path, "sample,force\nc1,50 kN\nc1,7\n")
    async with served() as bench:
        ended = await labd(bench, "submit", protocol, "--table", table)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith("labd: 3 problems\n")
        assert f"{table}:2:2: T103 row 2, column `force`: 50 kN is" in ended.err
        assert f"{table}:3:1: T104 row 3, column `sample`: `c1` stands in row 2 already" in ended.err
        told = await labd(bench, "submit", protocol, "--table", table, "--json")
        assert [one["code"] for one in json.loads(told.err)["error"]["problems"]] == ["T103", "T104", "T103"]
        assert bench.engine.queue.jobs(ended=True) == []
        missing = await labd(bench, "submit", protocol, "--table", str(tmp_path / "none.csv"))
        assert (missing.status, "No such file" in missing.err) == (2, True)
        both = await labd(bench, "submit", protocol, "--table", table, "--count", "3")
        assert both.status == 2


async def test_a_workbook_is_submitted_like_any_table(served: Served, tmp_path: Path) -> None:
    protocol, _ = files(tmp_path)
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["Sample", "Force (kN)"], ["c1", 7.5], ["c2", 8]):
        book.active.append(row)
    book.save(tmp_path / "cells.xlsx")
    async with served() as bench:
        await paused(bench)
        found = await labd(bench, "submit", protocol, "--table", str(tmp_path / "cells.xlsx"), "--json")
        assert [job["parameters"]["force"]["v"] for job in found.json["jobs"]] == [7.5, 8.0]


async def test_a_table_is_checked_without_a_daemon_against_a_lab(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from labd.cli.app import app

    lab = Path(__file__).parents[2] / "examples" / "simulated-lab" / "lab.yaml"
    protocol, table = files(tmp_path)
    runner = CliRunner()
    ended = runner.invoke(app, ["submit", protocol, "--table", table, "--lab", str(lab), "--dry-run"])
    assert (ended.exit_code, ended.stdout) == (0, "holds: 2 samples; nothing was queued\n")
    (tmp_path / "cells.csv").write_text("sample,force,position\nc1,50 kN,tray/nowhere\n")
    refused = runner.invoke(app, ["submit", protocol, "--table", table, "--lab", str(lab), "--dry-run"])
    assert refused.exit_code == 2
    assert "row 2, column `position`: the lab has no place `tray/nowhere`" in refused.output
    no_daemon = runner.invoke(app, ["submit", protocol, "--table", table, "--lab", str(lab)])
    assert (no_daemon.exit_code, "no daemon answers" in no_daemon.output) == (1, True)
