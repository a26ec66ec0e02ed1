"""What is to be made safe when a device is back outlives the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from labd.journal import Journal
from labd.lab.debts import KEPT, without
from labd.run.lifecycle import Command
from labd.run.urgent import order_all
from labd.sdk import OutcomeUnknown
from tests.run.conftest import DEVICES, Bench, BenchMaker, at_work
from tests.run.waiting import until_busy
from tests.run.world import REAL, fresh


async def debts(lab: Bench) -> dict[str, dict[str, Any]]:
    return await lab.journal.kept(KEPT)


async def lose(lab: Bench, name: str) -> None:
    toy = lab.toy(name)
    toy.refuse_poll = toy.refuse_connect = OutcomeUnknown("no reading")
    while lab.lab.devices[name].connected:
        await asyncio.sleep(1)


async def secured(lab: Bench) -> list[tuple[str, str]]:
    events = await lab.journal.events(kinds={"device.safe_state"})
    return [(event.data["device"], event.data["cause"]) for event in events]


async def test_a_device_lost_while_it_acted_is_made_safe_also_after_a_restart(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [300.0]
        run = await lab.start()
        await until_busy(lab, "press", 2)
        await lose(lab, "press")
        (intended,) = [one for one in await lab.events(run, "action.intended") if one.data["action"] == "crimp"]
        why = f"the link was lost while {intended.data['action_id']} was under way"
        assert await debts(lab) == {f"{KEPT}press": {"due": {"": why}}}
    async with bench(missing=["press"]) as lab:
        await asyncio.sleep(60)
        assert await debts(lab) == {f"{KEPT}press": {"due": {"": why}}}
        lab.toy("press").refuse_connect = None
        await lab.lab.devices["press"].wait_ready()
        assert lab.toy("press").safe == [None]
        assert lab.toy("press").asked == []  # before the run asks it what became of its crimp
        assert (await secured(lab))[-1] == ("press", why)
        assert await debts(lab) == {}
    async with bench() as lab:
        assert lab.toy("press").safe == []  # once is enough


async def test_a_device_that_was_away_when_everything_was_aborted_is_made_safe_also_after_a_restart(
    bench: BenchMaker,
) -> None:
    async with bench(missing=["press"]) as lab:
        await order_all(lab.engine, Command.ABORT, by="eva")
    async with bench(missing=["press"]) as lab:
        lab.toy("press").refuse_connect = None
        await lab.lab.devices["press"].wait_ready()
        assert lab.toy("press").safe == [None]
        assert lab.toy("arm").safe == []
        assert (await secured(lab))[-1] == ("press", "abort by eva, while it was away")


async def test_what_goes_on_in_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    world = fresh()
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["stat.open_circuit"]:
            await asyncio.sleep(1)
    journal = await Journal.open(tmp_path / "journal.sqlite")
    journal.keep(f"{KEPT}stat1", {"due": {"": "smoke"}})
    journal.keep(f"{KEPT}stat2", {"due": {"": "smoke"}})
    await journal.close()
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        await asyncio.sleep(60)
        assert (lab.toy("stat1").safe, lab.toy("stat2").safe) == ([], [None])
        assert await debts(lab) == {}
        assert (await lab.engine.wait(run)).outcome == "complete"


async def test_what_goes_on_in_a_run_that_was_being_aborted_is_made_safe(tmp_path: Path) -> None:
    world = fresh()
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        run = await lab.start()
        while not world.effects["stat.open_circuit"]:
            await asyncio.sleep(1)
        await lose(lab, "stat1")
        await lab.engine.command(run, Command.ABORT, by="eva")
    async with at_work(tmp_path, DEVICES, REAL) as lab:
        assert (await lab.engine.wait(run)).outcome == "aborted"
        assert lab.toy("stat1").safe


async def test_a_device_that_left_the_lab_is_owed_still_when_it_is_back(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "journal.sqlite")
    journal.keep(f"{KEPT}stat2", {"due": {"": "smoke"}})
    await journal.close()
    async with at_work(tmp_path, {"press": "press"}) as lab:
        assert list(await debts(lab)) == [f"{KEPT}stat2"]
    async with at_work(tmp_path, {"stat2": "stat"}) as lab:
        await asyncio.sleep(60)
        assert lab.toy("stat2").safe == [None]


async def test_an_outcome_that_stays_unknown_after_a_restart_is_owed_when_the_link_is_lost(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [300.0]
        await lab.start()
        await until_busy(lab, "press", 2)
    async with bench() as lab:
        while not lab.toy("press").asked:
            await asyncio.sleep(1)
        await lose(lab, "press")
        lab.toy("press").refuse_poll = lab.toy("press").refuse_connect = None
        await lab.lab.devices["press"].wait_ready()
        assert lab.toy("press").safe == [None]


def test_a_debt_of_a_whole_device_becomes_one_of_the_units_that_do_not_go_on() -> None:
    assert without({"": "smoke", "2": "heat"}, ("1", "2", "3"), ()) == {"": "smoke", "2": "heat"}
    assert without({"": "smoke", "2": "heat"}, ("1", "2", "3"), {"1"}) == {"2": "heat", "3": "smoke"}
    assert without({"": "smoke"}, ("",), {""}) == {}
