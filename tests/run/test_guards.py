"""Maintenance, devices that are gone, other paths to safety, and alarms that somebody has seen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Journal
from labd.lab.bus import Alarm
from labd.lab.interlocks import GuardError, UnknownNameError
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.sdk import OutcomeUnknown
from tests.run.conftest import Bench, BenchMaker
from tests.run.waiting import until_busy
from tests.toys import toy_lab


async def told(lab: Bench, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in await lab.journal.events(kinds={kind})]


# ── maintenance ──────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_device_in_maintenance_is_given_to_no_run_also_after_a_restart(bench: BenchMaker) -> None:
    async with bench() as lab:
        await lab.engine.guards.upkeeps.begin("press", "new seal", "eva")
        with pytest.raises(GuardError, match=r"in maintenance since .* by eva: new seal: end that first"):
            await lab.engine.guards.upkeeps.begin("press", "new die", "mk")
    async with bench() as lab:
        run = await lab.start()
        await asyncio.sleep(60)
        cause = (await lab.engine.state(run)).cause
        assert cause is not None
        assert cause.startswith("waits for a crimper: press is in maintenance since ")
        assert cause.endswith(" by eva: new seal")
        assert "by eva: new seal" in str(lab.lab.devices["press"].state().problem)
        await lab.engine.guards.upkeeps.end("press", "mk")
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert await told(lab, "device.maintenance") == [
            {"device": "press", "on": True, "reason": "new seal", "by": "eva"},
            {"device": "press", "on": False, "reason": None, "by": "mk"},
        ]
    async with bench() as lab:
        assert lab.lab.devices["press"].upkeep is None


async def test_a_device_that_a_run_has_stays_with_it(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start()
        await until_busy(lab, "press")
        with pytest.raises(GuardError, match=f"{run} has press: wait for the end, or stop it"):
            await lab.engine.guards.upkeeps.begin("press", "new seal", "eva")
        with pytest.raises(UnknownNameError, match="did you mean `press`"):
            await lab.engine.guards.upkeeps.begin("prass", "new seal", "eva")
        with pytest.raises(GuardError, match="stat1 is not in maintenance"):
            await lab.engine.guards.upkeeps.end("stat1", "eva")


async def test_what_lab_yaml_says_holds_until_somebody_says_that_it_is_over(bench: BenchMaker) -> None:
    def lab_yaml(reason: str) -> dict[str, Any]:
        maintenance = {"reason": reason, "by": "mk", "since": "2026-03-01"}
        devices = {name: {"driver": name, "simulator": {}} for name in ("arm", "stat")}
        return {"devices": {"press": {"driver": "press", "simulator": {}, "maintenance": maintenance}, **devices}}

    async with bench(lab_yaml("new die")) as lab:
        assert str(lab.lab.devices["press"].upkeep) == "in maintenance since 2026-03-01 by mk: new die"
        await lab.engine.guards.upkeeps.end("press", "mk")
    async with bench(lab_yaml("new die")) as lab:
        assert lab.lab.devices["press"].upkeep is None  # the same words are over
    async with bench(lab_yaml("new seal")) as lab:
        assert lab.lab.barriers.reason_for({"press"}) == "press is in maintenance since 2026-03-01 by mk: new seal"


# ── devices that are gone ────────────────────────────────────────────────────────────────────────────────────────
async def test_a_device_that_is_down_for_a_minute_is_an_alarm_until_it_is_back(bench: BenchMaker) -> None:
    async with bench() as lab:
        toy = lab.toy("press")
        toy.refuse_poll = toy.refuse_connect = OutcomeUnknown("no reading")
        while lab.lab.devices["press"].health != "down":
            await asyncio.sleep(1)
        await asyncio.sleep(50)
        assert lab.lab.alarms.active == ()
        await asyncio.sleep(20)
        (alarm,) = lab.lab.alarms.active
        assert (alarm.id, alarm.severity, alarm.about) == ("device-press-down", "warning", "press")
        assert alarm.text == "press is down: no reading; runs that need it wait"
        toy.refuse_poll = toy.refuse_connect = None
        await asyncio.sleep(60)
        assert lab.lab.alarms.active == ()


async def test_a_device_in_maintenance_may_be_gone(bench: BenchMaker) -> None:
    async with bench(missing=["stat2"]) as lab:
        await lab.engine.guards.upkeeps.begin("stat2", "new cables", "eva")
        await asyncio.sleep(300)
        assert lab.lab.alarms.active == ()


async def test_another_device_makes_one_safe_whose_link_is_lost_while_it_acts(bench: BenchMaker) -> None:
    devices = {
        name: {"driver": kind, "simulator": {}} for name, kind in [("arm", "arm"), ("s", "stat"), ("box", "box")]
    }
    press = {"driver": "press", "simulator": {}, "safe_by": {"device": "box", "action": "cut", "with": {"outlet": "p"}}}
    async with bench({"devices": {"press": press, **devices}}) as lab:
        toy = lab.toy("press")
        toy.script["crimp"] = [30.0]
        await lab.start()
        await until_busy(lab, "press", 2)
        toy.refuse_poll = toy.refuse_connect = OutcomeUnknown("no reading")
        while lab.lab.devices["press"].connected:
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        assert lab.toy("box").happened == ["cut p"]
        (safe,) = await told(lab, "device.safe_state")
        assert (safe["device"], safe["safe_by"], safe["problem"]) == ("press", "box.cut", None)
        toy.refuse_poll = toy.refuse_connect = None
        await asyncio.sleep(60)
        assert toy.safe == [None]


async def test_two_that_want_a_device_safe_at_once_share_what_another_device_does(bench: BenchMaker) -> None:
    press = {"driver": "press", "simulator": {}, "safe_by": {"device": "box", "action": "cut", "with": {"outlet": "p"}}}
    box = {"driver": "box", "simulator": {}}
    async with bench({"devices": {"press": press, "box": box}}, missing=["press"]) as lab:
        toy = lab.toy("box")
        toy.script["cut"] = [2.0, 2.0]
        guards = lab.engine.guards
        await asyncio.gather(guards.make_safe("press", "oxygen"), guards.make_safe("press", "heat"))
        assert toy.happened == ["cut p"]
        assert lab.lab.devices["box"].busy_with == ()
        await guards.make_safe("press", "smoke")
        assert toy.happened == ["cut p"] * 2
        by_other = [one for one in await told(lab, "device.safe_state") if "safe_by" in one]
        assert [one["cause"] for one in by_other] == ["oxygen", "smoke"]


# ── alarms ───────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_who_has_seen_an_alarm_stands_in_it_and_in_the_journal(bench: BenchMaker) -> None:
    async with bench() as lab:
        alarms = lab.lab.alarms
        with pytest.raises(UnknownNameError, match="there is no alarm 'disk'; none is active"):
            await lab.engine.guards.acknowledge("disk", "eva")
        alarms.tell("disk", "warning", "lab", "2 % left")
        with pytest.raises(UnknownNameError, match="did you mean `disk`"):
            await lab.engine.guards.acknowledge("dsik", "eva")
        assert (await lab.engine.guards.acknowledge("disk", "eva")).acknowledged_by == "eva"
        assert await told(lab, "alarm.acknowledged") == [{"alarm": "disk", "by": "eva"}]
        alarms.tell("disk", "warning", "lab", "1 % left")
        assert alarms.active[0].acknowledged_by == "eva"
        alarms.tell("disk", "critical", "lab", "it is full")
        assert alarms.active[0].acknowledged_by is None


async def taken_up(path: Path, devices: dict[str, str]) -> tuple[Lab, list[Alarm]]:
    """A start of the guards alone: the lab, and what was told of alarms."""
    lab, heard = toy_lab(path, devices), []
    lab.bus.subscribe(lambda happening: heard.append(happening) if isinstance(happening, Alarm) else None)
    journal = await Journal.open(path / "journal.sqlite")
    try:
        await Engine(lab, journal, None).guards.take_up()  # type: ignore[arg-type]
    finally:
        await journal.close()
    return lab, heard


async def test_alarms_that_have_ended_with_the_last_daemon_are_told_to_be_over(
    bench: BenchMaker, tmp_path: Path
) -> None:
    rule = {"name": "oxygen", "if": "box.oxygen > 50 ppm", "then": "abort"}
    async with bench({"interlocks": [rule]}, press="press", box="box") as lab:
        lab.toy("box").reads["oxygen"] = 80.0
        lab.lab.alarms.tell("disk", "warning", "lab", "2 % left")
        await asyncio.sleep(60)
        before = {alarm.id: alarm for alarm in lab.lab.alarms.active}
        assert set(before) >= {"disk", "interlock-oxygen"}
    for _ in range(2):  # also where the broker was away at the first start
        _, heard = await taken_up(tmp_path, {"press": "press", "box": "box"})
        over = {alarm.id for alarm in heard if alarm.ended}
        assert over >= {"disk", "interlock-oxygen"}


async def test_an_alarm_that_is_still_so_keeps_its_time_and_who_has_seen_it(bench: BenchMaker) -> None:
    devices = {"press": "press", "box": "box"}
    async with bench(missing=["box"], **devices) as lab:
        await asyncio.sleep(120)
        await lab.engine.guards.acknowledge("device-box-down", "eva")
        (before,) = lab.lab.alarms.active
    async with bench(missing=["box"], **devices) as lab:
        assert lab.lab.alarms.active == (before,)
        await asyncio.sleep(120)
        assert lab.lab.alarms.active == (before,)
        lab.toy("box").refuse_connect = None
        await asyncio.sleep(60)
        assert lab.lab.alarms.active == ()
    async with bench(**devices) as lab:
        assert lab.lab.alarms.active == ()
