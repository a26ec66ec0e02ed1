"""One order to the whole lab."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from labd import clock
from labd.run.engine import EngineError
from labd.run.lifecycle import Command
from labd.run.urgent import make_safe_at_last, order_all
from labd.sdk import Call, OutcomeUnknown, Unreachable
from tests.run.conftest import Bench, BenchMaker
from tests.run.waiting import until, until_busy


async def made_safe(lab: Bench, cause: str) -> dict[str, str | None]:
    events = await lab.journal.events(kinds={"device.safe_state"})
    return {event.data["device"]: event.data["problem"] for event in events if event.data.get("cause") == cause}


async def test_an_abort_of_everything_ends_all_runs_and_makes_every_device_safe(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["open"] = [1000.0]
        first, second = await lab.start(), await lab.start(position="tray/cells/B1")
        await asyncio.sleep(5)
        ordered = await order_all(lab.engine, Command.ABORT, by="eva", cause="smoke")
        assert ordered.runs == (first, second)
        assert ordered.safe == {"press": None, "arm": None, "stat1": None, "stat2": None}
        assert lab.toy("stat2").safe, "no run had it"
        for run in (first, second):
            state = await lab.engine.wait(run)
            assert state.outcome == "aborted"
            assert str(state.cause).startswith("smoke")
        assert set(await made_safe(lab, "abort by eva")) == {"press", "arm", "stat1", "stat2"}
        assert [event.data["command"] for event in await lab.journal.events(kinds={"lab.ordered"})] == ["abort"]


async def test_an_abort_without_a_run_makes_every_device_safe_all_the_same(bench: BenchMaker) -> None:
    async with bench() as lab:
        ordered = await order_all(lab.engine, Command.ABORT, by="signal")
        assert ordered.runs == ()
        assert all(lab.toy(name).safe == [None] for name in ("press", "arm", "stat1", "stat2"))


async def test_a_device_that_does_not_answer_keeps_no_other_from_being_made_safe(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").safe_takes = 1e6
        ordering = asyncio.ensure_future(order_all(lab.engine, Command.ABORT, by="eva"))
        await asyncio.sleep(0.01)
        assert [lab.toy(name).safe for name in ("press", "arm", "stat1", "stat2")] == [[], [None], [None], [None]]
        ordered = await ordering
        assert "no answer within" in str(ordered.safe["press"])
        assert ordered.safe["arm"] is None


async def test_what_is_down_is_named_and_made_safe_as_soon_as_it_is_back(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("arm").refuse_poll = lab.toy("arm").refuse_connect = Unreachable("gone")
        while lab.lab.devices["arm"].connected:
            await asyncio.sleep(1)
        safe = (await order_all(lab.engine, Command.ABORT, by="eva")).safe
        assert safe["arm"] == "it is down and could not be told (gone); it is made safe as soon as it is back"
        assert safe["press"] is None
        assert lab.toy("arm").safe == []
        lab.toy("arm").refuse_poll = lab.toy("arm").refuse_connect = None
        await asyncio.sleep(60)
        assert lab.toy("arm").safe == [None]
        assert await made_safe(lab, "abort by eva, while it was away") == {"arm": None}


async def test_a_device_that_fails_once_is_made_safe_before_anything_else(bench: BenchMaker) -> None:
    async with bench() as lab:
        press = lab.toy("press")
        safe, problems = press.safe_state, [OutcomeUnknown("no answer")]

        async def once(unit: str | None = None) -> None:
            if problems:
                raise problems.pop()
            await safe(unit)

        press.safe_state = once  # type: ignore[method-assign]
        ordered = await order_all(lab.engine, Command.ABORT, by="eva")
        assert "no answer" in str(ordered.safe["press"])
        await asyncio.sleep(1)
        assert press.safe == [None]
        assert lab.lab.devices["press"].connected
        events = await lab.journal.events(kinds={"device.safe_state"})
        told = {event.data["problem"] for event in events if event.data["device"] == "press"}
        assert told == {"press.safe_state: no answer", None}


@pytest.mark.parametrize("everything", [True, False])
async def test_an_abort_of_a_run_too_takes_the_other_way_to_safety(bench: BenchMaker, everything: bool) -> None:
    press = {"driver": "press", "simulator": {}, "safe_by": {"device": "box", "action": "cut", "with": {"outlet": "p"}}}
    others = {name: {"driver": kind, "simulator": {}} for name, kind in [("arm", "arm"), ("s", "stat"), ("box", "box")]}
    async with bench({"devices": {"press": press, **others}}) as lab:
        lab.toy("press").script["open"] = [1000.0]
        run = await lab.start()
        await until_busy(lab, "press")
        lab.toy("press").safe_takes = 1e6
        if everything:
            await order_all(lab.engine, Command.ABORT, by="eva")
        else:
            await lab.engine.command(run, Command.ABORT, by="eva")
        await lab.engine.wait(run)
        assert "cut p" in lab.toy("box").happened


async def test_a_device_that_a_person_works_on_is_left_alone_and_its_debt_with_it(bench: BenchMaker) -> None:
    async with bench() as lab:
        await lab.engine.guards.upkeeps.begin("press", "new seal", "eva")
        ordered = await order_all(lab.engine, Command.ABORT, by="eva")
        assert ordered.left == {"press": "in maintenance: left alone"}
        assert "press" not in ordered.safe
        await lab.engine.guards.make_safe("press", "hot")
        await make_safe_at_last(lab.lab, ())
        press = lab.lab.devices["press"]
        press.owe_safe("somebody wants it")
        await asyncio.sleep(60)
        assert lab.toy("press").safe == []
        assert press.connected
        await lab.engine.guards.upkeeps.end("press", "eva")
        assert not press.connected, "first things first"
        await asyncio.sleep(1)
        assert lab.toy("press").safe == [None]
        assert press.connected


async def test_a_hold_of_everything_makes_nothing_safe_and_leaves_ended_runs_alone(bench: BenchMaker) -> None:
    async with bench() as lab:
        gone = await lab.start()
        await lab.engine.command(gone, Command.ABORT, by="eva")
        await lab.engine.wait(gone)
        safe = list(lab.toy("press").safe)
        run = await lab.start(position="tray/cells/B1")
        await asyncio.sleep(0.5)
        ordered = await order_all(lab.engine, Command.HOLD, by="eva")
        assert (ordered.runs, ordered.safe) == ((run,), {})
        await until(lab, run, "Held")
        assert lab.toy("press").safe == safe


async def test_a_driver_that_lets_go_slowly_does_not_keep_its_device_from_being_made_safe(bench: BenchMaker) -> None:
    async with bench() as lab:
        press, made_safe_at = lab.toy("press"), []

        async def stubborn(call: Call, name: str) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(4)  # it writes its last words
                press.happened.append("let go")

        async def safe_state(unit: str | None = None) -> None:
            made_safe_at.append((clock.monotonic(), list(press.happened)))

        press.act, press.safe_state = stubborn, safe_state  # type: ignore[method-assign, assignment]
        run = await lab.start()
        await until_busy(lab, "press")
        ordered = clock.monotonic()
        await lab.engine.command(run, Command.ABORT, by="eva")
        await lab.engine.wait(run)
        (first, before), (_, after) = made_safe_at
        assert first - ordered <= 0.25
        assert (before, after) == ([], ["let go"]), "once at once, and once more after its last words"


async def test_a_slow_disk_delays_no_safe_state(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [1000.0]
        run = await lab.start()
        await until_busy(lab, "press", 2)
        written = asyncio.Event()
        append = lab.journal.append

        async def slow(*events: Any, **more: Any) -> Any:
            await written.wait()
            return await append(*events, **more)

        lab.journal.append = slow  # type: ignore[method-assign]
        ordering = asyncio.ensure_future(order_all(lab.engine, Command.ABORT, by="eva"))
        await asyncio.sleep(0.25)
        assert lab.toy("press").safe, "bytes first"
        assert not ordering.done(), "and nothing is acknowledged before it is durable"
        written.set()
        assert (await ordering).runs == (run,)


@pytest.mark.parametrize("command", [Command.HOLD, Command.STOP, Command.ABORT])
async def test_a_run_whose_protocol_is_still_read_does_not_start_after_an_order_to_all(
    bench: BenchMaker, command: Command
) -> None:
    async with bench() as lab:
        starting = asyncio.ensure_future(lab.start())
        await asyncio.sleep(0)
        await order_all(lab.engine, command, by="eva")
        with pytest.raises(EngineError, match="while this one was read"):
            await starting
        assert (await lab.engine.wait(await lab.start())).outcome == "complete"
