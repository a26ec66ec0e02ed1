"""Jobs and the stock: what waits for want of it, and which rows ask for what is not there, or not free."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labd.files import InputErrors, Problem
from labd.run import engine as engine_module
from labd.run.homes import EngineError
from labd.run.queue import Submission, Submitted, rows_of
from tests.run.conftest import Bench
from tests.run.pipetting import CRIMP, DECK, DOSE, lab
from tests.run.test_queue import states, when

VIAL = "robot/2/A1"
LINE: dict[str, Any] = {"queue": {"plan": False, "most_runs": 1}}


async def submit(bench: Bench, *rows: Mapping[str, Any], source: str = DOSE, **more: Any) -> Submitted:
    """Queues rows just as they are."""
    found = rows_of(rows, range(2, len(rows) + 2))
    asked = {"table": "cells.csv", "name": "asked.yaml", "by": "eva", **more}
    return await bench.engine.queue.submit(Submission(source, rows=found, **asked))


def places(count: int) -> list[dict[str, Any]]:
    return [{"position": f"tray/cells/A{number + 1}"} for number in range(count)]


async def refusals(bench: Bench, *rows: Mapping[str, Any], **more: Any) -> list[Problem]:
    """What is said against rows."""
    with pytest.raises(InputErrors) as found:
        await submit(bench, *rows, **more)
    return list(found.value.problems)


async def test_what_later_jobs_need_does_not_hold_those_that_can_be_made(tmp_path: Path) -> None:
    async with lab(tmp_path, **LINE) as bench:
        await bench.lab.inventory.load_liquid(VIAL, "LP57", 1110.0, by="anna")
        await bench.engine.queue.pause(by="eva")
        await submit(bench, *places(3))  # 105 µL of 110
        await bench.lab.inventory.count(VIAL, 1075.0, by="anna")  # enough for two
        await bench.engine.queue.resume(by="eva")
        done = {"job-0001": "Completed", "job-0002": "Completed", "job-0003": "Waiting"}
        await when(bench, lambda: states(bench) == done)
        why = str(bench.engine.queue.job("job-0003").why)
        assert why.startswith("35 µL LP57 is needed, 5 µL is left that nobody else needs: refill it")
        await bench.lab.inventory.count(VIAL, 1040.0, by="anna")
        await when(bench, lambda: states(bench)["job-0003"] == "Completed")


async def test_a_job_that_is_short_when_it_is_started_waits_until_more_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    real = engine_module.read

    def refuses(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise InputErrors([Problem("P502", "this needs 50 µL LP57 on the worst path", mend="fill up LP57")])

    async with lab(tmp_path, **LINE) as bench:
        monkeypatch.setattr(engine_module, "read", refuses)
        await submit(bench, *places(1))
        await when(bench, lambda: bench.engine.queue.job("job-0001").why is not None)
        job = bench.engine.queue.job("job-0001")
        assert (job.state, job.why) == ("Waiting", "this needs 50 µL LP57 on the worst path: fill up LP57")
        bench.engine.queue.reconsider()
        await bench.lab.inventory.count(VIAL, 1090.0, by="anna")
        await asyncio.sleep(600)
        assert tries == 1  # less is there than before
        monkeypatch.setattr(engine_module, "read", real)
        await bench.lab.inventory.count(VIAL, 1900.0, by="anna")
        await when(bench, lambda: states(bench) == {"job-0001": "Completed"})


async def test_all_held_jobs_of_a_batch_are_released_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine_module.read

    def refuses(*_: object) -> None:
        raise InputErrors([Problem("P208", "more than the robot can")])

    async with lab(tmp_path, **LINE) as bench:
        monkeypatch.setattr(engine_module, "read", refuses)
        await submit(bench, *places(2))
        await when(bench, lambda: set(states(bench).values()) == {"Held"})
        monkeypatch.setattr(engine_module, "read", real)
        released = await bench.engine.queue.release_batch("batch-0001", by="eva")
        assert [job.id for job in released] == ["job-0001", "job-0002"]
        await when(bench, lambda: set(states(bench).values()) == {"Completed"})


CELLS = [entry for entry in DECK if entry["place"] != "tray/cells"]
FILLED = [*CELLS, {"place": "tray/cells", "labware": "cell_tray_36", "fill": "half_cell"}]


async def test_a_position_without_its_half_cell_and_a_bottle_are_refused_with_row_and_mend(tmp_path: Path) -> None:
    async with lab(tmp_path, FILLED, **LINE) as bench:
        await bench.lab.inventory.count("tray/cells/A1", 0, by="anna")
        gone, bottle = await refusals(bench, *places(2), {"position": VIAL})
        assert (gone.code, gone.line, gone.column, gone.mend) == (
            "T105",
            2,
            1,
            "labd load tray/cells/A1 --fill half_cell",
        )
        assert gone.message == "row 2, column `position`: no half cell lies at tray/cells/A1 any more"
        assert bottle.message == "row 4, column `position`: robot/2/A1 holds LP57, no cell"
        with pytest.raises(EngineError, match="no half cell lies at tray/cells/A1 any more; labd load tray/cells/A1"):
            await bench.start(DOSE)
        with pytest.raises(EngineError, match="robot/2/A1 holds LP57, no cell"):
            await bench.start(DOSE, position=VIAL)
        await bench.lab.inventory.load_parts("tray/cells/A1", "half_cell", by="anna")
        await submit(bench, *places(1))
        await when(bench, lambda: states(bench) == {"job-0001": "Completed"})


async def test_a_job_whose_half_cell_was_taken_meanwhile_waits_for_another(tmp_path: Path) -> None:
    async with lab(tmp_path, FILLED, **LINE) as bench:
        await bench.engine.queue.pause(by="eva")
        await submit(bench, *places(1))
        await bench.lab.inventory.count("tray/cells/A1", 0, by="anna")
        await bench.engine.queue.resume(by="eva")
        await when(bench, lambda: "no half cell lies" in str(bench.engine.queue.job("job-0001").why))
        await bench.lab.inventory.load_parts("tray/cells/A1", "half_cell", by="anna")
        await when(bench, lambda: states(bench) == {"job-0001": "Completed"})


async def test_a_run_that_needs_no_cell_takes_no_half_cell(tmp_path: Path) -> None:
    async with lab(tmp_path, FILLED, **LINE) as bench:
        await bench.engine.wait((await bench.engine.start(CRIMP, "crimp.yaml", {}, by="eva")).id)
        await submit(bench, {}, source=CRIMP)
        await when(bench, lambda: states(bench) == {"job-0001": "Completed"})
        assert bench.lab.inventory.parts()["half_cell"] == 36
        await bench.engine.wait((await bench.engine.start(DOSE, "dose.yaml", {}, by="eva")).id)
        assert bench.lab.inventory.parts()["half_cell"] == 35


CARRY = """\
labd: 1
protocol: lidded
version: 1.0.0
summary: Wait, and lay a lid on the cell.
parameters:
  lid: {type: position}
  store_at: {type: position, default: tray/cells/F6}
