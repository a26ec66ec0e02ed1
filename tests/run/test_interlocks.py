"""Interlocks on the whole lab: what trips them, what they do, and how they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from labd.journal import Event, JournalError, NewEvent
from labd.lab.interlocks import GuardError, UnknownNameError, Watch
from labd.run.engine import CommandRefusedError
from labd.run.lifecycle import Command
from labd.sdk import OutcomeUnknown, Rejected
from tests.run.conftest import Bench, BenchMaker
from tests.run.waiting import until, until_busy

OXYGEN = {"name": "oxygen", "if": "box.oxygen > 50 ppm", "for": "10 s", "then": "hold"}
ALL = {"press": "press", "arm": "arm", "stat1": "stat", "stat2": "stat", "box": "box"}


def with_rule(**more: Any) -> dict[str, Any]:
    return {"interlocks": [{**OXYGEN, **more}]}


def watch(lab: Bench, name: str = "oxygen") -> Watch:
    return lab.engine.guards.interlocks.watches[name]


async def told(lab: Bench, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in await lab.journal.events(kinds={kind})]


# ── tripping ─────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_it_holds_the_runs_and_says_why(bench: BenchMaker) -> None:
    async with bench(with_rule(), **ALL) as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        lab.toy("box").reads["oxygen"] = 80.0
        await until(lab, run, "Held")
        state = await lab.engine.state(run)
        assert state.cause is not None
        assert state.cause.startswith("interlock oxygen: box.oxygen > 50 ppm (box.oxygen 80 ppm) since ")
        (alarm,) = lab.lab.alarms.active
        assert (alarm.id, alarm.severity, alarm.about) == ("interlock-oxygen", "problem", "box")
        assert alarm.text.startswith(state.cause)
        (tripped,) = await told(lab, "interlock.tripped")
        assert tripped["because"] == "box.oxygen 80 ppm"
        assert (tripped["name"], tripped["condition"], tripped["then"]) == ("oxygen", "box.oxygen > 50 ppm", "hold")
        assert tripped["runs"] == [run]
        with pytest.raises(CommandRefusedError, match=r"cannot go on: interlock oxygen: box\.oxygen > 50 ppm"):
            await lab.engine.command(run, Command.UNHOLD, by="eva")


async def test_one_that_does_not_latch_ends_by_itself_and_the_run_waits_for_a_person(bench: BenchMaker) -> None:
    async with bench(with_rule(), **ALL) as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        lab.toy("box").reads["oxygen"] = 80.0
        await until(lab, run, "Held")
        lab.toy("box").reads["oxygen"] = 2.0
        await asyncio.sleep(60)
        assert watch(lab).tripped is None
        assert lab.lab.alarms.active == ()
        (cleared,) = await told(lab, "interlock.cleared")
        assert cleared == {"name": "oxygen", "by": "labd", "why": "box.oxygen 2 ppm"}
        assert (await lab.engine.state(run)).state == "Held"
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_a_condition_must_hold_without_a_break(bench: BenchMaker) -> None:
    async with bench(with_rule(), **ALL) as lab:
        box = lab.toy("box")
        for _ in range(5):
            box.reads["oxygen"] = 80.0
            await asyncio.sleep(15)  # an idle poll every 10 s sees it, and from then on it is read every second
            box.reads["oxygen"] = 2.0
            await asyncio.sleep(15)
        trips = len(await told(lab, "interlock.tripped"))
        box.reads["oxygen"] = 80.0
        await asyncio.sleep(25)
        assert watch(lab).tripped is not None
        assert len(await told(lab, "interlock.tripped")) == trips + 1


async def test_a_short_peak_does_not_trip_it(bench: BenchMaker) -> None:
    async with bench(with_rule(), **ALL) as lab:
        await asyncio.sleep(1)
        lab.toy("box").reads["oxygen"] = 80.0
        while watch(lab).true_since is None:
            await asyncio.sleep(0.1)
        await asyncio.sleep(8)
        lab.toy("box").reads["oxygen"] = 2.0
        await asyncio.sleep(60)
        assert await told(lab, "interlock.tripped") == []


async def test_without_a_run_it_makes_the_named_devices_safe(bench: BenchMaker) -> None:
    async with bench(with_rule(then="abort", devices=["press"]), **ALL) as lab:
        lab.toy("box").reads["oxygen"] = 80.0
        await asyncio.sleep(60)
        assert lab.toy("press").safe == [None]
        assert lab.toy("arm").safe == []
        (alarm,) = lab.lab.alarms.active
        assert alarm.severity == "critical"
        (safe,) = await told(lab, "device.safe_state")
        assert (safe["device"], safe["problem"]) == ("press", None)
        assert safe["cause"].startswith("interlock oxygen")


async def test_an_abort_ends_only_the_runs_that_use_its_devices(bench: BenchMaker) -> None:
    async with bench(with_rule(then="abort", devices=["press"], **{"for": "0 s"}), **ALL) as lab:
        lab.toy("press").script["crimp"] = [30.0]
        first = await lab.start()
        await until_busy(lab, "press", 2)
        second = await lab.start(position="tray/cells/A2")
        lab.toy("box").reads["oxygen"] = 80.0
        await lab.engine.wait(first)
        assert (await lab.engine.state(first)).outcome == "aborted"
        await asyncio.sleep(60)
        state = await lab.engine.state(second)
        assert state.ended is None
        assert state.cause is not None
        assert "interlock oxygen" in state.cause


async def test_devices_are_made_safe_before_the_disk_has_answered(
    bench: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(with_rule(then="abort", **{"for": "0 s"}), **ALL) as lab:
        disk, append = asyncio.Event(), lab.journal.append

        async def slow(*events: NewEvent, **more: Any) -> list[Event]:
            if any(event.kind == "command.accepted" for event in events):
                await disk.wait()
            return await append(*events, **more)

        lab.toy("press").script["crimp"] = [300.0]
        run = await lab.start()
        await until_busy(lab, "press", 2)
        monkeypatch.setattr(lab.journal, "append", slow)
        lab.toy("box").reads["oxygen"] = 80.0
        await asyncio.sleep(20)
        assert lab.toy("press").safe
        assert lab.toy("stat1").safe == [None]
        assert await told(lab, "interlock.tripped") == []
        disk.set()
        await lab.engine.wait(run)
        await asyncio.sleep(60)
        (tripped,) = await told(lab, "interlock.tripped")
        assert tripped["runs"] == [run]


async def test_a_journal_that_takes_nothing_keeps_no_device_from_being_told(
    bench: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise JournalError("the disk is gone")

    with pytest.RaisesGroup(pytest.RaisesExc(JournalError), allow_unwrapped=True, flatten_subgroups=True):
        async with bench(with_rule(then="abort", **{"for": "0 s"}), **ALL) as lab:
            monkeypatch.setattr(lab.journal, "keep", broken)
            monkeypatch.setattr(lab.journal, "post", broken)
            lab.toy("box").reads["oxygen"] = 80.0
            try:
                await asyncio.sleep(20)
            finally:
                assert lab.toy("press").safe == [None]
                assert lab.lab.devices["box"].health == "ok"  # it is not its driver that failed


async def test_a_stop_ends_the_run_in_order(bench: BenchMaker) -> None:
    async with bench(with_rule(then="stop"), **ALL) as lab:
        run = await lab.start()
        await until_busy(lab, "stat1")
        lab.toy("box").reads["oxygen"] = 80.0
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert lab.toy("stat1").happened == ["open_circuit"]


async def test_nothing_new_is_begun_on_the_devices_that_are_locked(bench: BenchMaker) -> None:
    async with bench(with_rule(devices=["press"], **{"for": "0 s"}), **ALL) as lab:
        lab.toy("box").reads["oxygen"] = 80.0
        await asyncio.sleep(20)
        run = await lab.start()
        await asyncio.sleep(60)
        cause = (await lab.engine.state(run)).cause
        assert cause is not None
        assert cause.startswith("waits for a crimper: interlock oxygen: box.oxygen > 50 ppm")
        assert lab.toy("press").happened == []
        lab.toy("box").reads["oxygen"] = 2.0
        assert (await lab.engine.wait(run)).outcome == "complete"


# ── what nobody can tell ─────────────────────────────────────────────────────────────────────────────────────────
async def test_a_signal_that_is_lost_trips_it_too_and_says_so(bench: BenchMaker) -> None:
    async with bench(with_rule(), **ALL) as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        lab.toy("box").refuse_poll = OutcomeUnknown("no reading")
        lab.toy("box").refuse_connect = OutcomeUnknown("no answer")
        await until(lab, run, "Held")
        cause = (await lab.engine.state(run)).cause
        assert cause is not None
        assert cause.startswith("interlock oxygen: nobody knows whether box.oxygen > 50 ppm (box.oxygen is not there)")
        lab.toy("box").refuse_poll = lab.toy("box").refuse_connect = None
        await asyncio.sleep(120)
        assert watch(lab).tripped is None  # it does not latch


async def test_a_short_loss_of_a_signal_is_no_cause(bench: BenchMaker) -> None:
    async with bench(with_rule(), **ALL) as lab:
        await asyncio.sleep(5)
        lab.toy("box").refuse_poll = OutcomeUnknown("no reading")
        await asyncio.sleep(20)
        lab.toy("box").refuse_poll = None
        await asyncio.sleep(120)
        assert await told(lab, "interlock.tripped") == []


async def test_a_device_that_was_never_there_locks_what_it_guards_and_nothing_else(bench: BenchMaker) -> None:
    lab_yaml = with_rule(then="abort", devices=["press"])
    async with bench(lab_yaml, missing=["box"], **ALL) as lab:
        await asyncio.sleep(120)
        assert lab.lab.barriers.reason_for({"arm", "stat1", "stat2"}) is None
        reason = lab.lab.barriers.reason_for({"press"})
        assert reason == "interlock oxygen: nobody could tell yet whether box.oxygen > 50 ppm (box.oxygen is not there)"
        assert await told(lab, "interlock.tripped") == []  # nothing was ended, and nobody has to clear it
        assert lab.toy("press").safe == []
        lab.toy("box").refuse_connect = None
        await asyncio.sleep(60)
        assert lab.lab.barriers.reason_for({"press"}) is None
        assert (await lab.engine.wait(await lab.start())).outcome == "complete"


async def test_the_time_of_not_knowing_does_not_count_as_holding(bench: BenchMaker) -> None:
    async with bench(with_rule(**{"for": "60 s"}), missing=["box"], **ALL) as lab:
        await asyncio.sleep(300)
        assert watch(lab).blind
        lab.toy("box").reads["oxygen"] = 80.0
        lab.toy("box").refuse_connect = None
        while watch(lab).true_since is None:
            await asyncio.sleep(0.1)
        await asyncio.sleep(50)
        assert watch(lab).tripped is None
        assert lab.lab.barriers.reason_for({"press"}) is not None  # it was no all-clear either
        await asyncio.sleep(15)
        assert watch(lab).tripped is not None


async def test_a_signal_that_comes_and_goes_neither_counts_nor_breaks_the_time(bench: BenchMaker) -> None:
    async with bench(with_rule(**{"for": "60 s"}), **ALL) as lab:
        box = lab.toy("box")
        box.reads["oxygen"] = 80.0
        while watch(lab).true_since is None:
            await asyncio.sleep(0.1)
        for _ in range(2):
            await asyncio.sleep(20)
            box.refuse_poll = Rejected("no reading")
            await asyncio.sleep(2)  # degraded, and not yet lost
            box.refuse_poll = None
            assert watch(lab).unknown_since is not None
            await asyncio.sleep(2)
            assert watch(lab).unknown_since is None
        assert watch(lab).tripped is None
        await asyncio.sleep(25)
        assert watch(lab).tripped is not None


async def test_what_is_known_may_decide_alone(bench: BenchMaker) -> None:
    rule = {"if": "box.oxygen > 50 ppm or arm.error", "for": "0 s"}
    async with bench(with_rule(**rule), missing=["box"], **ALL) as lab:
        lab.toy("arm").reads["error"] = True
        await asyncio.sleep(15)
        tripped = watch(lab).tripped
        assert tripped is not None
        assert tripped.because == "box.oxygen is not there, arm.error yes"


# ── latches ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_latch_stays_until_a_person_clears_it_and_not_before_it_is_over(bench: BenchMaker) -> None:
    async with bench(with_rule(latch=True), **ALL) as lab:
        guards = lab.engine.guards.interlocks
        with pytest.raises(GuardError, match="has not tripped"):
            await guards.clear("oxygen", "eva")
        with pytest.raises(UnknownNameError, match="did you mean `oxygen`"):
            await guards.clear("oxigen", "eva")
        lab.toy("box").reads["oxygen"] = 80.0
        await asyncio.sleep(60)
        with pytest.raises(
            GuardError, match=r"cannot be cleared: box\.oxygen > 50 ppm still holds \(box\.oxygen 80 ppm\)"
        ):
            await guards.clear("oxygen", "eva")
        lab.toy("box").reads["oxygen"] = 2.0
        await asyncio.sleep(60)
        assert watch(lab).tripped is not None
        await guards.clear("oxygen", "eva")
        assert watch(lab).tripped is None
        assert lab.lab.alarms.active == ()
        assert await told(lab, "interlock.cleared") == [{"name": "oxygen", "by": "eva", "why": "box.oxygen 2 ppm"}]


async def test_a_latch_survives_a_restart(bench: BenchMaker) -> None:
    async with bench(with_rule(then="abort"), **ALL) as lab:
        lab.toy("box").reads["oxygen"] = 80.0
        await asyncio.sleep(60)
    async with bench(with_rule(then="abort"), **ALL) as lab:
        await asyncio.sleep(60)
        (alarm,) = lab.lab.alarms.active
        assert alarm.id == "interlock-oxygen"
        assert lab.lab.barriers.reason_for({"press"}) is not None
        await lab.engine.guards.interlocks.clear("oxygen", "eva")
    async with bench(with_rule(then="abort"), **ALL) as lab:
        await asyncio.sleep(60)
        assert lab.lab.alarms.active == ()
        assert len(await told(lab, "interlock.tripped")) == 1


async def test_what_the_last_daemon_had_no_time_for_is_done_after_a_restart(bench: BenchMaker) -> None:
    async with bench(with_rule(then="abort"), **ALL) as lab:
        kept = {
            "since": "2026-03-01T09:00:00.000Z",
            "because": "box.oxygen 80 ppm",
            "reason": "interlock oxygen: 80 ppm",
        }
        lab.journal.keep("interlock/oxygen", {**kept, "acted": False})
    async with bench(with_rule(then="abort"), missing=["press"], **ALL) as lab:
        await asyncio.sleep(60)
        assert lab.toy("stat1").safe == [None]
        (tripped,) = await told(lab, "interlock.tripped")
        assert (tripped["because"], tripped["cause"]) == (kept["because"], kept["reason"])
    async with bench(with_rule(then="abort"), **ALL) as lab:
        await asyncio.sleep(60)
        assert lab.toy("press").safe == [None]  # it could not be made safe before
        assert lab.toy("stat1").safe == []
        assert len(await told(lab, "interlock.tripped")) == 1


async def test_one_that_is_no_longer_in_lab_yaml_has_ended(bench: BenchMaker) -> None:
    async with bench(with_rule(then="abort"), **ALL) as lab:
        lab.toy("box").reads["oxygen"] = 80.0
        await asyncio.sleep(60)
    async with bench(**ALL) as lab:
        assert lab.lab.barriers.reason_for({"press"}) is None
        (cleared,) = await told(lab, "interlock.cleared")
        assert cleared == {"name": "oxygen", "by": "labd", "why": "it is no longer in lab.yaml"}


# ── E-stops ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_an_estop_holds_the_runs_of_its_device_and_locks_it_until_it_is_cleared(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        lab.toy("press").reads["estop"] = True
        await until(lab, run, "Held")
        assert watch(lab, "press-estop").tripped is not None
        lab.toy("press").reads["estop"] = False
        await asyncio.sleep(30)
        with pytest.raises(CommandRefusedError, match="labd clear --interlock press-estop"):
            await lab.engine.command(run, Command.UNHOLD, by="eva")
        await lab.engine.guards.interlocks.clear("press-estop", "eva")
        await lab.engine.command(run, Command.UNHOLD, by="eva")
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_a_press_that_is_gone_is_not_taken_for_one_whose_estop_is_pressed(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").refuse_poll = OutcomeUnknown("no reading")
        await asyncio.sleep(600)
        lab.toy("press").refuse_poll = None
        await asyncio.sleep(60)
        assert await told(lab, "interlock.tripped") == []
