"""How long the journal of a lab that has worked for months holds up a start, and `labd safe-state`."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from benchmarks._figures import Figures
from labd.journal import Journal, schema
from labd.journal.events import GENESIS, chain
from labd.run.history import FOLDED, fold
from labd.run.safe_mode import units_going_on
from labd.run.salvage import in_flight
from labd.run.starts import STARTS, died
from labd.run.taking_up import last_end

EVENTS = 1_000_000
SMOKE = 5_000
DECIDED = 60  # events of a run that no start asks for: what its conditions and values were
ACTIONS = 20  # a run
STATES = 10  # a run
AT = "2026-03-01T09:00:00.000000Z"


def run(smoke: bool, figures: Figures) -> None:
    """Makes such a journal, and asks it what a start asks."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.sqlite"
        count = _fill(path, SMOKE if smoke else EVENTS)
        figures.add("events", count, "events")
        began = time.perf_counter()
        assert len(in_flight(path)) == 1
        figures.add("in_flight", time.perf_counter() - began, "s")
        asyncio.run(_start(path, figures))


async def _start(path: Path, figures: Figures) -> None:
    began = time.perf_counter()
    journal = await Journal.open(path)
    figures.add("open", time.perf_counter() - began, "s")

    async def folded() -> None:
        assert len(fold(await journal.events(kinds=FOLDED)).unfinished) == 1

    async def starts() -> None:
        died(await journal.events(kinds=STARTS))

    async def going_on() -> None:
        await units_going_on(journal)

    async def end() -> None:
        await last_end(journal)

    questions: dict[str, Callable[[], Awaitable[None]]] = {
        "starts": starts,
        "fold": folded,
        "last_end": end,
        "going_on": going_on,
    }
    for name, question in questions.items():
        began = time.perf_counter()
        await question()
        figures.add(name, time.perf_counter() - began, "s")
    await journal.close()


def _fill(path: Path, count: int) -> int:
    """Writes so many events, as runs write them; the last run goes on. Gives how many there are."""
    connection = schema.JOURNAL.connect(path)
    last, seq = GENESIS, 0

    def rows() -> Iterator[tuple[int, str, str | None, str, str, str]]:
        nonlocal last, seq
        for run_id, kind, data in _events(count):
            seq += 1
            text = json.dumps(data)
            last = chain(last, seq, AT, run_id, kind, text)
            yield seq, AT, run_id, kind, text, last

    with schema.transaction(connection):
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows())
    connection.close()
    return seq


def _events(count: int) -> Iterator[tuple[str | None, str, dict[str, object]]]:
    written = number = 0
    while written < count:
        number += 1
        for event in _run(number, ends=written + 200 < count):
            written += 1
            yield event


def _run(number: int, *, ends: bool) -> Iterator[tuple[str | None, str, dict[str, object]]]:
    if number % 100 == 1:
        yield None, "daemon.started", {"boot_id": f"{number}"}
        yield None, "daemon.steady", {"boot_id": f"{number}"}
    run_id, sample = f"run-{number:04d}", f"cell-{number:04d}"
    yield run_id, "run.started", {"protocol": "cr2032", "version": "1.0.0", "sample": sample, "source": "x" * 4000}
    yield run_id, "sample.moved", {"sample": sample, "from": None, "to": f"tray/cells/{number}"}
    for to in ("Starting", "Execute"):
        yield run_id, "run.state", {"from": "Idle", "to": to, "cause": None}
    for state in range(STATES):
        yield run_id, "protocol.entered", {"state": f"state{state}", "visits": 1, "because": "next", "bindings": {}}
        for decided in range(DECIDED // STATES):
            yield run_id, "protocol.decided", {"what": "if", "value": True, "expression": "a > b", "step": f"{decided}"}
        for action in range(ACTIONS // STATES):
            action_id = f"{run_id}-{state}{action}"
            intended = {"action_id": action_id, "device": "press", "unit": "", "action": "crimp", "on_loss": "stop"}
            yield (
                run_id,
                "action.intended",
                {**intended, "parameters": {"force": {"v": 7.8, "u": "kN"}}, "baseline": {}},
            )
            if not ends and state == STATES - 1 and action == 1:
                return
            yield run_id, "action.accepted", {"action_id": action_id, "evidence": {}}
            yield run_id, "action.done", {"action_id": action_id, "result": {"force": {"v": 7.8, "u": "kN"}}}
    yield run_id, "run.state", {"from": "Completing", "to": "Complete", "cause": None}
    yield run_id, "run.ended", {"outcome": "complete"}
