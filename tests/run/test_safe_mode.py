"""Safe mode: outputs safe, nothing resumed, and the way out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.journal import Event, Journal, NewEvent, SignalStore
from labd.lab.background import background
from labd.lab.lab import Lab
from labd.run.engine import NOT_YET, Engine, EngineError
from labd.run.history import open_units
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.safe_mode import AGAIN, SafeMode
from labd.sdk import Unreachable
from tests.run.conftest import ASSEMBLE, DEVICES, at_work
from tests.toys import Toy, toy_lab

DEAD = ("2026-01-01T08:00:00Z", "2026-01-01T08:00:10Z", "2026-01-01T08:00:20Z")
DECK = [{"place": "tray/cells", "labware": "cell_tray_36", "fill": "half_cell"}]
START = {
    "protocol": "assemble",
    "version": "1.0.0",
    "sample": "cell-1",
    "home": "",
    "parameters": {},
    "source": ASSEMBLE,
}
START |= {"called": {}, "name": "assemble.yaml", "by": "eva"}


def intended(device: str, action: str, on_loss: str, number: int = 1) -> NewEvent:
    told = {"action_id": f"run-0001-{number:03d}", "device": device, "unit": "", "action": action, "on_loss": on_loss}
    return NewEvent("action.intended", told, "run-0001")


class Bench:
    def __init__(self, lab: Lab, engine: Engine, journal: Journal, safe_mode: SafeMode) -> None:
        self.lab, self.engine, self.journal, self.safe_mode = lab, engine, journal, safe_mode

    def toy(self, name: str) -> Toy:
        driver = self.lab.devices[name].driver
        assert isinstance(driver, Toy)
        return driver


@contextlib.asynccontextmanager
async def in_safe_mode(tmp_path: Path, *events: NewEvent, begun: bool = True, upkeep: str = "") -> AsyncIterator[Bench]:
    """A lab in safe mode; the journal holds a run that was cut while it did what `events` say, or before it began."""
    lab = toy_lab(tmp_path, {"press": "press", "stat1": "stat", "arm": "arm"}, deck=DECK)
    async with contextlib.AsyncExitStack() as stack:
        journal = await Journal.open(tmp_path / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(tmp_path / "signals.sqlite")
        stack.push_async_callback(signals.close)
        moved = {"from": "Starting", "to": "Execute", "command": "done", "by": "labd", "cause": None}
        went = [NewEvent("run.state", moved, "run-0001")] if begun else []
        await journal.append(NewEvent("run.started", START, "run-0001"), *went, *events)
        safe_mode = SafeMode(lab, journal, DEAD)
        safe_mode.begin()
        for device in lab.devices.values():
            await stack.enter_async_context(background(device.run(), device.id))
        engine = Engine(lab, journal, signals, resume=False)
        await stack.enter_async_context(background(engine.run(), "engine"))
        await engine.ready.wait()
        if upkeep:
            await engine.guards.upkeeps.begin("press", upkeep, "eva")
        await stack.enter_async_context(background(safe_mode.run(), "safe mode"))
        yield Bench(lab, engine, journal, safe_mode)


async def test_every_device_is_made_safe_once_when_it_comes_up(tmp_path: Path) -> None:
    async with in_safe_mode(tmp_path) as bench:
        bench.toy("stat1").refuse_connect = Unreachable("off")
        await asyncio.sleep(300)
        assert bench.toy("press").safe == [None]
        bench.toy("stat1").refuse_connect = None
        await asyncio.sleep(300)
        assert (bench.toy("press").safe, bench.toy("stat1").safe) == ([None], [None])


async def test_a_device_that_was_not_made_safe_is_told_again(tmp_path: Path) -> None:
    async with in_safe_mode(tmp_path) as bench:
        bench.toy("press").safe_takes = 100.0
        await asyncio.sleep(20)
        assert bench.toy("press").safe == []
        bench.toy("press").safe_takes = 0.0
        await asyncio.sleep(2 * AGAIN)
        assert bench.toy("press").safe == [None]
        events = await bench.journal.events(kinds={"device.safe_state"})
        told = [event.data["problem"] for event in events if event.data["device"] == "press"]
        assert "no answer within" in told[0]
        assert told[1:] == [None]


async def test_a_device_that_a_person_works_on_is_made_safe_when_that_is_over(tmp_path: Path) -> None:
    async with in_safe_mode(tmp_path, upkeep="new seal") as bench:
        await asyncio.sleep(60)
        assert (bench.toy("press").safe, bench.toy("arm").safe) == ([], [None])
        await bench.engine.guards.upkeeps.end("press", "eva")
        await asyncio.sleep(2 * AGAIN)
        assert bench.toy("press").safe == [None]


async def test_what_may_go_on_without_the_daemon_is_left_to_go_on(tmp_path: Path) -> None:
    open_circuit = intended("stat1", "open_circuit", "continue")
    async with in_safe_mode(tmp_path, intended("press", "crimp", "stop", 2), open_circuit) as bench:
        await asyncio.sleep(60)
        assert (bench.toy("press").safe, bench.toy("stat1").safe) == ([None], [])


def test_only_what_has_no_outcome_is_open() -> None:
    def event(kind: str, number: int, **data: str) -> Event:
        return Event(number, "", "r", kind, {"action_id": f"a{number}", **data}, "")

    def begun(number: int, device: str, on_loss: str) -> Event:
        return event("action.intended", number, device=device, unit="1", action="charge", on_loss=on_loss)

    told = [begun(1, "a", "continue"), begun(2, "b", "continue"), begun(3, "c", "stop"), event("action.done", 1)]
    told.append(event("action.unknown", 2))
    assert open_units(told, "continue") == {("b", "1")}
    assert open_units(told) == {("b", "1"), ("c", "1")}


async def test_a_run_that_is_not_resumed_keeps_how_far_it_was(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES) as lab:
        run = await lab.start()
        while (await lab.engine.state(run)).protocol_state != "crimp":
            await asyncio.sleep(0.1)
        await lab.engine.leave_all()
        before = (await lab.engine.state(run)).progress
    async with at_work(tmp_path, DEVICES, resume=False) as lab:
        state = await lab.engine.state(run)
        assert "labd resume" in str(state.cause)
        assert 0 < state.progress == pytest.approx(before, abs=0.01)


async def test_nothing_is_resumed_started_or_answered_and_it_says_why(tmp_path: Path) -> None:
    async with in_safe_mode(tmp_path, intended("press", "crimp", "stop")) as bench:
        await asyncio.sleep(600)
        state = await bench.engine.state("run-0001")
        assert (state.state, state.ended, state.cause) == ("Execute", None, NOT_YET)
        assert bench.toy("press").happened == []
        with pytest.raises(EngineError, match=r"safe mode.*labd resume"):
            await bench.engine.start(ASSEMBLE, "assemble.yaml", {}, by="eva")
        for command in (Command.UNHOLD, Command.HOLD):
            with pytest.raises(CommandRefusedError, match="not resumed: safe mode"):
                await bench.engine.command("run-0001", command, by="eva")
        with pytest.raises(CommandRefusedError, match="not resumed: safe mode"):
            await bench.engine.answer("run-0001", "done", by="eva")
        (alarm,) = bench.lab.alarms.active
        assert (alarm.id, alarm.severity) == ("safe-mode", "critical")
        assert "died 3 times" in alarm.text


async def test_a_run_that_is_not_resumed_can_be_aborted_and_what_went_on_is_made_safe(tmp_path: Path) -> None:
    async with in_safe_mode(tmp_path, intended("stat1", "open_circuit", "continue")) as bench:
        await asyncio.sleep(10)
        ended = await bench.engine.command("run-0001", Command.ABORT, by="eva", cause="enough")
        assert (ended.state, ended.outcome) == ("Aborted", "aborted")
        assert "nobody knows whether stat1.open_circuit happened" in str(ended.cause)
        assert len(bench.toy("stat1").safe) == 1
        with pytest.raises(CommandRefusedError, match="has ended"):
            await bench.engine.command("run-0001", Command.STOP, by="eva")
        kinds = [event.kind for event in await bench.journal.events(run="run-0001")]
        assert kinds[-6:-3] == ["device.safe_state", "action.unknown", "run.state"]
        assert kinds[-3:] == ["run.state", "run.ended", "command.accepted"]
        bench.safe_mode.end()
        assert await bench.engine.resume() == []


async def test_its_end_takes_up_what_was_left_and_lets_new_runs_begin(tmp_path: Path) -> None:
    async with in_safe_mode(tmp_path, begun=False) as bench:
        await asyncio.sleep(10)
        bench.safe_mode.end()
        assert await bench.engine.resume() == ["run-0001"]
        assert bench.lab.alarms.active == ()
        await bench.engine.command("run-0001", Command.STOP, by="eva")
        assert (await bench.engine.wait("run-0001")).outcome == "stopped"
        run = await bench.engine.start(ASSEMBLE, "assemble.yaml", {}, by="eva")
        assert run.id == "run-0002"
