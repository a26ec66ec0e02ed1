"""The queue over MQTT: a retained topic of what waits and why, and the verbs submit and cancel."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiomqtt

from labd import clock
from labd.lab.bus import QueueState
from labd.lab.config import Mqtt
from labd.telemetry import payloads
from tests.telemetry.commanding import WAITING, commander, hearing

EMBEDDED = Mqtt(broker="embedded", port=0)


async def retained(port: int, *, jobs: int) -> dict[str, Any]:
    """The topic `queue` as whoever connects now finds it, once it has so many jobs."""
    keepalive = 0 if clock.is_virtual() else 60
    async with aiomqtt.Client("127.0.0.1", port, keepalive=keepalive) as client, asyncio.timeout(3600):
        await client.subscribe("labd/1/toys/queue", qos=1)
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            found: dict[str, Any] = json.loads(message.payload)
            if len(found["jobs"]) == jobs:
                assert payloads.Queue.model_validate(found)
                return found
    raise AssertionError


async def test_a_table_is_submitted_its_jobs_told_and_cancelled(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await lab.engine.queue.pause(by="eva", why="lunch")
        rows = [{"sample": "c1", "barcode": "QR-1", "priority": 1}, {"sample": "c2", "barcode": None, "priority": 3}]
        await eva.give("c1", "submit", arguments={"protocol": WAITING, "rows": rows})
        done = (await eva.answered("c1", 2))[-1]
        assert (done["state"], done["result"]) == ("done", {"batch": "batch-0001", "jobs": ["job-0001", "job-0002"]})
        told = await retained(lab.port, jobs=2)
        assert told["paused"] == "the queue is paused by eva: lunch"
        assert told["jobs"][0] == {
            "job": "job-0002",
            "batch": "batch-0001",
            "state": "Waiting",
            "protocol": "waiting",
            "sample": "c2",
            "priority": 3,
            "run": None,
            "why": "the queue is paused by eva: lunch; `labd queue resume` lets it go on",
        }
        await eva.give("c2", "cancel", arguments={"job": "job-0001", "why": "enough"})
        assert (await eva.answered("c2", 2))[-1]["result"] == {"cancelled": ["job-0001"]}
        await eva.give("c3", "cancel", arguments={"batch": "batch-0001"})
        assert (await eva.answered("c3", 2))[-1]["result"] == {"cancelled": ["job-0002"]}
        await retained(lab.port, jobs=0)


async def test_what_does_not_hold_is_rejected_with_its_row(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        bad = [{"sample": "c1"}, {"sample": "c1"}]
        await eva.give("c1", "submit", arguments={"protocol": WAITING, "rows": bad})
        (refused,) = await eva.answered("c1")
        assert (refused["state"], "row 3, column `sample`: `c1` stands in row 2" in refused["reason"]) == (
            "rejected",
            True,
        )
        await eva.give("c2", "submit", arguments={"protocol": WAITING})
        assert "give rows, or count" in (await eva.answered("c2"))[0]["reason"]
        await eva.give("c3", "cancel", arguments={"job": "job-0007"})
        assert (await eva.answered("c3"))[0]["reason"] == "there is no job 'job-0007'"
        await eva.give("c4", "cancel", arguments={})
        assert "name one job" in (await eva.answered("c4"))[0]["reason"]
        assert await lab.journal.events(kinds={"batch.submitted"}) == []


async def test_a_submission_that_is_sent_again_is_queued_once(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await lab.engine.queue.pause(by="eva")
        for answers in (2, 4):
            await eva.give("c1", "submit", arguments={"protocol": WAITING, "count": 2})
            assert await eva.states("c1", answers) == ["accepted", "done"] * (answers // 2)
        assert len(lab.engine.queue.jobs()) == 2


async def test_a_long_queue_stays_a_small_message(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab:
        await lab.engine.queue.pause(by="eva", why="w" * 1000)
        heard: list[QueueState] = []
        lab.lab.bus.subscribe(lambda one: heard.append(one) if isinstance(one, QueueState) else None)
        async with commander(lab.port) as eva:
            await eva.give("c1", "submit", arguments={"protocol": WAITING, "count": 250})
            await eva.answered("c1", 2)
        told = await retained(lab.port, jobs=100)
        assert told["more"] == 150
        assert len(json.dumps(told)) < 60_000
