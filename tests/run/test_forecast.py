"""How far a run is, and when it will end: what is expected of its states, less what has passed."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from labd import clock
from labd.lab.bus import RunState
from labd.protocol import Machine, load
from labd.protocol.proofs.outlook import Outlook
from labd.run.forecast import NEARLY, Forecast
from labd.run.lifecycle import Command
from tests.run.conftest import DEVICES, BenchMaker, at_work

REST = """\
labd: 1
protocol: rests
version: 1.0.0
summary: Rest for an hour, for two, ask, and rest for one more.
roles: {stat: potentiostat}
start: first
states:
  first:
    do: stat.open_circuit
    with: {duration: 1 h, interval: 60 s}
    next: second
  second:
    wait: 2 h
    next: look
  look:
    ask: Go on?
    choices: {yes: third, no: scrap}
    within: 1 h
    otherwise: scrap
  third:
    wait: 1 h
    next: done
  done: {end: complete}
  scrap: {end: scrapped}
"""
HOUR = 3600.0


def outlook(text: str = REST) -> Outlook:
    return Machine(load(text), {}).outlook


class Watch:
    """Lab seconds, set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def left(state: RunState) -> float:
    """Hours until the end that a run tells."""
    assert state.expected_end is not None
    return (datetime.fromisoformat(state.expected_end) - clock.now()).total_seconds() / HOUR


# ── the estimate itself ──────────────────────────────────────────────────────────────────────────────────────────
def test_the_usual_way_leads_to_the_good_end() -> None:
    found = outlook()
    assert found.after("first") == ("second", "look", "third")
    assert found.after("look") == ("third",)
    assert found.seconds["second"] == 2 * HOUR
    assert found.vague == frozenset()  # an answer is not waited for long when all goes well


def test_time_in_a_state_moves_progress_and_leaves_the_end_where_it_is() -> None:
    watch = Watch()
    forecast = Forecast(outlook(), watch)
    forecast.enter("first", 1)
    forecast.begin()
    whole = forecast.seconds_left
    assert whole == pytest.approx(4 * HOUR, rel=0.02)
    watch.now = HOUR / 2
    assert forecast.seconds_left == pytest.approx(whole - HOUR / 2)
    assert forecast.progress == pytest.approx(1 / 8, abs=0.01)
    watch.now = 2 * HOUR  # it takes longer than it should: the end moves, and progress waits for the next state
    assert forecast.seconds_left == pytest.approx(3 * HOUR)
    assert forecast.progress == pytest.approx(1 / 4, abs=0.01)


def test_a_state_that_waits_for_its_device_has_not_begun() -> None:
    watch = Watch()
    forecast = Forecast(outlook(), watch)
    forecast.enter("second", 1)
    watch.now = 5 * HOUR
    assert forecast.seconds_left == pytest.approx(3 * HOUR)
    assert forecast.progress == 0.0


def test_progress_never_falls_when_a_state_comes_again() -> None:
    watch = Watch()
    forecast = Forecast(outlook(), watch)
    seen = []
    for visit, state in enumerate(("first", "second", "first", "second", "look", "third"), 1):
        forecast.enter(state, visit)
        forecast.begin()
        seen.append(forecast.progress)
        watch.now += HOUR
        seen.append(forecast.progress)
    assert seen == sorted(seen)
    watch.now += 100 * HOUR
    assert forecast.progress <= NEARLY


def test_what_was_learnt_goes_before_what_is_expected() -> None:
    forecast = Forecast(outlook(), Watch())
    forecast.learn({"second": 60.0}.get)
    assert forecast.seconds_left == pytest.approx(2 * HOUR + 60, rel=0.02)


VAGUE = """\
labd: 1
protocol: vague
version: 1.0.0
summary: Wait for a voltage.
roles: {stat: potentiostat}
start: until
states:
  until:
    wait: {until: stat.voltage > 3 V, within: 8 h}
    next: done
  done: {end: complete}
"""


def test_what_nobody_knows_has_no_expected_end_until_it_is_learnt() -> None:
    forecast = Forecast(outlook(VAGUE), Watch())
    assert forecast.expected_end is None
    forecast.learn(lambda _: 120.0)
    assert forecast.seconds_left == 120.0


def test_a_state_that_only_asks_is_a_part_of_the_way_too() -> None:
    asks = REST.replace("do: stat.open_circuit\n    with: {duration: 1 h, interval: 60 s}", "wait: 1 s")
    asks = (
        asks.replace("wait: 2 h", "wait: 1 s")
        .replace("wait: 1 h", "wait: 1 s")
        .replace("roles: {stat: potentiostat}\n", "")
    )
    forecast = Forecast(outlook(asks), Watch())
    forecast.enter("look", 1)
    before = forecast.progress
    forecast.enter("third", 1)
    assert forecast.progress > before


# ── of a run ─────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_run_tells_its_end_and_a_hold_moves_it(bench: BenchMaker) -> None:
    async with bench() as lab:
        run = await lab.start(REST)
        await asyncio.sleep(HOUR / 2)
        state = await lab.engine.state(run)
        assert left(state) == pytest.approx(3.5, abs=0.1)
        assert state.progress == pytest.approx(1 / 8, abs=0.02)
        await lab.engine.command(run, Command.HOLD, by="test")
        await asyncio.sleep(10 * HOUR)
        state = await lab.engine.state(run)
        assert state.expected_end is None
        assert state.progress == pytest.approx(1 / 8, abs=0.02)
        await lab.engine.command(run, Command.UNHOLD, by="test")
        await lab.engine.command(run, Command.STOP, by="test")
        state = await lab.engine.wait(run)
        assert state.progress == 1.0
        assert state.expected_end is None


async def test_progress_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with at_work(tmp_path, DEVICES) as lab:
        run = await lab.start(REST)
        while (await lab.engine.state(run)).protocol_state != "second":
            await asyncio.sleep(60)
        await asyncio.sleep(HOUR)
        before = await lab.engine.state(run)
    async with at_work(tmp_path, DEVICES) as lab:
        after = await lab.engine.state(run)
        assert after.progress == pytest.approx(before.progress, abs=0.01)
        assert after.progress == pytest.approx(1 / 2, abs=0.03)
        assert left(after) == pytest.approx(left(before), abs=0.05)


AGAIN = REST.replace("version: 1.0.0", "version: 1.0.0\nparameters: {rest: {type: quantity, default: 2 h, min: 1 s}}")
AGAIN = (
    AGAIN.replace("  scrap: {end: scrapped}\n", "")
    .replace("wait: 2 h", "wait: =rest")
    .replace("ask: Go on?", "wait: 1 s")
)
AGAIN = AGAIN.replace(
    "    choices: {yes: third, no: scrap}\n    within: 1 h\n    otherwise: scrap\n", "    next: third\n"
)


async def test_what_other_parameters_took_is_not_expected_of_a_run(bench: BenchMaker) -> None:
    async with bench() as lab:
        await lab.engine.wait(await lab.start(AGAIN))
        run = await lab.start(AGAIN, "tray/cells/A2", rest="10 h")
        await asyncio.sleep(60)
        assert left(await lab.engine.state(run)) == pytest.approx(12, abs=0.1)
