"""The daemon is killed at every boundary of the journal while a batch is submitted and run: no job lost, none twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from pathlib import Path

from labd.run.queue import Submission, Submitted, rows_of
from tests.run.site import DeadError, Site
from tests.run.world import REAL, fresh

PRESS = """\
labd: 1
protocol: press
version: 1.0.0
summary: Press one cell.
parameters:
  force: {type: quantity, default: 7.8 kN, min: 1 kN, max: 10 kN}
roles: {press: crimper}
start: crimp
states:
  crimp: {do: press.crimp, with: {force: =force}, within: 1 h, next: done}
  done: {end: complete}
"""
ROWS = [
    {"sample": "c1", "force": "5 kN", "position": "tray/cells/A1"},
    {"sample": "c2", "force": "6 kN", "position": "tray/cells/A2"},
]


async def submit(site: Site) -> Submitted:
    asked = Submission(PRESS, "press.yaml", "eva", rows_of(ROWS), table="cells.csv", request="shift-1")
    return await site.engine.queue.submit(asked)


async def all_ended(site: Site) -> None:
    while not all(job.state == "Completed" for job in site.engine.queue.jobs(ended=True)):
        await asyncio.sleep(1.0)


def killed_at(path: Path, fuse: int) -> bool:
    """One batch, with the daemon killed at the so many-eth commit; gives whether it came to that."""
    world = fresh()
    path.mkdir(parents=True)
    site = Site(path, {"press": "press"}, REAL)
    dead = False
    try:
        site.up(waits_for=["press"])
        assert site.journal is not None
        site.journal.fuse = fuse
        with contextlib.suppress(DeadError):
            site.drive(submit(site), 60.0)
            site.drive(all_ended(site), 3600.0)
        dead = site.journal.cut_off.is_set()
        if dead:
            site.kill()
            site.up(waits_for=["press"])
            assert site.drive(submit(site), 60.0).batch == "batch-0001"
            site.drive(all_ended(site), 3600.0)
        jobs = site.engine.queue.jobs(ended=True)
        assert [(job.sample, job.state.value) for job in jobs] == [("c1", "Completed"), ("c2", "Completed")]
        assert {job.run for job in jobs} == {"run-0001", "run-0002"}
        assert site.journal is not None
        kinds = {"batch.submitted", "job.started", "run.started", "sample.registered"}
        events = site.drive(site.journal.events(kinds=kinds), 10.0)
        told = [event.kind for event in events]
        assert {kind: told.count(kind) for kind in kinds} == {
            "batch.submitted": 1,
            "sample.registered": 2,
            "job.started": 2,
            "run.started": 2,
        }
        assert world.effects["press.crimp"] == 2
        assert not site.errors
    finally:
        site.close()
    return dead


def test_no_job_is_lost_and_none_is_started_twice_wherever_the_daemon_dies(tmp_path: Path) -> None:
    died = list(itertools.takewhile(bool, (killed_at(tmp_path / str(fuse), fuse) for fuse in itertools.count(1))))
    assert len(died) >= 8  # the batch, each start, and what each run does