roles: {arm: arm}
start: wait
states:
  wait: {summary: Wait., wait: 60 s, next: take}
  take:
    summary: Take it.
    steps:
      - {do: arm.pick, with: {place: =lid}}
      - {do: arm.place, with: {place: =sample.position}}
      - {do: arm.pick, with: {place: =sample.position}}
      - {do: arm.place, with: {place: =store_at}}
    next: done
  done: {end: complete}
"""


def lidded(position: int, lid: int, store: int) -> dict[str, Any]:
    return {
        "position": f"tray/cells/A{position}",
        "lid": f"tray/lids/A{lid}",
        "store_at": f"tray/cells/F{store}",
    }


async def test_places_of_jobs_and_runs_are_nobody_elses(tmp_path: Path) -> None:
    async with lab(tmp_path, **LINE) as bench:
        await bench.engine.queue.pause(by="eva")
        await submit(bench, lidded(1, 1, 1), source=CARRY)
        rows = lidded(1, 2, 2), lidded(2, 1, 3), lidded(3, 3, 1), lidded(4, 4, 4)
        told = [
            "row 2, column `position`: tray/cells/A1 is kept for job-0001",
            "row 3, column `lid`: tray/lids/A1 is kept for job-0001",
            "row 4, column `store_at`: tray/cells/F1 is kept for job-0001",
        ]
        found = await refusals(bench, *rows, source=CARRY)
        assert [(problem.code, problem.message) for problem in found] == [("T105", text) for text in told]
        by_hand = {"lid": "tray/lids/A1", "store_at": "tray/cells/F2"}
        with pytest.raises(EngineError, match="tray/lids/A1 is kept for job-0001; name another place"):
            await bench.engine.start(CARRY, "carry.yaml", by_hand, position="tray/cells/A5", by="eva")
        await bench.engine.queue.resume(by="eva")
        await when(bench, lambda: states(bench) == {"job-0001": "Running"})
        found = await refusals(bench, *rows, source=CARRY)
        assert [problem.message for problem in found] == [text.replace("job-0001", "run-0002") for text in told[1:]]
        await when(bench, lambda: states(bench) == {"job-0001": "Completed"})
        (there,) = await refusals(bench, lidded(2, 2, 1), source=CARRY)
        assert there.message == "row 2, column `store_at`: tray/cells/F1 is occupied by batch-0001-01"
        assert len((await submit(bench, lidded(1, 2, 2), source=CARRY)).jobs) == 1


async def test_places_are_kept_over_a_restart_and_free_when_the_job_is_cancelled(tmp_path: Path) -> None:
    async with lab(tmp_path, **LINE) as bench:
        await bench.engine.queue.pause(by="eva")
        await submit(bench, lidded(1, 1, 1), source=CARRY)
    async with lab(tmp_path, **LINE) as bench:
        assert len(await refusals(bench, lidded(2, 1, 2), source=CARRY)) == 1
        await bench.engine.queue.cancel("job-0001", by="eva")
        assert len((await submit(bench, lidded(1, 1, 1), source=CARRY)).jobs) == 1


async def test_two_rows_do_not_put_their_cells_at_one_place(tmp_path: Path) -> None:
    async with lab(tmp_path, **LINE) as bench:
        (told,) = await refusals(bench, lidded(1, 1, 1), lidded(2, 2, 1), source=CARRY)
        assert told.message == "row 3, column `store_at`: `tray/cells/F1` stands in row 2 already"


async def test_a_part_is_picked_only_where_one_lies(tmp_path: Path) -> None:
    async with lab(tmp_path, **LINE) as bench:
        (told,) = await refusals(bench, {**lidded(1, 1, 1), "lid": "tray/cells/C3"}, source=CARRY)
        assert (told.code, told.message) == ("T105", "row 2, column `lid`: nothing lies at tray/cells/C3")
        await bench.lab.inventory.count("tray/lids/A2", 0, by="anna")
        (told,) = await refusals(bench, lidded(1, 1, 1), lidded(2, 2, 2), source=CARRY)
        text = "row 3, column `lid`: this picks at tray/lids/A2, where nothing lies any more"
        assert (told.code, told.message) == ("T105", text)
        values = {"lid": "tray/cells/C3", "store_at": "tray/cells/F2"}
        with pytest.raises(InputErrors, match="P504 nothing lies at tray/cells/C3"):
            await bench.engine.start(CARRY, "carry.yaml", values, position="tray/cells/A5", by="eva")


async def test_a_run_picks_what_it_has_put_down_itself(tmp_path: Path) -> None:
    built = CARRY.replace(
        "      - {do: arm.pick, with: {place: =sample.position}}\n      - {do: arm.place, with: {place: =store_at}}\n",
        "",
    ).replace("{place: =sample.position}", "{place: =store_at}")
    built = built.replace("    next: done\n", "      - {do: arm.pick, with: {place: =store_at}}\n    next: done\n")
    async with lab(tmp_path, **LINE) as bench:
        found = await submit(bench, lidded(1, 1, 1), source=built, dry_run=True)
        assert found.rows == 1


async def test_a_second_batch_that_needs_more_parts_than_are_left_is_told_row_by_row(tmp_path: Path) -> None:
    async with lab(tmp_path, **LINE) as bench:
        await bench.engine.queue.pause(by="eva")
        lids = ["A1", "A2", "A3", "A4", "B1", "B2"]
        everything = [{**lidded(at, 1, at), "lid": f"tray/lids/{lid}"} for at, lid in enumerate(lids, 1)]
        await submit(bench, *everything, source=CARRY)
        await bench.lab.inventory.count("tray/lids", 7, by="anna")
        spare = CARRY.replace("{place: =lid}", "{place: tray/lids/B4}").replace("  lid: {type: position}\n", "")
        rows = [{"position": f"tray/cells/C{number}", "store_at": f"tray/cells/E{number}"} for number in (1, 2)]
        (told,) = await refusals(bench, *rows, source=spare)
        assert (told.code, told.line) == ("T107", 3)
        text = "1 of `lid` are needed, 0 are left: 7 lie there, 6 are kept for job-0001 and 5 others"
        assert told.message == f"row 3: {text}"
        await bench.lab.inventory.count("tray/lids", 6, by="anna")
        row = {**lidded(1, 1, 6), "position": "tray/cells/C1", "lid": "tray/lids/B4", "store_at": "tray/cells/E1"}
        (told,) = await refusals(bench, row, source=CARRY)
        assert (told.code, told.line, told.column) == ("T107", 2, 2)
        assert told.message.startswith("row 2, column `lid`: 1 of `lid` are needed, 0 are left: 6 lie there, 6 are")
