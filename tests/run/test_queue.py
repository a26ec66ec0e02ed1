"""The queue: what it takes, in which order it starts, why something waits, and what survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from labd.files import InputErrors, Problem
from labd.lab.bus import Happening, QueueState
from labd.run import engine as engine_module
from labd.run.engine import NOT_YET, EngineError
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.queue import Job, Submission, Submitted, UnknownJobError, rows_of
from labd.run.urgent import order_all
from tests.run.conftest import ASSEMBLE, DEVICES, Bench, BenchMaker, at_work
from tests.run.test_engine import IDLE
from tests.run.test_parts import CLOSE
from tests.run.waiting import until, until_busy

IN_LINE: dict[str, Any] = {"plan": False}
"""Jobs are started as they stand in line, as soon as they can be."""


@pytest.fixture
def bench(tmp_path: Path) -> BenchMaker:
    def make(lab_yaml: dict[str, Any] | None = None) -> AbstractAsyncContextManager[Bench]:
        more = {**(lab_yaml or {})}
        more["queue"] = IN_LINE | more.get("queue", {})
        return at_work(tmp_path, DEVICES, lab_yaml=more)

    return make


PLACES = [f"tray/cells/{row}{column}" for row in "ABCDEF" for column in range(1, 7)]


async def submit(lab: Bench, *rows: dict[str, Any], source: str = IDLE, **more: Any) -> Submitted:
    """Queues rows, each with its own place where none is said."""
    cells = [{"position": PLACES[number], **row} for number, row in enumerate(rows)]
    found = rows_of(cells, range(1, len(rows) + 1))
    asked = {"table": "cells.csv", "name": "idle.yaml", "by": "eva", **more}
    return await lab.engine.queue.submit(Submission(source, rows=found, **asked))


def line(lab: Bench) -> list[str]:
    """Those that were not started, in the order of their turn."""
    return [job.id for job in lab.engine.queue.jobs() if job.run is None]


def states(lab: Bench) -> dict[str, str]:
    return {job.id: job.state.value for job in lab.engine.queue.jobs(ended=True)}


async def when(lab: Bench, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20_000):
        while not holds():
            await asyncio.sleep(0.1)


async def test_a_batch_is_queued_run_and_told_from_its_submit_to_its_end(bench: BenchMaker) -> None:
    async with bench() as lab:
        heard: list[Happening] = []
        lab.lab.bus.subscribe(heard.append)
        rows = {"force": "7 kN"}, {"force": "7.5 kN", "sample": "c2", "barcode": "QR-2"}
        found = await submit(lab, *rows, source=ASSEMBLE)
        assert (found.batch, [job.sample for job in found.jobs]) == ("batch-0001", ["batch-0001-01", "c2"])
        await when(lab, lambda: set(states(lab).values()) == {"Completed"})
        jobs = lab.engine.queue.jobs(ended=True)
        assert [(job.id, job.run, job.parameters["force"]["v"]) for job in jobs] == [
            ("job-0001", "run-0001", 7.0),
            ("job-0002", "run-0002", 7.5),
        ]
        (submitted,) = await lab.journal.events(kinds={"batch.submitted"})
        assert [job["sample"] for job in submitted.data["jobs"]] == ["batch-0001-01", "c2"]
        registered = await lab.journal.events(kinds={"sample.registered"})
        assert [(event.data["sample"], event.data["barcode"]) for event in registered] == [
            ("batch-0001-01", None),
            ("c2", "QR-2"),
        ]
        started = await lab.journal.events(kinds={"run.started", "job.started"})
        assert [event.kind for event in started] == ["run.started", "job.started"] * 2
        assert [event.seq - started[0].seq for event in started[:2]] == [0, 1]
        assert started[0].data["job"] == "job-0001"
        told = [one for one in heard if isinstance(one, QueueState)]
        assert told[-1] == QueueState((), 0, None)
        assert {job.state for one in told for job in one.jobs} <= {"Waiting", "Ready", "Running"}


async def test_nothing_is_queued_where_one_row_is_wrong_or_it_is_only_checked(bench: BenchMaker) -> None:
    async with bench() as lab:
        with pytest.raises(InputErrors, match="row 2, column `position`: the lab has no place"):
            await submit(lab, {}, {"position": "tray/cells/Z9"})
        checked = await submit(lab, {}, {}, dry_run=True)
        assert (checked.batch, checked.rows) == (None, 2)
        await asyncio.sleep(10)
        assert await lab.journal.events(kinds={"batch.submitted", "sample.registered", "run.started"}) == []


async def test_who_has_the_higher_priority_goes_first_and_only_so_many_at_a_time(bench: BenchMaker) -> None:
    async with bench({"queue": {"most_runs": 2}}) as lab:
        await submit(lab, {}, {"priority": -1}, {"priority": 5}, {"priority": "5"})
        await when(lab, lambda: len(lab.engine.working) == 2)
        await asyncio.sleep(10)
        assert states(lab) == {
            "job-0003": "Running",
            "job-0004": "Running",
            "job-0001": "Waiting",
            "job-0002": "Waiting",
        }
        assert lab.engine.queue.job("job-0001").why == (
            "2 runs are at work, and lab.yaml allows 2 at a time (`queue: most_runs`)"
        )
        await when(lab, lambda: set(states(lab).values()) == {"Completed"})
        assert [job.run for job in lab.engine.queue.jobs(ended=True)] == [
            "run-0003",
            "run-0004",
            "run-0001",
            "run-0002",
        ]


async def test_a_gate_says_why_a_job_waits_and_it_goes_when_the_gate_opens(bench: BenchMaker) -> None:
    async with bench() as lab:
        closed: list[str] = ["no lids"]
        lab.engine.queue.gates.append(lambda job: closed[0] if closed and job.id == "job-0001" else None)
        await submit(lab, {}, {})
        await when(lab, lambda: bool(lab.engine.working))
        first = lab.engine.queue.job("job-0001")
        assert (first.state, first.why) == ("Waiting", "no lids")
        closed.clear()
        lab.engine.queue.reconsider()
        await when(lab, lambda: len(lab.engine.working) == 2)


async def test_jobs_are_moved_and_take_the_priority_of_their_place(bench: BenchMaker) -> None:
    async with bench() as lab:
        queue = lab.engine.queue
        await queue.pause(by="eva")
        await submit(lab, {"priority": 3}, {}, {}, {"priority": -2})
        assert line(lab) == ["job-0001", "job-0002", "job-0003", "job-0004"]
        assert (await queue.move("job-0004", before="job-0002", by="eva")).priority == 0
        assert line(lab) == ["job-0001", "job-0004", "job-0002", "job-0003"]
        assert (await queue.move("job-0003", first=True, by="eva")).priority == 3
        assert line(lab) == ["job-0003", "job-0001", "job-0004", "job-0002"]
        assert (await queue.move("job-0003", by="eva")).priority == 0
        assert line(lab) == ["job-0001", "job-0004", "job-0002", "job-0003"]
        await queue.prioritise("job-0002", 9, by="eva")
        assert line(lab) == ["job-0002", "job-0001", "job-0004", "job-0003"]
        with pytest.raises(CommandRefusedError, match="before itself"):
            await queue.move("job-0002", before="job-0002", by="eva")
        with pytest.raises(UnknownJobError, match="there is no job 'job-0009'"):
            await queue.move("job-0002", before="job-0009", by="eva")


async def test_the_order_may_be_another_ones(bench: BenchMaker) -> None:
    async with bench({"queue": IN_LINE | {"most_runs": 1}}) as lab:
        lab.engine.queue.order = lambda jobs: list(reversed(jobs))
        await submit(lab, {}, {}, {})
        await when(lab, lambda: set(states(lab).values()) == {"Completed"})
        assert [job.run for job in lab.engine.queue.jobs(ended=True)] == ["run-0003", "run-0002", "run-0001"]


async def test_a_job_whose_place_is_taken_waits_until_it_is_free(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(IDLE, position="tray/cells/A1")
        await submit(lab, {"position": "tray/cells/A1"}, {"position": "tray/cells/A2"})
        await when(lab, lambda: states(lab)["job-0002"] == "Running")
        assert lab.engine.queue.job("job-0001").why == "tray/cells/A1 is occupied by cell-0001"
        await lab.engine.command(run, Command.STOP, by="eva")
        await lab.engine.wait(run)
        await lab.engine.command(run, Command.CLEAR, by="eva")
        await when(lab, lambda: states(lab)["job-0001"] == "Running")


async def test_a_job_takes_no_well_that_another_waits_for_and_none_that_is_not_there(tmp_path: Path) -> None:
    wells = ["tray/spare/A1", "tray/spare/B1"]  # of whose cells nobody has begun with one
    spare = {"place": "tray/spare", "labware": "cell_tray_8", "fill": "cell"}
    deck = [{"place": "tray/cells", "labware": "cell_tray_36"}, spare]
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE, "deck": deck}) as lab:
        for well in set(lab.lab.inventory.stock.parts) - set(wells):
            await lab.lab.inventory.unload(well, by="eva")
        await lab.engine.queue.pause(by="eva")
        await submit(lab, {"position": wells[0]}, {"position": None}, {"position": None}, source=ASSEMBLE)
        await lab.engine.queue.resume(by="eva")
        await when(lab, lambda: list(states(lab).values()).count("Completed") == 2)
        moved = await lab.journal.events(kinds={"sample.moved"})
        assert {event.data["sample"]: event.data["to"] for event in moved if event.data["from"] is None} == {
            "batch-0001-01": wells[0],
            "batch-0001-02": wells[1],
        }
        assert lab.engine.queue.job("job-0003").why == (
            "no unused well is left in tray/spare; say where its sample stands with a `position`"
        )
        await submit(lab, {"position": None}, source=IDLE)  # it does not matter where that one is
        await when(lab, lambda: states(lab)["job-0004"] == "Completed")


async def test_what_waits_is_cancelled_and_what_runs_is_told_to_be_stopped(bench: BenchMaker) -> None:
    async with bench({"queue": IN_LINE | {"most_runs": 1}}) as lab:
        queue = lab.engine.queue
        await submit(lab, {}, {}, {}, {})
        await when(lab, lambda: bool(lab.engine.working))
        assert [job.id for job in await queue.cancel("job-0003", by="eva", why="no more lids")] == ["job-0003"]
        assert queue.job("job-0003").why == "cancelled by eva: no more lids"
        with pytest.raises(CommandRefusedError, match=r"job-0003 is Aborted \(cancelled by eva"):
            await queue.cancel("job-0003", by="eva")
        with pytest.raises(CommandRefusedError, match="job-0001 is at work as run-0001; `labd stop run-0001`"):
            await queue.cancel("job-0001", by="eva")
        assert [job.id for job in await queue.cancel("batch-0001", by="eva")] == ["job-0002", "job-0004"]
        assert queue.running_of("batch-0001") == {"job-0001": "run-0001"}
        with pytest.raises(
            CommandRefusedError, match="no job of batch-0001 waits any more; at work: job-0001 as run-0001"
        ):
            await queue.cancel("batch-0001", by="eva")
        await lab.engine.command("run-0001", Command.STOP, by="eva", cause="enough")
        await when(lab, lambda: states(lab)["job-0001"] == "Aborted")
        assert queue.job("job-0001").why == "stopped: enough"
        assert lab.engine.known()[-1].run == "run-0001"


async def test_a_paused_queue_starts_nothing_also_after_a_restart(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        await lab.engine.queue.pause(by="eva", why="lunch")
        await submit(lab, {})
        await asyncio.sleep(3600)
        told = lab.engine.queue.job("job-0001")
        assert (told.state, told.why) == (
            "Waiting",
            "the queue is paused by eva: lunch; `labd queue resume` lets it go on",
        )
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        await asyncio.sleep(3600)
        assert lab.engine.working == ()
        await lab.engine.queue.resume(by="eva")
        with pytest.raises(CommandRefusedError, match="not paused"):
            await lab.engine.queue.resume(by="eva")
        await when(lab, lambda: states(lab) == {"job-0001": "Completed"})


async def test_an_order_to_the_whole_lab_keeps_the_queue_from_starting_what_waits(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE | {"most_runs": 1}}) as lab:
        await submit(lab, {}, {})
        await when(lab, lambda: bool(lab.engine.working))
        await order_all(lab.engine, Command.STOP, by="eva", cause="smoke")
        await asyncio.sleep(3600)
        assert states(lab) == {"job-0001": "Aborted", "job-0002": "Waiting"}
        assert lab.engine.queue.paused == "the queue is paused by eva: stop of all runs, smoke"
        await order_all(lab.engine, Command.ABORT, by="mk")
        assert lab.engine.queue.paused == "the queue is paused by mk: abort of all runs"
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        assert lab.engine.queue.paused is not None
        await asyncio.sleep(3600)
        assert lab.engine.working == ()
        assert states(lab) == {"job-0001": "Aborted", "job-0002": "Waiting"}


async def test_a_stop_of_all_also_reaches_a_job_that_is_just_being_started(bench: BenchMaker) -> None:
    async with bench() as lab:
        submitted = asyncio.create_task(submit(lab, {}))
        while not lab.engine._reading.locked():
            await asyncio.sleep(0)
        await order_all(lab.engine, Command.STOP, by="eva")
        await submitted
        await asyncio.sleep(10)
        assert lab.engine.working == ()
        assert states(lab)["job-0001"] in ("Waiting", "Aborted")


async def test_the_same_submission_twice_is_queued_once_also_after_a_restart(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        await lab.engine.queue.pause(by="eva")
        both = await asyncio.gather(*(submit(lab, {}, {}, request="r1") for _ in range(2)))
        assert [found.batch for found in both] == ["batch-0001", "batch-0001"]
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        again = await submit(lab, {}, {}, request="r1")
        assert [job.id for job in again.jobs] == ["job-0001", "job-0002"]
        other = await submit(lab, {"position": "tray/cells/F6"}, request="r2")
        assert (other.batch, other.jobs[0].id, other.jobs[0].sample) == ("batch-0002", "job-0003", "batch-0002-01")


async def test_whoever_submits_may_leave_and_ask_again(bench: BenchMaker) -> None:
    async with bench() as lab:
        await lab.engine.queue.pause(by="eva")
        first = asyncio.create_task(submit(lab, {}, request="r1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await submit(lab, {}, request="r1")).batch == "batch-0001"
        assert len(await lab.journal.events(kinds={"batch.submitted"})) == 1


async def test_a_sample_or_a_barcode_that_the_lab_has_is_refused(bench: BenchMaker) -> None:
    async with bench() as lab:
        await submit(lab, {"sample": "c1", "barcode": "QR-1"})
        with pytest.raises(InputErrors) as found:
            await submit(lab, {"sample": "c1"}, {"sample": "c2", "barcode": "QR-1"})
        assert [problem.code for problem in found.value.problems] == ["T104", "T104"]
        await when(lab, lambda: states(lab) == {"job-0001": "Completed"})
        with pytest.raises(InputErrors, match="run-0001 was for it"):
            await submit(lab, {"sample": "c1"})
        await submit(lab, {"sample": "c1", "position": None}, again=True)
        await when(lab, lambda: states(lab)["job-0002"] == "Completed")


async def test_a_further_run_of_a_sample_waits_for_the_one_at_work(bench: BenchMaker) -> None:
    async with bench() as lab:
        await submit(lab, {"sample": "c1"})
        await when(lab, lambda: states(lab) == {"job-0001": "Running"})
        await submit(lab, {"sample": "c1", "position": None}, again=True)
        await asyncio.sleep(10)
        assert lab.engine.queue.job("job-0002").why == "run-0001 works on c1; wait for its end, or stop it"
        await when(lab, lambda: states(lab)["job-0002"] == "Completed")


async def test_a_job_that_does_not_hold_any_more_is_held_with_its_text_and_a_way_on(
    bench: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as lab:
        real = engine_module.read

        def refuses(*_: object) -> None:
            raise InputErrors([Problem("P208", "more than the press can")])

        monkeypatch.setattr(engine_module, "read", refuses)
        await submit(lab, {})
        await when(lab, lambda: states(lab) == {"job-0001": "Held"})
        why = lab.engine.queue.job("job-0001").why
        assert why == (
            "it does not hold in this lab any more: P208 more than the press can\n"
            "mend that, then `labd queue release job-0001`, or `labd cancel job-0001`"
        )
        await asyncio.sleep(3600)
        monkeypatch.setattr(engine_module, "read", real)
        await lab.engine.queue.release("job-0001", by="eva")
        await when(lab, lambda: states(lab) == {"job-0001": "Completed"})
        with pytest.raises(CommandRefusedError, match="job-0001 is Completed"):
            await lab.engine.queue.release("job-0001", by="eva")


async def test_a_start_that_the_engine_refuses_leaves_the_job_waiting_with_the_reason(
    bench: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as lab:
        real, tries = lab.engine.start, []

        async def start(*arguments: Any, **more: Any) -> Any:
            tries.append(more["job"].id)
            if len(tries) == 1:
                raise EngineError("not just now")
            return await real(*arguments, **more)

        monkeypatch.setattr(lab.engine, "start", start)
        await submit(lab, {})
        await when(lab, lambda: bool(tries))
        assert (lab.engine.queue.job("job-0001").why, len(tries)) == ("not just now", 1)
        await asyncio.sleep(3600)
        assert len(tries) == 1
        lab.engine.queue.reconsider()
        await when(lab, lambda: states(lab) == {"job-0001": "Completed"})


async def test_an_error_of_labds_own_holds_the_job_and_keeps_the_others_going(
    bench: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as lab:
        real = lab.engine.start

        async def start(*arguments: Any, **more: Any) -> Any:
            if more["job"].id == "job-0001":
                raise ZeroDivisionError("oh")
            return await real(*arguments, **more)

        monkeypatch.setattr(lab.engine, "start", start)
        await submit(lab, {}, {})
        await when(lab, lambda: states(lab) == {"job-0001": "Held", "job-0002": "Completed"})
        assert "ZeroDivisionError" in str(lab.engine.queue.job("job-0001").why)


async def test_a_barrier_about_the_whole_lab_keeps_jobs_waiting(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.lab.barriers.set("disk", "the disk is full")
        await submit(lab, {})
        await asyncio.sleep(3600)
        assert lab.engine.queue.job("job-0001").why == "the disk is full"
        lab.lab.barriers.lift("disk")
        await when(lab, lambda: states(lab) == {"job-0001": "Completed"})


async def test_a_job_is_held_while_its_run_is(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["open"] = [15.0]
        await submit(lab, {}, source=ASSEMBLE)
        await until_busy(lab, "press")
        await lab.engine.command("run-0001", Command.HOLD, by="eva", cause="look")
        await until(lab, "run-0001", "Held")
        job = lab.engine.queue.job("job-0001")
        assert (job.state, job.why) == ("Held", "look")
        await lab.engine.command("run-0001", Command.UNHOLD, by="eva")
        await when(lab, lambda: states(lab) == {"job-0001": "Completed"})


async def test_runs_that_ended_in_a_later_life_are_their_jobs_ends(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        await submit(lab, {}, {})
        await when(lab, lambda: len(lab.engine.working) == 2)
        await lab.engine.leave_all()
    async with at_work(tmp_path, DEVICES, resume=False, lab_yaml={"queue": IN_LINE}) as lab:
        assert states(lab) == {"job-0001": "Held", "job-0002": "Held"}
        assert lab.engine.queue.job("job-0001").why == NOT_YET
        await lab.engine.command("run-0001", Command.ABORT, by="eva")
        assert states(lab)["job-0001"] == "Aborted"
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        await when(lab, lambda: states(lab) == {"job-0001": "Aborted", "job-0002": "Completed"})
    async with at_work(tmp_path, DEVICES, lab_yaml={"queue": IN_LINE}) as lab:
        assert states(lab) == {"job-0001": "Aborted", "job-0002": "Completed"}
        assert lab.engine.known()[-1].run == "run-0002"


LIDS = [
    {"place": "tray/cells", "labware": "cell_tray_36"},
    {"place": "tray/lids", "labware": "lid_tray_8", "contents": {"A1": {"part": "lid"}, "A2": {"part": "lid"}}},
]


async def test_what_is_kept_for_one_job_is_not_there_for_another_and_goes_to_its_run(bench: BenchMaker) -> None:
    async with bench({"deck": LIDS}) as lab:
        reserved = lab.lab.inventory.stock.reserved
        rows = {"lid": "tray/lids/A1"}, {"lid": "tray/lids/A2"}
        await lab.engine.queue.pause(by="eva")
        await submit(lab, *rows, source=CLOSE)
        assert list(reserved) == ["job-0001", "job-0002"]
        with pytest.raises(InputErrors, match="row 1, column `lid`: tray/lids/A2 is kept for job-0002"):
            await submit(lab, {"lid": "tray/lids/A2", "position": PLACES[7]}, source=CLOSE)
        await lab.engine.queue.cancel("job-0001", by="eva")
        assert list(reserved) == ["job-0002"]
        await lab.engine.queue.resume(by="eva")
        await when(lab, lambda: states(lab)["job-0002"] == "Running")
        assert list(reserved) == ["run-0001"]
        await when(lab, lambda: states(lab)["job-0002"] == "Completed")
        assert (dict(reserved), list(lab.lab.inventory.stock.parts)) == ({}, ["tray/lids/A1"])


async def test_what_the_inventory_lacks_is_told_by_row_and_what_it_has_is_kept_for_jobs(
    bench: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as lab:
        inventory = lab.lab.inventory
        asked: list[int] = []

        def problems(rows: list[tuple[int, Any]]) -> list[tuple[int, str, str]]:
            asked.append(len(rows))
            return [(row, "no lid is left for it", "load some") for row, _ in rows[2:]]

        monkeypatch.setattr(inventory, "problems", problems)
        await lab.engine.queue.pause(by="eva")
        with pytest.raises(InputErrors, match="T107 row 3: no lid is left for it"):
            await submit(lab, {}, {}, {})
        await submit(lab, {}, {})
        assert asked == [3, 2]
        assert set(inventory.stock.reserved) == {"job-0001", "job-0002"}
        await lab.engine.queue.cancel("job-0001", by="eva")
        assert set(inventory.stock.reserved) == {"job-0002"}
        await lab.engine.queue.resume(by="eva")
        await when(lab, lambda: states(lab)["job-0002"] == "Running")
        assert set(inventory.stock.reserved) == {"run-0001"}


def test_a_job_says_what_it_is() -> None:
    job = Job("job-0012", "batch-0001", "c1", "p", "1", "p.yaml", "", {}, {}, None, 0, {}, "eva", "t")
    assert (job.number, job.pending) == (12, True)


async def test_a_batch_that_is_not_there_is_called_a_batch(bench: BenchMaker) -> None:
    async with bench() as lab:
        for name, told in (
            ("batch-0009", "there is no batch 'batch-0009'"),
            ("job-0009", "there is no job 'job-0009'"),
        ):
            with pytest.raises(UnknownJobError, match=told):
                await lab.engine.queue.cancel(name, by="eva")
