"""Cleanup at work: on stop, abort and scrap, with the devices that the run had and that still answer."""

from __future__ import annotations

import asyncio

import pytest

from labd.run.lifecycle import Command
from labd.sdk import Fault, Unreachable
from tests.run.conftest import BenchMaker
from tests.run.test_language import SHUT, protocol
from tests.run.waiting import until, until_busy

CLEANUP = "cleanup:\n  - do: press.open\n  - do: arm.home\n"
WORK = """\
  first:
    do: press.close
    next: work
  work:
    steps:
      - do: arm.move
        with: {position: tray/cells/A1}
      - wait: 1 h
    catch: {fault: scrap}
    next: done
"""
TEXT = protocol(WORK, CLEANUP).replace("start: work", "start: first")


@pytest.mark.parametrize("command", [Command.STOP, Command.ABORT])
async def test_on_stop_and_abort(bench: BenchMaker, command: Command) -> None:
    async with bench() as lab:
        run = await lab.start(TEXT)
        await until_busy(lab, "arm")
        await lab.engine.command(run, command, by="eva")
        state = await lab.engine.wait(run)
        assert state.outcome == {"stop": "stopped", "abort": "aborted"}[command.value]
        assert lab.toy("press").happened == ["close", "open"]  # the press of the state before: it had it
        assert lab.toy("arm").happened[-1] == "home"
        kinds = [event.kind for event in await lab.events(run, "cleanup.started", "cleanup.ended", "run.ended")]
        assert kinds == ["cleanup.started", "cleanup.ended", "run.ended"]


async def test_on_scrap(bench: BenchMaker) -> None:
    async with bench() as lab:
        lab.toy("arm").script["move"] = [Fault("E-stop")]
        run = await lab.start(TEXT)
        state = await lab.engine.wait(run)
        assert (state.state, state.outcome) == ("Complete", "scrapped")
        assert lab.toy("press").happened == ["close", "open"]


async def test_not_on_complete(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(TEXT)
        assert (await lab.engine.wait(run)).outcome == "complete"
        assert lab.toy("press").happened == ["close"]


async def test_while_it_is_held(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(TEXT)
        await until_busy(lab, "arm")
        await lab.engine.command(run, Command.HOLD, by="eva")
        await until(lab, run, "Held")
        await lab.engine.command(run, Command.STOP, by="eva")
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert lab.toy("press").happened == ["close", "open"]


async def test_what_is_down_is_passed_over(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(TEXT)
        await until_busy(lab, "arm")
        lab.toy("press").refuse_poll = lab.toy("press").refuse_connect = Unreachable("unplugged")
        await asyncio.sleep(120)
        await lab.engine.command(run, Command.STOP, by="eva")
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert lab.toy("press").happened == ["close"]
        assert lab.toy("arm").happened[-1] == "home"
        skipped = [e.data["value"] for e in await lab.events(run, "protocol.decided") if e.data["what"] == "skip"]
        assert skipped == ["press.open: no device serves press now"]


async def test_what_another_run_has_now_is_left_alone(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(TEXT)
        await until_busy(lab, "arm")
        other = await lab.start(
            protocol("  work:\n    steps: [{do: press.open}, {wait: 1 h}]\n    next: done\n"), position="tray/cells/B1"
        )
        await until_busy(lab, "press")
        await lab.engine.command(run, Command.STOP, by="eva")
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert lab.toy("press").happened == ["close", "open"]  # the other run's own
        await lab.engine.wait(other)


OTHER = """\
  work:
    steps:
      - do: arm.pick
        with: {place: =sample.position}
      - do: arm.place
        with: {place: =press.place}
    next: pause
  pause:
    wait: 2 h
    next: done
"""


async def test_what_another_runs_sample_is_in_is_left_alone(bench: BenchMaker) -> None:
    first = "  first:\n    do: press.close\n    next: work\n  work:\n    wait: 1 h\n    next: done\n"
    async with bench() as lab:
        text = protocol(first, "cleanup: [{do: press.open}]\n").replace("start: work", "start: first")
        run = await lab.start(text)
        await asyncio.sleep(30)
        other = await lab.start(protocol(OTHER), position="tray/cells/B1")
        await asyncio.sleep(60)
        assert lab.lab.places.sample_at("press/nest") == (await lab.engine.state(other)).sample
        await lab.engine.command(run, Command.STOP, by="eva")
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert lab.toy("press").happened == ["close"]
        await lab.engine.wait(other)


async def test_what_fails_is_passed_over(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(TEXT)
        await until_busy(lab, "arm")
        lab.toy("press").script["open"] = [Fault("E-stop")]
        await lab.engine.command(run, Command.STOP, by="eva")
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert lab.toy("arm").happened[-1] == "home"


async def test_it_is_done_once_also_when_an_abort_comes_after_a_stop(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(TEXT)
        await until_busy(lab, "arm")
        lab.toy("press").script["open"] = [20.0]
        await lab.engine.command(run, Command.STOP, by="eva")
        await asyncio.sleep(5)
        await lab.engine.command(run, Command.ABORT, by="eva")
        assert (await lab.engine.wait(run)).outcome == "aborted"
        assert len(await lab.events(run, "cleanup.started")) == 1


async def test_it_may_wait_for_a_signal(bench: BenchMaker) -> None:
    clean = "cleanup:\n  - wait: {until: press.force < 1 kN, within: 10 min}\n  - do: press.open\n"
    async with bench() as lab:
        run = await lab.start(protocol(WORK, clean).replace("start: work", "start: first"))
        await until_busy(lab, "arm")
        lab.toy("press").reads["force"] = 5.0
        await asyncio.sleep(30)
        await lab.engine.command(run, Command.STOP, by="eva")
        await asyncio.sleep(60)
        assert lab.toy("press").happened == ["close"]
        lab.toy("press").reads["force"] = 0.0
        async with asyncio.timeout(60):
            await lab.engine.wait(run)
        assert lab.toy("press").happened == ["close", "open"]


async def test_a_called_protocol_that_is_under_way_cleans_up_first(bench: BenchMaker) -> None:
    states = "  work:\n    call: shut@1\n    roles: {ram: press}\n    next: done\n"
    called = SHUT.replace("    do: ram.crimp\n", "    do: ram.crimp\n    within: 1 h\n") + "cleanup: [{do: ram.open}]\n"
    async with bench() as lab:
        lab.toy("press").script["crimp"] = [50.0]
        run = await lab.start(protocol(states, "cleanup: [{do: arm.home}]\n"), called={"shut": called})
        await until_busy(lab, "press")
        await lab.engine.command(run, Command.STOP, by="eva")
        assert (await lab.engine.wait(run)).outcome == "stopped"
        assert lab.toy("press").happened == ["crimp", "open"]
        skipped = [e.data["value"] for e in await lab.events(run, "protocol.decided") if e.data["what"] == "skip"]
        assert skipped == ["arm.home: no device serves arm now"]  # it never had one
