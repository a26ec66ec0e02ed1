"""Faults on purpose on the whole loop: nothing is done twice, nothing is lost, and what nobody knows is asked about.

The same as `make faults`, a few telling ones of each; what really happened is counted in the simulators' world.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.faults.ascii import BalanceWitness, MarkedLines
from benchmarks.faults.careless import CARELESS
from benchmarks.faults.clocks import JumpingVirtual, Phase, both, two_lives
from benchmarks.faults.estops import Stopped, stop_in_stroke
from benchmarks.faults.kills import Killed, Plan
from benchmarks.faults.kills import play as play_killed
from benchmarks.faults.lab import FaultLab, fault_lab
from benchmarks.faults.links import Found, Round, caught
from benchmarks.faults.lost import Plan as Fault
from benchmarks.faults.lost import Tally, play, rounds
from benchmarks.faults.outages import late, vanishing
from benchmarks.faults.scripts import rehearsed, short_cell
from benchmarks.faults.timeouts import Quiet, many
from benchmarks.faults.witness import Verdicts
from labd import clock
from labd.run.lifecycle import Command

LOST = {
    "press": [
        Fault("press", "crimp", 1, "start", count=1),
        Fault("press", "crimp", 1, "start and silent", count=1, lasts=150.0),  # longer than a cycle may take
    ],
    "relay": [
        Fault("press", "crimp", 1, "writes", count=1),
        Fault("press", "crimp", 1, "silent", after=1.0, lasts=100.0),
    ],
    "ot2": [
        Fault("ot2", "transfer", 1, "dispense", count=1),
        Fault("ot2", "transfer", 1, "hang"),
    ],
    "arm": [
        Fault("arm", "place", 2, "messages", count=4, after=1.0),
        Fault("arm", "pick", 3, "silent", after=2.0, lasts=120.0),
    ],
}


@pytest.mark.parametrize("name", LOST)
async def test_a_reply_lost_after_its_effect_does_nothing_twice(tmp_path: Path, name: str) -> None:
    tally = Tally()
    await rounds(tmp_path, 1, name, LOST[name], tally)
    assert tally.told == []
    assert (tally.rounds, tally.complete) == (2, 2)
    assert (tally.done_twice, tally.left_open, tally.differ) == (0, 0, 0)
    assert tally.unknown == tally.by_device + tally.by_operator
    assert tally.asked >= 1  # the second fault of each is one that no device can settle


async def test_what_a_device_tells_late_takes_the_question_back_and_is_not_done_again(tmp_path: Path) -> None:
    """The stroke ends while the press is silent: a person is asked, and the press tells first, when it is back."""
    async with fault_lab(tmp_path, 1) as lab:
        operator = await play(lab, [Fault("press", "crimp", 1, "start and silent", count=1, lasts=150.0)])
        assert operator.answered == {}
        (withdrawn,) = await lab.events("question.withdrawn")
        assert "the device has told" in withdrawn.data["why"]
        assert lab.world.memory("press")["cycles"] == 1
        sent = [event for event in await lab.events("action.intended") if event.data["action"] == "crimp"]
        assert len(sent) == 1


async def test_devices_that_lose_their_power_in_mid_run_cost_time_and_no_cell(tmp_path: Path) -> None:
    tally = Tally()
    await vanishing(tmp_path, 3, 4, 4, tally)
    assert tally.told == []
    assert (tally.rounds, tally.complete, tally.done_twice, tally.left_open) == (4, 4, 0, 0)


async def test_runs_wait_for_devices_that_are_down_at_the_start(tmp_path: Path) -> None:
    tally = Tally()
    await late(tmp_path, 2, 2, tally)
    assert tally.told == []
    assert (tally.rounds, tally.complete, tally.done_twice) == (2, 2, 0)


async def test_an_estop_in_mid_stroke_holds_with_a_question_and_the_lab_goes_on_after_it(tmp_path: Path) -> None:
    found = Stopped()
    async with fault_lab(tmp_path, 1) as lab:
        await stop_in_stroke(lab, 0, 3.0, found)
        assert found == Stopped(rounds=1, held=1, safe=1, scrapped=1, moved_again=0)
        run = await lab.start(1)
        assert (await lab.daemon.engine.wait(run.id)).outcome == "complete"
        assert lab.differs(run) is None


async def test_an_arm_without_power_is_asked_about_and_can_be_stopped(tmp_path: Path) -> None:
    async with fault_lab(tmp_path, 1) as lab:
        run = await lab.start(0)
        await _until(lab, run.id, "pick")
        await lab.switch_off("arm")
        state = await _until_question(lab, run.id)
        assert "arm.pick" in state
        await lab.daemon.engine.command(run.id, Command.STOP, by="operator")
        assert (await lab.daemon.engine.wait(run.id)).state == "Stopped"


async def test_many_quiet_runs_over_all_wires_have_no_false_time_out(tmp_path: Path) -> None:
    found = Quiet()
    await many(tmp_path, 20, found)
    assert (found.runs, found.complete, found.false) == (20, 20, 0)


def test_a_cell_whose_daemon_is_killed_twice_comes_out_as_if_it_had_lived(tmp_path: Path) -> None:
    script = rehearsed(short_cell(), tmp_path / "rehearsal", 1)
    found = Killed()
    play_killed(tmp_path, Plan(script, cells=1, kills=2, share=0.1, seed=1), found)
    assert found.told == []
    assert (found.kills, found.cells, found.complete) == (2, 1, 1)
    assert found.acknowledged > 20
    assert (found.lost, found.broken_chains, found.not_up, found.left_open) == (0,) * 4
    assert (found.twice, found.differ, found.misplaced) == (0,) * 3
    assert found.held == found.unknown


async def _until(lab: FaultLab, run: str, action: str) -> None:
    """Waits until a run has sent an action."""
    while not any(event.data["action"] == action for event in await lab.events("action.intended", run=run)):
        await asyncio.sleep(0.5)


async def _until_question(lab: FaultLab, run: str) -> str:
    while (question := (await lab.daemon.engine.state(run)).question) is None:
        await asyncio.sleep(0.5)
    return str(question["text"])


@pytest.mark.parametrize("damaging", [False, True])
async def test_on_links_that_go_wrong_nothing_old_is_believed_and_nothing_done_twice(
    tmp_path: Path, damaging: bool
) -> None:
    found = Found()
    await Round(tmp_path, 3, damaging=damaging, cells=1, found=found).live()
    assert found.verdicts.told == []
    assert found.verdicts.readings > 20
    assert (found.tally.done_twice, found.techniques_twice, found.tally.left_open, found.tally.differ) == (0, 0, 0, 0)
    assert found.faults.total() > 10


def test_a_wall_clock_that_is_set_back_and_forth_changes_no_duration() -> None:
    with two_lives() as lives:
        calm, jumped = both(lives, JumpingVirtual, Phase(600.0, 0.0), 7)
    assert jumped.jumps > 5
    assert jumped.went_back > 0
    assert (jumped.outcome, jumped.unsound) == ("complete", 0)
    assert jumped.off(calm) < 1e-3


@pytest.mark.parametrize("device", CARELESS)
def test_a_driver_that_takes_whatever_comes_next_is_caught(device: str) -> None:
    """Else the rounds above would prove nothing about the drivers that do not."""
    assert caught(device) > 0


def test_only_the_line_that_is_damaged_is_told_as_damaged() -> None:
    lines = MarkedLines(b"\n")
    assert list(lines.take(b"one\ntw", None)) == [("one", False)]
    assert list(lines.take(b"O\nthree\n", 0)) == [("twO", True), ("three", False)]
    assert list(lines.take(b"fo", 2)) == []  # its end was cut off
    assert list(lines.take(b"five\nsix\n", None)) == [("fofive", True), ("six", False)]
    assert list(lines.take(b"START\xbf \r\n", 5)) == [("START\\xbf", True)]  # as a link gives it to its driver


async def test_a_wrong_value_is_excused_by_its_own_damaged_bytes_and_no_others() -> None:
    witness = BalanceWitness(None, Verdicts())
    witness.delivered(b"S S 1.500 g\r\nS S 2.500 g\r\n", 6)
    assert witness.excused("mass", 1.5, 0.0)
    assert not witness.excused("mass", 2.5, 0.0)
    assert not witness.excused("mass", 1.5, clock.monotonic() + 1.0)  # damaged, and old
